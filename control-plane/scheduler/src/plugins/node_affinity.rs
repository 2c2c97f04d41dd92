//! A pod's node selector and node affinity, and what its profile adds to them.

use std::collections::BTreeSet;

use fit::nodes::{self, UNMATCHED, asks, matches};
use k8s_openapi::api::core::v1::{NodeAffinity as Terms, NodeSelectorTerm, Pod, PreferredSchedulingTerm};

use super::{Context, Filter, Plugin, Point, Reject, Score, to_largest};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::queue::{Event, Happening};

#[derive(Debug)]
pub(super) struct NodeAffinity;

struct Required<'a> {
    pod: &'a Pod,
    added: Option<&'a Terms>,
}

struct Preferred<'a>(Vec<&'a PreferredSchedulingTerm>);

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreFilter, Point::Filter, Point::PreScore, Point::Score]
    }

    fn helped_by(&self) -> &'static [Happening] {
        &[Happening::NodeAdded, Happening::NodeRelabelled]
    }

    fn hint(&self, pod: &PodInfo, event: &Event) -> bool {
        event.node().and_then(|node| node.facts.node.as_deref()).is_none_or(|node| matches(&pod.pod, node))
    }

    fn weight(&self) -> i64 {
        2
    }

    fn filter<'a>(&self, cx: Context<'a>) -> Option<Box<dyn Filter + 'a>> {
        let (pod, added) = (cx.pod.pod.as_ref(), cx.args.added_affinity.as_ref());
        let added = added.filter(|added| added.required_during_scheduling_ignored_during_execution.is_some());
        (asks(pod) || added.is_some()).then(|| Box::new(Required { pod, added }) as Box<dyn Filter>)
    }

    fn score<'a>(&self, cx: Context<'a>, _: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        let terms = nodes::affinity(&cx.pod.pod).into_iter().chain(cx.args.added_affinity.as_ref());
        let wishes = terms.flat_map(|t| t.preferred_during_scheduling_ignored_during_execution.iter().flatten());
        let wishes: Vec<_> = wishes.collect();
        (!wishes.is_empty()).then(|| Box::new(Preferred(wishes)) as Box<dyn Score>)
    }
}

/// The nodes a term names, if it names any: all of its field requirements must agree.
fn named(term: &NodeSelectorTerm) -> Option<BTreeSet<&str>> {
    let fields = term.match_fields.iter().flatten().filter(|r| r.key == "metadata.name" && r.operator == "In");
    let sets = fields.map(|r| r.values.iter().flatten().map(String::as_str).collect::<BTreeSet<_>>());
    sets.reduce(|known, more| known.intersection(&more).copied().collect())
}

impl Filter for Required<'_> {
    fn only(&self) -> Option<BTreeSet<&str>> {
        let required = nodes::required(self.pod)?;
        let names: Option<Vec<_>> = required.node_selector_terms.iter().map(named).collect();
        names.filter(|names| !names.is_empty()).map(|names| names.into_iter().flatten().collect())
    }

    fn impossible(&self) -> Option<&'static str> {
        self.only().is_some_and(|names| names.is_empty()).then_some("pod affinity terms conflict")
    }

    fn check(&self, node: &NodeInfo) -> Result<(), Reject> {
        let Some(node) = node.facts.node.as_deref() else {
            return Reject::firmly(UNMATCHED);
        };
        let added = self.added.and_then(|added| added.required_during_scheduling_ignored_during_execution.as_ref());
        if added.is_some_and(|added| !nodes::chooses(added, node)) {
            return Reject::firmly("node(s) didn't match scheduler-enforced node affinity");
        }
        if matches(self.pod, node) { Ok(()) } else { Reject::firmly(UNMATCHED) }
    }
}

impl Score for Preferred<'_> {
    fn of(&self, node: &NodeInfo) -> i64 {
        let Some(node) = node.facts.node.as_deref() else { return 0 };
        let met = self.0.iter().filter(|wish| nodes::term_chooses(&wish.preference, node));
        met.map(|wish| i64::from(wish.weight)).sum()
    }

    fn normalize(&self, scores: &mut [i64]) {
        to_largest(scores, false);
    }
}
