//! What the pod may have on this node, and how its containers come to have it.

use super::{Event, Worker};
use crate::allocation::{self, Allocation};
use crate::observed::{EndReason, Failure, Volumes};
use crate::plan;
use jiff::Timestamp;
use std::sync::atomic::Ordering;

impl Worker {
    /// Asks the ledger, and sees the pod from now on with what it was given.
    pub(super) fn allocate(&mut self, now: Timestamp) {
        let why = self.rt.ending.as_ref().map(|e| &e.why);
        let has_none = matches!(why, Some(EndReason::Gone | EndReason::Refused { .. }));
        if has_none || self.removing || allocation::over(&self.asked) {
            self.pod = self.asked.clone();
            return;
        }
        let (flag, report) = (self.reallocated.clone(), self.report.clone());
        let wake = move || {
            flag.store(true, Ordering::Relaxed);
            // A worker with a full mailbox wakes anyway, and looks at the flag.
            let _ = report.try_send(Event::Allocated);
        };
        let answer = self.node.ledger.ask(&self.asked, now, wake);
        let resized = Allocation::of(&self.pod).differs(&answer.pod) && !self.rt.containers.is_empty();
        self.pod = answer.pod;
        if resized {
            self.granted = true;
            self.rt.resize_failure = None;
            self.node.events.normal(&self.pod, None, "ResizeStarted", "Pod resize started");
            if self.rt.volumes == Volumes::Ready {
                // Files may tell of the resources.
                self.remount = Some(now);
            }
        }
        if let Some(pending) = answer.pending.as_ref().filter(|p| self.rt.pending.as_ref() != Some(*p)) {
            let reason = match pending.reason {
                allocation::Reason::Deferred => "ResizeDeferred",
                allocation::Reason::Infeasible => "ResizeInfeasible",
            };
            let text = format!("Pod resize {}: {}", pending.reason.name(), pending.message);
            self.node.events.warning(&self.pod, None, reason, text);
        }
        self.rt.pending = answer.pending;
    }

    pub(super) fn resized(&mut self, result: Result<(), String>, now: Timestamp) {
        self.rt.resizing = false;
        self.stale = true;
        let Err(message) = result else {
            self.rt.resize_failure = None;
            self.failures = 0;
            return;
        };
        let known = self.rt.resize_failure.as_ref().is_some_and(|f| f.message == message);
        if !known {
            self.node.events.warning(&self.pod, None, "ResizeError", format!("Pod resize error: {message}"));
        }
        let retry = now + self.patience();
        self.rt.resize_failure = Some(Failure { reason: "Error".into(), message, retry });
    }

    /// Tells once that all containers have what the pod was given.
    pub(super) fn completed(&mut self) {
        let busy = self.rt.resizing || self.stale || self.rt.memory.values().any(|m| m.op.is_some());
        if !self.granted || busy || !plan::changes(&self.pod, &self.rt).is_empty() {
            return;
        }
        let waits = |c: &crate::observed::Container| {
            c.renewed && self.rt.latest(&c.name).is_some_and(|latest| latest.id == c.id)
        };
        if !self.rt.containers.iter().any(waits) {
            self.granted = false;
            self.node.events.normal(&self.pod, None, "ResizeCompleted", "Pod resize completed");
        }
    }
}
