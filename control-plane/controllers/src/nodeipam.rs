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

/// A range of the cluster that every node gets a part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRange {
    pub cluster: String,
    /// The prefix length of one node's part; 24 or 64 if not said.
    pub prefix: Option<u8>,
}

pub(crate) struct NodeRanges {
    pub(crate) clusters: Vec<NodeRange>,
}

impl Controller for NodeRanges {
    fn name(&self) -> &'static str {
        "node-ipam-controller"
    }

    fn identity(&self) -> &'static str {
        "node-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.mapped::<Node>(|view, change| match &change.after {
            Some(node) if !has_ranges(node) => vec![Key::new("", "nodes")],
            Some(_) => vec![],
            // What a node leaves behind may be what others wait for.
            None if view.of::<Node>().list().iter().any(|node| !has_ranges(node)) => vec![Key::new("", "nodes")],
            None => vec![],
        });
    }

    fn plan(&self, view: &View, _: &Key, _: Moment) -> Decision {
        let mut plan = Plan::done();
        let nodes = view.of::<Node>().list();
        let mut taken: HashSet<String> = nodes.iter().flat_map(|node| ranges_of(node)).collect();
        let mut free: Vec<_> = self.clusters.iter().filter_map(parts).collect();
        if free.is_empty() {
            return plan.into();
        }
        for node in nodes.iter().filter(|node| !has_ranges(node) && node.metadata.deletion_timestamp.is_none()) {
            let given: Option<Vec<String>> =
                free.iter_mut().map(|parts| parts.find(|part| !taken.contains(part))).collect();
            let Some(given) = given else {
                let name = node.metadata.name.as_deref().unwrap_or_default();
                let message = format!("Node {name} status is now: CIDRNotAvailable");
                plan.event(node.as_ref(), Severity::Normal, "CIDRNotAvailable", message);
                continue;
            };
            let version = &node.metadata.resource_version;
            let spec = json!({"podCIDR": given[0], "podCIDRs": given});
            plan.patch(node.as_ref(), None, json!({"metadata": {"resourceVersion": version}, "spec": spec}));
            taken.extend(given);
        }
        plan.into()
    }
}

fn has_ranges(node: &Node) -> bool {
    ranges_of(node).next().is_some()
}

fn ranges_of(node: &Node) -> impl Iterator<Item = String> {
    let spec = node.spec.as_ref();
    let all = spec.and_then(|spec| spec.pod_cidrs.clone()).unwrap_or_default();
    let first = spec.and_then(|spec| spec.pod_cidr.clone());
    all.into_iter().chain(first).filter(|range| !range.is_empty())
}

/// The parts of a cluster's range, in order.
fn parts(range: &NodeRange) -> Option<impl Iterator<Item = String> + use<>> {
    let cluster = parse(&range.cluster)?;
    let prefix = range.prefix.unwrap_or(if cluster.0.is_ipv4() { PREFIX_V4 } else { PREFIX_V6 });
    Some(ranges(cluster, prefix))
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
fn ranges((address, cluster): (IpAddr, u8), prefix: u8) -> impl Iterator<Item = String> + use<> {
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
