//! Which pods of lower priority would have to end so that a pod finds room.

use std::cmp::Reverse;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use crate::node::NodeInfo;
use crate::plugins::{Reason, Reject};
use crate::pod::PodInfo;
use crate::refusals::{Refusals, unavailable};
use crate::schedule::{Attempt, Preemption};

/// Upstream's name for it.
pub(crate) const NAME: &str = "DefaultPreemption";

const NO_VICTIMS: Reason = Reason::Plain("No preemption victims found for incoming pod");
const USELESS: Reason = Reason::Plain("Preemption is not helpful for scheduling");

/// What a PostFilter plugin found.
pub enum Found {
    /// It has nothing to say.
    Skipped,
    /// The nodes to choose among.
    Victims(Vec<Candidate>),
    /// The pod may not ask for room (now).
    NotAsked(String),
    /// There is none to be had.
    None(String),
}

/// What a node would lose.
pub struct Candidate {
    pub preemption: Preemption,
    /// Victims whose end breaks a PodDisruptionBudget.
    pub breaking: usize,
}

/// The node where the least is lost.
pub(crate) fn least(candidates: Vec<Candidate>) -> Option<Preemption> {
    let lost = |candidate: &Candidate| loss(candidate.breaking, &candidate.preemption.victims);
    candidates.into_iter().min_by_key(lost).map(|candidate| candidate.preemption)
}

pub(crate) fn find(attempt: &mut Attempt, refusals: &Refusals, seed: u64) -> Found {
    let pod = attempt.cx.pod;
    if pod.pod.spec.as_ref().and_then(|spec| spec.preemption_policy.as_deref()) == Some("Never") {
        return Found::NotAsked("preemption: not eligible due to preemptionPolicy=Never.".to_owned());
    }
    if waits_for_victims(attempt, refusals) {
        let why = "preemption: not eligible due to a terminating pod on the nominated node.";
        return Found::NotAsked(why.to_owned());
    }
    let helped: Vec<usize> = refusals.iter().filter(|r| r.reject.preemption_helps).map(|r| r.slot).collect();
    let (candidates, failed) = candidates(attempt, &helped, seed);
    if !candidates.is_empty() {
        return Found::Victims(candidates);
    }
    let useless = (refusals.len() > helped.len()).then(|| (&USELESS, refusals.len() - helped.len()));
    let reasons = failed.reasons().chain(useless);
    Found::None(format!("preemption: {}", unavailable(refusals.len(), reasons)))
}

/// The pod made room before and its victims have not ended yet.
fn waits_for_victims(attempt: &Attempt, refusals: &Refusals) -> bool {
    let pod = attempt.cx.pod;
    let Some(node) = pod.nominated().and_then(|name| attempt.cx.snapshot.get(name)) else { return false };
    let hopeless = refusals.iter().any(|refusal| refusal.slot == node.slot && !refusal.reject.preemption_helps);
    !hopeless && node.pods.iter().any(|other| other.priority < pod.priority && ends_for_another(&other.pod))
}

fn ends_for_another(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let target = conditions.into_iter().find(|condition| condition.type_ == "DisruptionTarget");
    pod.metadata.deletion_timestamp.is_some()
        && target.is_some_and(|c| c.status == "True" && c.reason.as_deref() == Some("PreemptionByScheduler"))
}

/// Nodes with victims, from a place that the seed tells, until there are enough to choose among; and those that have none. Only
/// the node that loses least is kept, unless somebody else has a say in the choice.
fn candidates(attempt: &mut Attempt, helped: &[usize], seed: u64) -> (Vec<Candidate>, Refusals) {
    let (snapshot, args) = (attempt.cx.snapshot, attempt.cx.args);
    let enough = (helped.len() * args.candidates_percentage / 100).max(args.candidates_least);
    let start = if enough < helped.len() { (seed >> 8) as usize % helped.len() } else { 0 };
    let (mut kept, mut failed): (Vec<Candidate>, Refusals) = Default::default();
    let (mut found, mut harmless, mut least) = (0, false, None);
    let mut room = Room::default();
    for slot in helped[start..].iter().chain(&helped[..start]) {
        let node = snapshot.slot(*slot);
        match victims(attempt, node, &mut room) {
            Ok(breaking) => {
                harmless |= breaking == 0;
                found += 1;
                let lost = loss(breaking, &room.gone);
                let is_least = least.as_ref().is_none_or(|least| lost < *least);
                if attempt.keeps_all || is_least {
                    let victims = room.gone.iter().map(|pod| (*pod).clone()).collect();
                    let preemption = Preemption { node: node.name().to_owned(), victims };
                    if !attempt.keeps_all {
                        kept.clear();
                    }
                    kept.push(Candidate { preemption, breaking });
                }
                least = if is_least { Some(lost) } else { least };
            }
            Err(reject) => failed.push(*slot, reject, NAME),
        }
        if harmless && found >= enough {
            break;
        }
    }
    (kept, failed)
}

