//! A real cluster for a test: the binary itself, in a network namespace of its own, driven by the real kubectl.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine; what passes it has failed.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The machine's address inside the namespace.
pub const NODE: &str = "192.168.77.2";

pub fn wherry() -> &'static str {
    env!("CARGO_BIN_EXE_wherry")
}

/// Says loudly why cluster tests cannot run here; `true` if they can.
pub fn possible() -> bool {
    let missing = ["kubectl", "ip", "unshare", "nsenter"].into_iter().find(|tool| {
        let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).stdout(Stdio::null()).status();
        !found.is_ok_and(|s| s.success())
    });
    if let Some(tool) = missing {
        eprintln!("SKIPPED: cluster tests need '{tool}'");
    } else if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: cluster tests need root");
    } else {
        return true;
    }
    false
}

/// The kubectl to drive clusters with: another version's than the one on the PATH, where WHERRY_KUBECTL names it.
pub fn kubectl_program() -> String {
    std::env::var("WHERRY_KUBECTL").unwrap_or_else(|_| "kubectl".into())
}

/// A network namespace with one address and a default route, held by a process of ours.
pub struct Host(Child);

impl Host {
    pub fn new() -> Host {
        let child = Command::new("unshare").args(["--net", "sleep", "infinity"]).spawn().expect("a namespace");
        let host = Host(child);
        let ours = std::fs::read_link("/proc/self/ns/net").expect("our namespace");
        let theirs = format!("/proc/{}/ns/net", host.0.id());
        until("the namespace", || std::fs::read_link(&theirs).is_ok_and(|n| n != ours));
        for line in [
            "ip link set lo up",
            "ip link add node0 type veth peer name node1",
            "ip address add 192.168.77.2/24 dev node0",
            "ip link set node0 up",
            "ip link set node1 up",
            "ip route add default via 192.168.77.1 dev node0",
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            let done = host.command(words[0]).args(&words[1..]).output().expect("ip runs");
            assert!(done.status.success(), "{line}: {}", text(&done.stderr));
        }
        host
    }

