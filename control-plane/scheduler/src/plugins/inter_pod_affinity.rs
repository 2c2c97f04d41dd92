//! Pods that want to be near other pods, or away from them.

use std::collections::{HashMap, HashSet};

use k8s_openapi::api::core::v1::{Affinity, Pod, PodAffinityTerm, WeightedPodAffinityTerm};

use super::{Judge, Plugin, Reject, to_range};
use crate::queue::Happening;
use crate::selectors;
use crate::snapshot::{NodeInfo, Snapshot};

/// What an existing pod's required affinity to the new one counts in the score, as upstream.
const HARD_WEIGHT: i64 = 1;

pub(super) struct InterPodAffinity;

/// A topology domain: a label of nodes and its value.
type Domain = (String, String);

struct Neighbours<'a> {
    near: Vec<(&'a PodAffinityTerm, HashSet<String>)>,
    /// The pod matches all its own terms and nobody else does: the first of a group that wants to be together.
    first_of_group: bool,
    away: Vec<(&'a PodAffinityTerm, HashSet<String>)>,
    /// Domains that existing pods keep this one out of.
    kept_out: HashSet<Domain>,
    score: HashMap<Domain, i64>,
}

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn helped_by(&self) -> &'static [Happening] {
        &[Happening::NodeAdded, Happening::NodeRelabelled, Happening::PodLeft, Happening::PodCame]
    }

    fn weight(&self) -> i64 {
        2
    }

    fn begin<'a>(&self, snapshot: &'a Snapshot, pod: &'a Pod) -> Option<Box<dyn Judge + 'a>> {
        let own = affinity(pod);
        if own.is_none() && !snapshot.nodes().any(|node| node.pods.iter().any(|pod| affinity(pod).is_some())) {
            return None;
        }
        let near: Vec<_> = near(own).map(|term| (term, occupied(snapshot, pod, term))).collect();
        let away = away(own).map(|term| (term, occupied(snapshot, pod, term))).collect();
        let first_of_group = near.iter().all(|(term, domains)| domains.is_empty() && chosen(snapshot, pod, term, pod));
        let kept_out = kept_out(snapshot, pod);
        let score = score(snapshot, pod);
        Some(Box::new(Neighbours { near, first_of_group, away, kept_out, score }))
    }
}

impl Judge for Neighbours<'_> {
    fn filter(&self, node: &NodeInfo) -> Result<(), Reject> {
        for (term, domains) in &self.near {
            let Some(domain) = node.label(&term.topology_key) else {
                return Reject::firmly("node(s) didn't match pod affinity rules");
            };
            if !domains.contains(domain) && !self.first_of_group {
                return Reject::firmly("node(s) didn't match pod affinity rules");
            }
        }
        let meets = |(term, domains): &(&PodAffinityTerm, HashSet<String>)| {
            node.label(&term.topology_key).is_some_and(|domain| domains.contains(domain))
        };
        if self.away.iter().any(meets) {
            return Reject::for_now("node(s) didn't match pod anti-affinity rules");
        }
        if self.kept_out.iter().any(|(key, value)| node.label(key) == Some(value)) {
            return Reject::for_now("node(s) didn't satisfy existing pods anti-affinity rules");
        }
        Ok(())
    }

    fn score(&self, node: &NodeInfo) -> Option<i64> {
        if self.score.is_empty() {
            return None;
        }
        Some(self.score.iter().filter(|((key, value), _)| node.label(key) == Some(value)).map(|(_, score)| score).sum())
    }

    fn normalize(&self, scores: &mut [i64]) {
        to_range(scores);
    }
}

fn affinity(pod: &Pod) -> Option<&Affinity> {
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?;
    (affinity.pod_affinity.is_some() || affinity.pod_anti_affinity.is_some()).then_some(affinity)
}

fn near(affinity: Option<&Affinity>) -> impl Iterator<Item = &PodAffinityTerm> {
    let terms = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
    terms.into_iter().flat_map(|terms| terms.required_during_scheduling_ignored_during_execution.iter().flatten())
}

