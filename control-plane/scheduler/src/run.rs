//! The scheduler's loop: what happens goes into the snapshot and the queue, what is decided goes out as writes.
//!
//! One task owns all state. A pod that was placed counts on its node at once, long before the API shows it there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{Change, Changes, Executor, Informer, Informers, Key, Plan, Recorder};
use fit::resources::requests;
use k8s_openapi::api::core::v1::{Node, Pod};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Refused};
use crate::extender::{self, Extender};
use crate::metrics::{Call, Ended};
use crate::pod::{PodInfo, is_finished, node_name, scheduler_name, uid};
use crate::preempt;
use crate::profile::Profile;
use crate::queue::{Event, Happening, Queue, Rules};
use crate::schedule::{Nowhere, Placement};
use crate::snapshot::Snapshot;

mod asked;
mod cycle;
mod measured;
mod outcome;
mod surroundings;

use cycle::{Done, Held};
use measured::Sampled;
use surroundings::Surroundings;

/// Bindings and other writes under way at a time: more than a store commits in a round trip gains nothing.
const WRITES: usize = 64;
/// Pods placed in a row before the loop looks at what has happened meanwhile.
const BATCH: usize = 16;

struct Scheduler {
    config: Config,
    /// One per profile: each tells events under its own name.
    executors: Vec<Executor>,
    extenders: Vec<Extender>,
    pods: Informer<Pod>,
    snapshot: Snapshot,
    queue: Queue,
    /// Where each counted pod is counted, by uid.
    counted: HashMap<String, String>,
    /// Pods that were placed and are not yet seen there, by uid.
    assumed: HashMap<String, Key>,
    /// When the queue gave out the pod that is being decided about.
    began: Instant,
    sampled: Sampled,
    hints_sampled: Sampled,
    /// Pods that wait at Permit.
    held: JoinSet<Held>,
    writes: JoinSet<Done>,
}

/// Schedules pods until stopped.
///
/// # Errors
/// An extender of the configuration cannot be used.
pub async fn run(
    client: kube::Client,
    informers: Arc<Informers>,
    config: Config,
    stop: CancellationToken,
) -> Result<(), Refused> {
    let extenders = config.extenders.iter().map(Extender::connect).collect::<Result<_, _>>()?;
    let executor = |profile: &Profile| {
        Executor::new(client.clone(), Recorder::start(client.clone(), &profile.scheduler_name, stop.clone()))
    };
    let executors = config.profiles.iter().map(executor).collect();
    let (pods, nodes) = (informers.of::<Pod>(), informers.of::<Node>());
    let surroundings = Surroundings::of(&informers).await;
    pods.synced().await;
    nodes.synced().await;
    // Those of a time before this one hold no room any more.
    config.waiting.forget();
    let scheduler = Scheduler {
        queue: Queue::new(config.backoff, Rules::of(&config.profiles)),
        config,
        executors,
        extenders,
        pods: pods.clone(),
        snapshot: Snapshot::default(),
        counted: HashMap::new(),
        assumed: HashMap::new(),
        began: Instant::now(),
        sampled: Sampled::default(),
        hints_sampled: Sampled::default(),
        held: JoinSet::new(),
        writes: JoinSet::new(),
    };
    stop.run_until_cancelled(scheduler.work(pods.changes(), nodes.changes(), surroundings)).await;
    Ok(())
}

impl Scheduler {
    async fn work(mut self, mut pods: Changes<Pod>, mut nodes: Changes<Node>, mut surroundings: Surroundings) {
        loop {
            let due = self.queue.next_at();
            let more = self.place_some().await;
            self.tell_pending();
            tokio::select! {
                // Nodes come before pods: a pod that is decided about meets the cluster as it is.
                biased;
                Some(change) = surroundings.next() => change.into(&mut self.snapshot),
                Some(change) = nodes.next() => self.heard(measured::of_node(&change), |all| all.node(change)),
                Some(change) = pods.next() => self.heard(measured::of_pod(&change), |all| all.pod(change)),
                Some(held) = self.held.join_next(), if !self.held.is_empty() => self.permitted(held),
                Some(done) = self.writes.join_next(), if !self.writes.is_empty() => self.written(done),
                () = tokio::task::yield_now(), if more => {}
                () = sleep_until(due), if due.is_some() => {}
                else => return,
            }
        }
    }

