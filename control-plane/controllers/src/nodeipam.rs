//! Gives every node a range of its own for its pods, out of the cluster's range.
//!
//! All nodes share one key, so ranges are given out by one plan at a time.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use client::plan::Severity;
use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use k8s_openapi::api::core::v1::Node;
use serde_json::json;

/// Upstream's sizes of a node's range.
const PREFIX_V4: u8 = 24;
const PREFIX_V6: u8 = 64;

pub(crate) struct NodeRanges {
    pub(crate) cluster: Option<String>,
    pub(crate) prefix: Option<u8>,
}

impl Controller for NodeRanges {
    fn name(&self) -> &'static str {
        "node-ipam-controller"
    }

    fn identity(&self) -> &'static str {
        "node-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.mapped::<Node>(|_, change| match &change.after {
            Some(node) if range(node).is_none() => vec![Key::new("", "nodes")],
            _ => vec![],
        });
    }

    fn plan(&self, view: &View, _: &Key, _: Moment) -> Decision {
        let mut plan = Plan::done();
        let Some(cluster) = self.cluster.as_deref().and_then(parse) else { return plan.into() };
        let prefix = self.prefix.unwrap_or(if cluster.0.is_ipv4() { PREFIX_V4 } else { PREFIX_V6 });
        let nodes = view.of::<Node>().list();
        let mut taken: HashSet<String> = nodes.iter().filter_map(|node| range(node)).collect();
        let mut free = ranges(cluster, prefix);
        for node in nodes.iter().filter(|node| range(node).is_none() && node.metadata.deletion_timestamp.is_none()) {
            match free.find(|range| !taken.contains(range)) {
                Some(range) => {
                    let version = &node.metadata.resource_version;
                    let spec = json!({"podCIDR": range, "podCIDRs": [range]});
                    plan.patch(node.as_ref(), None, json!({"metadata": {"resourceVersion": version}, "spec": spec}));
                    taken.insert(range);
                }
                None => {
                    let message = format!(
                        "Node {} status is now: CIDRNotAvailable",
                        node.metadata.name.as_deref().unwrap_or_default()
                    );
                    plan.event(node.as_ref(), Severity::Normal, "CIDRNotAvailable", message);
                }
            }
        }
        plan.into()
    }
}

fn range(node: &Node) -> Option<String> {
    node.spec.as_ref()?.pod_cidr.clone().filter(|range| !range.is_empty())
}

fn parse(range: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = range.split_once('/')?;
    let (address, prefix): (IpAddr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
    (prefix <= bits(&address)).then_some((address, prefix))
}

fn bits(address: &IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Every range of the given prefix length within the cluster's, in order.
fn ranges((address, cluster): (IpAddr, u8), prefix: u8) -> impl Iterator<Item = String> {
    let bits = bits(&address);
    let prefix = prefix.clamp(cluster, bits);
    let base = match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    };
    let size = u32::from(bits - prefix);
    // More than the first 2^32 ranges are never given out.
    let count = 1u64 << u32::from(prefix - cluster).min(32);
    let base = if cluster == 0 { 0 } else { base >> u32::from(bits - cluster) << u32::from(bits - cluster) };
    (0..count).map(move |n| {
        let first = base + u128::from(n).checked_shl(size).unwrap_or(0);
        let address = match address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(first as u32)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(first)),
        };
        format!("{address}/{prefix}")
    })
}
