//! Spread constraints, and the pods they count by domain.

use std::cell::Cell;
use std::sync::Arc;

use fit::nodes::{asks, matches};
use fit::taints::tolerates;
use k8s_openapi::api::core::v1::TopologySpreadConstraint;

use super::super::Context;
use super::{HOSTNAME, has_all};
use crate::index::{Group, sum};
use crate::node::NodeInfo;
use crate::pod::{Choice, PodInfo};
use crate::profile::Defaults;
use crate::selectors::Selector;
use crate::topology::Division;

const ZONE: &str = "topology.kubernetes.io/zone";
/// How pods spread that do not say how, as upstream.
const SYSTEM: [(&str, i32); 2] = [(HOSTNAME, 3), (ZONE, 5)];

pub(super) struct Constraint {
    pub topology_key: String,
    pub max_skew: i32,
    pub group: Group,
    min_domains: usize,
    honours_affinity: bool,
    honours_taints: bool,
}

/// A constraint that must hold, with the pods it counts.
pub(super) struct Counting {
    pub division: Division,
    pub max_skew: i32,
    group: Group,
    min_domains: usize,
    /// Whether the pod itself is among those it counts.
    own: i32,
    pods: Arc<Vec<i32>>,
    /// Nodes that count, by domain.
    nodes: Arc<Vec<u32>>,
    /// Nodes that count; none if all do.
    mask: Option<Vec<bool>>,
    /// The fewest pods of a domain, until something changes it.
    fewest: Cell<Option<i32>>,
}

/// The pod's constraints of one sort, and whether only nodes with all their labels count.
pub(super) fn constraints(cx: Context, when_unsatisfiable: &str) -> (Vec<Constraint>, bool) {
    let own = cx.pod.pod.spec.as_ref().and_then(|spec| spec.topology_spread_constraints.as_ref());
    let of_sort = |c: &&TopologySpreadConstraint| c.when_unsatisfiable == when_unsatisfiable;
    if let Some(own) = own.filter(|own| !own.is_empty()) {
        return (own.iter().filter(of_sort).map(|c| Constraint::own(cx.pod, c)).collect(), true);
    }
    let system = matches!(cx.args.spread, Defaults::System);
    let any = match &cx.args.spread {
        Defaults::System => when_unsatisfiable == "ScheduleAnyway",
        Defaults::List(list) => list.iter().any(|c| of_sort(&c)),
    };
    let selector = any.then(|| cx.snapshot.owners.selector_of(cx.pod)).flatten();
    let Some(selector) = selector else { return (vec![], !system) };
    let all = match &cx.args.spread {
        Defaults::System => {
            SYSTEM.iter().map(|(key, skew)| Constraint::default(cx.pod, key, *skew, &selector)).collect()
        }
        Defaults::List(list) => {
            let of_sort = list.iter().filter(of_sort);
            of_sort.map(|c| Constraint::default(cx.pod, &c.topology_key, c.max_skew, &selector)).collect()
        }
    };
    (all, !system)
}

impl Constraint {
    fn own(pod: &PodInfo, constraint: &TopologySpreadConstraint) -> Constraint {
        let mut selector = Selector::new(constraint.label_selector.as_ref());
        selector.like(pod.labels(), constraint.match_label_keys.as_ref(), false);
        let honours = |policy: &Option<String>, default: bool| policy.as_ref().map_or(default, |text| text == "Honor");
        Constraint {
            min_domains: usize::try_from(constraint.min_domains.unwrap_or(1)).unwrap_or(1),
            honours_affinity: honours(&constraint.node_affinity_policy, true),
            honours_taints: honours(&constraint.node_taints_policy, false),
            ..Constraint::default(pod, &constraint.topology_key, constraint.max_skew, &selector)
        }
    }

    fn default(pod: &PodInfo, topology_key: &str, max_skew: i32, selector: &Selector) -> Constraint {
        let choice = Choice::within(pod.namespace(), selector.clone());
        Constraint {
            topology_key: topology_key.to_owned(),
            max_skew,
            group: Group { all_of: vec![choice], with_leaving: false },
            min_domains: 1,
            honours_affinity: true,
            honours_taints: false,
        }
    }

