//! The CRI server: sandboxes, images, streaming, choice of executor.
//!
//! Everything it knows lies in files below its root, and everything it starts outlives it: after a restart it finds all
//! sandboxes and containers again. It refuses to run anything itself; executors do.

mod containers;
mod convert;
mod events;
mod host_ports;
pub mod images;
pub mod netns;
mod record;
mod reset;
mod sandboxes;
mod service;
mod shim;
mod stats;
mod streaming;

pub use host_ports::{HostPort, HostPorts};
pub use reset::reset;

pub use container::Executor;
pub use rpc::cri::Protocol;

use shim::Shim;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

/// How the shim of one node is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// `DIR/shim`: sandboxes, containers, images, network namespaces.
    pub root: PathBuf,
    /// The unix socket to serve on.
    pub socket: PathBuf,
    pub cni: cni::Config,
    /// Who opens ports of the node for pods; without one such pods are refused.
    pub host_ports: Option<Arc<dyn HostPorts>>,
    pub mirrors: images::Mirrors,
    /// Reported by `Version`.
    pub version: String,
}

/// Why the shim cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing}: {source}")]
    Failed {
        doing: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        doing: impl Into<String>,
    ) -> impl FnOnce(E) -> Error {
        move |source| Error::Failed { doing: doing.into(), source: source.into() }
    }
}

/// Serves until `stop` is ready. Pods keep running afterwards.
pub async fn serve(
    config: Config,
    executors: Vec<Arc<dyn Executor>>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    // The registry client takes the process's provider; another caller may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let socket = config.socket.clone();
    let shim = Shim::open(config, executors).await?;
    // A socket left by an earlier run would make the bind fail.
    let _ = std::fs::remove_file(&socket);
    if let Some(directory) = socket.parent() {
        std::fs::create_dir_all(directory).map_err(Error::failed(format!("make {}", directory.display())))?;
    }
    let doing = format!("listen on {} (a unix socket's path has at most 107 bytes)", socket.display());
    let listener = tokio::net::UnixListener::bind(&socket).map_err(Error::failed(doing))?;
    let result = service::serve(shim, listener, stop).await;
    let _ = std::fs::remove_file(&socket);
    result
}
