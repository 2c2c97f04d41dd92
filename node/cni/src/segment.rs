//! Several nodes on one machine: a bridge in a network namespace of its own, with a link to the machine and one to each
//! node's namespace. A node is cut off by taking its port down.

use crate::{Error, LinkOp, Result, link};
use ipnet::IpNet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The network that the nodes of one machine share.
#[derive(Debug, Clone)]
pub struct Segment {
    /// The namespace that holds the bridge.
    pub switch: PathBuf,
    /// The machine's own link to it; at most 15 characters.
    pub link: String,
    /// The nodes' addresses; the first is the machine's, and every other node's way out.
    pub network: IpNet,
    pub mtu: u32,
}

const BRIDGE: &str = "nodes";
/// The bridge's port to the machine.
const UPLINK: &str = "uplink";

impl Segment {
    /// The address of the n-th node, counted from 1: the machine itself.
    pub fn address(&self, n: usize) -> Result<IpAddr> {
        let address = n.checked_sub(1).and_then(|before| self.network.hosts().nth(before));
        address.ok_or_else(|| Error::Invalid(format!("{} has no address for node {n}", self.network)))
    }

    /// Connects the machine itself. Idempotent.
    pub async fn open(&self) -> Result<()> {
        link::carry_out(&open(self, self.address(1)?)).await.map(drop)
    }

    /// Connects the namespace of the n-th node. Idempotent.
    pub async fn connect(&self, n: usize, netns: &Path) -> Result<()> {
        link::carry_out(&connect(self, n, netns, self.address(1)?, self.address(n)?)).await.map(drop)
    }

    /// Cuts the n-th node off, or lets it back in.
    pub async fn set(&self, n: usize, up: bool) -> Result<()> {
        let ops = vec![LinkOp::Set { link: port(n), up }];
        link::carry_out(&[LinkOp::Within { netns: self.switch.clone(), ops }]).await.map(drop)
    }

    /// Takes the machine's link away. The rest goes with the namespaces.
    pub async fn close(&self) -> Result<()> {
        link::carry_out(&[LinkOp::Delete { link: self.link.clone() }]).await.map(drop)
    }
}

fn port(n: usize) -> String {
    format!("node{n}")
}

fn open(segment: &Segment, address: IpAddr) -> Vec<LinkOp> {
    let (netns, link, prefix, mtu) =
        (segment.switch.clone(), segment.link.clone(), segment.network.prefix_len(), segment.mtu);
    let attach = LinkOp::Attach { port: UPLINK.into(), bridge: BRIDGE.into() };
    vec![
        LinkOp::Within { netns: netns.clone(), ops: vec![LinkOp::Switch { name: BRIDGE.into(), mtu }] },
        LinkOp::Trunk { link: link.clone(), port: UPLINK.into(), netns: netns.clone(), mtu },
        LinkOp::Within { netns, ops: vec![attach] },
        LinkOp::Own { link, address, prefix },
    ]
}

fn connect(segment: &Segment, n: usize, netns: &Path, gateway: IpAddr, address: IpAddr) -> Vec<LinkOp> {
    let (netns, prefix) = (netns.to_path_buf(), segment.network.prefix_len());
    let pair = LinkOp::Pair { host: port(n), bridge: BRIDGE.into(), netns: netns.clone(), mtu: segment.mtu };
    vec![
        LinkOp::Within { netns: segment.switch.clone(), ops: vec![pair] },
        LinkOp::Address { netns, address, prefix, gateway },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_the_first_node_and_the_way_out_of_the_others() {
        let segment = Segment {
            switch: "/switch".into(),
            link: "whn-1".into(),
            network: "10.224.0.0/30".parse().expect("a network"),
            mtu: 1500,
        };
        let address = |n| segment.address(n).map(|a| a.to_string()).unwrap_or_default();
        assert_eq!([address(0), address(1), address(2), address(3)], ["", "10.224.0.1", "10.224.0.2", ""]);
        let ops = connect(&segment, 2, Path::new("/n"), [10, 224, 0, 1].into(), [10, 224, 0, 2].into());
        assert!(matches!(&ops[0], LinkOp::Within { netns, .. } if netns == Path::new("/switch")), "{ops:?}");
        assert!(matches!(&ops[1], LinkOp::Address { prefix: 30, .. }), "{ops:?}");
    }
}
