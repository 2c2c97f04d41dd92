//! Who of those that ask for other resources gets them now.

use super::amounts::{Allocation, Amounts};
use crate::translate::resources::{Qos, qos};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use std::cmp::Reverse;
use std::sync::Arc;

/// Why a resize was not granted: the reason of the condition `PodResizePending`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Reason {
    /// The node has not that much left.
    Deferred,
    /// The node never has that much.
    Infeasible,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::Deferred => "Deferred",
            Reason::Infeasible => "Infeasible",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    pub reason: Reason,
    pub message: String,
}

/// One pod: what it asks for and what it has.
pub struct Claim {
    pub asked: Arc<Pod>,
    pub given: Allocation,
    pub pending: Option<Pending>,
    /// Whether it has what it asks for.
    settled: bool,
    /// When it began to ask for something else.
    since: Timestamp,
}

impl Claim {
    pub fn new(asked: Arc<Pod>, given: Allocation, now: Timestamp) -> Claim {
        let settled = !given.differs(&asked);
        Claim { asked, given, pending: None, settled, since: now }
    }

    pub fn ask(&mut self, pod: Arc<Pod>, now: Timestamp) {
        if self.settled {
            self.since = now;
        }
        self.settled = !self.given.differs(&pod);
        self.asked = pod;
        if self.settled {
            self.pending = None;
        }
    }

    pub fn grant(&mut self, given: Allocation) {
        self.given = given;
        self.settled = true;
    }

    pub fn settled(&self) -> bool {
        self.settled
    }

    pub fn effective(&self) -> Arc<Pod> {
        if self.settled { self.asked.clone() } else { Arc::new(self.given.overlay(&self.asked)) }
    }

    fn has(&self) -> Amounts {
        Amounts::requested(&self.effective())
    }

    /// Upstream's order: priority, class of service, and who has waited longest.
    fn turn(&self) -> (Reverse<i32>, u8, Timestamp) {
        let class = match qos(&self.asked) {
            Qos::Guaranteed => 0,
            Qos::Burstable => 1,
            Qos::BestEffort => 2,
        };
        (Reverse(self.asked.spec.as_ref().and_then(|s| s.priority).unwrap_or(0)), class, self.since)
    }
}

pub type Verdict = (String, Result<(), Pending>);

/// A verdict for every claim that has not what it asks for. Who is served may make room for one whose turn was before:
/// then that one is asked again.
pub fn settle<'a>(claims: impl Iterator<Item = (&'a str, &'a Claim)>, capacity: Amounts) -> Vec<Verdict> {
    let claims: Vec<(&str, &Claim)> = claims.collect();
    let mut used = claims.iter().map(|(_, c)| c.has()).fold(Amounts::default(), Amounts::plus);
    let mut open: Vec<&(&str, &Claim)> = claims.iter().filter(|(_, c)| !c.settled).collect();
    open.sort_by_key(|(uid, claim)| (claim.turn(), *uid));
    let mut open: Vec<Open<'_>> = open
        .into_iter()
        .map(|(uid, claim)| Open { uid, has: claim.has(), wants: Amounts::requested(&claim.asked) })
        .collect();
    let mut verdicts: Vec<Verdict> = Vec::new();
    while let Some(at) = open.iter().position(|o| o.judge(used, capacity).is_ok()) {
        let served = open.remove(at);
        used = used.minus(served.has).plus(served.wants);
        verdicts.push((served.uid.to_owned(), Ok(())));
    }
    verdicts.extend(open.iter().map(|o| (o.uid.to_owned(), o.judge(used, capacity))));
    verdicts
}

/// One that has not what it asks for.
struct Open<'a> {
    uid: &'a str,
    has: Amounts,
    wants: Amounts,
}

impl Open<'_> {
    fn judge(&self, used: Amounts, capacity: Amounts) -> Result<(), Pending> {
        judge(self.wants, self.has, used.minus(self.has), capacity)
    }
}

fn judge(wants: Amounts, has: Amounts, others: Amounts, capacity: Amounts) -> Result<(), Pending> {
    let each = [
        ("memory", wants.memory, has.memory, others.memory, capacity.memory),
        ("cpu", wants.cpu, has.cpu, others.cpu, capacity.cpu),
    ];
    if let Some((name, wants, _, _, capacity)) = each.iter().find(|(_, wants, _, _, capacity)| wants > capacity) {
        let message = format!("Node didn't have enough capacity: {name}, requested: {wants}, capacity: {capacity}");
        return Err(Pending { reason: Reason::Infeasible, message });
    }
    // Who asks for less of something is not held up by a node that is too full of it.
    let short = each.iter().find(|(_, wants, has, others, capacity)| wants > has && others + wants > *capacity);
    let Some((name, wants, _, others, capacity)) = short else { return Ok(()) };
    let text = format!("{name}, requested: {wants}, used: {others}, capacity: {capacity}");
    Err(Pending { reason: Reason::Deferred, message: format!("Node didn't have enough resource: {text}") })
}
