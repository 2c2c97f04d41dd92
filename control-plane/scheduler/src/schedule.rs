//! Where a pod goes: a pure function of the cluster, the pod and a seed for ties.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use serde::Serialize;

use crate::extender::Filtered;
use crate::framework::Point;
use crate::node::NodeInfo;
use crate::plugins::{BEST, Context, Filter, Reason, Registered, Reject};
use crate::pod::PodInfo;
use crate::preempt::{self, Candidate, Found};
use crate::profile::Profile;
use crate::refusals::{Refusals, unavailable};
use crate::snapshot::Snapshot;

/// Fit nodes that are always looked for, if there are as many.
const LEAST_FIT: usize = 100;

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
    /// Room is made for it nowhere: where it was told before is void.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub end_nomination: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct Preemption {
    pub node: String,
    #[serde(serialize_with = "names")]
    pub victims: Vec<Arc<PodInfo>>,
}

impl PartialEq for Preemption {
    fn eq(&self, other: &Preemption) -> bool {
        self.node == other.node && self.victims.iter().map(|v| v.uid()).eq(other.victims.iter().map(|v| v.uid()))
    }
}

/// Hears what a decision is at. It can change nothing, and any clock is its own.
pub(crate) trait Ear {
    /// A plugin has a say in this decision.
    fn asks(&self, _point: Point, _plugin: &'static str) {}

    /// Whether it wants to hear of every run of a plugin.
    fn hears_runs(&self) -> bool {
        false
    }

    fn ran(&self, _point: Point, _plugin: &'static str, _well: bool) {}

    /// A point is over; whether the pod got past it.
    fn over(&self, _point: Point, _well: bool) {}
}

/// Hears nothing.
pub(crate) struct Deaf;

impl Ear for Deaf {}

/// One pod's way through the filters.
pub struct Attempt<'a> {
    pub cx: Context<'a>,
    filters: Vec<(Registered, Box<dyn Filter + 'a>)>,
    /// Some filter looks beyond single nodes.
    looks_beyond: bool,
    /// Every node with victims is wanted, for others have a say in the choice among them.
    pub(crate) keeps_all: bool,
    ear: &'a dyn Ear,
    hears_runs: bool,
}

/// Who refuses in the place of a plugin, where an extender does.
pub(crate) const EXTENDER: &str = "Extender";

/// The first half of a decision: the nodes that do by the plugins.
pub(crate) struct Fitted {
    fit: Vec<usize>,
    refusals: Refusals,
}

/// The second half, up to the choice among nodes with victims.
pub(crate) enum Verdict {
    Node(String),
    Nowhere(Nowhere, Vec<Candidate>),
}

pub fn schedule(profile: &Profile, snapshot: &Snapshot, pod: &PodInfo, seed: u64) -> Placement {
    schedule_telling(profile, snapshot, pod, seed, &Deaf)
}

/// The nodes for extenders to look at; `nominated`: where room was made for the pod, that node alone if it does.
pub(crate) fn fitted(
    profile: &Profile,
    snapshot: &Snapshot,
    pod: &PodInfo,
    seed: u64,
    nominated: bool,
    ear: &dyn Ear,
) -> Fitted {
    Attempt::new(profile, snapshot, pod, ear).fitted(profile, seed, nominated)
}

/// The decision among nodes that extenders have left, with what they add to the scores of nodes by name.
pub(crate) fn judged(
    profile: &Profile,
    snapshot: &Snapshot,
    pod: &PodInfo,
    fitted: Fitted,
    added: &HashMap<String, i64>,
    seed: u64,
) -> Verdict {
    let mut attempt = Attempt::new(profile, snapshot, pod, &Deaf);
    attempt.keeps_all = true;
    attempt.judged(profile, fitted, added, seed)
}

/// The same decision as [`schedule`], heard.
pub(crate) fn schedule_telling(
    profile: &Profile,
    snapshot: &Snapshot,
    pod: &PodInfo,
    seed: u64,
    ear: &dyn Ear,
) -> Placement {
    let mut attempt = Attempt::new(profile, snapshot, pod, ear);
    let fitted = attempt.fitted(profile, seed, true);
    attempt.judged(profile, fitted, &HashMap::new(), seed).settled()
}

impl Fitted {
    pub(crate) fn nodes(&self, snapshot: &Snapshot) -> Vec<Arc<Node>> {
        self.fit.iter().filter_map(|slot| snapshot.slot(*slot).facts.node.clone()).collect()
    }

    /// Leaves what an extender keeps. The others count as refused for its reasons.
    pub(crate) fn keep(&mut self, filtered: &Filtered, snapshot: &Snapshot) {
        let (kept, left): (Vec<usize>, Vec<usize>) = self.fit.iter().partition(|slot| {
            let name = snapshot.slot(**slot).name();
            filtered.kept.iter().any(|kept| kept == name)
        });
        self.fit = kept;
        for slot in left {
            let name = snapshot.slot(slot).name();
            let (why, preemption_helps) = match (filtered.unresolvable.get(name), filtered.failed.get(name)) {
                (Some(why), _) => (why.as_str(), false),
                (None, Some(why)) => (why.as_str(), true),
                (None, None) => ("node(s) were left out by an extender", true),
            };
            let reject = Reject { reason: Reason::Told(why.into()), more: vec![], preemption_helps };
            self.refusals.push(slot, reject, EXTENDER);
        }
    }
}

impl Verdict {
    /// With the node of the least loss.
    pub(crate) fn settled(self) -> Placement {
        match self {
            Verdict::Node(node) => Placement::Node(node),
            Verdict::Nowhere(mut nowhere, candidates) => {
                nowhere.preempt = preempt::least(candidates);
                Placement::Nowhere(nowhere)
            }
        }
    }
}

impl<'a> Attempt<'a> {
    fn new(profile: &'a Profile, snapshot: &'a Snapshot, pod: &'a PodInfo, ear: &'a dyn Ear) -> Attempt<'a> {
        let cx = Context { snapshot, pod, args: &profile.args };
        let hears_runs = ear.hears_runs();
        let looked = |plugin: &Registered| {
            let filter = plugin.filter(cx);
            if plugin.is_at(Point::PreFilter) {
                ear.asks(Point::PreFilter, plugin.name());
                ear.ran(Point::PreFilter, plugin.name(), true);
            }
            filter.is_some().then(|| ear.asks(Point::Filter, plugin.name()));
            Some((*plugin, filter?))
        };
        let filters: Vec<_> = profile.filters.iter().filter_map(looked).collect();
        ear.over(Point::PreFilter, true);
        let looks_beyond = filters.iter().any(|(_, filter)| filter.looks_beyond());
        Attempt { cx, filters, looks_beyond, keeps_all: false, ear, hears_runs }
    }

    fn fitted(&mut self, profile: &Profile, seed: u64, nominated: bool) -> Fitted {
        let fitted = match nominated.then(|| self.nominated_fits()).flatten() {
            Some(slot) => Fitted { fit: vec![slot], refusals: Refusals::default() },
            None => {
                let (fit, refusals) = self.find(profile, seed);
                Fitted { fit: fit.iter().map(|node| node.slot).collect(), refusals }
            }
        };
        self.ear.over(Point::Filter, !fitted.fit.is_empty());
        fitted
    }

    fn judged(&mut self, profile: &Profile, fitted: Fitted, added: &HashMap<String, i64>, seed: u64) -> Verdict {
        let snapshot = self.cx.snapshot;
        let fit: Vec<&NodeInfo> = fitted.fit.iter().map(|slot| snapshot.slot(*slot)).collect();
        match fit[..] {
            [] => nowhere(profile, self, fitted.refusals, seed),
            // It is taken without a score.
            [only] => Verdict::Node(only.name().to_owned()),
            _ => Verdict::Node(best(profile, self.cx, &fit, added, seed, self.ear)),
        }
    }

    /// The node where room was made for the pod, if it takes the pod now.
    fn nominated_fits(&mut self) -> Option<usize> {
        let node = self.cx.snapshot.get(self.cx.pod.nominated()?)?;
        let among = self.only().is_none_or(|(only, _)| only.contains(node.name()));
        (among && self.check(node).is_ok()).then_some(node.slot)
    }

    fn only(&self) -> Option<(BTreeSet<&str>, &'static str)> {
        self.filters.iter().find_map(|(plugin, filter)| Some((filter.only()?, plugin.name())))
    }

    fn find(&mut self, profile: &Profile, seed: u64) -> (Vec<&'a NodeInfo>, Refusals) {
        let (snapshot, mut fit, mut refusals) = (self.cx.snapshot, vec![], Refusals::default());
        let order = snapshot.order();
        let only = self.only().map(|(only, by)| {
            let slots = only.iter().filter_map(|name| snapshot.get(name)).map(|node| node.slot as u32);
            (slots.collect::<Vec<_>>(), by)
        });
        if let Some((slots, by)) = only {
            let reject = Reject { reason: Reason::NotAmong(by), more: vec![], preemption_helps: false };
            let left_out = order.from(0).filter(|slot| !slots.contains(slot));
            left_out.for_each(|slot| refusals.push(slot as usize, reject.clone(), by));
            self.look(slots.iter().copied(), slots.len(), &mut fit, &mut refusals);
            return (fit, refusals);
        }
        let enough = enough(order.len(), profile.percentage_of_nodes);
        let start = if enough < order.len() { (seed >> 8) as usize % order.len() } else { 0 };
        self.look(order.from(start), enough, &mut fit, &mut refusals);
        (fit, refusals)
    }

    fn look(
        &mut self,
        slots: impl Iterator<Item = u32>,
        enough: usize,
        fit: &mut Vec<&'a NodeInfo>,
        refusals: &mut Refusals,
    ) {
        for slot in slots {
            if fit.len() >= enough {
                return;
            }
            let node = self.cx.snapshot.slot(slot as usize);
            match self.check(node) {
                Ok(()) => fit.push(node),
                Err((reject, by)) if fit.is_empty() => refusals.push(node.slot, reject, by),
                // Nobody asks why a node does not do once another does.
                Err(_) => {}
            }
        }
    }

    /// Whether the node takes the pod, as it is and also with those that room is being made for.
    ///
    /// # Errors
    /// It does not: why, and which plugin says so.
    pub fn check(&mut self, node: &NodeInfo) -> Result<(), (Reject, &'static str)> {
        let Context { snapshot, pod, .. } = self.cx;
        // Room that is being made for pods of at least the same priority is not given away.
        let counts = |other: &&Arc<PodInfo>| other.priority >= pod.priority && other.uid() != pod.uid();
        let mut others = snapshot.nominees(node.slot).iter().filter(counts).peekable();
        if others.peek().is_some() {
            let others: Vec<&Arc<PodInfo>> = others.collect();
            let mut with = node.sums();
            others.iter().for_each(|other| with.count(other, 1));
            others.iter().for_each(|other| self.shift(node, other, 1));
            let checked = self.filter(&with);
            others.iter().for_each(|other| self.shift(node, other, -1));
            checked?;
        }
        self.filter(node)
    }

    fn filter(&self, node: &NodeInfo) -> Result<(), (Reject, &'static str)> {
        for (plugin, filter) in &self.filters {
            let checked = filter.check(node);
            if self.hears_runs {
                self.ear.ran(Point::Filter, plugin.name(), checked.is_ok());
            }
            checked.map_err(|reject| (reject, plugin.name()))?;
        }
        Ok(())
    }

    /// Takes it as if another pod came to the node (1) or left it (-1).
    pub fn shift(&mut self, node: &NodeInfo, other: &PodInfo, by: i32) {
        if self.looks_beyond {
            self.filters.iter_mut().for_each(|(_, filter)| filter.shift(node, other, by));
        }
    }
}

/// How many fit nodes are enough to choose among: of many nodes a smaller share, as upstream.
fn enough(nodes: usize, percentage: u32) -> usize {
    let percentage = match percentage {
        0 => 50usize.saturating_sub(nodes / 125).max(5),
        set => set as usize,
    };
    (nodes * percentage / 100).max(LEAST_FIT).min(nodes)
}

fn best<'a>(
    profile: &'a Profile,
    cx: Context<'a>,
    fit: &[&'a NodeInfo],
    added: &HashMap<String, i64>,
    seed: u64,
    ear: &dyn Ear,
) -> String {
    let looked = |(plugin, weight): &(Registered, i64)| {
        let score = plugin.score(cx, fit);
        if plugin.is_at(Point::PreScore) {
            ear.asks(Point::PreScore, plugin.name());
            ear.ran(Point::PreScore, plugin.name(), true);
        }
        Some((*plugin, *weight, score?))
    };
    let asked: Vec<_> = profile.scores.iter().filter_map(looked).collect();
    ear.over(Point::PreScore, true);
    let mut totals: Vec<i64> = match added.is_empty() {
        true => vec![0; fit.len()],
        false => fit.iter().map(|node| added.get(node.name()).copied().unwrap_or(0)).collect(),
    };
    let mut scores = vec![0i64; fit.len()];
    for (plugin, weight, score) in asked {
        ear.asks(Point::Score, plugin.name());
        scores.iter_mut().zip(fit).for_each(|(to, node)| *to = score.of(node));
        score.normalize(&mut scores);
        totals.iter_mut().zip(&scores).for_each(|(total, score)| *total += (*score).clamp(0, BEST) * weight);
        ear.ran(Point::Score, plugin.name(), true);
    }
    ear.over(Point::Score, true);
    let most = totals.iter().copied().max().unwrap_or(0);
    let tied = || fit.iter().zip(&totals).filter(|(_, total)| **total == most).map(|(node, _)| node);
    let chosen = seed % tied().count().max(1) as u64;
    tied().nth(chosen as usize).map(|node| node.name().to_owned()).unwrap_or_default()
}

fn nowhere(profile: &Profile, attempt: &mut Attempt, refusals: Refusals, seed: u64) -> Verdict {
    let refused_by = refusals.by();
    if refusals.is_empty() {
        let message = "no nodes available to schedule pods".to_owned();
        return Verdict::Nowhere(Nowhere { message, refused_by, preempt: None, end_nomination: false }, vec![]);
    }
    let impossible = attempt.filters.iter().find_map(|(_, filter)| filter.impossible());
    let mut message = match impossible {
        Some(why) => format!("0/{} nodes are available: {why}.", refusals.len()),
        None => unavailable(refusals.len(), refusals.reasons()),
    };
    let (mut candidates, mut end_nomination, mut words) = (vec![], false, vec![]);
    for plugin in &profile.post_filters {
        let found = plugin.post_filter(attempt, &refusals, seed);
        attempt.ear.ran(Point::PostFilter, plugin.name(), matches!(found, Found::Victims(_)));
        match found {
            Found::Skipped => {}
            Found::NotAsked(why) => words.push(why),
            Found::None(why) => {
                end_nomination = attempt.cx.pod.nominated().is_some();
                words.push(why);
            }
            Found::Victims(found) => {
                (candidates, end_nomination) = (found, false);
                words.clear();
                break;
            }
        }
    }
    attempt.ear.over(Point::PostFilter, !candidates.is_empty());
    if !words.is_empty() {
        message.push_str(&format!(" {}", words.join(", ")));
    }
    Verdict::Nowhere(Nowhere { message, refused_by, preempt: None, end_nomination }, candidates)
}

fn names<S: serde::Serializer>(pods: &[Arc<PodInfo>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(pods.iter().map(|pod| pod.pod.metadata.name.as_deref().unwrap_or_default()))
}
