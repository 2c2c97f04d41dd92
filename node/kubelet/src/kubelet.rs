//! The one loop above the pod workers: who has a pod, who hears of what, what happens every now and then.

use crate::admit::{self, Objection, Refusal};
use crate::allocation::{self, Amounts, Ledger};
use crate::config::{Config, Error};
use crate::events::Events;
use crate::identity::{self, PodId};
use crate::node::{self, Node, lease, object, register};
use crate::quantity;
use crate::runtime::Runtime;
use crate::sources::{Key, Sources};
use crate::status::Host;
use crate::volumes::{Memory, Tokens};
use crate::worker::{self, Event, Handle};
use crate::{logs, server, statics, sweep};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{self as core, Pod, PodSpec, Service};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Api;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use rpc::cri;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Changes of the runtime and of files that wait for the loop.
const QUEUE: usize = 1024;
/// How often logs are looked at for rotation, and static pods for changes (upstream: 10 s and 20 s).
const CHORES: Duration = Duration::from_secs(10);
/// Garbage every that many chores (upstream: 1 min).
const SWEEP_EVERY: u32 = 6;
/// Before a lost stream of the runtime's events is opened again.
const RECONNECT: Duration = Duration::from_millis(200);

enum Change {
    Pods(Box<watcher::Event<Pod>>),
    Statics(Vec<Pod>),
    Runtime(Option<String>),
    Source(Key),
    Ended(String),
    Chores,
}

struct Kubelet {
    node: Arc<Node>,
    node_uid: String,
    /// The Node object as it was made, and as it is.
    registered: core::Node,
    own: Store<core::Node>,
    workers: HashMap<String, Handle>,
    /// Uids of pods from files.
    statics: HashMap<String, Pod>,
    /// Collects the first list of a watch.
    listed: Vec<Arc<Pod>>,
    /// Uids of pods that the runtime had when this kubelet started: only these need looking for.
    before: HashSet<String>,
    ended: mpsc::UnboundedSender<String>,
    chores: u32,
}

pub async fn run(config: Config, client: kube::Client, stop: CancellationToken) -> Result<(), Error> {
    tokio::select! {
        result = serve(config, client) => result,
        () = stop.cancelled() => Ok(()),
    }
}