fn away(affinity: Option<&Affinity>) -> impl Iterator<Item = &PodAffinityTerm> {
    let terms = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    terms.into_iter().flat_map(|terms| terms.required_during_scheduling_ignored_during_execution.iter().flatten())
}

/// Preferred terms with their weight, negative for those to be away from.
fn preferred(affinity: Option<&Affinity>) -> Vec<(&PodAffinityTerm, i64)> {
    let weighted = |sign: i64| move |t: &'_ WeightedPodAffinityTerm| sign * i64::from(t.weight);
    let near = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
    let near = near.into_iter().flat_map(|t| t.preferred_during_scheduling_ignored_during_execution.iter().flatten());
    let away = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let away = away.into_iter().flat_map(|t| t.preferred_during_scheduling_ignored_during_execution.iter().flatten());
    let near = near.map(|term| (&term.pod_affinity_term, weighted(1)(term)));
    near.chain(away.map(|term| (&term.pod_affinity_term, weighted(-1)(term)))).collect()
}

/// Whether `owner`'s term chooses `other`.
fn chosen(snapshot: &Snapshot, owner: &Pod, term: &PodAffinityTerm, other: &Pod) -> bool {
    let namespace = other.metadata.namespace.as_deref().unwrap_or_default();
    let own = owner.metadata.namespace.as_deref().unwrap_or_default();
    let named = term.namespaces.as_deref().unwrap_or_default();
    let by_label = term.namespace_selector.as_ref();
    let in_namespace = match (named.is_empty(), by_label) {
        (true, None) => namespace == own,
        (_, selector) => {
            named.iter().any(|name| name == namespace)
                || selector.is_some() && selectors::matches(selector, snapshot.namespaces.get(namespace))
        }
    };
    let label = |pod: &Pod, key: &str| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned();
    let same = |key: &String| label(owner, key).is_none_or(|value| label(other, key) == Some(value));
    let other_than = |key: &String| label(owner, key).is_none_or(|value| label(other, key) != Some(value));
    in_namespace
        && selectors::matches(term.label_selector.as_ref(), other.metadata.labels.as_ref())
        && term.match_label_keys.iter().flatten().all(same)
        && term.mismatch_label_keys.iter().flatten().all(other_than)
}

/// The domains in which a pod runs that the term chooses.
fn occupied(snapshot: &Snapshot, pod: &Pod, term: &PodAffinityTerm) -> HashSet<String> {
    let nodes = snapshot.nodes().filter(|node| node.pods.iter().any(|other| chosen(snapshot, pod, term, other)));
    nodes.filter_map(|node| node.label(&term.topology_key).map(str::to_owned)).collect()
}

fn kept_out(snapshot: &Snapshot, pod: &Pod) -> HashSet<Domain> {
    let mut domains = HashSet::new();
    for node in snapshot.nodes() {
        for other in &node.pods {
            for term in away(affinity(other)).filter(|term| chosen(snapshot, other, term, pod)) {
                if let Some(value) = node.label(&term.topology_key) {
                    domains.insert((term.topology_key.clone(), value.to_owned()));
                }
            }
        }
    }
    domains
}

fn score(snapshot: &Snapshot, pod: &Pod) -> HashMap<Domain, i64> {
    let mut scores = HashMap::new();
    let own = preferred(affinity(pod));
    for node in snapshot.nodes() {
        let mut count = |term: &PodAffinityTerm, weight: i64| {
            if let Some(value) = node.label(&term.topology_key) {
                *scores.entry((term.topology_key.clone(), value.to_owned())).or_default() += weight;
            }
        };
        for other in &node.pods {
            own.iter().filter(|(t, _)| chosen(snapshot, pod, t, other)).for_each(|(t, weight)| count(t, *weight));
            let theirs = preferred(affinity(other)).into_iter().chain(near(affinity(other)).map(|t| (t, HARD_WEIGHT)));
            theirs.filter(|(t, _)| chosen(snapshot, other, t, pod)).for_each(|(t, weight)| count(t, weight));
        }
    }
    scores
}
