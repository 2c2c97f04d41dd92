//! What the loop measures of its decisions: the clock is read here, never within them.

use std::time::Instant;

use client::Key;
use k8s_openapi::api::core::v1::Pod;

use super::{Done, Scheduler};
use crate::metrics::{Ended, Pending};
use crate::pod::{PodInfo, node_name};
use crate::profile::Profile;
use crate::schedule::{Placement, schedule_telling};

/// An attempt to schedule a pod that may yet end well.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    profile: usize,
    began: Instant,
    tries: u32,
    first: Instant,
}

pub(super) fn is_gated(pod: &Pod) -> bool {
    let gates = pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref());
    gates.is_some_and(|gates| !gates.is_empty())
}

impl Scheduler {
    pub(super) fn decide(&self, profile: &Profile, pod: &PodInfo) -> Placement {
        let metrics = &self.config.metrics;
        let began = Instant::now();
        let mut since = began;
        let placement = schedule_telling(profile, &self.snapshot, pod, rand::random(), |point| {
            let now = Instant::now();
            metrics.point(point, &profile.scheduler_name, now - since);
            since = now;
        });
        metrics.algorithm(began.elapsed());
        placement
    }

    /// The attempt under way: it began when the queue gave the pod out.
    pub(super) fn attempt(&self, key: &Key, profile: usize) -> Option<Attempt> {
        let (tries, first) = self.queue.tried(key)?;
        Some(Attempt { profile, began: self.began, tries, first })
    }

    pub(super) fn ended(&self, key: &Key, profile: usize, ended: Ended) {
        if let Some(attempt) = self.attempt(key, profile) {
            self.tell(&attempt, ended);
        }
    }

    fn tell(&self, attempt: &Attempt, ended: Ended) {
        if let Some(profile) = self.config.profiles.get(attempt.profile) {
            self.config.metrics.attempt(&profile.scheduler_name, ended, attempt.began.elapsed());
        }
    }

    /// A binding ended, well or not.
    pub(super) fn tell_bound(&self, done: &Done) {
        let Some(attempt) = &done.attempt else { return };
        if done.failure.is_some() {
            return self.tell(attempt, Ended::Error);
        }
        self.tell(attempt, Ended::Scheduled);
        self.config.metrics.scheduled(attempt.tries, attempt.first.elapsed());
    }

    pub(super) fn note_gates(&mut self, key: &Key, pod: &Pod) {
        let ours = node_name(pod).is_empty() && is_gated(pod) && self.profile_of(pod).is_some();
        match ours {
            true => self.gated.insert(key.clone()),
            false => self.gated.remove(key),
        };
    }

    pub(super) fn tell_pending(&self) {
        let [active, backoff, unschedulable] = self.queue.sizes();
        self.config.metrics.pending(Pending { active, backoff, unschedulable, gated: self.gated.len() });
    }
}
