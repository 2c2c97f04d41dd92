//! The plugins: one file each, and the ordered list of them.
//!
//! A plugin looks at the pod and the cluster once and answers a [`Filter`] (upstream's PreFilter and Filter) and a [`Score`] (PreScore
//! and Score) that then look at single nodes; none where it has nothing to say about this pod. SchedulingGates, PrioritySort,
//! DefaultPreemption and DefaultBinder are the loop, the queue, `preempt` and the loop again: they look at no node.

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

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::profile::Args;
use crate::queue::{Event, Happening};
use crate::snapshot::Snapshot;

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

/// What a plugin looks at once for a pod.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub snapshot: &'a Snapshot,
    pub pod: &'a PodInfo,
    pub args: &'a Args,
}

pub trait Plugin: Sync + fmt::Debug {
    fn name(&self) -> &'static str;

    /// What may let a pod through that this plugin refused.
    fn helped_by(&self) -> &'static [Happening] {
        &[]
    }

    /// Whether what happened may let this very pod through.
    fn hint(&self, _pod: &PodInfo, _event: &Event) -> bool {
        true
    }

    fn filters(&self) -> bool {
        false
    }

    /// How much its score counts; none if it never scores.
    fn weight(&self) -> Option<i64> {
        None
    }

    fn filter<'a>(&self, _cx: Context<'a>) -> Option<Box<dyn Filter + 'a>> {
        None
    }

    /// `fit` are the nodes that will be scored.
    fn score<'a>(&self, _cx: Context<'a>, _fit: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        None
    }
}

pub trait Filter {
    /// The only nodes worth looking at, by name, if that is known at once.
    fn only(&self) -> Option<BTreeSet<&str>> {
        None
    }

    fn check(&self, node: &NodeInfo) -> Result<(), Reject>;

    /// Takes it as if `other` came to the node (1) or left it (-1): for filters that look beyond the node at hand.
    fn shift(&mut self, _node: &NodeInfo, _other: &PodInfo, _by: i32) {}
}

pub trait Score {
    /// How good the node is.
    fn of(&self, node: &NodeInfo) -> i64;

    /// Brings the scores of all nodes into 0 to [`BEST`].
    fn normalize(&self, _scores: &mut [i64]) {}
}

/// Why a node does not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    pub reason: Reason,
    pub more: Vec<Reason>,
    /// Whether the end of other pods could change it.
    pub preemption_helps: bool,
}

/// A reason in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    Plain(&'static str),
    Insufficient(Arc<str>),
    /// In the words of an extender.
    Told(Arc<str>),
    /// The node was not looked at, because this plugin knew the only ones worth it.
    NotAmong(&'static str),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Plain(text) => f.write_str(text),
            Reason::Told(text) => f.write_str(text),
            Reason::Insufficient(resource) => write!(f, "Insufficient {resource}"),
            Reason::NotAmong(plugin) => write!(f, "node(s) didn't satisfy plugin(s) [{plugin}]"),
        }
    }
}

impl Reject {
    /// Only the node or the pod itself could change it.
    pub fn firmly(reason: &'static str) -> Result<(), Reject> {
        Err(Reject { reason: Reason::Plain(reason), more: vec![], preemption_helps: false })
    }

    /// Other pods are in the way.
    pub fn for_now(reason: &'static str) -> Result<(), Reject> {
        Err(Reject { reason: Reason::Plain(reason), more: vec![], preemption_helps: true })
    }

    pub fn reasons(&self) -> impl Iterator<Item = &Reason> {
        std::iter::once(&self.reason).chain(&self.more)
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
