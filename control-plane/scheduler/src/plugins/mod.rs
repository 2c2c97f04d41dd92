//! The plugins: one file each, and the ordered list of them.
//!
//! A plugin begins anew for every pod ([`Plugin::begin`], upstream's PreFilter and PreScore); the [`Judge`] it answers then
//! looks at single nodes (Filter and Score). Whatever a judge found out before it keeps in itself.

mod balanced_allocation;
mod image_locality;
mod inter_pod_affinity;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_unschedulable;
mod pod_topology_spread;
mod resources_fit;
mod taint_toleration;

use k8s_openapi::api::core::v1::Pod;

use crate::queue::Happening;
use crate::snapshot::{NodeInfo, Snapshot};

pub use node_affinity::matches as matches_affinity;
pub use taint_toleration::tolerates;

/// Every plugin, in the order they filter: the cheap ones that rule out most come first.
pub static ALL: &[&dyn Plugin] = &[
    &node_unschedulable::NodeUnschedulable,
    &node_name::NodeName,
    &taint_toleration::TaintToleration,
    &node_affinity::NodeAffinity,
    &node_ports::NodePorts,
    &resources_fit::NodeResourcesFit,
    &pod_topology_spread::PodTopologySpread,
    &inter_pod_affinity::InterPodAffinity,
    &balanced_allocation::NodeResourcesBalancedAllocation,
    &image_locality::ImageLocality,
];

/// The largest score of one plugin for one node, before its weight.
pub const BEST: i64 = 100;

pub trait Plugin: Sync {
    fn name(&self) -> &'static str;

    /// What may let a pod through that this plugin refused.
    fn helped_by(&self) -> &'static [Happening] {
        &[]
    }

    /// How much its score counts.
    fn weight(&self) -> i64 {
        1
    }

    /// Looks at the pod and the whole cluster once; none if there is nothing to say about this pod.
    fn begin<'a>(&self, snapshot: &'a Snapshot, pod: &'a Pod) -> Option<Box<dyn Judge + 'a>>;
}

/// A plugin's view of the nodes for one pod.
pub trait Judge {
    fn filter(&self, _node: &NodeInfo) -> Result<(), Reject> {
        Ok(())
    }

    /// How good the node is; none if this plugin has no preference at all.
    fn score(&self, _node: &NodeInfo) -> Option<i64> {
        None
    }

    /// Brings the scores of all nodes into 0 to [`BEST`].
    fn normalize(&self, _scores: &mut [i64]) {}
}

/// Why a node does not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    pub reasons: Vec<String>,
    /// Whether the end of other pods could change it.
    pub preemption_helps: bool,
}

impl Reject {
    /// Only the node or the pod itself could change it.
    pub fn firmly(reason: impl Into<String>) -> Result<(), Reject> {
        Err(Reject { reasons: vec![reason.into()], preemption_helps: false })
    }

    /// Other pods are in the way.
    pub fn for_now(reason: impl Into<String>) -> Result<(), Reject> {
        Err(Reject { reasons: vec![reason.into()], preemption_helps: true })
    }
}

/// Scales scores so that the largest becomes [`BEST`].
pub fn to_largest(scores: &mut [i64], reverse: bool) {
    let largest = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let scaled = if largest == 0 { 0 } else { *score * BEST / largest };
        *score = if reverse { BEST - scaled } else { scaled };
    }
}

/// Scales scores so that the smallest becomes 0 and the largest [`BEST`].
pub fn to_range(scores: &mut [i64]) {
    let (smallest, largest) = (scores.iter().copied().min().unwrap_or(0), scores.iter().copied().max().unwrap_or(0));
    for score in scores {
        *score = if largest == smallest { 0 } else { (*score - smallest) * BEST / (largest - smallest) };
    }
}
