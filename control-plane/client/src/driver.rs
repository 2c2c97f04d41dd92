//! Runs a controller: changes become keys, keys become plans, plans become writes.
//!
//! What every controller would otherwise do for itself is here once: one plan per key at a time, the fence, retries,
//! reads on demand, and the rule that a panicking plan harms its key and nothing else.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, SelectAll};
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::event::Recorder;
use crate::execute::{Executor, Failure, Outcome, Written};
use crate::fence;
use crate::informer::{Informers, Tracked};
use crate::metrics::Counts;
use crate::object::Key;
use crate::plan::{Answers, Decision, Plan};
use crate::queue::{Ended, Queue};
use crate::view::{Keys, Moment, View, Watches};
use crate::workqueue;

/// Keys that wait for their fence or are worked on: the memory of that many plans.
const IN_FLIGHT: usize = 256;
/// What is told of work that is under way is at most this old.
const BEAT: Duration = Duration::from_secs(1);
/// A plan that still asks after this many rounds of reads never comes to an end.
const READ_ROUNDS: usize = 16;

/// A controller: what it watches and what it decides. Everything else is the driver's.
pub trait Controller: Send + Sync + 'static {
    /// Its name: in logs, metrics, events and, upstream, its service account.
    fn name(&self) -> &'static str;

    /// Whose rights it has: the service account that upstream's bootstrap roles are bound to.
    fn identity(&self) -> &'static str {
        self.name()
    }

    /// Declares what it looks at.
    fn watches(&self, watches: &mut Watches<'_>);

    /// Decides what is to be done about a key. Pure.
    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision;

    /// Keys that are planned and carried out at the same time.
    fn workers(&self) -> usize {
        5
    }
}

pub struct Driver {
    controller: Arc<dyn Controller>,
    executor: Executor,
    counts: Arc<Counts>,
    workers: usize,
    resync: Option<Duration>,
}

/// What the work on a key left behind.
struct Worked {
    key: Key,
    ended: Ended,
    again_after: Option<Duration>,
    written: Vec<Written>,
    /// What its next plan is told.
    memory: Option<Arc<Value>>,
}

struct Running {
    controller: Arc<dyn Controller>,
    executor: Executor,
    counts: Arc<Counts>,
    view: Arc<View>,
    tracked: Vec<Arc<dyn Tracked>>,
    permits: Semaphore,
}

impl Driver {
    pub fn new(controller: Arc<dyn Controller>, client: kube::Client, stop: &CancellationToken) -> Driver {
        let recorder = Recorder::start(client.clone(), controller.name(), stop.clone());
        let workers = controller.workers();
        let executor = Executor::new(client, recorder);
        let counts = Arc::default();
        workqueue::known(controller.name(), &counts);
        Driver { controller, executor, counts, workers, resync: None }
    }

    /// Plans so many keys at the same time.
    pub fn with_workers(self, workers: usize) -> Driver {
        Driver { workers: workers.clamp(1, IN_FLIGHT), ..self }
    }

    /// Plans every key of its own again every so often, even if nothing changes.
    pub fn with_resync(self, period: Duration) -> Driver {
        Driver { resync: Some(period), ..self }
    }

    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    /// Runs until stopped.
    pub async fn run(self, informers: &Informers, stop: CancellationToken) {
        let name = self.controller.name();
        stop.run_until_cancelled(self.work(informers)).await;
        tracing::debug!(controller = name, "stopped");
    }

    async fn work(self, informers: &Informers) {
        let (running, mut keys, mut timers) = self.start(informers).await;
        tracing::debug!(controller = running.controller.name(), "running");
        let mut queue = Queue::new(Instant::now());
        let mut fences = std::collections::HashMap::<Key, Vec<Written>>::new();
        // As many as there are objects whose plans want to be told something: a plan of one that is gone wants nothing.
        let mut memories = std::collections::HashMap::<Key, Arc<Value>>::new();
        let mut in_flight = FuturesUnordered::new();
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            while in_flight.len() < IN_FLIGHT
                && let Some((key, waited)) = queue.take(Instant::now())
            {
                running.counts.waited.observe(waited);
                let fence = fences.remove(&key).unwrap_or_default();
                let memory = memories.remove(&key);
                in_flight.push(running.work(key, fence, memory));
            }
            running.counts.tell(&queue, Instant::now());
            let due = queue.next_at();
            tokio::select! {
                Some(worked) = in_flight.next(), if !in_flight.is_empty() => {
                    let now = Instant::now();
                    if !worked.written.is_empty() {
                        fences.insert(worked.key.clone(), worked.written);
                    }
                    if let Some(memory) = worked.memory {
                        memories.insert(worked.key.clone(), memory);
                    }
                    let retried = matches!(worked.ended, Ended::Conflict | Ended::Failed);
                    running.counts.retries.fetch_add(u64::from(retried) + u64::from(worked.again_after.is_some()), Relaxed);
                    if let Some(after) = worked.again_after {
                        queue.add_at(worked.key.clone(), now + after);
                    }
                    running.counts.worked.observe(queue.done(worked.key, worked.ended, now));
                }
                Some(changed) = keys.next(), if !keys.is_empty() => running.counts.add(&mut queue, changed),
                Some(timed) = timers.next(), if !timers.is_empty() => running.counts.add(&mut queue, timed),
                _ = beat.tick(), if !in_flight.is_empty() => {}
                () = sleep_until(due), if due.is_some() => {}
                else => return,
            }
        }
    }

    async fn start(self, informers: &Informers) -> (Running, SelectAll<Keys>, SelectAll<Keys>) {
        let mut watches = Watches::live(informers);
        self.controller.watches(&mut watches);
        let view = Arc::new(watches.view());
        for tracked in &watches.tracked {
            // The sender lives in the informer, so waiting cannot fail.
            let _ = tracked.progress().wait_for(|p| p.synced || p.closed).await;
        }
        let keys = futures::stream::select_all(watches.start(&view));
        let resync = self.resync.into_iter().flat_map(|period| watches.owned.iter().map(move |keys| (period, *keys)));
        let timed = watches.timed.iter().copied().chain(resync);
        let timers = timed.map(|(period, keys)| timer(period, keys, view.clone()));
        let timers = futures::stream::select_all(timers.collect::<Vec<_>>());
        let permits = Semaphore::new(self.workers);
        let tracked = std::mem::take(&mut watches.tracked);
        let Driver { controller, executor, counts, .. } = self;
        (Running { controller, executor, counts, view, tracked, permits }, keys, timers)
    }
}

