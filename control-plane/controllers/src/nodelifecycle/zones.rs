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

use super::{GRACE, NOT_READY, UNREACHABLE, moves_away, status};

/// Between two nodes of a zone: upstream's 0.1 nodes a second.
const INTERVAL: SignedDuration = SignedDuration::from_secs(10);
/// The same in a large zone of which much is gone: 0.01 a second.
const SLOW_INTERVAL: SignedDuration = SignedDuration::from_secs(100);
/// In a smaller zone of which much is gone no pods are moved: there would be no room for them.
const LARGE: usize = 50;
/// Much is gone: at least this share of a zone, in hundredths, and more nodes than may fail by chance.
const MUCH: usize = 55;
const BY_CHANCE: usize = 2;
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

impl Zone {
    /// How long is waited between two nodes; none where no pods are moved.
    fn interval(&self) -> Option<SignedDuration> {
        let all = self.ready + self.unready;
        let much = self.unready > BY_CHANCE && self.unready * 100 >= all * MUCH;
        match (self.ready > 0 && much, all > LARGE) {
            (false, _) => Some(INTERVAL),
            (true, true) => Some(SLOW_INTERVAL),
            (true, false) => None,
        }
    }
}

pub(super) fn plan(view: &View, now: Timestamp, plan: &mut Plan) {
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
    let heard = since + GRACE;
    for zone in zones.values_mut().filter(|zone| !zone.waiting.is_empty()) {
        let Some(interval) = zone.interval() else { continue };
        let next = zone.last.map_or(heard, |last| heard.max(last + interval));
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
    Some(changed(node).unwrap_or(Timestamp::MIN + GRACE))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_is_gone_the_slower_pods_are_moved() {
        // ready, unready => seconds between two nodes
        let cases = [
            (2, 1, Some(10)),
            (1, 2, Some(10)),
            (2, 3, None),
            (3, 3, Some(10)),
            (23, 28, Some(10)),
            (22, 28, None),
            (22, 29, Some(100)),
            // A whole zone: its pods go where there is one that is well.
            (0, 3, Some(10)),
        ];
        for (ready, unready, seconds) in cases {
            let zone = Zone { ready, unready, ..Zone::default() };
            assert_eq!(zone.interval().map(|interval| interval.as_secs()), seconds, "{ready} and {unready}");
        }
    }
}
