//! What an event changes in what the worker knows. Nothing here waits.

use super::{Event, RETRY, RETRY_MOST_S, Worker};
use crate::act::Failed;
use crate::backoff::Backoff;
use crate::identity::PodId;
use crate::observed::{EndReason, Failure, Volumes};
use crate::plan;
use crate::probes;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;

impl Worker {
    pub(super) fn apply(&mut self, event: Event, now: Timestamp) {
        match event {
            Event::Pod(pod) => self.renew(pod, now),
            Event::Gone => self.gone(now),
            Event::Runtime => self.stale = true,
            Event::Source => self.source(now),
            Event::Mounted(result) => self.mounted(result, now),
            Event::Sandbox(result) => self.sandbox(result, now),
            Event::Started { name, result } => self.started(&name, result, now),
            Event::Killed { name, result } => self.killed(&name, result, now),
            Event::Probed { name, id, kind, verdict } => self.probed(&name, &id, kind, verdict),
            Event::Written(result) => self.was_written(result, now),
            Event::Resized(result) => self.resized(result, now),
            Event::Allocated => {}
            Event::Unmounted(result) => self.was_unmounted(result, now),
            Event::Removed(result) => self.removed(result, now),
        }
    }

    fn renew(&mut self, pod: Arc<Pod>, now: Timestamp) {
        let metadata = |p: &Pod| (p.metadata.labels.clone(), p.metadata.annotations.clone());
        let changed = metadata(&pod) != metadata(&self.asked);
        self.asked = pod;
        self.allocate(now);
        if changed && self.rt.volumes == Volumes::Ready {
            self.remount = Some(now);
        }
        if self.pod.metadata.deletion_timestamp.is_none() {
            return;
        }
        let grace = plan::grace(&self.pod);
        match &mut self.rt.ending {
            Some(e) if e.why == EndReason::Gone => {}
            Some(e) => {
                e.why = EndReason::Deleted;
                e.grace = e.grace.min(grace);
            }
            None => self.end(EndReason::Deleted, grace, now),
        }
    }

    fn gone(&mut self, now: Timestamp) {
        let grace = plan::grace(&self.pod);
        match &mut self.rt.ending {
            Some(e) => e.why = EndReason::Gone,
            None => self.end(EndReason::Gone, grace, now),
        }
        // Whoever removes an object at once does not wait for what runs of it.
        self.node.ledger.forget(&self.uid());
    }

    fn source(&mut self, now: Timestamp) {
        match &mut self.rt.volumes {
            Volumes::Failed(f) => f.retry = now,
            Volumes::Ready | Volumes::Absent | Volumes::Mounting => self.remount = Some(now),
        }
        for memory in self.rt.memory.values_mut() {
            if let Some(f) = memory.failure.as_mut().filter(|f| f.reason == "CreateContainerConfigError") {
                f.retry = now;
            }
        }
    }

    /// 1 s, 2 s, 4 s, 8 s, 10 s.
    pub(super) fn patience(&mut self) -> SignedDuration {
        self.failures = self.failures.saturating_add(1);
        let seconds = 1i64 << self.failures.min(5).saturating_sub(1);
        SignedDuration::from_secs(seconds.min(RETRY_MOST_S))
    }

    fn mounted(&mut self, result: Result<Option<Timestamp>, crate::volumes::Error>, now: Timestamp) {
        match result {
            Ok(again) => {
                // A change that came in while this ran has set an earlier time.
                self.remount = [self.remount, again].into_iter().flatten().min();
                self.rt.volumes = Volumes::Ready;
                self.unmounted = false;
            }
            Err(error) => {
                let message = error.to_string();
                self.node.events.warning(&self.pod, None, "FailedMount", message.clone());
                let retry = now + self.patience();
                match self.rt.volumes {
                    // It runs with what it has; only the renewal failed.
                    Volumes::Ready => self.remount = Some(retry),
                    Volumes::Absent | Volumes::Mounting | Volumes::Failed(_) => {
                        self.rt.volumes = Volumes::Failed(Failure { reason: "FailedMount".into(), message, retry });
                    }
                }
            }
        }
    }

    fn sandbox(&mut self, result: Result<(), String>, now: Timestamp) {
        self.rt.sandbox_busy = false;
        self.stale = true;
        let Err(message) = result else {
            self.rt.sandbox_failure = None;
            return;
        };
        let retry = now + self.patience();
        if self.rt.ending.is_none() {
            let text = format!("Failed to create pod sandbox: {message}");
            self.node.events.warning(&self.pod, None, "FailedCreatePodSandBox", text);
        } else {
            tracing::warn!(pod = %PodId::of(&self.pod), message, "stopping a sandbox");
            self.retry = Some(retry);
        }
        self.rt.sandbox_failure = Some(Failure { reason: "FailedCreatePodSandBox".into(), message, retry });
    }

    fn started(&mut self, name: &str, result: Result<(), Failed>, now: Timestamp) {
        self.ops.remove(name);
        self.stale = true;
        let patience = if result.is_err() { self.patience() } else { RETRY };
        let memory = self.rt.memory.entry(name.to_owned()).or_default();
        memory.op = None;
        let Err(failed) = result else {
            memory.failure = None;
            memory.pull = None;
            self.failures = 0;
            return;
        };
        if failed.pull {
            memory.pull = Some(Backoff::next(memory.pull, now));
        }
        memory.failure = Some(Failure { reason: failed.reason.into(), message: failed.message, retry: now + patience });
    }

    fn killed(&mut self, name: &str, result: Result<(), String>, now: Timestamp) {
        self.ops.remove(name);
        self.stale = true;
        if let Some(memory) = self.rt.memory.get_mut(name) {
            memory.op = None;
        }
        if let Err(error) = result {
            tracing::warn!(pod = %PodId::of(&self.pod), container = name, error, "killing a container");
            self.retry = Some(now + self.patience());
        }
    }

    fn probed(&mut self, name: &str, id: &str, kind: probes::Kind, verdict: bool) {
        let Some(memory) = self.rt.memory.get_mut(name).filter(|m| m.probes.id == id) else { return };
        match kind {
            // The other probes begin when this one has spoken.
            probes::Kind::Startup => {
                memory.probes.startup = Some(verdict);
                self.stale = true;
            }
            probes::Kind::Liveness => memory.probes.liveness = Some(verdict),
            probes::Kind::Readiness => memory.probes.readiness = Some(verdict),
        }
    }

    fn was_written(&mut self, result: Result<Option<u64>, String>, now: Timestamp) {
        self.writing = false;
        match result {
            Ok(version) => self.version = version,
            Err(error) => {
                tracing::warn!(pod = %PodId::of(&self.pod), error, "writing a pod's status");
                self.refused = true;
                self.show_after = now + self.patience();
            }
        }
    }

    fn was_unmounted(&mut self, result: Result<(), String>, now: Timestamp) {
        match result {
            Ok(()) => self.rt.volumes = Volumes::Absent,
            Err(error) => {
                tracing::warn!(pod = %PodId::of(&self.pod), error, "releasing a pod's volumes");
                self.unmounted = false;
                self.retry = Some(now + self.patience());
            }
        }
    }

    fn removed(&mut self, result: Result<(), String>, now: Timestamp) {
        self.removing = false;
        match result {
            Ok(()) => self.done = true,
            Err(error) => {
                tracing::warn!(pod = %PodId::of(&self.pod), error, "removing a pod");
                self.retry = Some(now + self.patience());
                self.stale = true;
            }
        }
    }
}
