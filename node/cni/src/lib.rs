//! The network of a pod: a pure plan of link operations, address management, and the netlink calls that carry them out.
//!
//! A library for the runtime shim and, under the names that the CNI specification gives, an executable.

use std::net::IpAddr;
use std::path::PathBuf;

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
