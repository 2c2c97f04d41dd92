//! The scheduler's loop: what happens goes into the snapshot and the queue, what is decided goes out as writes.
//!
//! One task owns all state. A pod that was placed counts on its node at once, long before the API shows it there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::execute::Outcome;
use client::{Change, Changes, Executor, Informer, Informers, Key, Plan, Recorder};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::queue::{Happening, Queue};
use crate::resources::requests;
use crate::schedule::{Nowhere, Placement, schedule};
use crate::snapshot::{Snapshot, is_finished, node_name, priority, uid};

mod outcome;

/// Bindings and other writes under way at a time: more than a store commits in a round trip gains nothing.
const WRITES: usize = 64;
/// Pods placed in a row before the loop looks at what has happened meanwhile.
const BATCH: usize = 16;

/// What the scheduler is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// It schedules the pods that name it.
    pub scheduler_name: String,
}

impl Default for Config {
    fn default() -> Config {
        Config { scheduler_name: "default-scheduler".to_owned() }
    }
}

struct Scheduler {
    config: Config,
    executor: Executor,
    pods: Informer<Pod>,
    snapshot: Snapshot,
    queue: Queue,
    /// Where each counted pod is counted, by uid.
    counted: HashMap<String, String>,
    /// Pods that were placed and are not yet seen there, by uid.
    assumed: HashMap<String, Key>,
    writes: JoinSet<Done>,
}

/// A write that ended.
struct Done {
    key: Key,
    uid: String,
    bound: bool,
    outcome: Outcome,
}

/// Schedules pods until stopped.
pub async fn run(client: kube::Client, informers: Arc<Informers>, config: Config, stop: CancellationToken) {
    let recorder = Recorder::start(client.clone(), &config.scheduler_name, stop.clone());
    let (pods, nodes, namespaces) = (informers.of::<Pod>(), informers.of::<Node>(), informers.of::<Namespace>());
    pods.synced().await;
    nodes.synced().await;
    namespaces.synced().await;
    let scheduler = Scheduler {
        config,
        executor: Executor::new(client, recorder),
        pods: pods.clone(),
        snapshot: Snapshot::default(),
        queue: Queue::default(),
        counted: HashMap::new(),
        assumed: HashMap::new(),
        writes: JoinSet::new(),
    };
    stop.run_until_cancelled(scheduler.work(pods.changes(), nodes.changes(), namespaces.changes())).await;
}

impl Scheduler {
    async fn work(mut self, mut pods: Changes<Pod>, mut nodes: Changes<Node>, mut namespaces: Changes<Namespace>) {
        loop {
            let due = self.queue.next_at();
            let more = self.place_some();
            tokio::select! {
                // Nodes come before pods: a pod that is decided about meets the cluster as it is.
                biased;
                Some(change) = namespaces.next() => self.snapshot.set_namespace(&change.key.name, change.after.as_deref()),
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
    fn place_some(&mut self) -> bool {
        for _ in 0..BATCH {
            if self.writes.len() >= WRITES {
                return false;
            }
            let Some(key) = self.queue.take(Instant::now()) else { return false };
            self.place(&key);
        }
        true
    }

    fn place(&mut self, key: &Key) {
        let Some(pod) = self.pods.get_key(key).filter(|pod| self.waits(pod)) else {
            return self.queue.remove(key);
        };
        if self.assumed.contains_key(uid(&pod)) {
            return;
        }
        let seed = rand::random();
        let decide = std::panic::AssertUnwindSafe(|| schedule(&self.snapshot, &pod, seed));
        match std::panic::catch_unwind(decide) {
            Ok(Placement::Node(node)) => self.bind(key, &pod, &node),
            Ok(Placement::Nowhere(nowhere)) => self.nowhere(key, &pod, nowhere),
            Err(_) => {
                tracing::error!(pod = %key, "deciding about a pod panicked");
                self.queue.failed(key, Instant::now());
            }
        }
    }

    fn bind(&mut self, key: &Key, pod: &Arc<Pod>, node: &str) {
        let uid = uid(pod).to_owned();
        self.snapshot.nominated.remove(&uid);
        self.snapshot.add_pod(node, pod.clone());
        self.counted.insert(uid.clone(), node.to_owned());
        self.assumed.insert(uid.clone(), key.clone());
        self.act(key, uid, true, outcome::bind(pod, node));
    }

    fn nowhere(&mut self, key: &Key, pod: &Arc<Pod>, nowhere: Nowhere) {
        tracing::debug!(pod = %key, "{}", nowhere.message);
        let plan = outcome::unschedulable(pod, &nowhere);
        if let Some(preemption) = &nowhere.preempt {
            let place = (pod.clone(), preemption.node.clone());
            self.snapshot.nominated.insert(uid(pod).to_owned(), place);
        }
        self.queue.park(key, nowhere.refused_by, Instant::now());
        self.act(key, uid(pod).to_owned(), false, plan);
    }

    fn act(&mut self, key: &Key, uid: String, bound: bool, plan: Plan) {
        let (executor, key) = (self.executor.clone(), key.clone());
        self.writes.spawn(async move { Done { outcome: executor.act(&plan).await, key, uid, bound } });
    }

    fn written(&mut self, done: Result<Done, tokio::task::JoinError>) {
        let Ok(done) = done else {
            tracing::error!("a write of the scheduler panicked");
            return;
        };
        let Some(failure) = done.outcome.failure else { return };
        tracing::info!(pod = %done.key, "{failure}");
        // A pod that is seen on a node by now was bound, whatever the answer said.
        let seen = self.pods.get_key(&done.key).is_some_and(|pod| !node_name(&pod).is_empty());
        if seen {
            return;
        }
        if done.bound {
            self.assumed.remove(&done.uid);
            self.uncount(&done.uid);
            self.queue.happened(Happening::PodLeft, Instant::now());
        }
        self.queue.failed(&done.key, Instant::now());
    }

    fn waits(&self, pod: &Pod) -> bool {
        let spec = pod.spec.as_ref();
        let gated = spec.is_some_and(|spec| spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()));
        let named = spec.and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or("default-scheduler");
        node_name(pod).is_empty()
            && !gated
            && named == self.config.scheduler_name
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
                self.queue.remove(&change.key);
                self.gone(pod, now);
            }
            (None, None) => self.queue.remove(&change.key),
        }
    }