/// Everything that runs belongs to this future: dropping it ends the kubelet and leaves the pods.
async fn serve(config: Config, client: kube::Client) -> Result<(), Error> {
    let mut tasks = JoinSet::new();
    let node = prepare(config, client, &mut tasks).await?;
    let port = server::start(&node, &mut tasks).await?;
    let registered = register::register(&node, port).await;
    let node_uid = registered.metadata.uid.clone().unwrap_or_default();
    let named = watcher::Config::default().fields(&format!("metadata.name={}", node.config.node_name));
    let own = follow_some::<core::Node>(&node.client, named, &mut tasks);
    node.events.node(&node.config.node_name, "Starting", "Starting kubelet.");
    tasks.spawn(lease::renew(node.clone(), node_uid.clone()));
    tasks.spawn(register::keep(node.clone(), port, registered.status.clone()));
    let before = node.runtime.pods().await?.into_iter().map(|(id, _)| id.uid).collect();
    let (ended, mut ends) = mpsc::unbounded_channel();
    let mut changes = watch_all(&node, own.clone(), &mut tasks);
    let mut sources = node.sources.changes();
    let mut chores = tokio::time::interval(CHORES);
    chores.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut kubelet = Kubelet {
        node,
        node_uid,
        registered,
        own,
        workers: HashMap::new(),
        statics: HashMap::new(),
        listed: Vec::new(),
        before,
        ended,
        chores: 0,
    };
    loop {
        let change = tokio::select! {
            Some(change) = changes.recv() => change,
            Some(uid) = ends.recv() => Change::Ended(uid),
            changed = sources.recv() => match changed {
                Ok(key) => Change::Source(key),
                // Too many at once: every worker looks at everything.
                Err(broadcast::error::RecvError::Lagged(_)) => Change::Runtime(None),
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
            _ = chores.tick() => Change::Chores,
        };
        kubelet.on(change).await;
    }
}

async fn prepare(config: Config, client: kube::Client, tasks: &mut JoinSet<()>) -> Result<Arc<Node>, Error> {
    for dir in [config.root_dir.clone(), config.logs()] {
        std::fs::create_dir_all(&dir)
            .map_err(|source| Error::Io { doing: format!("making {}", dir.display()), source })?;
    }
    let runtime = Runtime::connect(&config.cri_endpoint);
    let name = loop {
        match runtime.version().await {
            Ok(version) => break version.runtime_name,
            Err(error) => {
                tracing::info!(%error, "waiting for the runtime");
                tokio::time::sleep(RECONNECT).await;
            }
        }
    };
    let capacity = object::capacity(&config.root_dir, config.max_pods);
    let allocatable = object::allocatable(&capacity);
    let host = Host { ips: config.node_ips.iter().map(ToString::to_string).collect(), runtime: name };
    let node = Arc::new(Node {
        runtime,
        sources: Sources::new(client.clone()),
        tokens: Tokens::default(),
        memory: Memory::new(&config.root_dir),
        services: follow::<Service>(&client, tasks),
        classes: follow::<RuntimeClass>(&client, tasks),
        events: Events::start(client.clone(), config.node_name.clone()),
        host,
        resolver: node::resolver(&config),
        memory_bytes: quantity::value_of(Some(&capacity), "memory"),
        ledger: Ledger::new(&config.root_dir, Amounts::in_list(Some(&allocatable))),
        allocatable,
        board: crate::board::Board::default(),
        client,
        config,
    });
    Ok(node)
}

/// Keeps all objects of a kind at hand.
fn follow<K>(client: &kube::Client, tasks: &mut JoinSet<()>) -> Store<K>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Default + Eq + std::hash::Hash + Clone + Unpin,
{
    follow_some(client, watcher::Config::default(), tasks)
}

fn follow_some<K>(client: &kube::Client, which: watcher::Config, tasks: &mut JoinSet<()>) -> Store<K>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Default + Eq + std::hash::Hash + Clone + Unpin,
{
    let (store, writer) = reflector::store();
    let stream = watcher(Api::<K>::all(client.clone()), which);
    let stream = reflector::reflector(writer, stream).default_backoff();
    tasks.spawn(async move { stream.for_each(|_| async {}).await });
    store
}

fn watch_all(node: &Arc<Node>, own: Store<core::Node>, tasks: &mut JoinSet<()>) -> mpsc::Receiver<Change> {
    let (out, changes) = mpsc::channel(QUEUE);
    tasks.spawn(watch_pods(node.clone(), own, out.clone()));
    tasks.spawn(watch_runtime(node.clone(), out.clone()));
    if node.config.static_pods.is_some() {
        tasks.spawn(watch_statics(node.clone(), out));
    }
    changes
}

async fn watch_pods(node: Arc<Node>, own: Store<core::Node>, out: mpsc::Sender<Change>) {
    // A container's environment needs the services that were there before it, and admission the node.
    let (services, classes) = (node.services.wait_until_ready(), node.classes.wait_until_ready());
    let ready = futures::future::join3(services, classes, own.wait_until_ready());
    let _ = ready.await;
    let config = watcher::Config::default().fields(&format!("spec.nodeName={}", node.config.node_name));
    let mut stream = std::pin::pin!(watcher(Api::<Pod>::all(node.client.clone()), config).default_backoff());
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                if out.send(Change::Pods(Box::new(event))).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::warn!(%error, "watching the pods of this node"),
        }
    }
}