    /// Places the next pods; true if there are more.
    async fn place_some(&mut self) -> bool {
        for _ in 0..BATCH {
            if self.writes.len() >= WRITES {
                return false;
            }
            self.began = Instant::now();
            let Some((key, pod)) = self.queue.take(self.began) else { return false };
            self.place(&key, pod).await;
        }
        true
    }

    async fn place(&mut self, key: &Key, pod: Arc<PodInfo>) {
        let current = self.pods.get_key(key).filter(|now| uid(now) == pod.uid());
        let by = current.filter(|now| self.waits(now)).and_then(|now| self.profile_of(&now));
        let Some((by, profile)) = by.and_then(|by| Some((by, self.config.profiles.get(by)?))) else {
            return self.queue.remove(key);
        };
        if self.assumed.contains_key(pod.uid()) {
            return;
        }
        let interested = self.extenders.iter().filter(|extender| extender.is_interested(&pod.pod));
        let interested: Vec<Extender> = interested.cloned().collect();
        if !interested.is_empty() {
            return self.place_asking(key, pod, by, &interested).await;
        }
        let decide = std::panic::AssertUnwindSafe(|| self.decide(profile, &pod));
        match std::panic::catch_unwind(decide) {
            Ok(Placement::Node(node)) => self.send(key, &pod, &node, by),
            Ok(Placement::Nowhere(nowhere)) => {
                self.ended(key, by, Ended::Unschedulable);
                self.nowhere(key, &pod, nowhere, by);
            }
            Err(_) => {
                tracing::error!(pod = %key, "deciding about a pod panicked");
                self.ended(key, by, Ended::Error);
                self.queue.failed(key, Instant::now());
            }
        }
    }

    /// Which profile the pod asks for, if it is one of ours.
    fn profile_of(&self, pod: &Pod) -> Option<usize> {
        let named = scheduler_name(pod);
        self.config.profiles.iter().position(|profile| profile.scheduler_name == named)
    }

    fn nowhere(&mut self, key: &Key, pod: &Arc<PodInfo>, nowhere: Nowhere, by: usize) {
        tracing::debug!(pod = %key, "{}", nowhere.message);
        let waits = |pod: &PodInfo| self.config.waiting.has(pod.uid());
        let mut plan = outcome::unschedulable(&pod.pod, &nowhere, waits);
        if nowhere.end_nomination {
            self.snapshot.end_nomination(pod.uid());
        }
        if let Some(preemption) = &nowhere.preempt {
            self.config.metrics.preemption(preemption.victims.len());
            // Who waits there with less priority has to look elsewhere.
            let outdone =
                self.snapshot.nominated_to(&preemption.node).iter().filter(|other| other.priority < pod.priority);
            let outdone: Vec<Arc<PodInfo>> = outdone.cloned().collect();
            for other in outdone {
                outcome::end_nomination(&other.pod, &mut plan);
                self.snapshot.end_nomination(other.uid());
            }
            self.snapshot.nominate(pod.clone(), &preemption.node);
            // A victim that waits to be bound needs not be deleted: it gives up its place.
            for victim in &preemption.victims {
                self.config.waiting.preempt(victim.uid(), preempt::NAME);
            }
        }
        let makes_room = nowhere.preempt.is_some();
        self.queue.park(key, nowhere.refused_by, Instant::now());
        self.tell(key, plan, by, makes_room);
    }

    /// Writes what is to be known of a pod.
    fn tell(&mut self, key: &Key, plan: Plan, by: usize, makes_room: bool) {
        let Some(executor) = self.executors.get(by).cloned() else { return };
        let (key, metrics) = (key.clone(), self.config.metrics.clone());
        self.writes.spawn(async move {
            let since = Instant::now();
            let failure = executor.act(&plan).await.failure.map(|failure| failure.to_string());
            metrics.called(Call::StatusPatch, failure.is_none(), since.elapsed());
            if makes_room {
                metrics.made_room(failure.is_none(), since.elapsed());
            }
            Done::Told { key, failure }
        });
    }

    fn waits(&self, pod: &Pod) -> bool {
        node_name(pod).is_empty()
            && self.profile_of(pod).is_some()
            && pod.metadata.deletion_timestamp.is_none()
            && !is_finished(pod)
    }

    fn pod(&mut self, change: Change<Pod>) {
        let now = Instant::now();
        if let (Some(before), Some(after)) = (&change.before, &change.after)
            && uid(before) != uid(after)
        {
            self.gone(before);
        }
        match (&change.after, &change.before) {
            (Some(pod), before) => self.there(&change.key, before.as_deref(), pod, now),
            (None, Some(pod)) => {
                self.queue.remove(&change.key);
                self.gone(pod);
            }
            (None, None) => self.queue.remove(&change.key),
        }
    }

