//! Pods of a kind spread evenly over zones, nodes or whatever label divides the cluster.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Pod, TopologySpreadConstraint};

use super::{BEST, Judge, Plugin, Reject, matches_affinity, tolerates};
use crate::queue::Happening;
use crate::selectors;
use crate::snapshot::{NodeInfo, Snapshot};

pub(super) struct PodTopologySpread;

struct Spread<'a> {
    hard: Vec<Counted<'a>>,
    soft: Vec<Counted<'a>>,
}

/// A constraint with the pods it counts, by domain.
struct Counted<'a> {
    constraint: &'a TopologySpreadConstraint,
    domains: HashMap<String, i64>,
    /// Whether the pod itself is among those it counts.
    own: i64,
}

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn helped_by(&self) -> &'static [Happening] {
        &[Happening::NodeAdded, Happening::NodeRelabelled, Happening::PodLeft, Happening::PodCame]
    }

    fn weight(&self) -> i64 {
        2
    }

    fn begin<'a>(&self, snapshot: &'a Snapshot, pod: &'a Pod) -> Option<Box<dyn Judge + 'a>> {
        let constraints = pod.spec.as_ref()?.topology_spread_constraints.as_ref().filter(|all| !all.is_empty())?;
        let of = |when: &str| -> Vec<&'a TopologySpreadConstraint> {
            constraints.iter().filter(|constraint| constraint.when_unsatisfiable == when).collect()
        };
        let count = |all: Vec<&'a TopologySpreadConstraint>| {
            all.iter().map(|constraint| count(snapshot, pod, constraint, &all)).collect()
        };
        Some(Box::new(Spread { hard: count(of("DoNotSchedule")), soft: count(of("ScheduleAnyway")) }))
    }
}

impl Judge for Spread<'_> {
    fn filter(&self, node: &NodeInfo) -> Result<(), Reject> {
        for counted in &self.hard {
            let Some(domain) = node.label(&counted.constraint.topology_key) else {
                let reason = "node(s) didn't match pod topology spread constraints (missing required label)";
                return Reject::firmly(reason);
            };
            let here = counted.domains.get(domain).copied().unwrap_or(0);
            if here + counted.own - counted.fewest() > i64::from(counted.constraint.max_skew) {
                return Reject::for_now("node(s) didn't match pod topology spread constraints");
            }
        }
        Ok(())
    }

    /// The number of like pods in the node's domains, counted the less the more domains there are.
    fn score(&self, node: &NodeInfo) -> Option<i64> {
        if self.soft.is_empty() {
            return None;
        }
        let part = |counted: &Counted| {
            let here = node.label(&counted.constraint.topology_key).and_then(|domain| counted.domains.get(domain));
            let weight = ((counted.domains.len() + 2) as f64).ln();
            here.map_or(0.0, |here| *here as f64 * weight + f64::from(counted.constraint.max_skew - 1))
        };
        Some(self.soft.iter().map(part).sum::<f64>().round() as i64)
    }

    fn normalize(&self, scores: &mut [i64]) {
        let (fewest, most) = (scores.iter().copied().min().unwrap_or(0), scores.iter().copied().max().unwrap_or(0));
        for score in scores {
            *score = if most == 0 { BEST } else { BEST * (most + fewest - *score) / most };
        }
    }
}

impl Counted<'_> {
    fn fewest(&self) -> i64 {
        let wanted = self.constraint.min_domains.unwrap_or(1);
        if (self.domains.len() as i64) < i64::from(wanted) {
            return 0;
        }
        self.domains.values().copied().min().unwrap_or(0)
    }
}

fn count<'a>(
    snapshot: &Snapshot,
    pod: &Pod,
    constraint: &'a TopologySpreadConstraint,
    together: &[&TopologySpreadConstraint],
) -> Counted<'a> {
    let mut domains = HashMap::new();
    for node in snapshot.nodes().filter(|node| counts(pod, constraint, node)) {
        // A node that lacks the label of another constraint would never be chosen.
        if together.iter().any(|other| node.label(&other.topology_key).is_none()) {
            continue;
        }
        let Some(domain) = node.label(&constraint.topology_key) else { continue };
        let alike = |other: &&std::sync::Arc<Pod>| {
            other.metadata.namespace == pod.metadata.namespace
                && other.metadata.deletion_timestamp.is_none()
                && chooses(constraint, pod, other)
        };
        *domains.entry(domain.to_owned()).or_default() += node.pods.iter().filter(alike).count() as i64;
    }
    Counted { constraint, domains, own: i64::from(chooses(constraint, pod, pod)) }
}

fn chooses(constraint: &TopologySpreadConstraint, pod: &Pod, other: &Pod) -> bool {
    let label = |pod: &Pod, key: &String| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned();
    let mut keys = constraint.match_label_keys.iter().flatten();
    selectors::matches(constraint.label_selector.as_ref(), other.metadata.labels.as_ref())
        && keys.all(|key| label(pod, key).is_none_or(|value| label(other, key) == Some(value)))
}

/// Whether a node's pods count: by default where the pod's node affinity lets it go, whatever the taints.
fn counts(pod: &Pod, constraint: &TopologySpreadConstraint, info: &NodeInfo) -> bool {
    let Some(node) = &info.node else { return false };
    let honours = |policy: &Option<String>, default: bool| policy.as_ref().map_or(default, |text| text == "Honor");
    let affinity = !honours(&constraint.node_affinity_policy, true) || matches_affinity(pod, node);
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let mut hard = taints.filter(|taint| taint.effect != "PreferNoSchedule");
    affinity && (!honours(&constraint.node_taints_policy, false) || hard.all(|taint| tolerates(pod, taint)))
}