async fn watch_runtime(node: Arc<Node>, out: mpsc::Sender<Change>) {
    loop {
        match node.runtime.events().await {
            Ok(mut stream) => {
                // What happened before this stream was open is found by looking.
                if out.send(Change::Runtime(None)).await.is_err() {
                    return;
                }
                while let Ok(Some(event)) = stream.message().await {
                    if began(&event) {
                        continue;
                    }
                    let labels = event.pod_sandbox_status.map(|s| s.labels).unwrap_or_default();
                    let uid = labels.get(identity::POD_UID).cloned();
                    if out.send(Change::Runtime(uid)).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                tracing::debug!(%error, "no events from the runtime; looking instead");
                if out.send(Change::Runtime(None)).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

/// Containers are made and started by nobody but the pods' workers, who look when they have done so.
fn began(event: &cri::ContainerEventResponse) -> bool {
    use cri::ContainerEventType::{ContainerCreatedEvent, ContainerStartedEvent};
    let kind = event.container_event_type;
    kind == ContainerCreatedEvent as i32 || kind == ContainerStartedEvent as i32
}

async fn watch_statics(node: Arc<Node>, out: mpsc::Sender<Change>) {
    let Some(dir) = node.config.static_pods.clone() else { return };
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last: Option<Vec<Option<String>>> = None;
    loop {
        ticks.tick().await;
        let pods = statics::read(&dir, &node.config.node_name);
        let uids: Vec<Option<String>> = pods.iter().map(|p| p.metadata.uid.clone()).collect();
        if last.as_ref() == Some(&uids) {
            continue;
        }
        last = Some(uids);
        if out.send(Change::Statics(pods)).await.is_err() {
            return;
        }
    }
}

impl Kubelet {
    async fn on(&mut self, change: Change) {
        match change {
            Change::Pods(event) => self.pods(*event).await,
            Change::Statics(pods) => self.read(pods).await,
            Change::Runtime(Some(uid)) => self.tell(&uid, Event::Runtime).await,
            Change::Runtime(None) => self.tell_all().await,
            Change::Source(key) => {
                for uid in self.node.sources.users(&key) {
                    self.tell(&uid, Event::Source).await;
                }
            }
            Change::Ended(uid) => {
                self.workers.remove(&uid);
            }
            Change::Chores => self.chores().await,
        }
    }

    async fn tell(&self, uid: &str, event: Event) {
        if let Some(handle) = self.workers.get(uid)
            && handle.mailbox.send(event).await.is_err()
        {
            tracing::debug!(uid, "a worker ended before it was told");
        }
    }

    async fn tell_all(&self) {
        for uid in self.workers.keys() {
            self.tell(uid, Event::Runtime).await;
        }
    }

    async fn pods(&mut self, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Init => self.listed.clear(),
            watcher::Event::InitApply(pod) => self.listed.push(Arc::new(pod)),
            watcher::Event::InitDone => self.relisted().await,
            watcher::Event::Apply(pod) => self.seen(Arc::new(pod)).await,
            watcher::Event::Delete(pod) => {
                let uid = pod.metadata.uid.unwrap_or_default();
                self.tell(&uid, Event::Gone).await;
            }
        }
    }

    async fn seen(&mut self, pod: Arc<Pod>) {
        if statics::is_mirror(&pod) {
            return;
        }
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        match self.workers.get(&uid) {
            Some(_) => self.tell(&uid, Event::Pod(pod)).await,
            None => self.adopt(pod).await,
        }
    }

    async fn adopt(&mut self, pod: Arc<Pod>) {
        let new = self.is_new(&pod);
        // Who is here already stays, whatever has become of the node since: no restart of ours ends what runs.
        let comes = new && !allocation::over(&pod) && pod.metadata.deletion_timestamp.is_none();
        let refused = if comes { self.refusal(&pod).await } else { None };
        self.start(pod, worker::Start { gone: false, new, refused });
    }

    fn is_new(&self, pod: &Pod) -> bool {
        pod.metadata.uid.as_ref().is_none_or(|uid| !self.before.contains(uid))
    }

    fn start(&mut self, pod: Arc<Pod>, start: worker::Start) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let handle = worker::spawn(self.node.clone(), pod, start, self.ended.clone());
        self.workers.insert(uid, handle);
    }

    /// Why the pod is not let in; otherwise it has its place from now on.
    async fn refusal(&self, pod: &Arc<Pod>) -> Option<Refusal> {
        if let Some(refusal) = admit::refusal(pod) {
            return Some(refusal);
        }
        let name = &self.node.config.node_name;
        let known = self.own.get(&ObjectRef::new(name)).unwrap_or_else(|| Arc::new(self.registered.clone()));
        let mut refused = self.node.ledger.admit(pod, &known, Timestamp::now()).err()?;
        // Whoever placed it may have seen labels that have not come here yet.
        if refused.iter().all(Objection::is_of_labels)
            && let Ok(fresh) = Api::<core::Node>::all(self.node.client.clone()).get(name).await
        {
            refused = self.node.ledger.admit(pod, &fresh, Timestamp::now()).err()?;
        }
        refused.first().map(Refusal::from)
    }

    /// After a list: what is in it is told, what is not is gone, and what only the runtime knows is ended.
    async fn relisted(&mut self) {
        let mut listed = std::mem::take(&mut self.listed);
        let uids: HashSet<String> = listed.iter().filter_map(|p| p.metadata.uid.clone()).collect();
        // Of those that come at once, who was made first comes first.
        listed.sort_by_key(|pod| created(pod));
        let here = |pod: &&Arc<Pod>| !statics::is_mirror(pod) && (!self.is_new(pod) || self.has(pod));
        self.node.ledger.found(listed.iter().filter(here), Timestamp::now());
        for pod in listed {
            self.seen(pod).await;
        }
        let lost: Vec<String> =
            self.workers.keys().filter(|u| !uids.contains(*u) && !self.statics.contains_key(*u)).cloned().collect();
        for uid in lost {
            self.tell(&uid, Event::Gone).await;
        }
        self.orphans(&uids).await;
    }

    fn has(&self, pod: &Pod) -> bool {
        pod.metadata.uid.as_ref().is_some_and(|uid| self.workers.contains_key(uid))
    }

    async fn orphans(&mut self, listed: &HashSet<String>) {
        let sandboxes = match self.node.runtime.pods().await {
            Ok(list) => list,
            Err(error) => {
                tracing::warn!(%error, "looking for pods that are gone from the API");
                return;
            }
        };
        for (id, sandbox) in sandboxes {
            let known = listed.contains(&id.uid) || self.workers.contains_key(&id.uid);
            if !known && !self.statics.contains_key(&id.uid) {
                tracing::info!(pod = %id, "a pod is gone from the API: ending it");
                let grace = sandbox.annotations.get(identity::GRACE).and_then(|g| g.parse().ok());
                let pod = Arc::new(orphan(id, grace));
                let new = self.is_new(&pod);
                self.start(pod, worker::Start { gone: true, new, refused: None });
            }
        }
    }

    async fn read(&mut self, pods: Vec<Pod>) {
        let mut now: HashMap<String, Pod> = HashMap::new();
        for pod in pods {
            now.insert(pod.metadata.uid.clone().unwrap_or_default(), pod);
        }
        let lost: Vec<String> = self.statics.keys().filter(|u| !now.contains_key(*u)).cloned().collect();
        for uid in lost {
            self.tell(&uid, Event::Gone).await;
            if let Some(pod) = self.statics.remove(&uid) {
                self.unmirror(PodId::of(&pod)).await;
            }
        }
        for (uid, pod) in now {
            if !self.workers.contains_key(&uid) {
                self.adopt(Arc::new(pod.clone())).await;
            }
            self.statics.insert(uid, pod);
        }
        self.mirror().await;
    }

    async fn unmirror(&self, id: PodId) {
        if let Err(error) = statics::unmirror(&self.node.client, &id).await {
            tracing::warn!(pod = %id, %error, "removing the mirror of a static pod");
        }
    }

    async fn mirror(&self) {
        for pod in self.statics.values() {
            let done = statics::mirror(&self.node.client, pod, &self.node.config.node_name, &self.node_uid).await;
            if let Err(error) = done {
                tracing::warn!(pod = %PodId::of(pod), %error, "mirroring a static pod");
            }
        }
    }

    async fn chores(&mut self) {
        self.chores = self.chores.wrapping_add(1);
        logs::rotate::rotate(&self.node).await;
        self.mirror().await;
        if self.chores.is_multiple_of(SWEEP_EVERY) {
            let known = self.workers.keys().cloned().collect();
            sweep::sweep(&self.node, &known).await;
        }
    }
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

/// What is known of a pod whose object is gone: enough to end it.
fn orphan(id: PodId, grace: Option<i64>) -> Pod {
    Pod {
        metadata: ObjectMeta {
            name: Some(id.name),
            namespace: Some(id.namespace),
            uid: Some(id.uid),
            deletion_timestamp: Some(Time(Timestamp::now())),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec { termination_grace_period_seconds: grace, ..PodSpec::default() }),
        status: None,
    }
}