    fn there(&mut self, key: &Key, before: Option<&Pod>, pod: &Arc<Pod>, now: Instant) {
        if is_finished(pod) {
            self.queue.remove(key);
            return self.gone(pod);
        }
        if node_name(pod).is_empty() {
            return match self.waits(pod) {
                true => self.wanted(key, Arc::new(PodInfo::new(pod.clone())), now),
                false => self.queue.remove(key),
            };
        }
        self.queue.remove(key);
        self.assumed.remove(uid(pod));
        self.snapshot.end_nomination(uid(pod));
        let pod = Arc::new(PodInfo::new(pod.clone()));
        let node = node_name(&pod.pod);
        if self.counted.get(pod.uid()).map(String::as_str) != Some(node) || !self.snapshot.renew_pod(node, &pod) {
            if let Some(known) = self.counted.insert(pod.uid().to_owned(), node.to_owned()) {
                self.snapshot.remove_pod(&known, pod.uid());
            }
            self.snapshot.add_pod(node, pod.clone());
        }
        let placed_before = before.filter(|before| !node_name(before).is_empty());
        let relabelled = placed_before.filter(|before| before.metadata.labels != pod.pod.metadata.labels);
        if let Some(before) = relabelled {
            let before = Arc::new(PodInfo::new(Arc::new(before.clone())));
            self.happened(&Event::Pod(Happening::PodRelabelled, &before));
        }
        if placed_before.is_none() || relabelled.is_some() {
            self.happened(&Event::Pod(Happening::PodCame, &pod));
        }
        if placed_before.is_some_and(|before| requests(before) != pod.requests) {
            self.happened(&Event::Pod(Happening::PodLeft, &pod));
        }
    }

    /// A pod without a node. After a restart the API still tells where room was being made for it.
    fn wanted(&mut self, key: &Key, pod: Arc<PodInfo>, now: Instant) {
        let node = self.snapshot.nomination(pod.uid()).or(pod.nominated()).map(str::to_owned);
        if let Some(node) = node {
            self.snapshot.nominate(pod.clone(), &node);
        }
        self.queue.put(key, pod, now);
    }

    fn gone(&mut self, pod: &Pod) {
        self.config.waiting.refuse(uid(pod), "", "removed");
        self.assumed.remove(uid(pod));
        self.snapshot.end_nomination(uid(pod));
        self.uncount(uid(pod));
    }

    fn uncount(&mut self, uid: &str) {
        let Some(node) = self.counted.remove(uid) else { return };
        if let Some(pod) = self.snapshot.remove_pod(&node, uid) {
            self.happened(&Event::Pod(Happening::PodLeft, &pod));
        }
    }

    fn node(&mut self, change: Change<Node>) {
        let name = change.key.name;
        let Some(node) = change.after else {
            let gone = self.snapshot.get(&name).map(|known| known.sums());
            self.snapshot.remove_node(&name);
            return gone.iter().for_each(|gone| self.happened(&Event::Node(Happening::NodeRemoved, gone)));
        };
        let known = self.snapshot.get(&name).and_then(|info| info.facts.node.clone());
        self.snapshot.set_node(node.clone());
        let Some(info) = self.snapshot.get(&name).map(|info| info.sums()) else { return };
        for happening in node_happenings(known.as_deref(), &node) {
            self.happened(&Event::Node(happening, &info));
        }
    }
}

fn node_happenings(before: Option<&Node>, node: &Node) -> Vec<Happening> {
    let Some(before) = before else { return vec![Happening::NodeAdded] };
    let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
    let closed = |node: &Node| node.spec.as_ref().map(|spec| (spec.taints.clone(), spec.unschedulable));
    let all = [
        (allocatable(before) != allocatable(node), Happening::NodeGrew),
        (before.metadata.labels != node.metadata.labels, Happening::NodeRelabelled),
        (closed(before) != closed(node), Happening::NodeOpened),
    ];
    all.into_iter().filter(|(happened, _)| *happened).map(|(_, happening)| happening).collect()
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        // A little later than due, so that the queue is sure to find it due.
        Some(at) => tokio::time::sleep_until((at + Duration::from_millis(1)).into()).await,
        None => std::future::pending().await,
    }
}