    fn there(&mut self, key: &Key, before: Option<&Pod>, pod: &Arc<Pod>, now: Instant) {
        if is_finished(pod) {
            self.queue.remove(key);
            return self.gone(pod, now);
        }
        if node_name(pod).is_empty() {
            if self.waits(pod) {
                if let Some((known, _)) = self.snapshot.nominated.get_mut(uid(pod)) {
                    *known = pod.clone();
                }
                self.nominate_as_told(pod);
                return self.queue.put(key, priority(pod), now);
            }
            return self.queue.remove(key);
        }
        self.queue.remove(key);
        self.assumed.remove(uid(pod));
        self.snapshot.nominated.remove(uid(pod));
        self.uncount(uid(pod));
        self.snapshot.add_pod(node_name(pod), pod.clone());
        self.counted.insert(uid(pod).to_owned(), node_name(pod).to_owned());
        let placed_before = before.filter(|before| !node_name(before).is_empty());
        if placed_before.is_none_or(|before| before.metadata.labels != pod.metadata.labels) {
            self.queue.happened(Happening::PodCame, now);
        }
        if placed_before.is_some_and(|before| requests(before) != requests(pod)) {
            self.queue.happened(Happening::PodLeft, now);
        }
    }

    /// After a restart the API still tells where room was being made.
    fn nominate_as_told(&mut self, pod: &Arc<Pod>) {
        let told = pod.status.as_ref().and_then(|status| status.nominated_node_name.clone());
        if let Some(node) = told.filter(|node| !node.is_empty()) {
            self.snapshot.nominated.entry(uid(pod).to_owned()).or_insert_with(|| (pod.clone(), node));
        }
    }

    fn gone(&mut self, pod: &Pod, now: Instant) {
        self.assumed.remove(uid(pod));
        self.snapshot.nominated.remove(uid(pod));
        if self.uncount(uid(pod)) {
            self.queue.happened(Happening::PodLeft, now);
        }
    }

    fn uncount(&mut self, uid: &str) -> bool {
        let node = self.counted.remove(uid);
        node.inspect(|node| self.snapshot.remove_pod(node, uid)).is_some()
    }

    fn node(&mut self, change: Change<Node>) {
        let now = Instant::now();
        let Some(node) = change.after else { return self.snapshot.remove_node(&change.key.name) };
        let known = self.snapshot.get(&change.key.name).and_then(|info| info.node.clone());
        self.snapshot.set_node(node.clone());
        let Some(before) = known else { return self.queue.happened(Happening::NodeAdded, now) };
        let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
        if allocatable(&before) != allocatable(&node) {
            self.queue.happened(Happening::NodeGrew, now);
        }
        if before.metadata.labels != node.metadata.labels {
            self.queue.happened(Happening::NodeRelabelled, now);
        }
        let closed = |node: &Node| node.spec.as_ref().map(|spec| (spec.taints.clone(), spec.unschedulable));
        if closed(&before) != closed(&node) {
            self.queue.happened(Happening::NodeOpened, now);
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        // A little later than due, so that the queue is sure to find it due.
        Some(at) => tokio::time::sleep_until((at + Duration::from_millis(1)).into()).await,
        None => std::future::pending().await,
    }
}
