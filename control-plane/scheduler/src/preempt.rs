//! Which pods of lower priority would have to end so that a pod finds room.
//!
//! PodDisruptionBudgets are not looked at: upstream breaks them too where it must.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use crate::schedule::{Preemption, Rejects, begin, filter, unavailable};
use crate::snapshot::{NodeInfo, Snapshot, priority, uid};

/// Nodes that are tried: each means filtering the pod some times over.
const CANDIDATES: usize = 100;

/// The node where the least is lost; or why there is none.
pub(crate) fn find(snapshot: &Snapshot, pod: &Pod, rejects: &Rejects) -> Result<Preemption, String> {
    let spec = pod.spec.as_ref();
    if spec.and_then(|spec| spec.preemption_policy.as_deref()) == Some("Never") {
        return Err("not eligible due to preemptionPolicy=Never.".to_owned());
    }
    if waits_for_victims(snapshot, pod) {
        return Err("not eligible due to a terminating pod on the nominated node.".to_owned());
    }
    let helped = rejects.iter().filter(|(_, (reject, _))| reject.preemption_helps);
    let candidates: Vec<_> = helped.filter_map(|(name, _)| snapshot.get(name)).take(CANDIDATES).collect();
    let found: Vec<_> = candidates.iter().filter_map(|node| victims(snapshot, pod, node)).collect();
    let all = snapshot.nodes().count();
    found.into_iter().min_by_key(loss).ok_or_else(|| {
        let none = "No preemption victims found for incoming pod";
        let useless = "Preemption is not helpful for scheduling";
        let reasons =
            std::iter::repeat_n(none, candidates.len()).chain(std::iter::repeat_n(useless, all - candidates.len()));
        format!("{}.", unavailable(all, reasons))
    })
}

/// The pod made room before and its victims have not ended yet.
fn waits_for_victims(snapshot: &Snapshot, pod: &Pod) -> bool {
    let nominated = pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
    nominated.and_then(|name| snapshot.get(name)).is_some_and(|node| {
        node.pods.iter().any(|other| other.metadata.deletion_timestamp.is_some() && priority(other) < priority(pod))
    })
}

/// The fewest pods of the node that must go, the least important first; none if even all of them do not suffice.
fn victims(snapshot: &Snapshot, pod: &Pod, node: &Arc<NodeInfo>) -> Option<Preemption> {
    let mut lower: Vec<_> = node.pods.iter().filter(|other| priority(other) < priority(pod)).cloned().collect();
    if lower.is_empty() {
        return None;
    }
    let fits = |gone: &[Arc<Pod>]| {
        let mut without = snapshot.clone();
        gone.iter().for_each(|victim| without.remove_pod(&node.name, uid(victim)));
        without.get(&node.name).is_some_and(|node| filter(&begin(&without, pod), node).is_ok())
    };
    if !fits(&lower) {
        return None;
    }
    // The most important is spared first, and of equals the one that runs longest.
    lower.sort_by_key(|pod| (std::cmp::Reverse(priority(pod)), started(pod)));
    let mut at = 0;
    while at < lower.len() {
        let spared = lower.remove(at);
        if !fits(&lower) {
            lower.insert(at, spared);
            at += 1;
        }
    }
    Some(Preemption { node: node.name.clone(), victims: lower })
}

fn started(pod: &Pod) -> Option<jiff::Timestamp> {
    pod.status.as_ref()?.start_time.as_ref().map(|time| time.0)
}

/// Smaller is better: least important victims, then less importance in sum, then fewer, then younger ones.
fn loss(preemption: &Preemption) -> (i32, i64, usize, std::cmp::Reverse<Option<jiff::Timestamp>>, String) {
    let victims = &preemption.victims;
    let highest = victims.iter().map(|pod| priority(pod)).max().unwrap_or(i32::MIN);
    let sum = victims.iter().map(|pod| i64::from(priority(pod)) - i64::from(i32::MIN)).sum();
    let oldest = victims.iter().filter(|pod| priority(pod) == highest).filter_map(|pod| started(pod)).min();
    (highest, sum, victims.len(), std::cmp::Reverse(oldest), preemption.node.clone())
}
