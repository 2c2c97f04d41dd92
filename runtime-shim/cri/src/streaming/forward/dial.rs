//! Connects to a port of a pod from inside its network namespace.

use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};

/// Threads that connect at once, for all pods. A connection on one machine takes microseconds.
const DIALERS: usize = 32;
static FREE: Semaphore = Semaphore::const_new(DIALERS);

/// A connection to `port` at the pod's loopback, over IPv4 or else IPv6, each tried for `limit`.
pub(super) async fn dial(netns: Option<PathBuf>, port: u16, limit: Duration) -> Result<TcpStream, String> {
    let ended = |_| "the streaming server is stopping".to_owned();
    let permit = FREE.acquire().await.map_err(|e| e.to_string())?;
    let (send, receive) = oneshot::channel();
    // A thread of its own: it changes its namespace for good, and must not be one that others share.
    let thread = std::thread::Builder::new().name("dial".to_owned()).spawn(move || {
        let _ = send.send(connect(netns.as_deref(), port, limit));
    });
    thread.map_err(|e| format!("start a thread to connect from: {e}"))?;
    let stream = receive.await.map_err(ended)?;
    drop(permit);
    TcpStream::from_std(stream?).map_err(|e| format!("use the connection to port {port}: {e}"))
}

fn connect(netns: Option<&Path>, port: u16, limit: Duration) -> Result<std::net::TcpStream, String> {
    if let Some(path) = netns {
        enter(path).map_err(|e| format!("enter network namespace {path:?}: {e}"))?;
    }
    let to = |ip: IpAddr| std::net::TcpStream::connect_timeout(&SocketAddr::new(ip, port), limit);
    let stream = to(Ipv4Addr::LOCALHOST.into()).or_else(|four| {
        to(Ipv6Addr::LOCALHOST.into())
            .map_err(|six| format!("failed to connect to localhost:{port} inside the pod, IPv4: {four}, IPv6: {six}"))
    })?;
    stream.set_nonblocking(true).map_err(|e| format!("prepare the connection to port {port}: {e}"))?;
    Ok(stream)
}

fn enter(path: &Path) -> io::Result<()> {
    Ok(setns(File::open(path)?, CloneFlags::CLONE_NEWNET)?)
}