    /// The nodes whose pods count, by slot: those with all labels, where the pod's affinity (and taints) let it go; none if that
    /// is every node.
    pub(super) fn mask(&self, cx: Context, all: &[Division]) -> Option<Vec<bool>> {
        let affinity = self.honours_affinity && asks(&cx.pod.pod);
        if !affinity && !self.honours_taints && all.iter().all(|division| division.without == 0) {
            return None;
        }
        let mut mask = vec![false; cx.snapshot.slots()];
        for node in cx.snapshot.nodes().filter(|node| has_all(all, node.slot)) {
            let there = node.facts.node.as_deref();
            let lets = !affinity || there.is_some_and(|there| matches(&cx.pod.pod, there));
            mask[node.slot] = lets && (!self.honours_taints || is_tolerated(cx.pod, node));
        }
        Some(mask)
    }
}

fn is_tolerated(pod: &PodInfo, node: &NodeInfo) -> bool {
    let mut hard = node.facts.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
    hard.all(|taint| tolerates(&pod.pod, taint))
}

impl Counting {
    pub(super) fn all(cx: Context, constraints: Vec<Constraint>) -> Vec<Counting> {
        let divisions: Vec<Division> = constraints.iter().map(|c| cx.snapshot.division(&c.topology_key)).collect();
        let with = |(c, division): (Constraint, &Division)| Counting::new(cx, c, division.clone(), &divisions);
        constraints.into_iter().zip(&divisions).map(with).collect()
    }

    fn new(cx: Context, constraint: Constraint, division: Division, all: &[Division]) -> Counting {
        let counted = cx.snapshot.counts(&constraint.group, &constraint.topology_key);
        let mask = constraint.mask(cx, all);
        let (pods, nodes) = match &mask {
            None => (counted.by_domain, division.nodes_in.clone()),
            Some(mask) => {
                let some: Vec<i32> =
                    counted.by_node.iter().zip(mask).map(|(n, counts)| if *counts { *n } else { 0 }).collect();
                let there: Vec<i32> = mask.iter().map(|counts| i32::from(*counts)).collect();
                let domains = division.nodes_in.len();
                let nodes = sum(&there, &division.domain_of, domains).into_iter().map(|n| n as u32).collect();
                (Arc::new(sum(&some, &division.domain_of, domains)), Arc::new(nodes))
            }
        };
        Counting {
            max_skew: constraint.max_skew,
            min_domains: constraint.min_domains,
            own: i32::from(constraint.group.has(cx.pod, |_| None)),
            group: constraint.group,
            division,
            pods,
            nodes,
            mask,
            fewest: Cell::new(None),
        }
    }

    /// By how much the domain would be ahead of the emptiest one.
    pub(super) fn skew_with_pod(&self, domain: usize) -> i32 {
        self.pods[domain] + self.own - self.fewest()
    }

    fn fewest(&self) -> i32 {
        if let Some(known) = self.fewest.get() {
            return known;
        }
        let counted =
            || self.pods.iter().zip(self.nodes.iter()).filter(|(_, nodes)| **nodes > 0).map(|(pods, _)| *pods);
        let fewest = match counted().count() < self.min_domains {
            true => 0,
            false => counted().min().unwrap_or(0),
        };
        self.fewest.set(Some(fewest));
        fewest
    }

    pub(super) fn shift(&mut self, slot: usize, other: &PodInfo, by: i32) {
        let counts = self.mask.as_ref().is_none_or(|mask| mask.get(slot) == Some(&true));
        let Some(domain) = self.division.of(slot).filter(|_| counts && self.group.has(other, |_| None)) else { return };
        let pods = &mut Arc::make_mut(&mut self.pods)[domain];
        let before = *pods;
        *pods += by;
        // Far from the fewest, a change does not move them.
        if self.fewest.get().is_some_and(|fewest| before.min(before + by) <= fewest) {
            self.fewest.set(None);
        }
    }
}
