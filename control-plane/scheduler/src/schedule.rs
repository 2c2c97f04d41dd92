//! Where a pod goes: a pure function of the cluster, the pod and a seed for ties.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;

use crate::plugins::{ALL, BEST, Judge, Plugin, Reject};
use crate::preempt;
use crate::snapshot::{NodeInfo, Snapshot, priority, uid};

/// The decision about one pod.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Placement {
    Node(String),
    Nowhere(Nowhere),
}

/// No node takes the pod now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Nowhere {
    /// What the user is told, in upstream's words.
    pub message: String,
    /// The plugins that refused nodes: what helps them may help the pod.
    pub refused_by: BTreeSet<&'static str>,
    /// Pods that could make room by ending, and where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preempt: Option<Preemption>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preemption {
    pub node: String,
    #[serde(serialize_with = "names")]
    pub victims: Vec<Arc<Pod>>,
}

/// A plugin that has something to say about the pod, and its view.
pub(crate) struct Sitting<'a> {
    plugin: &'static dyn Plugin,
    judge: Box<dyn Judge + 'a>,
}

/// Nodes that do not do, with the plugin that said so.
pub(crate) type Rejects = BTreeMap<String, (Reject, &'static str)>;

pub fn schedule(snapshot: &Snapshot, pod: &Pod, seed: u64) -> Placement {
    let snapshot = with_nominated(snapshot, pod);
    let snapshot = snapshot.as_ref();
    let judges = begin(snapshot, pod);
    let (mut fit, mut rejects): (Vec<&Arc<NodeInfo>>, Rejects) = Default::default();
    for node in snapshot.nodes() {
        match filter(&judges, node) {
            Ok(()) => fit.push(node),
            Err(reject) => drop(rejects.insert(node.name.clone(), reject)),
        }
    }
    match fit[..] {
        [] => Placement::Nowhere(nowhere(snapshot, pod, rejects)),
        [only] => Placement::Node(only.name.clone()),
        _ => Placement::Node(best(&judges, &fit, seed)),
    }
}

pub(crate) fn begin<'a>(snapshot: &'a Snapshot, pod: &'a Pod) -> Vec<Sitting<'a>> {
    let begin = |plugin: &&'static dyn Plugin| Some(Sitting { plugin: *plugin, judge: plugin.begin(snapshot, pod)? });
    ALL.iter().filter_map(begin).collect()
}

pub(crate) fn filter(judges: &[Sitting], node: &NodeInfo) -> Result<(), (Reject, &'static str)> {
    judges.iter().try_for_each(|s| s.judge.filter(node).map_err(|reject| (reject, s.plugin.name())))
}

/// Room that is being made for a pod of at least the same priority is not given away.
fn with_nominated<'a>(snapshot: &'a Snapshot, pod: &Pod) -> Cow<'a, Snapshot> {
    if snapshot.nominated.is_empty() {
        return Cow::Borrowed(snapshot);
    }
    let mut snapshot = snapshot.clone();
    let others: Vec<_> = snapshot.nominated.iter().filter(|(id, _)| *id != uid(pod)).map(|(_, n)| n.clone()).collect();
    for (other, node) in others {
        if priority(&other) >= priority(pod) && snapshot.get(&node).is_some() {
            snapshot.add_pod(&node, other);
        }
    }
    Cow::Owned(snapshot)
}

fn best(judges: &[Sitting], fit: &[&Arc<NodeInfo>], seed: u64) -> String {
    let mut totals = vec![0i64; fit.len()];
    for sitting in judges {
        let scores: Option<Vec<i64>> = fit.iter().map(|node| sitting.judge.score(node)).collect();
        let Some(mut scores) = scores else { continue };
        sitting.judge.normalize(&mut scores);
        for (total, score) in totals.iter_mut().zip(scores) {
            *total += score.clamp(0, BEST) * sitting.plugin.weight();
        }
    }
    let most = totals.iter().copied().max().unwrap_or(0);
    let tied: Vec<_> = fit.iter().zip(&totals).filter(|(_, total)| **total == most).map(|(node, _)| node).collect();
    let chosen = seed % tied.len().max(1) as u64;
    tied.get(chosen as usize).map(|node| node.name.clone()).unwrap_or_default()
}

fn nowhere(snapshot: &Snapshot, pod: &Pod, rejects: Rejects) -> Nowhere {
    let refused_by = rejects.values().map(|(_, plugin)| *plugin).collect();
    let all = snapshot.nodes().count();
    if all == 0 {
        let message = "no nodes available to schedule pods".to_owned();
        return Nowhere { message, refused_by, preempt: None };
    }
    let reasons = rejects.values().flat_map(|(reject, _)| reject.reasons.iter().map(String::as_str));
    let mut message = format!("{}.", unavailable(all, reasons));
    let preempt = match preempt::find(snapshot, pod, &rejects) {
        Ok(preemption) => Some(preemption),
        Err(why) => {
            message.push_str(&format!(" preemption: {why}"));
            None
        }
    };
    Nowhere { message, refused_by, preempt }
}

/// "0/3 nodes are available: 1 Insufficient cpu, 2 Too many pods"
pub(crate) fn unavailable<'a>(all: usize, reasons: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    reasons.for_each(|reason| *counts.entry(reason).or_default() += 1);
    let mut parts: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort();
    format!("0/{all} nodes are available: {}", parts.join(", "))
}

fn names<S: serde::Serializer>(pods: &[Arc<Pod>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(pods.iter().map(|pod| pod.metadata.name.as_deref().unwrap_or_default()))
}
