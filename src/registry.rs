//! The registry embedded in `wherry up`: the node's images over HTTP, for other clusters of this machine and for
//! `wherry image push`. It asks nobody who they are, so it listens on loopback only.

use crate::machine;
use crate::shim;
use anyhow::Context;
use cri::images::{Store, registry};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Where registries on a developer's machine listen by custom.
const PORT: u16 = 5000;

/// Serves them for reading alone to the other nodes of this machine, at its address among them. Returns where.
pub async fn share(
    data_dir: &Path,
    address: IpAddr,
    stop: CancellationToken,
) -> anyhow::Result<(SocketAddr, impl Future<Output = ()> + use<>)> {
    let images = shim::images(data_dir);
    let store = Store::open(&images).with_context(|| format!("opening the images in {}", images.display()))?;
    let listener = TcpListener::bind((address, 0)).await.context("listening for the other nodes' pulls")?;
    let at = listener.local_addr().context("the registry's address")?;
    let served = async move {
        tokio::select! {
            () = stop.cancelled() => {}
            ended = registry::serve_reading(listener, store) => if let Err(error) = ended {
                tracing::error!(%error, "the registry for the other nodes ended");
            }
        }
    };
    Ok((at, served))
}

/// Serves the images of `data_dir` until `stop`. Returns where, and the server's future.
pub async fn start(
    data_dir: &Path,
    port: Option<u16>,
    stop: CancellationToken,
) -> anyhow::Result<(SocketAddr, impl Future<Output = ()> + use<>)> {
    let images = shim::images(data_dir);
    let store = Store::open(&images).with_context(|| format!("opening the images in {}", images.display()))?;
    let port = port.or_else(|| machine::free_port(PORT)).context("no port from 5000 on is free for the registry")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener
        .with_context(|| format!("the registry cannot listen on port {port}; choose one with --registry-port"))?;
    let address = listener.local_addr().context("the registry's address")?;
    let served = async move {
        tokio::select! {
            // A pull in progress is not waited for: the client asks again.
            () = stop.cancelled() => {}
            ended = registry::serve_on(listener, store) => if let Err(error) = ended {
                tracing::error!(%error, "the registry ended");
            }
        }
    };
    Ok((address, served))
}
