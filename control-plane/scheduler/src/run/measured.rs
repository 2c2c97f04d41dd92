//! What the loop measures of its decisions: the clock is read here, never within them.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use client::{Change, Key};
use k8s_openapi::api::core::v1::{Node, Pod};

use super::Scheduler;
use crate::framework::{Objection, Point};
use crate::metrics::{Code, Ended, Metrics, Now};
use crate::pod::{PodInfo, node_name};
use crate::profile::Profile;
use crate::queue::Event;
use crate::schedule::{Ear, Placement, schedule_telling};

/// Of so many decisions, the runs of single plugins are measured in one, as upstream: reading the clock around each costs more
/// than most of them do.
const SAMPLED: u32 = 10;

/// An attempt to schedule a pod that may yet end well.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    profile: usize,
    began: Instant,
    tries: u32,
    first: Instant,
    timed_out: bool,
}

/// Counts decisions.
#[derive(Debug, Default)]
pub(super) struct Sampled(Cell<u32>);

impl Sampled {
    fn is_next(&self) -> bool {
        let nth = self.0.get();
        self.0.set((nth + 1) % SAMPLED);
        nth == 0
    }
}

pub(super) fn code<T>(verdict: &Result<T, (&'static str, Objection)>) -> Code {
    match verdict {
        Ok(_) => Code::Success,
        Err((_, Objection::Unschedulable(_))) => Code::Unschedulable,
        Err((_, Objection::Failed(_))) => Code::Error,
    }
}

/// Upstream's name of what happened.
pub(super) fn of_node(change: &Change<Node>) -> &'static str {
    one_of(change, ["NodeAdd", "NodeUpdate", "NodeDelete"])
}

pub(super) fn of_pod(change: &Change<Pod>) -> &'static str {
    let assigned = change.after.as_ref().or(change.before.as_ref()).is_some_and(|pod| !node_name(pod).is_empty());
    match assigned {
        true => one_of(change, ["AssignedPodAdd", "AssignedPodUpdate", "AssignedPodDelete"]),
        false => one_of(change, ["UnschedulablePodAdd", "UnschedulablePodUpdate", "UnschedulablePodDelete"]),
    }
}

fn one_of<K>(change: &Change<K>, [add, update, delete]: [&'static str; 3]) -> &'static str {
    match (&change.before, &change.after) {
        (None, _) => add,
        (Some(_), Some(_)) => update,
        (Some(_), None) => delete,
    }
}

/// Hears a decision and reads the clock.
struct Clock<'a> {
    metrics: &'a Metrics,
    profile: &'a str,
    sampled: bool,
    /// When the point began, and the last run of a plugin.
    point: Cell<Instant>,
    run: Cell<Instant>,
    asked: RefCell<Vec<(Point, &'static str)>>,
}

impl Ear for Clock<'_> {
    fn asks(&self, point: Point, plugin: &'static str) {
        self.asked.borrow_mut().push((point, plugin));
    }

    fn hears_runs(&self) -> bool {
        self.sampled
    }

    fn ran(&self, point: Point, plugin: &'static str, well: bool) {
        if self.sampled {
            let now = Instant::now();
            let code = if well { Code::Success } else { Code::Unschedulable };
            self.metrics.plugin(point, plugin, code, now - self.run.replace(now));
        }
    }

    fn over(&self, point: Point, well: bool) {
        let now = Instant::now();
        let code = if well { Code::Success } else { Code::Unschedulable };
        self.metrics.point(point, self.profile, code, now - self.point.replace(now));
        self.run.set(now);
    }
}

impl Scheduler {
    pub(super) fn decide(&self, profile: &Profile, pod: &PodInfo) -> Placement {
        let metrics = self.config.metrics.as_ref();
        let began = Instant::now();
        let clock = Clock {
            metrics,
            profile: &profile.scheduler_name,
            sampled: self.sampled.is_next(),
            point: Cell::new(began),
            run: Cell::new(began),
            asked: RefCell::default(),
        };
        let placement = schedule_telling(profile, &self.snapshot, pod, rand::random(), &clock);
        metrics.asked(&profile.scheduler_name, &clock.asked.borrow());
        metrics.algorithm(began.elapsed());
        placement
    }

    /// The attempt under way: it began when the queue gave the pod out.
    pub(super) fn attempt(&self, key: &Key, profile: usize) -> Option<Attempt> {
        let (tries, first) = self.queue.tried(key)?;
        Some(Attempt { profile, began: self.began, tries, first, timed_out: self.queue.timed_out(key) })
    }

    pub(super) fn ended(&self, key: &Key, profile: usize, ended: Ended) {
        self.ended_attempt(self.attempt(key, profile).as_ref(), ended);
    }

    pub(super) fn ended_attempt(&self, attempt: Option<&Attempt>, ended: Ended) {
        let Some(attempt) = attempt else { return };
        if let Some(profile) = self.config.profiles.get(attempt.profile) {
            self.config.metrics.attempt(&profile.scheduler_name, ended, attempt.began.elapsed());
        }
    }

    /// A binding ended well.
    pub(super) fn tell_bound(&self, attempt: Option<&Attempt>) {
        self.ended_attempt(attempt, Ended::Scheduled);
        if let Some(attempt) = attempt {
            self.config.metrics.scheduled(attempt.tries, attempt.first.elapsed(), attempt.timed_out);
        }
    }

    /// Takes in what happened.
    pub(super) fn heard(&mut self, event: &'static str, take_in: impl FnOnce(&mut Scheduler)) {
        let since = Instant::now();
        take_in(self);
        self.config.metrics.handled(event, since.elapsed());
    }

    /// Something happened that may help who waits. The plugins' hints are measured in one of so many events, as their runs are.
    pub(super) fn happened(&mut self, event: &Event) {
        let (now, metrics) = (Instant::now(), self.config.metrics.as_ref());
        if !self.hints_sampled.is_next() {
            return self.queue.happened(event, now);
        }
        let mut since = now;
        let mut told = |plugin: &'static str, hopes: bool| {
            let now = Instant::now();
            metrics.hint(plugin, event.happening(), hopes, now - std::mem::replace(&mut since, now));
        };
        self.queue.happened_telling(event, now, &mut told);
    }

    pub(super) fn tell_pending(&self) {
        let now = Now {
            sizes: self.queue.sizes(),
            nodes: self.snapshot.order().len(),
            pods: self.counted.len(),
            assumed: self.assumed.len(),
            binding: self.writes.len(),
        };
        self.config.metrics.now(now, self.queue.ledger());
        let (events, pods) = self.queue.in_flight();
        self.config.metrics.in_flight(events, pods);
    }
}
