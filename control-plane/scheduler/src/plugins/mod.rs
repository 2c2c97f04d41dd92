//! The plugins: one file each, and the ordered list of them.
//!
//! A plugin looks at the pod and the cluster once and answers a [`Filter`] (upstream's PreFilter and Filter) and a [`Score`] (PreScore
//! and Score) that then look at single nodes; none where it has nothing to say about this pod. At the other points it is asked
//! about the pod and the node that was chosen.

mod balanced_allocation;
mod default_binder;
mod default_preemption;
mod image_locality;
mod inter_pod_affinity;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_unschedulable;
mod pod_topology_spread;
mod priority_sort;
mod resources_fit;
mod scheduling_gates;
mod taint_toleration;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::framework::{Binding, Bound, Objection, Permission, WaitingPods};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::preempt::Found;
use crate::profile::Args;
use crate::queue::{Event, Happening};
use crate::refusals::Refusals;
use crate::schedule::Attempt;
use crate::snapshot::Snapshot;

pub use crate::framework::Point;
pub(crate) use priority_sort::PrioritySort;

/// A plugin as profiles hold it: it lives as long as the process.
pub type Registered = &'static dyn Plugin;

/// Every plugin that is there by default, in upstream's order: of those that filter, the cheap ones that rule out most come first.
pub static ALL: &[Registered] = &[
    &scheduling_gates::SchedulingGates,
    &priority_sort::PrioritySort,
    &node_unschedulable::NodeUnschedulable,
    &node_name::NodeName,
    &taint_toleration::TaintToleration,
    &node_affinity::NodeAffinity,
    &node_ports::NodePorts,
    &resources_fit::NodeResourcesFit,
    &pod_topology_spread::PodTopologySpread,
    &inter_pod_affinity::InterPodAffinity,
    &default_preemption::DefaultPreemption,
    &balanced_allocation::NodeResourcesBalancedAllocation,
    &image_locality::ImageLocality,
    &default_binder::DefaultBinder,
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

/// What a plugin says at each of its points; at the others it is never asked.
pub trait Plugin: Sync + fmt::Debug {
    fn name(&self) -> &'static str;

    /// Where it has a say. One that filters or scores without a step before leaves out PreFilter or PreScore.
    fn points(&self) -> &'static [Point];

    /// What may let a pod through that this plugin refused.
    fn helped_by(&self) -> &'static [Happening] {
        Happening::ALL
    }

    /// Whether what happened may let this very pod through.
    fn hint(&self, _pod: &PodInfo, _event: &Event) -> bool {
        true
    }

    /// PreEnqueue: why the pod is not to be tried yet, if so.
    fn pre_enqueue(&self, _pod: &PodInfo) -> Result<(), String> {
        Ok(())
    }

    /// QueueSort: pods of a smaller rank are tried first, and of equals who came first.
    fn rank(&self, _pod: &PodInfo) -> i64 {
        0
    }

    /// PreFilter: how single nodes are to be looked at; none if every node does.
    fn filter<'a>(&self, _cx: Context<'a>) -> Option<Box<dyn Filter + 'a>> {
        None
    }

    /// PostFilter: what would make room where no node does.
    fn post_filter(&self, _attempt: &mut Attempt, _refusals: &Refusals, _seed: u64) -> Found {
        Found::Skipped
    }

    /// How much its score counts by default.
    fn weight(&self) -> i64 {
        1
    }

    /// PreScore: how single nodes are to be scored; none if all are as good as each other. `fit` are the nodes that will be scored.
    fn score<'a>(&self, _cx: Context<'a>, _fit: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        None
    }

    /// Reserve: takes what the pod needs there beyond what the snapshot counts.
    ///
    /// # Errors
    /// It is not to be had: every plugin's `unreserve` follows, in reverse order, this one's included.
    fn reserve(&self, _pod: &PodInfo, _node: &str) -> Result<(), Objection> {
        Ok(())
    }

    /// Gives back what `reserve` took, if it did.
    fn unreserve(&self, _pod: &PodInfo, _node: &str) {}

    /// Permit: whether the pod may go there, at once or later.
    ///
    /// # Errors
    /// It may not.
    fn permit(&self, _pod: &PodInfo, _node: &str, _waiting: &WaitingPods) -> Result<Permission, Objection> {
        Ok(Permission::Granted)
    }

    /// PreBind: does what has to be done before the pod is bound.
    fn pre_bind<'a>(&'a self, _binding: Binding<'a>) -> BoxFuture<'a, Result<(), Objection>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Bind: binds the pod, or leaves it to the next plugin.
    fn bind<'a>(&'a self, _binding: Binding<'a>) -> BoxFuture<'a, Result<Bound, Objection>> {
        Box::pin(std::future::ready(Ok(Bound::Skipped)))
    }

    /// PostBind: hears that the pod is bound.
    fn post_bind(&self, _pod: &PodInfo, _node: &str) {}
}

impl dyn Plugin {
    pub(crate) fn is_at(&self, point: Point) -> bool {
        self.points().contains(&point)
    }
}

pub trait Filter {
    /// The only nodes worth looking at, by name, if that is known at once.
    fn only(&self) -> Option<BTreeSet<&str>> {
        None
    }

    /// Why no node at all can do, if that is known at once.
    fn impossible(&self) -> Option<&'static str> {
        None
    }

    fn check(&self, node: &NodeInfo) -> Result<(), Reject>;

    /// Whether it looks beyond the node at hand, and so has to hear of pods that are taken to come and go.
    fn looks_beyond(&self) -> bool {
        false
    }

    /// Takes it as if `other` came to the node (1) or left it (-1).
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