    /// A command inside the namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.0.id().to_string(), "--net", "--", program]);
        command
    }

    /// What answers to a GET from the host.
    pub fn get(&self, url: &str) -> Option<String> {
        let out = self.command("curl").args(["-sS", "--max-time", "5", url]).output().ok()?;
        out.status.success().then(|| text(&out.stdout))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A cluster that is up. Dropping it removes it from the machine.
pub struct Cluster {
    pub host: Arc<Host>,
    pub dir: tempfile::TempDir,
    up: Option<Up>,
}

struct Up {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Cluster {
    /// An empty data directory with the example's images, on a host of its own, not up yet.
    pub fn new() -> Cluster {
        Cluster::on(Arc::new(Host::new()))
    }

    /// The same on a host that other clusters may be on too.
    pub fn on(host: Arc<Host>) -> Cluster {
        let cluster = Cluster::bare(host);
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        cluster.image("hello-wasm:1", &root.join("examples/hello/guest.wat"));
        cluster.image("hello-web:1", hello_web());
        cluster
    }

    /// An empty data directory without images, on a host that others may use too.
    pub fn bare(host: Arc<Host>) -> Cluster {
        Cluster { host, dir: tempfile::tempdir().expect("a directory"), up: None }
    }

    pub fn image(&self, name: &str, source: &Path) {
        self.build_image(name, source, &[]);
    }

    fn build_image(&self, name: &str, source: &Path, more: &[&str]) {
        let out = self.wherry(&["image", "build", "--tag", name]).arg(source).args(more).output().expect("wherry runs");
        assert!(out.status.success(), "image {name}: {}", text(&out.stderr));
    }

    /// The image `busybox:1` with the machine's own static busybox; `false`, said loudly, where there is none.
    pub fn busybox(&self) -> bool {
        let busybox = Path::new("/bin/busybox");
        if !busybox.exists() {
            eprintln!("SKIPPED: parts of this test need the static {} (package busybox-static)", busybox.display());
            return false;
        }
        let root = tempfile::tempdir().expect("a directory");
        let bin = root.path().join("bin");
        std::fs::create_dir(&bin).expect("made");
        std::fs::copy(busybox, bin.join("busybox")).expect("copied");
        for applet in ["sh", "sleep", "nc"] {
            std::os::unix::fs::symlink("busybox", bin.join(applet)).expect("linked");
        }
        self.build_image("busybox:1", root.path(), &["--entrypoint", "/bin/sh"]);
        true
    }

    /// `wherry ARGS --data-dir DIR` inside the host.
    pub fn wherry(&self, args: &[&str]) -> Command {
        let mut command = self.host.command(wherry());
        command.args(args).arg("--data-dir").arg(self.dir.path());
        command
    }

    /// Runs `wherry up ARGS` and waits until it has said where its kubeconfig is.
    pub fn up(&mut self, args: &[&str]) {
        let mut command = self.wherry(&["up"]);
        let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("up starts");
        let (send, lines) = channel();
        let streams: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("piped")), Box::new(child.stderr.take().expect("piped"))];
        for stream in streams {
            let send = send.clone();
            std::thread::spawn(move || {
                BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|l| send.send(l))
            });
        }
        self.up = Some(Up { child, lines, seen: Vec::new() });
        self.says("KUBECONFIG=");
    }

    /// Waits for a line of `up` that contains `part`, and returns it.
    pub fn says(&mut self, part: &str) -> String {
        let up = self.up.as_mut().expect("the cluster is up");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match up.lines.recv_timeout(left) {
                Ok(line) => {
                    up.seen.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(_) => panic!("up never said {part:?}; it said:\n{}", up.seen.join("\n")),
            }
        }
    }

    /// A line with `part` that `up` has written already.
    pub fn said(&self, part: &str) -> &str {
        let up = self.up.as_ref().expect("the cluster is up");
        up.seen.iter().find(|l| l.contains(part)).unwrap_or_else(|| panic!("no {part:?} in\n{}", up.seen.join("\n")))
    }

    /// The process of `up`.
    pub fn pid(&self) -> u32 {
        self.up.as_ref().expect("the cluster is up").child.id()
    }

    /// Ends `up` by a signal and waits; returns how it ended and how long it took.
    pub fn end(&mut self, signal: nix::sys::signal::Signal) -> (std::process::ExitStatus, Duration) {
        let mut up = self.up.take().expect("the cluster is up");
        let since = Instant::now();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(up.child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, signal).expect("signalled");
        let mut status = None;
        until("the end of up", || {
            status = up.child.try_wait().expect("waited");
            status.is_some()
        });
        (status.expect("an end"), since.elapsed())
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("admin.kubeconfig")
    }

    /// kubectl against the cluster, its output whatever it is.
    pub fn kubectl(&self, args: &[&str]) -> Output {
        self.kubectl_command(args).output().expect("kubectl runs")
    }

    pub fn kubectl_command(&self, args: &[&str]) -> Command {
        let mut command = self.host.command(&kubectl_program());
        // What kubectl remembers of an API it keeps by address, and clusters of tests share theirs.
        command.env("KUBECACHEDIR", self.dir.path().join("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(args).stdin(Stdio::null());
        command
    }

    /// kubectl that must succeed; its standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let out = self.kubectl(args);
        assert!(out.status.success(), "kubectl {args:?}: {}{}", text(&out.stdout), text(&out.stderr));
        text(&out.stdout)
    }

    /// kubectl that must fail; its standard error.
    pub fn fails(&self, args: &[&str]) -> String {
        let out = self.kubectl(args);
        assert!(
            !out.status.success() && out.status.signal().is_none(),
            "kubectl {args:?} succeeded: {}",
            text(&out.stdout)
        );
        text(&out.stderr)
    }

    /// Applies a manifest given as text.
    pub fn apply(&self, manifest: &str) {
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().expect("a file");
        std::fs::write(file.path(), manifest).expect("written");
        self.ok(&["apply", "-f", file.path().to_str().expect("a path")]);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(up) = &mut self.up {
            let _ = up.child.kill();
            let _ = up.child.wait();
        }
        if let Ok(out) = self.wherry(&["reset"]).output()
            && !out.status.success()
            && !std::thread::panicking()
        {
            eprintln!("reset: {}", text(&out.stderr));
        }
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Asks again and again until the answer is yes; panics when patience is over.
pub fn until(what: &str, mut yes: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !yes() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The container half of the hello example, built once per run.
pub fn hello_web() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples");
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello/web/Cargo.toml");
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--release", "--quiet", "--manifest-path"])
            .arg(manifest)
            .env("CARGO_TARGET_DIR", &target)
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .status();
        assert!(built.is_ok_and(|s| s.success()), "the example's program builds");
        target.join("release/hello-web")
    })
}
