//! Pods that want to be near other pods, or away from them.

use std::sync::Arc;

use super::{Context, Filter, Plugin, Point, Reject, Score, to_range};
use crate::index::{Group, Wish};
use crate::node::NodeInfo;
use crate::pod::{Choice, PodInfo, Term};
use crate::queue::{Event, Happening};
use crate::snapshot::Snapshot;
use crate::topology::{Division, NOWHERE};

#[derive(Debug)]
pub(super) struct InterPodAffinity;

struct Neighbours<'a> {
    snapshot: &'a Snapshot,
    pod: &'a PodInfo,
    near: Near,
    away: Vec<(Group, Counted)>,
    /// Domains that placed pods keep this one out of, by topology key.
    kept_out: Vec<Counted>,
}

/// What the pod must be near to: pods that all its terms choose.
struct Near {
    group: Group,
    terms: Vec<Counted>,
    /// Such pods in any domain at all.
    placed: i64,
    /// The pod itself is one: it may be the first of a group that wants to be together.
    own: bool,
}

/// Pods counted by the domains of one topology key.
struct Counted {
    division: Division,
    pods: Arc<Vec<i32>>,
}

struct Preferences(Vec<(Arc<Vec<u32>>, Vec<i64>)>);

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn points(&self) -> &'static [Point] {
        &[Point::PreFilter, Point::Filter, Point::PreScore, Point::Score]
    }

    fn helped_by(&self) -> &'static [Happening] {
        &[
            Happening::NodeAdded,
            Happening::NodeRelabelled,
            Happening::PodLeft,
            Happening::PodCame,
            Happening::PodRelabelled,
        ]
    }

    /// A pod that comes can only be one to be near to; one that leaves may have been in the way. Namespaces chosen by label are
    /// taken to be chosen.
    fn hint(&self, pod: &PodInfo, event: &Event) -> bool {
        let Some(other) = event.pod() else { return true };
        let chooses = |by: &PodInfo, of: &PodInfo, terms: fn(&PodInfo) -> &Vec<Term>| {
            terms(by).iter().any(|t| t.choice.asks_namespaces() || t.choice.chooses(of, |_| None))
        };
        match event.happening() {
            Happening::PodCame => chooses(pod, other, |pod| &pod.terms.near),
            // What was in the way may not be any more; its own terms are the same.
            Happening::PodRelabelled => chooses(pod, other, |pod| &pod.terms.away),
            _ => chooses(pod, other, |pod| &pod.terms.away) || chooses(other, pod, |pod| &pod.terms.away),
        }
    }

    fn weight(&self) -> i64 {
        2
    }

    fn filter<'a>(&self, cx: Context<'a>) -> Option<Box<dyn Filter + 'a>> {
        let terms = &cx.pod.terms;
        if terms.near.is_empty() && terms.away.is_empty() && !cx.snapshot.has_terms() {
            return None;
        }
        let kept_out = kept_out(cx.snapshot, cx.pod);
        if terms.near.is_empty() && terms.away.is_empty() && kept_out.is_empty() && !cx.snapshot.has_nominations() {
            return None;
        }
        let away = terms.away.iter().map(|term| {
            let group = group(vec![term.choice.clone()]);
            let counted = Counted::of(cx.snapshot, &group, &term.topology_key);
            (group, counted)
        });
        let (near, away) = (Near::of(cx.snapshot, cx.pod), away.collect());
        Some(Box::new(Neighbours { snapshot: cx.snapshot, pod: cx.pod, near, away, kept_out }))
    }

    fn score<'a>(&self, cx: Context<'a>, _: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        let own = &cx.pod.terms.preferred;
        if own.is_empty() && (cx.args.ignore_preferences_of_placed || !cx.snapshot.has_terms()) {
            return None;
        }
        let mut preferences = Preferences(vec![]);
        for (term, weight) in own {
            let counted = Counted::of(cx.snapshot, &group(vec![term.choice.clone()]), &term.topology_key);
            preferences.add(&counted.division, counted.pods.iter().enumerate().map(|(d, n)| (d, *n)), *weight);
        }
        cx.snapshot.each_choosing(cx.pod, |chosen, division| {
            let weight = match chosen.wish {
                Wish::Near => cx.args.hard_affinity_weight,
                Wish::Preferred(_) if cx.args.ignore_preferences_of_placed => 0,
                Wish::Preferred(weight) => weight,
                Wish::Away => 0,
            };
            if weight != 0 {
                preferences.add(division, chosen.by_domain.iter().map(|(d, n)| (*d as usize, *n)), weight);
            }
        });
        (!preferences.0.is_empty()).then(|| Box::new(preferences) as Box<dyn Score>)
    }
}

