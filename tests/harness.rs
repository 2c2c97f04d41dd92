//! A real cluster for a test: the binary itself, in a network namespace of its own, driven by the real kubectl.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// The project's directory.
pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Longer than anything here takes on a busy machine; what passes it has failed.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The machine's address inside the namespace.
pub const NODE: &str = "192.168.77.2";

/// The binary of this build, or the one that WHERRY names.
pub fn wherry() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| std::env::var("WHERRY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_wherry").into()))
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
pub struct Host {
    process: Child,
    /// The namespaces to enter, as `nsenter` calls them.
    namespaces: &'static [&'static str],
}

impl Host {
    pub fn new() -> Host {
        Host::with(&["--net"])
    }

    /// One that has no control groups.
    pub fn without_cgroups() -> Host {
        let host = Host::with(&["--net", "--mount"]);
        let hidden = host.command("mount").args(["-t", "tmpfs", "none", "/sys/fs/cgroup"]).status();
        assert!(hidden.is_ok_and(|s| s.success()), "the control groups are hidden");
        host
    }

    fn with(namespaces: &'static [&'static str]) -> Host {
        let host = Host::empty(namespaces);
        for line in [
            "ip link add node0 type veth peer name node1",
            "ip address add 192.168.77.2/24 dev node0",
            "ip link set node0 up",
            "ip link set node1 up",
            "ip route add default via 192.168.77.1 dev node0",
        ] {
            host.run(line);
        }
        host
    }

    /// One without any link, for a test that makes its own.
    pub fn empty(namespaces: &'static [&'static str]) -> Host {
        let process = Command::new("unshare").args(namespaces).args(["sleep", "infinity"]).spawn();
        let host = Host { process: process.expect("namespaces"), namespaces };
        // Its last step: by then the namespaces are there, and its mounts nobody else's.
        let comm = format!("/proc/{}/comm", host.process.id());
        until("the namespaces", || std::fs::read_to_string(&comm).is_ok_and(|name| name.trim() == "sleep"));
        host.run("ip link set lo up");
        host
    }

    fn run(&self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let done = self.command(words[0]).args(&words[1..]).output().expect("ip runs");
        assert!(done.status.success(), "{line}: {}", text(&done.stderr));
    }

    /// The process that holds the namespaces.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// A command inside the namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.process.id().to_string()]).args(self.namespaces).args(["--", program]);
        command
    }

    /// Its network, for a thread to enter.
    pub fn network(&self) -> std::fs::File {
        std::fs::File::open(format!("/proc/{}/ns/net", self.process.id())).expect("the namespace")
    }

    /// What answers to a GET from the host.
    pub fn get(&self, url: &str) -> Option<String> {
        let out = self.command("curl").args(["-sS", "--max-time", "5", url]).output().ok()?;
        out.status.success().then(|| text(&out.stdout))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A container that counts into its log, so that a missing or doubled line shows.
pub const COUNTER: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: counter}
spec:
  containers:
    - name: counter
      image: busybox:1
      command: [sh, -c, "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.1; done"]
"#;

/// A process of ours. Dropping it ends it.
pub struct Running(Child);

