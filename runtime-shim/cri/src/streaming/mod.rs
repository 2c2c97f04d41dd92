//! The streaming server: exec, attach and port-forward, as CRI splits them. The gRPC call leaves what is wanted and gets
//! a URL; whoever comes to that URL, once and soon, is connected. Behaviour as of `k8s.io/kubelet/pkg/cri/streaming`.
//!
//! It listens on loopback alone and authenticates nobody: the token in the URL is the permission, and only a caller of
//! the CRI socket can get one. It knows no container and no sandbox; [`Resolve`] does.

mod connection;
mod door;
mod forward;
mod mux;
mod outlet;
mod pending;
mod remote;
mod serve;
mod socket;
#[cfg(test)]
mod tests;

use connection::Limits;
use container::Executor;
use parking_lot::Mutex;
use pending::{Pending, Task};
use rpc::cri::{AttachRequest, ExecRequest, PortForwardRequest};
use rpc::tonic::Status;
use serve::Server;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Who runs a container and where a sandbox's network is. The CRI server implements it.
#[async_trait::async_trait]
pub trait Resolve: Send + Sync {
    /// The executor of a container.
    async fn executor(&self, container_id: &str) -> container::Result<Arc<dyn Executor>>;
    /// The pinned network namespace of a sandbox; `None` on the host's network.
    async fn sandbox_netns(&self, sandbox_id: &str) -> container::Result<Option<PathBuf>>;
}

/// A running streaming server. Clones are the same server; it ends with the token that it was started with.
#[derive(Clone)]
pub struct Streaming {
    address: SocketAddr,
    pending: Arc<Mutex<Pending>>,
}

impl Streaming {
    /// Listens on a free port of 127.0.0.1 until `stop`, which also ends every session.
    pub async fn start(resolve: Arc<dyn Resolve>, stop: CancellationToken) -> io::Result<Streaming> {
        Streaming::start_with(resolve, Limits::default(), stop).await
    }

    async fn start_with(resolve: Arc<dyn Resolve>, limits: Limits, stop: CancellationToken) -> io::Result<Streaming> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let pending = Arc::new(Mutex::new(Pending::default()));
        let streaming = Streaming { address: listener.local_addr()?, pending: pending.clone() };
        tokio::spawn(serve::run(listener, Arc::new(Server::new(resolve, pending, limits, stop))));
        Ok(streaming)
    }

    /// Where the client of an exec is to be sent.
    pub fn exec(&self, request: ExecRequest) -> Result<String, Status> {
        needed("container_id", &request.container_id)?;
        if request.cmd.is_empty() {
            return Err(Status::invalid_argument("no command was given to run"));
        }
        streams(request.tty, request.stdin, request.stdout, request.stderr)?;
        self.add("exec", Task::Exec(request))
    }

    /// Where the client of an attach is to be sent.
    pub fn attach(&self, request: AttachRequest) -> Result<String, Status> {
        needed("container_id", &request.container_id)?;
        streams(request.tty, request.stdin, request.stdout, request.stderr)?;
        self.add("attach", Task::Attach(request))
    }

    /// Where the client of a port-forward is to be sent.
    pub fn port_forward(&self, request: PortForwardRequest) -> Result<String, Status> {
        needed("pod_sandbox_id", &request.pod_sandbox_id)?;
        if let Some(port) = request.port.iter().find(|p| !(1..=65535).contains(*p)) {
            return Err(Status::invalid_argument(format!("{port} is no port")));
        }
        self.add("portforward", Task::Forward(request))
    }

    fn add(&self, path: &str, task: Task) -> Result<String, Status> {
        let token = self.pending.lock().add(task, Instant::now());
        let token = token.ok_or_else(|| Status::resource_exhausted("maximum number of in-flight requests exceeded"))?;
        Ok(format!("http://{}/{path}/{token}", self.address))
    }
}

fn needed(field: &str, value: &str) -> Result<(), Status> {
    if value.is_empty() { Err(Status::invalid_argument(format!("missing required {field}"))) } else { Ok(()) }
}

fn streams(tty: bool, stdin: bool, stdout: bool, stderr: bool) -> Result<(), Status> {
    match (tty, stderr) {
        // A terminal has one output.
        (true, true) => Err(Status::invalid_argument("tty and stderr cannot both be true")),
        _ if !(stdin || stdout || stderr) => {
            Err(Status::invalid_argument("one of stdin, stdout, or stderr must be set"))
        }
        _ => Ok(()),
    }
}
