//! Whose pods are moved away, and when: one node of a zone at a time, more slowly where many are gone, and none where all are,
//! for then it is more likely that nobody is heard than that nobody is there.
//!
//! All nodes share one key, so that one plan at a time decides. How long ago the last node of a zone lost its pods, its taint says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Key, Plan, View};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::{NOT_READY, NodeHealth, UNREACHABLE, moves_away, status};

const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";

/// No node has a namespace.
pub(super) fn key() -> Key {
    Key::new("zones", "")
}

/// Whether a change of a node changes what is to be done about its zone.
pub(super) fn concerned(before: &Option<Arc<Node>>, after: &Option<Arc<Node>>) -> bool {
    let shape = |node: &Option<Arc<Node>>| {
        node.as_ref().map(|node| {
            let taints: Vec<Taint> = away(node).cloned().collect();
            (is_ready(node), is_told(node).map(str::to_owned), zone(node), taints)
        })
    };
    shape(before) != shape(after)
}

#[derive(Default)]
struct Zone {
    ready: usize,
    unready: usize,
    /// Nodes whose pods are not being moved yet, and the taint that does it.
    waiting: Vec<(Arc<Node>, &'static str)>,
    last: Option<Timestamp>,
}

pub(super) fn plan(view: &View, health: &NodeHealth, now: Timestamp, plan: &mut Plan) {
    let nodes = view.of::<Node>().list();
    let Some(since) = nodes.iter().filter(|node| is_ready(node)).filter_map(|node| ready_since(node)).min() else {
        // Nobody is heard: what was decided of single nodes may have been wrong.
        return nodes.iter().filter(|node| away(node).next().is_some()).for_each(|node| keep(node, plan));
    };
    let mut zones: BTreeMap<(String, String), Zone> = BTreeMap::new();
    for node in nodes {
        let zone = zones.entry(zone(&node)).or_default();
        match is_ready(&node) {
            true => zone.ready += 1,
            false => zone.unready += 1,
        }
        zone.last = zone.last.max(away(&node).filter_map(|taint| Some(taint.time_added.as_ref()?.0)).max());
        let wanted = match is_told(&node) {
            Some("False") => NOT_READY,
            Some("Unknown") => UNREACHABLE,
            _ => continue,
        };
        if node.metadata.deletion_timestamp.is_none() && away(&node).next().is_none() {
            zone.waiting.push((node, wanted));
        }
    }
    // After a time when nobody was heard everybody has a while to be heard again.
    let heard = since.saturating_add(health.grace()).unwrap_or(Timestamp::MAX);
    for zone in zones.values_mut().filter(|zone| !zone.waiting.is_empty()) {
        let Some(interval) = health.interval(zone.ready, zone.unready) else { continue };
        let after = |last: Timestamp| last.saturating_add(interval).unwrap_or(Timestamp::MAX);
        let next = zone.last.map_or(heard, |last| heard.max(after(last)));
        let left = next.duration_since(now);
        if left > SignedDuration::ZERO {
            plan.again(Duration::try_from(left).unwrap_or_default());
            continue;
        }
        zone.waiting.sort_by_key(|(node, _)| (unready_since(node), node.metadata.name.clone()));
        let (node, key) = &zone.waiting[0];
        move_away(node, key, now, plan);
        if zone.waiting.len() > 1 {
            plan.again(Duration::try_from(interval).unwrap_or_default());
        }
    }
}

fn zone(node: &Node) -> (String, String) {
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned();
    (label(REGION).unwrap_or_default(), label(ZONE).unwrap_or_default())
}

fn is_told(node: &Node) -> Option<&str> {
    status(node.status.as_ref()?.conditions.as_deref().unwrap_or_default(), "Ready")
}

fn is_ready(node: &Node) -> bool {
    is_told(node) == Some("True")
}

fn changed(node: &Node) -> Option<Timestamp> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

/// One that does not say since when was ready always.
fn ready_since(node: &Node) -> Option<Timestamp> {
    Some(changed(node).unwrap_or(Timestamp::MIN))
}

fn unready_since(node: &Node) -> Option<Timestamp> {
    changed(node)
}

fn away(node: &Node) -> impl Iterator<Item = &Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| moves_away(taint))
}

fn move_away(node: &Node, key: &str, now: Timestamp, plan: &mut Plan) {
    let mut taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    taints.push(Taint {
        key: key.to_owned(),
        effect: "NoExecute".to_owned(),
        value: None,
        time_added: Some(Time(now)),
    });
    write(node, taints, plan);
}

fn keep(node: &Node, plan: &mut Plan) {
    let mut taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    taints.retain(|taint| !moves_away(taint));
    write(node, taints, plan);
}

/// Only onto the taints that were seen.
fn write(node: &Node, taints: Vec<Taint>, plan: &mut Plan) {
    let version = &node.metadata.resource_version;
    plan.patch(node, None, json!({"metadata": {"resourceVersion": version}, "spec": {"taints": taints}}));
}
