//! The network of a pod: a pure plan of link operations, address management, and the netlink calls that carry them out.
//!
//! Every pod hangs on its node's bridge with an address that is alone in its prefix (/32), and reaches everything, its
//! neighbours included, through the bridge's own address. So each packet between two pods passes the node's routing,
//! and a translated connection to a Service finds its way back without bridge netfilter.
//!
//! A library for the runtime shim and, under the names that the CNI specification gives, an executable. It knows no
//! Services and no policies.

pub mod executable;
mod ipam;
mod link;
mod plan;
mod segment;

pub use plan::{LinkOp, host_link_name};
pub use segment::Segment;

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The pod network of one node.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the bridge that the pods of this node hang on.
    pub bridge: String,
    /// The node's share of the cluster's pod addresses; its first address is the bridge's.
    pub pod_cidr: ipnet::IpNet,
    /// Where leases of addresses are kept.
    pub state_dir: PathBuf,
    pub mtu: u32,
}

/// What a pod got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub ips: Vec<IpAddr>,
    pub gateway: IpAddr,
    pub mac: String,
}

/// A failure, with what was being done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing}: {source}")]
    Io {
        doing: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{doing}: {source}")]
    Netlink {
        doing: String,
        #[source]
        source: rtnetlink::Error,
    },
    #[error("no address is free in {0}; delete pods, or give the node a larger pod range")]
    Exhausted(ipnet::IpNet),
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Io { doing: doing.into(), source }
    }

    fn netlink(doing: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Error {
        move |source| Error::Netlink { doing: doing.into(), source }
    }
}

pub type Result<T> = std::result::Result<T, Error>;

/// The interface's name inside every pod.
pub const POD_LINK: &str = "eth0";

/// Makes the node's side ready before its first pod: the bridge with its address, and forwarding.
pub async fn prepare(config: &Config) -> Result<()> {
    std::fs::create_dir_all(&config.state_dir).map_err(Error::io("making the directory of the address leases"))?;
    link::carry_out(&plan::prepare(config)).await.map(drop)
}

/// Connects the network namespace at `netns` to the node's pod network (CNI ADD). On failure nothing stays behind.
pub async fn add(config: &Config, container_id: &str, netns: &Path) -> Result<Attachment> {
    let lease = ipam::take(config, container_id)?;
    let ops = plan::add(config, container_id, netns, lease);
    match link::carry_out(&ops).await {
        Ok(mac) => Ok(Attachment { ips: vec![lease], gateway: plan::gateway(config), mac }),
        Err(error) => {
            del(config, container_id, netns).await.ok();
            Err(error)
        }
    }
}

/// Undoes [`add`] (CNI DEL). Idempotent; the namespace may be gone already.
pub async fn del(config: &Config, container_id: &str, _netns: &Path) -> Result<()> {
    link::carry_out(&plan::del(container_id)).await?;
    ipam::give_back(config, container_id)
}

/// Whether the pod is still connected as [`add`] left it (CNI CHECK).
pub async fn check(config: &Config, container_id: &str, netns: &Path) -> Result<()> {
    let lease = ipam::held(config, container_id)?
        .ok_or_else(|| Error::Invalid(format!("container {container_id} holds no address of this node")))?;
    link::carry_out(&plan::check(container_id, netns, lease)).await.map(drop)
}

/// Gives back the addresses of containers that are not in `live`: what a crash between two steps may have left.
pub fn collect(config: &Config, live: &HashSet<String>) -> Result<()> {
    ipam::collect(config, live)
}

/// Removes the bridge and puts the forwarding setting back as it was found.
pub async fn remove(config: &Config) -> Result<()> {
    link::carry_out(&plan::remove(config)).await?;
    match std::fs::remove_dir_all(&config.state_dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("removing the address leases")(e)),
        _ => Ok(()),
    }
}