/// Room for the pods in question, used again from node to node.
#[derive(Default)]
struct Room<'a> {
    lower: Vec<&'a Arc<PodInfo>>,
    gone: Vec<&'a Arc<PodInfo>>,
}

/// The fewest pods of the node that must go (into `room.gone`), the most important first; how many of them break a budget, or why
/// even all of them do not suffice.
fn victims<'a>(attempt: &mut Attempt<'a>, node: &'a NodeInfo, room: &mut Room<'a>) -> Result<usize, Reject> {
    let priority = attempt.cx.pod.priority;
    if node.lowest.is_none_or(|lowest| lowest >= priority) {
        return Err(Reject { reason: NO_VICTIMS, more: vec![], preemption_helps: false });
    }
    let lower = &mut room.lower;
    lower.clear();
    lower.extend(node.pods.iter().filter(|other| other.priority < priority));
    let mut trial = node.sums();
    for pod in lower.iter() {
        trial.count(pod, -1);
        attempt.shift(node, pod, -1);
    }
    if let Err((reject, _)) = attempt.check(&trial) {
        lower.iter().for_each(|pod| attempt.shift(node, pod, 1));
        return Err(reject);
    }
    // The most important is spared first, and of equals the one that runs longest.
    lower.sort_by_key(|pod| (Reverse(pod.priority), pod.started));
    let breaking = spare(attempt, node, &mut trial, room);
    room.gone.iter().for_each(|pod| attempt.shift(node, pod, 1));
    if breaking > 0 {
        room.gone.sort_by_key(|pod| (Reverse(pod.priority), pod.started));
    }
    Ok(breaking)
}

/// Finds those that cannot stay, and how many of them break a budget: who would is spared before who would not.
fn spare(attempt: &mut Attempt, node: &NodeInfo, trial: &mut NodeInfo, room: &mut Room) -> usize {
    let Room { lower, gone } = room;
    gone.clear();
    let breaks = attempt.cx.snapshot.budgets.broken_by(lower);
    let breaks = |at: usize| breaks.get(at) == Some(&true);
    let of = |which: bool| lower.iter().enumerate().filter(move |(at, _)| breaks(*at) == which);
    let mut breaking = 0;
    for (at, pod) in of(true).chain(of(false)) {
        trial.count(pod, 1);
        attempt.shift(node, pod, 1);
        if attempt.check(trial).is_err() {
            trial.count(pod, -1);
            attempt.shift(node, pod, -1);
            breaking += usize::from(breaks(at));
            gone.push(pod);
        }
    }
    breaking
}

/// What a node would lose; smaller is better: fewest broken budgets, then least important victims, then less importance in sum,
/// then fewer, then younger ones.
type Loss = (usize, i32, i64, usize, Reverse<Option<jiff::Timestamp>>);

fn loss<P: AsRef<PodInfo>>(breaking: usize, victims: &[P]) -> Loss {
    let of = || victims.iter().map(AsRef::as_ref);
    let highest = of().map(|pod| pod.priority).max().unwrap_or(i32::MIN);
    let sum = of().map(|pod| i64::from(pod.priority) - i64::from(i32::MIN)).sum();
    let oldest = of().filter(|pod| pod.priority == highest).filter_map(|pod| pod.started).min();
    (breaking, highest, sum, victims.len(), Reverse(oldest))
}
