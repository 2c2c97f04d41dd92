//! A pod with what every decision wants to know about it, worked out once.

use std::sync::Arc;

use fit::HostPort;
use fit::resources::{self, Amounts};
use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm, WeightedPodAffinityTerm};

use crate::profile::DEFAULT_NAME;
use crate::selectors::{Labels, Selector};

#[derive(Debug, Clone)]
pub struct PodInfo {
    pub pod: Arc<Pod>,
    pub priority: i32,
    pub requests: Amounts,
    pub likely: Amounts,
    pub ports: Vec<HostPort>,
    pub terms: Terms,
    /// Since when it runs, as far as that is known.
    pub started: Option<jiff::Timestamp>,
}

/// What the pod wants of other pods.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    pub near: Vec<Term>,
    pub away: Vec<Term>,
    /// With their weights, negative for those to be away from.
    pub preferred: Vec<(Term, i64)>,
}

/// A term of pod affinity: the pods it chooses, and what counts as near.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Term {
    pub choice: Choice,
    pub topology_key: String,
}

/// Pods chosen by their namespace and labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Choice {
    namespaces: Vec<String>,
    /// Besides the named ones, those with these labels.
    by_label: Option<Selector>,
    pub selector: Selector,
}

impl Choice {
    pub fn within(namespace: &str, selector: Selector) -> Choice {
        Choice { namespaces: vec![namespace.to_owned()], by_label: None, selector }
    }

    /// `of` tells the labels of a namespace.
    pub fn chooses<'a>(&self, pod: &PodInfo, of: impl Fn(&str) -> Option<&'a Labels>) -> bool {
        let namespace = pod.namespace();
        let within = || {
            self.namespaces.iter().any(|name| name == namespace)
                || self.by_label.as_ref().is_some_and(|selector| selector.is_empty() || selector.matches(of(namespace)))
        };
        self.selector.matches(pod.labels()) && within()
    }

    pub fn asks_namespaces(&self) -> bool {
        self.by_label.is_some()
    }
}

impl PodInfo {
    pub fn new(pod: Arc<Pod>) -> PodInfo {
        let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
        let (requests, likely) = (resources::requests(&pod), resources::likely_requests(&pod));
        let (ports, terms) = (HostPort::of(&pod), Terms::of(&pod));
        let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
        PodInfo { pod, priority, requests, likely, ports, terms, started }
    }

    pub fn uid(&self) -> &str {
        uid(&self.pod)
    }

    pub fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    pub fn labels(&self) -> Option<&Labels> {
        self.pod.metadata.labels.as_ref()
    }

    pub fn is_leaving(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Where room was being made for it, as the API tells.
    pub fn nominated(&self) -> Option<&str> {
        let told = self.pod.status.as_ref()?.nominated_node_name.as_deref();
        told.filter(|node| !node.is_empty())
    }
}

impl Terms {
    fn of(pod: &Pod) -> Terms {
        let Some(affinity) = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()) else { return Terms::default() };
        let (near, away) = (affinity.pod_affinity.as_ref(), affinity.pod_anti_affinity.as_ref());
        let required = |terms: Option<&Vec<PodAffinityTerm>>| -> Vec<Term> {
            terms.into_iter().flatten().map(|term| Term::new(pod, term)).collect()
        };
        let weighted = |terms: Option<&Vec<WeightedPodAffinityTerm>>, sign: i64| -> Vec<(Term, i64)> {
            let weighted =
                |t: &WeightedPodAffinityTerm| (Term::new(pod, &t.pod_affinity_term), sign * i64::from(t.weight));
            terms.into_iter().flatten().map(weighted).collect()
        };
        let mut preferred =
            weighted(near.and_then(|t| t.preferred_during_scheduling_ignored_during_execution.as_ref()), 1);
        preferred
            .extend(weighted(away.and_then(|t| t.preferred_during_scheduling_ignored_during_execution.as_ref()), -1));
        Terms {
            near: required(near.and_then(|t| t.required_during_scheduling_ignored_during_execution.as_ref())),
            away: required(away.and_then(|t| t.required_during_scheduling_ignored_during_execution.as_ref())),
            preferred,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.near.is_empty() && self.away.is_empty() && self.preferred.is_empty()
    }
}

impl Term {
    fn new(owner: &Pod, term: &PodAffinityTerm) -> Term {
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces = owner.metadata.namespace.iter().cloned().collect();
        }
        namespaces.sort_unstable();
        let labels = owner.metadata.labels.as_ref();
        let mut selector = Selector::new(term.label_selector.as_ref());
        selector.like(labels, term.match_label_keys.as_ref(), false);
        selector.like(labels, term.mismatch_label_keys.as_ref(), true);
        let by_label = term.namespace_selector.as_ref().map(|selector| Selector::new(Some(selector)));
        Term { choice: Choice { namespaces, by_label, selector }, topology_key: term.topology_key.clone() }
    }
}

pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

pub fn node_name(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// Whose pod it is to schedule.
pub fn scheduler_name(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or(DEFAULT_NAME)
}

/// The pod came to its end by itself.
pub fn is_finished(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).is_some_and(|phase| matches!(phase, "Succeeded" | "Failed"))
}
