//! Where a pod goes: a pure function of the cluster, the pod and a seed for ties.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use serde::Serialize;

use crate::extender::Filtered;
use crate::node::NodeInfo;
use crate::plugins::{BEST, Context, Filter, Plugin, Reason, Reject};
use crate::pod::PodInfo;
use crate::preempt::{self, Candidate};
use crate::profile::Profile;
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

/// One pod's way through the filters.
pub(crate) struct Attempt<'a> {
    pub cx: Context<'a>,
    filters: Vec<(&'static dyn Plugin, Box<dyn Filter + 'a>)>,
    /// Room that is being made for pods of at least the same priority is not given away.
    nominated: HashMap<usize, Vec<Arc<PodInfo>>>,
}

/// A node that does not do, and the plugin that said so.
pub(crate) struct Refusal {
    pub slot: usize,
    pub reject: Reject,
    by: &'static str,
}

/// Who refuses in the place of a plugin, where an extender does.
pub(crate) const EXTENDER: &str = "Extender";

/// The first half of a decision: the nodes that do by the plugins.
pub(crate) struct Fitted {
    fit: Vec<usize>,
    refusals: Vec<Refusal>,
}

/// The second half, up to the choice among nodes with victims.
pub(crate) enum Verdict {
    Node(String),
    Nowhere(Nowhere, Vec<Candidate>),
}

pub fn schedule(profile: &Profile, snapshot: &Snapshot, pod: &PodInfo, seed: u64) -> Placement {
    schedule_telling(profile, snapshot, pod, seed, |_| {})
}

/// The nodes for extenders to look at; `nominated`: where room was made for the pod, that node alone if it does.
pub(crate) fn fitted(profile: &Profile, snapshot: &Snapshot, pod: &PodInfo, seed: u64, nominated: bool) -> Fitted {
    Attempt::new(profile, snapshot, pod).fitted(profile, seed, nominated)
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
    Attempt::new(profile, snapshot, pod).judged(profile, fitted, added, seed)
}

