//! The assembled cluster, as a person uses it.

use crate::harness::{Cluster, NODE, possible};
use nix::sys::signal::Signal;
use std::time::Duration;

#[test]
fn the_example_answers_and_ctrl_c_leaves_nothing() {
    if !possible() {
        return;
    }
    let mut cluster = Cluster::new();
    cluster.up(&["--apply", concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello")]);
    for service in ["hello-wasm", "hello-web"] {
        let line = cluster.says(&format!("{service}  http://{NODE}"));
        assert!(line.contains("Hello from Wherry"), "{line}");
        let line = cluster.says(&format!("{service}  http://10."));
        assert!(line.contains("Hello from Wherry"), "{line}");
    }
    let pods = cluster.ok(&["get", "pods", "-o", "wide"]);
    assert_eq!(pods.matches("1/1     Running").count(), 4, "{pods}");

    let (status, took) = cluster.end(Signal::SIGINT);
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(20), "Ctrl-C took {took:?}");
    let dir = cluster.dir.path().to_str().expect("a path").to_owned();
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("the mounts");
    let left: Vec<&str> = mounts.lines().filter(|l| l.contains(&dir)).collect();
    assert!(left.is_empty(), "mounts are left: {left:?}");
    let links = cluster.host.command("ip").args(["-br", "link"]).output().expect("ip runs");
    let links = crate::harness::text(&links.stdout);
    assert_eq!(links.lines().filter(|l| l.starts_with("wh-") || l.starts_with("wv")).count(), 0, "{links}");
    let processes = std::fs::read_dir("/proc").expect("the processes").flatten();
    let ours = processes.filter(|p| std::fs::read_to_string(p.path().join("cmdline")).is_ok_and(|c| c.contains(&dir)));
    let ours: Vec<_> = ours.map(|p| p.path()).collect();
    assert!(ours.is_empty(), "processes are left: {ours:?}");
}