impl Near {
    fn of(snapshot: &Snapshot, pod: &PodInfo) -> Near {
        let terms = &pod.terms.near;
        let group = group(terms.iter().map(|term| term.choice.clone()).collect());
        let own = group.has(pod, |name| snapshot.namespace_labels(name));
        let terms: Vec<Counted> = terms.iter().map(|t| Counted::of(snapshot, &group, &t.topology_key)).collect();
        let placed = terms.iter().flat_map(|term| term.pods.iter()).map(|count| i64::from(*count)).sum();
        Near { group, terms, placed, own }
    }

    fn check(&self, slot: usize) -> bool {
        let mut all_there = true;
        for term in &self.terms {
            match term.at(slot) {
                Some(count) => all_there &= count > 0,
                None => return false,
            }
        }
        all_there || self.placed == 0 && self.own
    }
}

impl Counted {
    fn of(snapshot: &Snapshot, group: &Group, topology_key: &str) -> Counted {
        let pods = snapshot.counts(group, topology_key).by_domain;
        Counted { division: snapshot.division(topology_key), pods }
    }

    /// The pods in the node's domain; none if it is in no domain.
    fn at(&self, slot: usize) -> Option<i32> {
        self.division.of(slot).map(|domain| self.pods[domain])
    }

    fn shift(&mut self, slot: usize, by: i32) -> bool {
        let domain = self.division.of(slot);
        domain.into_iter().for_each(|domain| Arc::make_mut(&mut self.pods)[domain] += by);
        domain.is_some()
    }
}

impl Filter for Neighbours<'_> {
    fn check(&self, node: &NodeInfo) -> Result<(), Reject> {
        if !self.near.check(node.slot) {
            return Reject::firmly("node(s) didn't match pod affinity rules");
        }
        if self.away.iter().any(|(_, counted)| counted.at(node.slot).is_some_and(|count| count > 0)) {
            return Reject::for_now("node(s) didn't match pod anti-affinity rules");
        }
        if self.kept_out.iter().any(|counted| counted.at(node.slot).is_some_and(|count| count > 0)) {
            return Reject::for_now("node(s) didn't satisfy existing pods anti-affinity rules");
        }
        Ok(())
    }

    fn looks_beyond(&self) -> bool {
        true
    }

    fn shift(&mut self, node: &NodeInfo, other: &PodInfo, by: i32) {
        let snapshot = self.snapshot;
        let labels = |name: &str| snapshot.namespace_labels(name);
        if !self.near.terms.is_empty() && self.near.group.has(other, labels) {
            for term in &mut self.near.terms {
                self.near.placed += i64::from(if term.shift(node.slot, by) { by } else { 0 });
            }
        }
        for (group, counted) in &mut self.away {
            if group.has(other, labels) {
                counted.shift(node.slot, by);
            }
        }
        for term in other.terms.away.iter().filter(|term| term.choice.chooses(self.pod, labels)) {
            let division = snapshot.division(&term.topology_key);
            entry(&mut self.kept_out, &division).shift(node.slot, by);
        }
    }
}

fn kept_out(snapshot: &Snapshot, pod: &PodInfo) -> Vec<Counted> {
    let mut kept_out: Vec<Counted> = vec![];
    snapshot.each_choosing(pod, |chosen, division| {
        if chosen.wish == Wish::Away {
            let pods = Arc::make_mut(&mut entry(&mut kept_out, division).pods);
            chosen.by_domain.iter().for_each(|(domain, count)| pods[*domain as usize] += count);
        }
    });
    kept_out
}

/// The counts of the division's domains, all nothing if there are none yet.
fn entry<'a>(all: &'a mut Vec<Counted>, division: &Division) -> &'a mut Counted {
    let same = |counted: &Counted| Arc::ptr_eq(&counted.division.domain_of, &division.domain_of);
    let at = all.iter().position(same).unwrap_or_else(|| {
        all.push(Counted { division: division.clone(), pods: Arc::new(vec![0; division.nodes_in.len()]) });
        all.len() - 1
    });
    &mut all[at]
}

/// Pods that are being deleted still count: they are there.
fn group(all_of: Vec<Choice>) -> Group {
    Group { all_of, with_leaving: true }
}

impl Preferences {
    fn add(&mut self, division: &Division, counts: impl Iterator<Item = (usize, i32)>, weight: i64) {
        let at = self.0.iter().position(|(known, _)| Arc::ptr_eq(known, &division.domain_of)).unwrap_or_else(|| {
            self.0.push((division.domain_of.clone(), vec![0; division.nodes_in.len()]));
            self.0.len() - 1
        });
        let scores = &mut self.0[at].1;
        counts.for_each(|(domain, count)| scores[domain] += i64::from(count) * weight);
    }
}

impl Score for Preferences {
    fn of(&self, node: &NodeInfo) -> i64 {
        let part = |(domain_of, scores): &(Arc<Vec<u32>>, Vec<i64>)| {
            let domain = domain_of.get(node.slot).copied().filter(|domain| *domain != NOWHERE);
            domain.map_or(0, |domain| scores[domain as usize])
        };
        self.0.iter().map(part).sum()
    }

    fn normalize(&self, scores: &mut [i64]) {
        to_range(scores);
    }
}