impl Counts {
    fn add(&self, queue: &mut Queue, keys: Vec<Key>) {
        let now = Instant::now();
        let added = keys.into_iter().filter(|key| queue.add(key.clone(), now)).count();
        self.adds.fetch_add(added as u64, Relaxed);
    }

    fn tell(&self, queue: &Queue, now: Instant) {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (all, longest) = queue.unfinished(now);
        self.depth.store(queue.len() as u64, Relaxed);
        self.ready.store(queue.ready() as u64, Relaxed);
        self.unfinished_ns.store(ns(all), Relaxed);
        self.longest_ns.store(ns(longest), Relaxed);
    }
}

fn timer(period: Duration, keys: fn(&View) -> Vec<Key>, view: Arc<View>) -> Keys {
    let ticks = tokio::time::interval(period);
    Box::pin(futures::stream::unfold((ticks, view), move |(mut ticks, view)| async move {
        ticks.tick().await;
        let due = keys(&view);
        Some((due, (ticks, view)))
    }))
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

impl Running {
    async fn work(&self, key: Key, fence: Vec<Written>, memory: Option<Arc<Value>>) -> Worked {
        let mut worked = Worked { key, ended: Ended::Well, again_after: None, written: Vec::new(), memory };
        if let Err(failure) = fence::pass(fence.clone(), &self.tracked, &self.executor).await {
            worked.written = fence;
            worked.ended = self.failed(&worked.key, &failure);
            return worked;
        }
        let Ok(_permit) = self.permits.acquire().await else { return worked };
        match self.decide(&worked.key, worked.memory.clone()).await {
            Ok(Some(plan)) => self.act(&mut worked, plan).await,
            Ok(None) => worked.ended = Ended::Failed,
            Err(failure) => worked.ended = self.failed(&worked.key, &failure),
        }
        worked
    }

    /// Plans, with as many rounds of reads as it takes; none if the plan cannot be had.
    async fn decide(&self, key: &Key, memory: Option<Arc<Value>>) -> Result<Option<Plan>, Failure> {
        let view = self.view.with_memory(memory);
        let mut answers = Answers::new();
        for _ in 0..READ_ROUNDS {
            let view = view.with_answers(answers);
            let moment = Moment { now: Timestamp::now(), seed: rand::random() };
            self.counts.plans.fetch_add(1, Relaxed);
            let planned = std::panic::catch_unwind(AssertUnwindSafe(|| self.controller.plan(&view, key, moment)));
            match planned {
                Ok(Decision::Do(plan)) => return Ok(Some(plan)),
                Ok(Decision::Need(reads)) => {
                    answers = view.into_answers();
                    self.executor.read(&reads, &mut answers).await?;
                }
                Err(panic) => {
                    self.counts.panics.fetch_add(1, Relaxed);
                    let message = panic_text(panic.as_ref());
                    tracing::error!(controller = self.controller.name(), %key, "the plan panicked: {message}");
                    return Ok(None);
                }
            }
        }
        tracing::error!(controller = self.controller.name(), %key, "the plan asks for reads without end");
        Ok(None)
    }

    async fn act(&self, worked: &mut Worked, plan: Plan) {
        let acted = AssertUnwindSafe(self.executor.act(&plan)).catch_unwind().await;
        let outcome = acted.unwrap_or_else(|panic| {
            self.counts.panics.fetch_add(1, Relaxed);
            tracing::error!(key = %worked.key, "carrying out a plan panicked: {}", panic_text(panic.as_ref()));
            Outcome { cut: true, ..Outcome::default() }
        });
        self.counts.writes.fetch_add(outcome.written.len() as u64, Relaxed);
        worked.again_after = plan.again_after;
        worked.written = outcome.written;
        worked.ended = match &outcome.failure {
            Some(failure) => self.failed(&worked.key, failure),
            None if outcome.cut => Ended::Unfinished,
            None => {
                worked.memory = plan.memory.map(Arc::new);
                Ended::Well
            }
        };
    }

    fn failed(&self, key: &Key, failure: &Failure) -> Ended {
        let controller = self.controller.name();
        if failure.is_conflict() {
            self.counts.conflicts.fetch_add(1, Relaxed);
            tracing::debug!(controller, %key, "{failure}");
            return Ended::Conflict;
        }
        self.counts.failures.fetch_add(1, Relaxed);
        tracing::warn!(controller, %key, "{failure}");
        Ended::Failed
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}