impl Running {
    pub fn spawn(command: &mut Command) -> Running {
        Running(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the process starts"))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).expect("a pid"));
        nix::sys::signal::kill(pid, signal).expect("signalled");
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("waited").is_some()
    }

    /// Sends a signal and waits for the end.
    pub fn end(&mut self, signal: nix::sys::signal::Signal) -> ExitStatus {
        end(&mut self.0, signal)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn end(child: &mut Child, signal: nix::sys::signal::Signal) -> ExitStatus {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, signal).expect("signalled");
    let mut status = None;
    until("the end of a process", || {
        status = child.try_wait().expect("waited");
        status.is_some()
    });
    status.expect("an end")
}

/// A cluster that is up. Dropping it removes it from the machine.
pub struct Cluster {
    pub host: Arc<Host>,
    pub dir: tempfile::TempDir,
    up: Option<Up>,
}

struct Up {
    child: Child,
    /// Behind a lock, so that threads of a test can share the cluster.
    lines: Mutex<Receiver<String>>,
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

    /// The images of an example, by its list.
    pub fn example(&self, name: &str) {
        let dir = Path::new(ROOT).join("examples").join(name);
        let images = std::fs::read_to_string(dir.join("images")).expect("the example's images");
        for (image, source) in images.lines().filter_map(|line| line.split_once(' ')) {
            match source.strip_prefix("cargo:") {
                Some(program_name) => self.image(image, &program(name, program_name)),
                None => self.image(image, &dir.join(source)),
            }
        }
    }

    /// The image `tool:1`: `tests/guests/tool.rs`.
    pub fn tool(&self) {
        let dir = tempfile::tempdir().expect("a directory");
        let built = Command::new(std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into()))
            .args(["--edition=2024", "-Cpanic=abort", "-Ctarget-feature=+crt-static", "-o"])
            .arg(dir.path().join("tool"))
            .arg(Path::new(ROOT).join("tests/guests/tool.rs"))
            .status();
        assert!(built.is_ok_and(|s| s.success()), "the tool builds");
        self.build_image("tool:1", dir.path(), &["--entrypoint", "/tool"]);
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
        self.up = Some(Up { child, lines: Mutex::new(lines), seen: Vec::new() });
        self.says("KUBECONFIG=");
    }

    /// Waits for a line of `up` that contains `part`, and returns it.
    pub fn says(&mut self, part: &str) -> String {
        let up = self.up.as_mut().expect("the cluster is up");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match up.lines.get_mut().expect("nobody panicked with it").recv_timeout(left) {
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
    pub fn end(&mut self, signal: nix::sys::signal::Signal) -> (ExitStatus, Duration) {
        let mut up = self.up.take().expect("the cluster is up");
        let since = Instant::now();
        let status = end(&mut up.child, signal);
        (status, since.elapsed())
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

    /// The log of [`COUNTER`] has every line from the first on, once; returns how many there are.
    pub fn counted(&self) -> usize {
        let log = self.ok(&["logs", "counter"]);
        for (i, line) in log.lines().enumerate() {
            assert_eq!(line, format!("line {}", i + 1), "in the log of counter");
        }
        log.lines().count()
    }

    /// The same as its file has it, which needs nobody's answer.
    pub fn counted_in_file(&self) -> usize {
        let find = Command::new("find").arg(self.dir.path().join("kubelet")).args(["-path", "*counter/0.log"]).output();
        let file = text(&find.expect("find runs").stdout);
        std::fs::read_to_string(file.trim()).expect("the log of counter").lines().count()
    }

    /// Applies a manifest given as text.
    pub fn apply(&self, manifest: &str) {
        let file = tempfile::Builder::new().suffix(".yaml").tempfile().expect("a file");
        std::fs::write(file.path(), manifest).expect("written");
        self.ok(&["apply", "-f", file.path().to_str().expect("a path")]);
    }
}

impl Cluster {
    /// What a failed test leaves to read: the pods, what happened to them, and what `up` and the shim said last.
    fn tell(&mut self) {
        for what in [&["get", "pods", "-A", "-o", "wide"][..], &["get", "events", "-A"]] {
            let out = self.kubectl(what);
            eprintln!("{}{}", text(&out.stdout), text(&out.stderr));
        }
        if let Some(up) = &mut self.up {
            up.seen.extend(up.lines.get_mut().expect("nobody panicked with it").try_iter());
            eprintln!("up said:\n{}", up.seen.join("\n"));
        }
        let log = std::fs::read_to_string(self.dir.path().join("shim/shim.log")).unwrap_or_default();
        eprintln!("the shim said:\n{log}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
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
    BUILT.get_or_init(|| program("hello", "web"))
}

/// A program of an example, linked statically, as `examples/run` builds it.
fn program(example: &str, name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples");
    let manifest = Path::new(ROOT).join("examples").join(example).join(name).join("Cargo.toml");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--manifest-path"])
        .arg(manifest)
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .status();
    assert!(built.is_ok_and(|s| s.success()), "the example's program builds");
    target.join(format!("release/{example}-{name}"))
}

/// A guest of the Wasm executor's own tests.
pub fn guest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime-shim/wasm/tests/guests").join(name)
}
