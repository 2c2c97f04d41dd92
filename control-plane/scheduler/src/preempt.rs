//! Which pods of lower priority would have to end so that a pod finds room.

use std::cmp::Reverse;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use crate::node::NodeInfo;
use crate::plugins::{Reason, Reject};
use crate::pod::PodInfo;
use crate::schedule::{Attempt, Preemption, Refusal, unavailable};

const NO_VICTIMS: Reason = Reason::Plain("No preemption victims found for incoming pod");
const USELESS: Reason = Reason::Plain("Preemption is not helpful for scheduling");

pub(crate) enum Found {
    /// The nodes to choose among.
    Victims(Vec<Candidate>),
    /// The pod may not ask for room (now).
    NotAsked(&'static str),
    None(String),
}

/// What a node would lose.
pub(crate) struct Candidate {
    pub preemption: Preemption,
    /// Victims whose end breaks a PodDisruptionBudget.
    pub breaking: usize,
}

/// The node where the least is lost.
pub(crate) fn least(candidates: Vec<Candidate>) -> Option<Preemption> {
    candidates.into_iter().min_by_key(loss).map(|candidate| candidate.preemption)
}

pub(crate) fn find(attempt: &mut Attempt, refusals: &[Refusal], seed: u64) -> Found {
    let pod = attempt.cx.pod;
    if pod.pod.spec.as_ref().and_then(|spec| spec.preemption_policy.as_deref()) == Some("Never") {
        return Found::NotAsked("not eligible due to preemptionPolicy=Never.");
    }
    if waits_for_victims(attempt, refusals) {
        return Found::NotAsked("not eligible due to a terminating pod on the nominated node.");
    }
    let helped: Vec<usize> = refusals.iter().filter(|r| r.reject.preemption_helps).map(|r| r.slot).collect();
    let (candidates, reasons) = candidates(attempt, &helped, seed);
    if !candidates.is_empty() {
        return Found::Victims(candidates);
    }
    let useless = std::iter::repeat_n(&USELESS, refusals.len() - helped.len());
    let reasons = reasons.iter().flat_map(|reject| reject.reasons()).chain(useless);
    Found::None(unavailable(refusals.len(), reasons))
}

/// The pod made room before and its victims have not ended yet.
fn waits_for_victims(attempt: &Attempt, refusals: &[Refusal]) -> bool {
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

/// Nodes with victims, from a place that the seed tells, until there are enough to choose among.
fn candidates(attempt: &mut Attempt, helped: &[usize], seed: u64) -> (Vec<Candidate>, Vec<Reject>) {
    let (snapshot, args) = (attempt.cx.snapshot, attempt.cx.args);
    let enough = (helped.len() * args.candidates_percentage / 100).max(args.candidates_least);
    let start = if enough < helped.len() { (seed >> 8) as usize % helped.len() } else { 0 };
    let (mut found, mut reasons): (Vec<Candidate>, Vec<Reject>) = Default::default();
    let mut harmless = false;
    for slot in helped[start..].iter().chain(&helped[..start]) {
        match victims(attempt, snapshot.slot(*slot)) {
            Ok(candidate) => {
                harmless |= candidate.breaking == 0;
                found.push(candidate);
            }
            Err(reject) => reasons.push(reject),
        }
        if harmless && found.len() >= enough {
            break;
        }
    }
    (found, reasons)
}

/// The fewest pods of the node that must go, the least important first; or why even all of them do not suffice.
fn victims(attempt: &mut Attempt, node: &NodeInfo) -> Result<Candidate, Reject> {
    let priority = attempt.cx.pod.priority;
    if node.lowest.is_none_or(|lowest| lowest >= priority) {
        return Err(Reject { reason: NO_VICTIMS, more: vec![], preemption_helps: false });
    }
    let mut lower: Vec<Arc<PodInfo>> = node.pods.iter().filter(|other| other.priority < priority).cloned().collect();
    // The most important is spared first, and of equals the one that runs longest.
    lower.sort_by_key(|pod| (Reverse(pod.priority), pod.started()));
    let mut trial = node.clone();
    for pod in &lower {
        trial.remove(pod.uid());
        attempt.shift(node, pod, -1);
    }
    if let Err((reject, _)) = attempt.check(&trial) {
        lower.iter().for_each(|pod| attempt.shift(node, pod, 1));
        return Err(reject);
    }
    let (mut victims, breaking) = spare(attempt, node, &mut trial, &lower);
    victims.iter().for_each(|pod| attempt.shift(node, pod, 1));
    victims.sort_by_key(|pod| (Reverse(pod.priority), pod.started()));
    Ok(Candidate { preemption: Preemption { node: node.name().to_owned(), victims }, breaking })
}

/// Those that cannot stay, and how many of them break a budget: who would is spared before who would not.
fn spare(
    attempt: &mut Attempt,
    node: &NodeInfo,
    trial: &mut NodeInfo,
    lower: &[Arc<PodInfo>],
) -> (Vec<Arc<PodInfo>>, usize) {
    let breaks = attempt.cx.snapshot.budgets.broken_by(lower);
    let of = |which: bool| lower.iter().zip(&breaks).filter(move |(_, breaks)| **breaks == which);
    let (mut gone, mut breaking) = (vec![], 0);
    for (pod, breaks) in of(true).chain(of(false)) {
        trial.add(pod.clone());
        attempt.shift(node, pod, 1);
        if attempt.check(trial).is_err() {
            trial.remove(pod.uid());
            attempt.shift(node, pod, -1);
            breaking += usize::from(*breaks);
            gone.push(pod.clone());
        }
    }
    (gone, breaking)
}

/// Smaller is better: fewest broken budgets, then least important victims, then less importance in sum, then fewer, then
/// younger ones.
fn loss(candidate: &Candidate) -> (usize, i32, i64, usize, Reverse<Option<jiff::Timestamp>>) {
    let victims = &candidate.preemption.victims;
    let highest = victims.iter().map(|pod| pod.priority).max().unwrap_or(i32::MIN);
    let sum = victims.iter().map(|pod| i64::from(pod.priority) - i64::from(i32::MIN)).sum();
    let oldest = victims.iter().filter(|pod| pod.priority == highest).filter_map(|pod| pod.started()).min();
    (candidate.breaking, highest, sum, victims.len(), Reverse(oldest))
}
