//! Two pods of one node, in namespaces of the test's own: they reach each other through the bridge's address, and
//! nothing stays behind. Needs root; says so where it has none.

use cni::{Config, add, check, del, remove};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A network namespace pinned to a file, gone with the value.
struct Namespace(PathBuf);

impl Namespace {
    fn new(dir: &Path, name: &str) -> Namespace {
        let file = dir.join(name);
        File::create(&file).expect("a file to pin the namespace to");
        let target = file.clone();
        let make = move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
            let flags = nix::mount::MsFlags::MS_BIND;
            nix::mount::mount(Some("/proc/thread-self/ns/net"), &target, None::<&str>, flags, None::<&str>)
                .expect("pinned");
        };
        std::thread::spawn(make).join().expect("the namespace's thread");
        Namespace(file)
    }

    /// Runs something on a thread inside.
    fn run<T: Send + 'static>(&self, what: impl FnOnce() -> T + Send + 'static) -> T {
        let file = File::open(&self.0).expect("the namespace");
        let inside = move || {
            setns(file, CloneFlags::CLONE_NEWNET).expect("entered");
            what()
        };
        std::thread::spawn(inside).join().expect("the thread inside")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH).ok();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

#[test]
fn two_pods_talk_and_leave_nothing() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: pod network test needs root");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let node = Namespace::new(dir.path(), "node");
    let (a, b) = (Namespace::new(dir.path(), "a"), Namespace::new(dir.path(), "b"));
    let config = Config {
        bridge: "wtest0".into(),
        pod_cidr: "10.244.0.0/24".parse().expect("a network"),
        state_dir: dir.path().join("state"),
        mtu: 1500,
    };

    let (c, pa, pb) = (config.clone(), a.0.clone(), b.0.clone());
    let (ip_a, ip_b): (IpAddr, IpAddr) = node.run(move || {
        block_on(async {
            let first = add(&c, "a", &pa).await.expect("a is connected");
            let second = add(&c, "b", &pb).await.expect("b is connected");
            let again = add(&c, "a", &pa).await.expect("connecting twice is fine");
            assert_eq!(first, again);
            assert_eq!(first.mac.len(), 17);
            check(&c, "a", &pa).await.expect("a is as it was left");
            (first.ips[0], second.ips[0])
        })
    });

    let listener = b.run(move || TcpListener::bind((ip_b, 8080)).expect("b listens"));
    let answer = b.run(move || {
        std::thread::spawn(move || {
            let (mut stream, from) = listener.accept().expect("a comes");
            write!(stream, "{}", from.ip()).expect("answered");
        })
    });
    let seen = a.run(move || {
        let mut stream =
            TcpStream::connect_timeout(&(ip_b, 8080).into(), Duration::from_secs(5)).expect("b is reached");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text
    });
    answer.join().expect("b answered");
    assert_eq!(seen, ip_a.to_string(), "b sees a's own address");

    let (c, pa, pb) = (config, a.0.clone(), b.0.clone());
    let left = node.run(move || {
        block_on(async {
            for (id, ns) in [("a", &pa), ("b", &pb), ("a", &pa)] {
                del(&c, id, ns).await.expect("disconnected");
            }
            assert!(check(&c, "a", &pa).await.is_err());
            remove(&c).await.expect("the bridge is gone");
        });
        let links = std::fs::read_to_string("/proc/thread-self/net/dev").expect("the links");
        links.lines().skip(2).map(|l| l.split(':').next().unwrap_or("").trim().to_owned()).collect::<Vec<_>>()
    });
    assert_eq!(left, ["lo"]);
    assert!(!dir.path().join("state").exists());
}
