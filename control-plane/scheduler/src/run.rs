//! The scheduler's loop: what happens goes into the snapshot and the queue, what is decided goes out as writes.
//!
//! One task owns all state. A pod that was placed counts on its node at once, long before the API shows it there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{Change, Changes, Executor, Informer, Informers, Key, Plan, Recorder};
use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ReplicationController, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Refused};
use crate::extender::{self, Extender};
use crate::metrics::Ended;
use crate::pod::{PodInfo, is_finished, node_name, uid};
use crate::profile::{DEFAULT_NAME, Profile};
use crate::queue::{Event, Happening, Queue};
use crate::resources::requests;
use crate::schedule::{Nowhere, Placement};
use crate::snapshot::Snapshot;

mod asked;
mod measured;
mod outcome;

use measured::Attempt;

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
    /// Pods of ours behind scheduling gates.
    gated: HashSet<Key>,
    writes: JoinSet<Done>,
}

/// What else the cluster holds that decisions go by.
struct Surroundings {
    namespaces: Changes<Namespace>,
    budgets: Changes<PodDisruptionBudget>,
    services: Changes<Service>,
    replica_sets: Changes<ReplicaSet>,
    stateful_sets: Changes<StatefulSet>,
    replication_controllers: Changes<ReplicationController>,
}

/// A write that ended.
struct Done {
    key: Key,
    uid: String,
    bound: bool,
    attempt: Option<Attempt>,
    failure: Option<String>,
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
    let scheduler = Scheduler {
        queue: Queue::new(config.backoff),
        config,
        executors,
        extenders,
        pods: pods.clone(),
        snapshot: Snapshot::default(),
        counted: HashMap::new(),
        assumed: HashMap::new(),
        began: Instant::now(),
        gated: HashSet::new(),
        writes: JoinSet::new(),
    };
    stop.run_until_cancelled(scheduler.work(pods.changes(), nodes.changes(), surroundings)).await;
    Ok(())
}

impl Surroundings {
    async fn of(informers: &Informers) -> Surroundings {
        async fn changes<K: client::Object<DynamicType = ()>>(informers: &Informers) -> Changes<K> {
            let informer = informers.of::<K>();
            informer.synced().await;
            informer.changes()
        }
        Surroundings {
            namespaces: changes(informers).await,
            budgets: changes(informers).await,
            services: changes(informers).await,
            replica_sets: changes(informers).await,
            stateful_sets: changes(informers).await,
            replication_controllers: changes(informers).await,
        }
    }

    /// Takes the next change into the snapshot; none when the informers have stopped.
    async fn next(&mut self) -> Option<Surrounding> {
        Some(tokio::select! {
            Some(change) = self.namespaces.next() => Surrounding::Namespace(change),
            Some(change) = self.budgets.next() => Surrounding::Budget(change),
            Some(change) = self.services.next() => Surrounding::Service(change),
            Some(change) = self.replica_sets.next() => Surrounding::controller("ReplicaSet", change, |set| {
                set.spec.as_ref().map(|spec| spec.selector.clone())
            }),
            Some(change) = self.stateful_sets.next() => Surrounding::controller("StatefulSet", change, |set| {
                set.spec.as_ref().map(|spec| spec.selector.clone())
            }),
            Some(change) = self.replication_controllers.next() => {
                Surrounding::controller("ReplicationController", change, |set| {
                    let match_labels = set.spec.as_ref().and_then(|spec| spec.selector.clone());
                    Some(LabelSelector { match_labels, ..LabelSelector::default() })
                })
            }
            else => return None,
        })
    }
}

enum Surrounding {
    Namespace(Change<Namespace>),
    Budget(Change<PodDisruptionBudget>),
    Service(Change<Service>),
    Controller(&'static str, Key, Option<LabelSelector>),
}

impl Surrounding {
    fn controller<K>(kind: &'static str, change: Change<K>, of: fn(&K) -> Option<LabelSelector>) -> Surrounding {
        Surrounding::Controller(kind, change.key, change.after.as_deref().and_then(of))
    }