/// The same decision as [`schedule`]; `after` hears when an extension point is over.
pub(crate) fn schedule_telling(
    profile: &Profile,
    snapshot: &Snapshot,
    pod: &PodInfo,
    seed: u64,
    mut after: impl FnMut(&'static str),
) -> Placement {
    let mut attempt = Attempt::new(profile, snapshot, pod);
    after("PreFilter");
    let fitted = attempt.fitted(profile, seed, true);
    after("Filter");
    let fit = fitted.fit.len();
    let placement = attempt.judged(profile, fitted, &HashMap::new(), seed).settled();
    match fit {
        0 => after("PostFilter"),
        // It is taken without a score.
        1 => {}
        _ => after("Score"),
    }
    placement
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
            self.refusals.push(Refusal { slot, reject, by: EXTENDER });
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
    fn new(profile: &'a Profile, snapshot: &'a Snapshot, pod: &'a PodInfo) -> Attempt<'a> {
        let cx = Context { snapshot, pod, args: &profile.args };
        let filters = profile.filters.iter().filter_map(|plugin| Some((*plugin, plugin.filter(cx)?))).collect();
        Attempt { cx, filters, nominated: snapshot.nominated_before(pod.uid(), pod.priority) }
    }

    fn fitted(&mut self, profile: &Profile, seed: u64, nominated: bool) -> Fitted {
        if let Some(slot) = nominated.then(|| self.nominated_fits()).flatten() {
            return Fitted { fit: vec![slot], refusals: vec![] };
        }
        let (fit, refusals) = self.find(profile, seed);
        Fitted { fit: fit.iter().map(|node| node.slot).collect(), refusals }
    }

    fn judged(&mut self, profile: &Profile, fitted: Fitted, added: &HashMap<String, i64>, seed: u64) -> Verdict {
        let snapshot = self.cx.snapshot;
        let fit: Vec<&NodeInfo> = fitted.fit.iter().map(|slot| snapshot.slot(*slot)).collect();
        match fit[..] {
            [] => nowhere(profile, self, fitted.refusals, seed),
            [only] => Verdict::Node(only.name().to_owned()),
            _ => Verdict::Node(best(profile, self.cx, &fit, added, seed)),
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

    fn find(&mut self, profile: &Profile, seed: u64) -> (Vec<&'a NodeInfo>, Vec<Refusal>) {
        let (snapshot, mut fit, mut refusals) = (self.cx.snapshot, vec![], vec![]);
        let order = snapshot.order();
        let only = self.only().map(|(only, by)| {
            let slots = only.iter().filter_map(|name| snapshot.get(name)).map(|node| node.slot as u32);
            (slots.collect::<Vec<_>>(), by)
        });
        if let Some((slots, by)) = only {
            let reject = Reject { reason: Reason::NotAmong(by), more: vec![], preemption_helps: false };
            let left_out = order.iter().filter(|slot| !slots.contains(slot));
            refusals.extend(left_out.map(|slot| Refusal { slot: *slot as usize, reject: reject.clone(), by }));
            self.look(&slots, slots.len(), &mut fit, &mut refusals);
            return (fit, refusals);
        }
        let enough = enough(order.len(), profile.percentage_of_nodes);
        let start = if enough < order.len() { (seed >> 8) as usize % order.len() } else { 0 };
        let (before, from) = order.split_at(start);
        self.look(from, enough, &mut fit, &mut refusals);
        self.look(before, enough, &mut fit, &mut refusals);
        (fit, refusals)
    }

    fn look(&mut self, slots: &[u32], enough: usize, fit: &mut Vec<&'a NodeInfo>, refusals: &mut Vec<Refusal>) {
        for slot in slots {
            if fit.len() >= enough {
                return;
            }
            let node = self.cx.snapshot.slot(*slot as usize);
            match self.check(node) {
                Ok(()) => fit.push(node),
                Err((reject, by)) if fit.is_empty() => refusals.push(Refusal { slot: node.slot, reject, by }),
                // Nobody asks why a node does not do once another does.
                Err(_) => {}
            }
        }
    }

    /// Whether the node takes the pod, as it is and also with those that room is being made for.
    pub(crate) fn check(&mut self, node: &NodeInfo) -> Result<(), (Reject, &'static str)> {
        if let Some(others) = self.nominated.get(&node.slot).cloned() {
            let mut with = node.clone();
            others.iter().for_each(|other| with.add(other.clone()));
            others.iter().for_each(|other| self.shift(node, other, 1));
            let checked = self.filter(&with);
            others.iter().for_each(|other| self.shift(node, other, -1));
            checked?;
        }
        self.filter(node)
    }

    fn filter(&self, node: &NodeInfo) -> Result<(), (Reject, &'static str)> {
        for (plugin, filter) in &self.filters {
            filter.check(node).map_err(|reject| (reject, plugin.name()))?;
        }
        Ok(())
    }

    pub(crate) fn shift(&mut self, node: &NodeInfo, other: &PodInfo, by: i32) {
        self.filters.iter_mut().for_each(|(_, filter)| filter.shift(node, other, by));
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
) -> String {
    let mut totals: Vec<i64> = fit.iter().map(|node| added.get(node.name()).copied().unwrap_or(0)).collect();
    let mut scores = vec![0i64; fit.len()];
    for (plugin, weight) in &profile.scores {
        let Some(score) = plugin.score(cx, fit) else { continue };
        scores.iter_mut().zip(fit).for_each(|(to, node)| *to = score.of(node));
        score.normalize(&mut scores);
        totals.iter_mut().zip(&scores).for_each(|(total, score)| *total += (*score).clamp(0, BEST) * weight);
    }
    let most = totals.iter().copied().max().unwrap_or(0);
    let tied = || fit.iter().zip(&totals).filter(|(_, total)| **total == most).map(|(node, _)| node);
    let chosen = seed % tied().count().max(1) as u64;
    tied().nth(chosen as usize).map(|node| node.name().to_owned()).unwrap_or_default()
}

fn nowhere(profile: &Profile, attempt: &mut Attempt, refusals: Vec<Refusal>, seed: u64) -> Verdict {
    let mut refused_by: Vec<&'static str> = vec![];
    for refusal in &refusals {
        if refused_by.last() != Some(&refusal.by) {
            refused_by.push(refusal.by);
        }
    }
    let refused_by = refused_by.into_iter().collect();
    let all = refusals.len();
    if all == 0 {
        let message = "no nodes available to schedule pods".to_owned();
        return Verdict::Nowhere(Nowhere { message, refused_by, preempt: None, end_nomination: false }, vec![]);
    }
    let mut message = unavailable(all, refusals.iter().flat_map(|refusal| refusal.reject.reasons()));
    let (mut candidates, mut end_nomination) = (vec![], false);
    if profile.preempts {
        match preempt::find(attempt, &refusals, seed) {
            preempt::Found::Victims(found) => candidates = found,
            preempt::Found::NotAsked(why) => message.push_str(&format!(" preemption: {why}")),
            preempt::Found::None(why) => {
                end_nomination = attempt.cx.pod.nominated().is_some();
                message.push_str(&format!(" preemption: {why}"));
            }
        }
    }
    Verdict::Nowhere(Nowhere { message, refused_by, preempt: None, end_nomination }, candidates)
}

/// "0/3 nodes are available: 1 Insufficient cpu, 2 Too many pods."
pub(crate) fn unavailable<'a>(all: usize, reasons: impl Iterator<Item = &'a Reason>) -> String {
    let mut counts: Vec<(&Reason, usize)> = vec![];
    for reason in reasons {
        match counts.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => counts.push((reason, 1)),
        }
    }
    let mut parts: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort();
    format!("0/{all} nodes are available: {}.", parts.join(", "))
}

fn names<S: serde::Serializer>(pods: &[Arc<PodInfo>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(pods.iter().map(|pod| pod.pod.metadata.name.as_deref().unwrap_or_default()))
}
