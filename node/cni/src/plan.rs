//! Which link operations connect and disconnect a pod. Pure.

use crate::{Config, POD_LINK};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// One operation on the kernel's network state. Each is idempotent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkOp {
    /// The node forwards packets. The value found is kept in the file, for [`LinkOp::RestoreForwarding`].
    Forward {
        saved: PathBuf,
    },
    RestoreForwarding {
        saved: PathBuf,
    },
    Bridge {
        name: String,
        address: IpAddr,
        prefix: u8,
        mtu: u32,
    },
    /// A pair of links: one on the bridge, the other named [`POD_LINK`] in the namespace.
    Pair {
        host: String,
        bridge: String,
        netns: PathBuf,
        mtu: u32,
    },
    /// Inside the namespace: the loopback up, the address in its prefix, and a default route by the gateway.
    Address {
        netns: PathBuf,
        address: IpAddr,
        prefix: u8,
        gateway: IpAddr,
    },
    /// The operations inside a namespace.
    Within {
        netns: PathBuf,
        ops: Vec<LinkOp>,
    },
    /// A bridge without an address.
    Switch {
        name: String,
        mtu: u32,
    },
    /// A pair of links: `link` here, `port` in the namespace.
    Trunk {
        link: String,
        port: String,
        netns: PathBuf,
        mtu: u32,
    },
    /// The port hangs on the bridge, and is up.
    Attach {
        port: String,
        bridge: String,
    },
    /// The link has the address, and is up.
    Own {
        link: String,
        address: IpAddr,
        prefix: u8,
    },
    Set {
        link: String,
        up: bool,
    },
    Delete {
        link: String,
    },
    Exists {
        link: String,
    },
    HasAddress {
        netns: PathBuf,
        address: IpAddr,
    },
}

/// The host's side of a pod's pair. At most 15 characters, the kernel's limit.
pub fn host_link_name(container_id: &str) -> String {
    // FNV-1a: a name, not a secret; ids of containers are random already.
    let hash =
        container_id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    format!("wv{:012x}", hash & 0xffff_ffff_ffff)
}

/// The bridge's address: the first of the range.
pub fn gateway(config: &Config) -> IpAddr {
    config.pod_cidr.hosts().next().unwrap_or_else(|| config.pod_cidr.network())
}

fn saved(config: &Config) -> PathBuf {
    config.state_dir.join("ip_forward.before")
}

pub fn prepare(config: &Config) -> Vec<LinkOp> {
    let bridge = LinkOp::Bridge {
        name: config.bridge.clone(),
        address: gateway(config),
        prefix: config.pod_cidr.prefix_len(),
        mtu: config.mtu,
    };
    vec![LinkOp::Forward { saved: saved(config) }, bridge]
}

pub fn add(config: &Config, container_id: &str, netns: &Path, address: IpAddr) -> Vec<LinkOp> {
    let (gateway, netns) = (gateway(config), netns.to_path_buf());
    let mut ops = prepare(config);
    ops.push(LinkOp::Pair {
        host: host_link_name(container_id),
        bridge: config.bridge.clone(),
        netns: netns.clone(),
        mtu: config.mtu,
    });
    let alone = if address.is_ipv4() { 32 } else { 128 };
    ops.push(LinkOp::Address { netns, address, prefix: alone, gateway });
    ops
}

/// The pair goes as a whole when its host side does, and the pod's address and routes with it.
pub fn del(container_id: &str) -> Vec<LinkOp> {
    vec![LinkOp::Delete { link: host_link_name(container_id) }]
}

pub fn check(container_id: &str, netns: &Path, address: IpAddr) -> Vec<LinkOp> {
    vec![
        LinkOp::Exists { link: host_link_name(container_id) },
        LinkOp::HasAddress { netns: netns.to_path_buf(), address },
    ]
}

pub fn remove(config: &Config) -> Vec<LinkOp> {
    vec![LinkOp::Delete { link: config.bridge.clone() }, LinkOp::RestoreForwarding { saved: saved(config) }]
}

const _: () = assert!(POD_LINK.len() < 16);

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn config() -> Config {
        Config {
            bridge: "wherry0".into(),
            pod_cidr: "10.244.3.0/24".parse().expect("a network"),
            state_dir: "/state".into(),
            mtu: 1500,
        }
    }

    #[test]
    fn a_pod_is_routed_by_the_bridge() {
        let ops = add(&config(), "c1", Path::new("/ns/c1"), "10.244.3.7".parse().expect("an address"));
        expect![[r#"
            [
                Forward {
                    saved: "/state/ip_forward.before",
                },
                Bridge {
                    name: "wherry0",
                    address: 10.244.3.1,
                    prefix: 24,
                    mtu: 1500,
                },
                Pair {
                    host: "wv7f07b54a6859",
                    bridge: "wherry0",
                    netns: "/ns/c1",
                    mtu: 1500,
                },
                Address {
                    netns: "/ns/c1",
                    address: 10.244.3.7,
                    prefix: 32,
                    gateway: 10.244.3.1,
                },
            ]
        "#]]
        .assert_debug_eq(&ops);
    }

    #[test]
    fn names_fit_the_kernel() {
        for id in ["", "a", &"f".repeat(64)] {
            assert!(host_link_name(id).len() <= 15);
        }
    }
}