    fn into(self, snapshot: &mut Snapshot) {
        match self {
            Surrounding::Namespace(change) => snapshot.set_namespace(&change.key.name, change.after.as_deref()),
            Surrounding::Budget(change) => snapshot.budgets.set(&change.key, change.after.as_deref()),
            Surrounding::Service(change) => {
                let selector = change.after.as_ref().and_then(|s| s.spec.as_ref()).and_then(|s| s.selector.as_ref());
                snapshot.owners.set_service(&change.key, selector);
            }
            Surrounding::Controller(kind, key, selector) => {
                snapshot.owners.set_controller(kind, &key, selector.as_ref())
            }
        }
    }
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
                Some(change) = nodes.next() => self.node(change),
                Some(change) = pods.next() => self.pod(change),
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
            Ok(Placement::Node(node)) => self.bind(key, &pod, &node, by),
            Ok(Placement::Nowhere(nowhere)) => self.nowhere(key, &pod, nowhere, by),
            Err(_) => {
                tracing::error!(pod = %key, "deciding about a pod panicked");
                self.ended(key, by, Ended::Error);
                self.queue.failed(key, Instant::now());
            }
        }
    }

    /// Which profile the pod asks for, if it is one of ours.
    fn profile_of(&self, pod: &Pod) -> Option<usize> {
        let named = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or(DEFAULT_NAME);
        self.config.profiles.iter().position(|profile| profile.scheduler_name == named)
    }

    fn bind(&mut self, key: &Key, pod: &Arc<PodInfo>, node: &str, by: usize) {
        let uid = pod.uid().to_owned();
        self.snapshot.end_nomination(&uid);
        self.snapshot.add_pod(node, pod.clone());
        self.counted.insert(uid.clone(), node.to_owned());
        self.assumed.insert(uid.clone(), key.clone());
        let binder = self.extenders.iter().find(|extender| extender.binds() && extender.is_interested(&pod.pod));
        match binder.cloned() {
            Some(extender) => self.bind_asking(key, pod, node, by, extender),
            None => self.act(key, uid, true, outcome::bind(&pod.pod, node), by),
        }
    }

    fn nowhere(&mut self, key: &Key, pod: &Arc<PodInfo>, nowhere: Nowhere, by: usize) {
        tracing::debug!(pod = %key, "{}", nowhere.message);
        self.ended(key, by, Ended::Unschedulable);
        let mut plan = outcome::unschedulable(&pod.pod, &nowhere);
        if nowhere.end_nomination {
            self.snapshot.end_nomination(pod.uid());
        }
        if let Some(preemption) = &nowhere.preempt {
            self.config.metrics.preemption(preemption.victims.len());
            // Who waits there with less priority has to look elsewhere.
            let outdone = self.snapshot.nominated_to(&preemption.node).filter(|other| other.priority < pod.priority);
            let outdone: Vec<Arc<PodInfo>> = outdone.cloned().collect();
            for other in outdone {
                outcome::end_nomination(&other.pod, &mut plan);
                self.snapshot.end_nomination(other.uid());
            }
            self.snapshot.nominate(pod.clone(), &preemption.node);
        }
        self.queue.park(key, nowhere.refused_by, Instant::now());
        self.act(key, pod.uid().to_owned(), false, plan, by);
    }

    fn act(&mut self, key: &Key, uid: String, bound: bool, plan: Plan, by: usize) {
        let Some(executor) = self.executors.get(by).cloned() else { return };
        let (key, attempt) = (key.clone(), self.attempt(key, by).filter(|_| bound));
        self.writes.spawn(async move {
            let failure = executor.act(&plan).await.failure.map(|failure| failure.to_string());
            Done { key, uid, bound, attempt, failure }
        });
    }

    fn written(&mut self, done: Result<Done, tokio::task::JoinError>) {
        let Ok(done) = done else {
            tracing::error!("a write of the scheduler panicked");
            return;
        };
        self.tell_bound(&done);
        let Some(failure) = done.failure else { return };
        tracing::info!(pod = %done.key, "{failure}");
        // A pod that is seen on a node by now was bound, whatever the answer said.
        let seen = self.pods.get_key(&done.key).is_some_and(|pod| !node_name(&pod).is_empty());
        if seen {
            return;
        }
        if done.bound {
            self.assumed.remove(&done.uid);
            self.uncount(&done.uid, Instant::now());
        }
        self.queue.failed(&done.key, Instant::now());
    }

    fn waits(&self, pod: &Pod) -> bool {
        node_name(pod).is_empty()
            && !measured::is_gated(pod)
            && self.profile_of(pod).is_some()
            && pod.metadata.deletion_timestamp.is_none()
            && !is_finished(pod)
    }

    fn pod(&mut self, change: Change<Pod>) {
        let now = Instant::now();
        if let (Some(before), Some(after)) = (&change.before, &change.after)
            && uid(before) != uid(after)
        {
            self.gone(before, now);
        }
        match (&change.after, &change.before) {
            (Some(pod), before) => self.there(&change.key, before.as_deref(), pod, now),
            (None, Some(pod)) => {
                self.gated.remove(&change.key);
                self.queue.remove(&change.key);
                self.gone(pod, now);
            }
            (None, None) => self.queue.remove(&change.key),
        }
    }

    fn there(&mut self, key: &Key, before: Option<&Pod>, pod: &Arc<Pod>, now: Instant) {
        self.note_gates(key, pod);
        if is_finished(pod) {
            self.queue.remove(key);
            return self.gone(pod, now);
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
        if placed_before.is_none_or(|before| before.metadata.labels != pod.pod.metadata.labels) {
            self.queue.happened(&Event::Pod(Happening::PodCame, &pod), now);
        }
        if placed_before.is_some_and(|before| requests(before) != pod.requests) {
            self.queue.happened(&Event::Pod(Happening::PodLeft, &pod), now);
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

    fn gone(&mut self, pod: &Pod, now: Instant) {
        self.assumed.remove(uid(pod));
        self.snapshot.end_nomination(uid(pod));
        self.uncount(uid(pod), now);
    }

    fn uncount(&mut self, uid: &str, now: Instant) {
        let Some(node) = self.counted.remove(uid) else { return };
        if let Some(pod) = self.snapshot.remove_pod(&node, uid) {
            self.queue.happened(&Event::Pod(Happening::PodLeft, &pod), now);
        }
    }

    fn node(&mut self, change: Change<Node>) {
        let name = change.key.name;
        let Some(node) = change.after else { return self.snapshot.remove_node(&name) };
        let known = self.snapshot.get(&name).and_then(|info| info.facts.node.clone());
        self.snapshot.set_node(node.clone());
        let Some(info) = self.snapshot.get(&name) else { return };
        for happening in node_happenings(known.as_deref(), &node) {
            self.queue.happened(&Event::Node(happening, info), Instant::now());
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
