//! The shim's process: how it is found, started and ended, and what it runs with.

use crate::data_dir::{self, Settings};
use anyhow::{Context, bail};
use cri::images::Mirrors;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::OpenOptions;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

/// From its start to its socket takes milliseconds; a shim that recovers thousands of pods, seconds.
const START: Duration = Duration::from_secs(30);
const END: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(5);
/// Between two starts of a shim that ends at once; long enough to leave the machine to others.
const RESTART: Duration = Duration::from_millis(500);

pub fn root(data_dir: &Path) -> PathBuf {
    data_dir.join("shim")
}

fn socket(data_dir: &Path) -> PathBuf {
    root(data_dir).join("cri.sock")
}

/// The pod network of this node.
pub fn network(settings: &Settings, data_dir: &Path) -> cni::Config {
    cni::Config {
        bridge: settings.bridge(),
        pod_cidr: settings.node_pod_cidr(),
        state_dir: root(data_dir).join("network"),
        mtu: 1500,
    }
}

/// Where the node's images lie.
pub fn images(data_dir: &Path) -> PathBuf {
    root(data_dir).join("images")
}

/// The mirrors of `DIR/registries.yaml`, where there is one.
fn mirrors(data_dir: &Path) -> anyhow::Result<Mirrors> {
    let file = data_dir.join("registries.yaml");
    match std::fs::read(&file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Mirrors::default()),
        Err(e) => Err(e).with_context(|| format!("reading {}", file.display())),
        Ok(text) => {
            let decoded = api::codec::yaml::decode(&text).map_err(|e| anyhow::anyhow!("{}: {e}", file.display()))?;
            decoded.value.to_typed().with_context(|| format!("{}", file.display()))
        }
    }
}

/// The node's ports that lead to its pods, as rules of the kernel.
#[derive(Debug)]
struct Ports(proxy::HostPorts);

impl cri::HostPorts for Ports {
    fn set(&self, ports: &[cri::HostPort]) -> Result<(), String> {
        let ports: Vec<proxy::HostPort> = ports
            .iter()
            .map(|p| proxy::HostPort {
                host: p.host,
                protocol: match p.protocol {
                    cri::Protocol::Tcp => proxy::rules::Protocol::Tcp,
                    cri::Protocol::Udp => proxy::rules::Protocol::Udp,
                    cri::Protocol::Sctp => proxy::rules::Protocol::Sctp,
                },
                port: p.port,
                pod: p.pod,
            })
            .collect();
        self.0.set(&ports).map_err(|e| e.to_string())
    }
}

/// The executor of WebAssembly. Making it starts nothing.
fn wasm(data_dir: &Path) -> anyhow::Result<wasm::Executor> {
    let exe = std::env::current_exe().context("finding this program")?;
    Ok(wasm::Executor::new(wasm::Config { root: root(data_dir).join("wasm"), exe }))
}

/// `wherry shim`: serves CRI until SIGTERM, and leaves containers running.
pub async fn run(data_dir: &Path, stop: CancellationToken) -> anyhow::Result<()> {
    // A session of its own: the terminal's Ctrl-C and hang-up are for whoever started it.
    nix::unistd::setsid().ok();
    let settings = data_dir::read(data_dir)?;
    let settings = settings.with_context(|| format!("there is no cluster in {}", data_dir.display()))?;
    let oci = oci::Oci::new(root(data_dir).join("oci")).context("preparing the runtime of containers")?;
    let executors: Vec<Arc<dyn cri::Executor>> = vec![Arc::new(oci), Arc::new(wasm(data_dir)?)];
    let config = cri::Config {
        root: root(data_dir),
        socket: socket(data_dir),
        cni: network(&settings, data_dir),
        host_ports: Some(Arc::new(Ports(proxy::HostPorts::new(settings.ports_table(), settings.bridge())))),
        mirrors: mirrors(data_dir)?,
        version: env!("CARGO_PKG_VERSION").into(),
    };
    cri::serve(config, executors, stop.cancelled_owned()).await.context("serving CRI")
}

/// The socket of the running shim; starts one where none answers.
pub async fn ensure(data_dir: &Path) -> anyhow::Result<PathBuf> {
    let socket = socket(data_dir);
    if UnixStream::connect(&socket).await.is_ok() {
        return Ok(socket);
    }
    let dir = root(data_dir);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).context("making the shim's directory")?;
    let log = dir.join("shim.log");
    let out = OpenOptions::new().create(true).append(true).mode(0o600).open(&log).context("opening the shim's log")?;
    let mut child = Command::new(std::env::current_exe().context("finding this program")?)
        .args(["shim", "--data-dir"])
        .arg(data_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(out)
        .spawn()
        .context("starting the shim")?;
    let deadline = tokio::time::Instant::now() + START;
    while UnixStream::connect(&socket).await.is_err() {
        if let Some(status) = child.try_wait()? {
            bail!("the shim ended at its start ({status}); its log is {}", log.display());
        }
        if tokio::time::Instant::now() > deadline {
            bail!("the shim does not answer after {} s; its log is {}", START.as_secs(), log.display());
        }
        tokio::time::sleep(RETRY).await;
    }
    // Its end is not ours to wait for: it outlives this process, or `end` waits for it.
    std::thread::spawn(move || child.wait());
    Ok(socket)
}

/// Starts the shim again whenever it ends, until told to stop: without it the node's pods go on, but nobody can change them.
pub async fn keep(data_dir: PathBuf, stop: CancellationToken) {
    let socket = socket(&data_dir);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = gone(&socket) => {}
        }
        // Not given up half-way: a shim that has started and does not listen yet would not be found by `end`.
        if let Err(error) = ensure(&data_dir).await {
            tracing::error!(error = format!("{error:#}"), "the shim has ended and cannot be started again");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RESTART) => {}
        }
    }
}

/// Returns when whoever serves the socket has ended: the kernel then closes this idle connection.
async fn gone(socket: &Path) {
    let Ok(mut stream) = UnixStream::connect(socket).await else { return };
    let mut greeting = [0; 1024];
    while stream.read(&mut greeting).await.is_ok_and(|n| n > 0) {}
}

/// Ends the shim, if one runs, and the Wasm host, and waits until they are gone.
pub async fn end(data_dir: &Path) -> anyhow::Result<()> {
    end_shim(data_dir).await?;
    wasm(data_dir)?.shutdown().await.context("ending the Wasm host")
}

async fn end_shim(data_dir: &Path) -> anyhow::Result<()> {
    let Ok(stream) = UnixStream::connect(socket(data_dir)).await else { return Ok(()) };
    let Some(pid) = stream.peer_cred().context("asking who serves the shim's socket")?.pid() else { return Ok(()) };
    drop(stream);
    kill(Pid::from_raw(pid), Signal::SIGTERM).context("ending the shim")?;
    let deadline = tokio::time::Instant::now() + END;
    while UnixStream::connect(socket(data_dir)).await.is_ok() {
        if tokio::time::Instant::now() > deadline {
            bail!("the shim (process {pid}) does not end");
        }
        tokio::time::sleep(RETRY).await;
    }
    Ok(())
}
