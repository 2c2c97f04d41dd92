//! A node for one test: an executor with its own host process and directory, and pods with their own network namespaces.

use container::{
    Env, Event, Executor as _, Exit, Image, ImageContent, Mount, Port, Propagation, Sandbox, Spec, State, Stdio,
};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The repository's example, which is a test's guest too.
pub const HELLO: &str = include_str!("../../../../examples/hello/guest.wat");

/// Says so and is `false` where the test cannot run.
pub fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: network namespaces need root");
    }
    root
}

pub struct Node {
    pub dir: tempfile::TempDir,
    pub executor: wasm::Executor,
    exits: tokio::sync::Mutex<broadcast::Receiver<(String, Exit)>>,
}

pub fn executor(dir: &Path) -> wasm::Executor {
    wasm::Executor::new(wasm::Config { root: dir.join("wasm"), exe: env!("CARGO_BIN_EXE_wasm-host").into() })
}

impl Node {
    pub fn new() -> Node {
        let dir = tempfile::Builder::new().prefix("wasm-").tempdir().unwrap();
        let executor = executor(dir.path());
        let exits = executor.exits().into();
        Node { dir, executor, exits }
    }

    /// A container of the guest in WAT `text`, on the host's network.
    pub fn spec(&self, id: &str, text: &str) -> Spec {
        self.spec_of(id, &wat::parse_str(text).unwrap())
    }

    pub fn spec_of(&self, id: &str, wasm: &[u8]) -> Spec {
        let file = self.dir.path().join(format!("{id}.wasm"));
        std::fs::write(&file, wasm).unwrap();
        let digest = format!("sha256:{}", sha256(wasm));
        let sandbox = Sandbox { id: format!("pod-{id}"), ..Sandbox::default() };
        let image = Image {
            reference: "example.com/guests/demo:v1".into(),
            digest: String::new(),
            content: ImageContent::Wasm { file, digest },
            entrypoint: Vec::new(),
            cmd: Vec::new(),
            env: Vec::new(),
            working_dir: String::new(),
            user: String::new(),
            stop_signal: None,
        };
        Spec {
            id: id.into(),
            sandbox: Arc::new(sandbox),
            name: id.into(),
            attempt: 0,
            image,
            command: Vec::new(),
            args: Vec::new(),
            working_dir: String::new(),
            env: Vec::new(),
            mounts: Vec::new(),
            ports: Vec::new(),
            resources: Default::default(),
            security: Default::default(),
            tty: false,
            stdin: false,
            stdin_once: false,
            log_path: self.dir.path().join(format!("logs/{id}.log")),
            labels: Default::default(),
            annotations: Default::default(),
            state_dir: self.dir.path().join(format!("state/{id}")),
        }
    }

    pub async fn run(&self, spec: &Spec) {
        self.executor.create(spec).await.unwrap();
        self.executor.start(&spec.id).await.unwrap();
    }

    /// Waits for the container's end.
    pub async fn exit(&self, id: &str) -> Exit {
        let mut exits = self.exits.lock().await;
        let wait = async {
            loop {
                let (ended, exit) = exits.recv().await.unwrap();
                if ended == id {
                    return exit;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{id} did not end"))
    }

    /// Runs to the end.
    pub async fn finish(&self, spec: &Spec) -> Exit {
        self.run(spec).await;
        let exit = self.exit(&spec.id).await;
        let running = State::Running { created_at: 0, started_at: 0, pid: 0 };
        assert!(running.on(Event::Exited(exit.clone())).is_ok());
        exit
    }

    /// The log without its timestamps.
    pub fn log(&self, id: &str) -> String {
        let text = std::fs::read_to_string(self.dir.path().join(format!("logs/{id}.log"))).unwrap_or_default();
        text.lines().map(|line| format!("{}\n", line.split_once(' ').unwrap().1)).collect()
    }

    pub fn host_pid(&self) -> i32 {
        std::fs::read_to_string(self.dir.path().join("wasm/host.lock")).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Node {
    /// Ends the host process by its id: a failed test must not leave one behind.
    fn drop(&mut self) {
        if let Ok(pid) = std::fs::read_to_string(self.dir.path().join("wasm/host.lock"))
            && let Ok(pid) = pid.trim().parse()
        {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn env(name: &str, value: &str) -> Env {
    Env { name: name.into(), value: value.into() }
}

pub fn tcp(port: u16) -> Port {
    Port { port, protocol: "TCP".into() }
}

pub fn mounted(host: &Path, at: &str, readonly: bool) -> Mount {
    Mount { host_path: host.into(), container_path: at.into(), readonly, propagation: Propagation::Private }
}

/// A network namespace with a loopback, pinned in a test's directory.
pub struct Netns(pub PathBuf);

impl Netns {
    pub fn new(node: &Node, name: &str) -> Netns {
        let path = node.dir.path().join(format!("wasm-{name}"));
        std::fs::write(&path, "").unwrap();
        let pin = path.clone();
        let make = move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            mount(Some("/proc/thread-self/ns/net"), &pin, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
            let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
            assert!(up.success());
        };
        std::thread::spawn(make).join().unwrap();
        Netns(path)
    }

    /// Runs `f` on a thread inside the namespace.
    pub fn inside<R: Send + 'static>(&self, f: impl FnOnce() -> R + Send + 'static) -> R {
        let file = std::fs::File::open(&self.0).unwrap();
        let work = move || {
            setns(file, CloneFlags::CLONE_NEWNET).unwrap();
            f()
        };
        std::thread::spawn(work).join().unwrap()
    }

    /// The whole answer to a GET of `path` at `port` of the pod.
    pub fn get(&self, port: u16, path: &str) -> std::io::Result<String> {
        self.send(port, format!("GET {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n"))
    }

    /// What is answered to these bytes until the connection ends.
    pub fn send(&self, port: u16, request: String) -> std::io::Result<String> {
        self.inside(move || {
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// Streams for an exec or attach, and what they receive.
pub fn stdio(input: Option<tokio::io::DuplexStream>) -> (Stdio, tokio::io::DuplexStream, tokio::io::DuplexStream) {
    let (stdout, out) = tokio::io::duplex(1 << 16);
    let (stderr, err) = tokio::io::duplex(1 << 16);
    let stdin = input.map(|input| Box::new(input) as Box<dyn tokio::io::AsyncRead + Send + Unpin>);
    (Stdio { stdin, stdout: Some(Box::new(stdout)), stderr: Some(Box::new(stderr)), resize: None }, out, err)
}

/// Looks again until `ready` says so: for what gives no event.
pub async fn eventually(what: &str, mut ready: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !ready().await {
        assert!(start.elapsed() < PATIENCE, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
