//! The shim's state: records of sandboxes and containers, the executors, and the images.

use crate::events::Events;
use crate::images::Store;
use crate::record::{self, ContainerRecord, SandboxRecord};
use crate::{Config, Error, Result};
use container::{Executor, ImageContent, State};
use parking_lot::Mutex;
use rpc::cri::ContainerEventType;
use rpc::tonic::Status;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

pub struct Shim {
    pub config: Config,
    pub store: Store,
    pub executors: Vec<Arc<dyn Executor>>,
    pub events: Events,
    /// The turn to change the node's ports.
    pub ports: tokio::sync::Mutex<()>,
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    sandboxes: BTreeMap<String, SandboxEntry>,
    containers: BTreeMap<String, ContainerEntry>,
}

struct SandboxEntry {
    record: SandboxRecord,
    /// Changes of one sandbox come one after another.
    turn: Arc<tokio::sync::Mutex<()>>,
}

struct ContainerEntry {
    record: ContainerRecord,
    state: watch::Sender<State>,
}

impl Shim {
    /// Reads the records and finds what still runs.
    pub async fn open(config: Config, executors: Vec<Arc<dyn Executor>>) -> Result<Arc<Shim>> {
        let root = &config.root;
        for part in ["sandboxes", "containers", "netns"] {
            let path = root.join(part);
            std::fs::create_dir_all(&path).map_err(Error::failed(format!("make {}", path.display())))?;
        }
        let store = Store::open(root.join("images")).map_err(Error::failed("open the image store"))?;
        let mut tables = Tables::default();
        for mut record in record::read_all::<SandboxRecord>(&root.join("sandboxes")) {
            if record.spec.netns.as_ref().is_some_and(|pin| !crate::netns::pinned(pin)) {
                record.ready = false;
            }
            tables.sandboxes.insert(record.spec.id.clone(), SandboxEntry { record, turn: Arc::default() });
        }
        for record in record::read_all::<ContainerRecord>(&root.join("containers")) {
            let state = watch::Sender::new(record.state.clone());
            tables.containers.insert(record.spec.id.clone(), ContainerEntry { record, state });
        }
        sweep(&config, &tables).await;
        let (events, ports) = (Events::default(), tokio::sync::Mutex::new(()));
        let shim = Arc::new(Shim { config, store, executors, events, ports, tables: Mutex::new(tables) });
        shim.recover().await?;
        if shim.sandboxes().iter().any(|record| record.ready && crate::host_ports::has(&record.config.0)) {
            let _turn = shim.ports.lock().await;
            // The pods run on; one that is started later says it to its owner.
            if let Err(error) = crate::host_ports::open(&shim, None).await {
                tracing::error!(%error, "ports of the node that lead to pods cannot be opened");
            }
        }
        Ok(shim)
    }

    async fn recover(self: &Arc<Shim>) -> Result<()> {
        for executor in &self.executors {
            let exits = executor.exits();
            let found = executor
                .recover()
                .await
                .map_err(Error::failed(format!("recover containers of {}", executor.name())))?;
            let found: BTreeMap<String, State> = found.into_iter().collect();
            for record in self.containers().into_iter().filter(|record| record.executor == executor.name()) {
                match found.get(&record.spec.id) {
                    Some(state) => self.set_state(&record.spec.id, state.clone()),
                    None => self.lost(&record),
                }
            }
            tokio::spawn(listen(Arc::downgrade(self), executor.clone(), exits));
        }
        Ok(())
    }

    /// A container that no executor knows any more has ended, how nobody knows (the machine was started anew, say).
    fn lost(&self, record: &ContainerRecord) {
        let exit = container::Exit {
            code: 255,
            finished_at: crate::events::now_ns(),
            reason: "Unknown".into(),
            message: "the container ended while nothing watched it".into(),
        };
        if let Ok(Some(state)) = record.state.clone().on(container::Event::Exited(exit)) {
            self.set_state(&record.spec.id, state);
        }
    }

    pub fn executor(&self, name: &str) -> std::result::Result<Arc<dyn Executor>, Status> {
        let found = self.executors.iter().find(|executor| executor.name() == name).cloned();
        found.ok_or_else(|| {
            let known: Vec<&str> = self.executors.iter().map(|executor| executor.name()).collect();
            Status::invalid_argument(format!(
                "no runtime handler is called {name:?}; this node has {} (see the RuntimeClass's handler)",
                known.join(", ")
            ))
        })
    }

    /// The executor for an image: by the RuntimeClass's handler, or without one by what the image is.
    pub fn choose(&self, handler: &str, content: &ImageContent) -> std::result::Result<Arc<dyn Executor>, Status> {
        match (handler, content) {
            ("", ImageContent::Wasm { .. }) => self.executor("wasm"),
            ("", ImageContent::Layers(_)) => self.executor("oci"),
            (handler, _) => self.executor(handler),
        }
    }

    pub fn directory(&self, kind: &str, id: &str) -> PathBuf {
        self.config.root.join(kind).join(id)
    }

    pub fn sandboxes(&self) -> Vec<SandboxRecord> {
        self.tables.lock().sandboxes.values().map(|entry| entry.record.clone()).collect()
    }

    pub fn containers(&self) -> Vec<ContainerRecord> {
        self.tables.lock().containers.values().map(|entry| entry.record.clone()).collect()
    }

    pub fn containers_of(&self, sandbox: &str) -> Vec<ContainerRecord> {
        self.containers().into_iter().filter(|record| record.spec.sandbox.id == sandbox).collect()
    }

    /// The sandbox of that id, or of the only one that begins with it.
    pub fn sandbox(&self, id: &str) -> std::result::Result<SandboxRecord, Status> {
        let tables = self.tables.lock();
        let found = by_prefix(&tables.sandboxes, id).map(|entry| entry.record.clone());
        found.ok_or_else(|| Status::not_found(format!("no pod sandbox {id:?}")))
    }

    pub fn container(&self, id: &str) -> std::result::Result<ContainerRecord, Status> {
        let tables = self.tables.lock();
        let found = by_prefix(&tables.containers, id).map(|entry| entry.record.clone());
        found.ok_or_else(|| Status::not_found(format!("no container {id:?}")))
    }

    /// The turn to change a sandbox.
    pub async fn turn(&self, id: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = self.tables.lock().sandboxes.get(id).map(|entry| entry.turn.clone()).unwrap_or_default();
        turn.lock_owned().await
    }

    /// Remembers a sandbox, in memory and on disk.
    pub fn put_sandbox(&self, record: SandboxRecord) -> std::result::Result<(), Status> {
        record.save().map_err(|e| Status::internal(format!("record the sandbox: {e}")))?;
        let mut tables = self.tables.lock();
        match tables.sandboxes.get_mut(&record.spec.id) {
            Some(entry) => entry.record = record,
            None => {
                tables.sandboxes.insert(record.spec.id.clone(), SandboxEntry { record, turn: Arc::default() });
            }
        }
        Ok(())
    }

    pub fn put_container(&self, record: ContainerRecord) -> std::result::Result<(), Status> {
        record.save().map_err(|e| Status::internal(format!("record the container: {e}")))?;
        let state = watch::Sender::new(record.state.clone());
        self.tables.lock().containers.insert(record.spec.id.clone(), ContainerEntry { record, state });
        Ok(())
    }

    pub fn forget_sandbox(&self, id: &str) {
        self.tables.lock().sandboxes.remove(id);
    }

    pub fn forget_container(&self, id: &str) {
        self.tables.lock().containers.remove(id);
    }

    /// Takes note of a container's state. It never goes back.
    pub fn set_state(&self, id: &str, state: State) {
        let mut tables = self.tables.lock();
        let Some(entry) = tables.containers.get_mut(id) else { return };
        let (old, new) = (rank(&entry.record.state), rank(&state));
        if new <= old {
            return;
        }
        entry.record.state = state.clone();
        if let Err(error) = entry.record.save() {
            tracing::error!(%error, container = id, "the container's state cannot be recorded");
        }
        let sandbox = entry.record.spec.sandbox.id.clone();
        entry.state.send_replace(state);
        drop(tables);
        let kind = if new == 2 {
            ContainerEventType::ContainerStoppedEvent
        } else {
            ContainerEventType::ContainerStartedEvent
        };
        self.events.tell(id, &sandbox, kind);
    }

    pub fn set_resources(&self, id: &str, resources: container::Resources) {
        let mut tables = self.tables.lock();
        if let Some(entry) = tables.containers.get_mut(id) {
            entry.record.spec.resources = resources;
            if let Err(error) = entry.record.save() {
                tracing::error!(%error, container = id, "the container's limits cannot be recorded");
            }
        }
    }

    /// Asks the executor how a container stands.
    pub async fn refresh(&self, id: &str, executor: &Arc<dyn Executor>) {
        if let Ok(state) = executor.state(id).await {
            self.set_state(id, state);
        }
    }

    pub fn watch_state(&self, id: &str) -> Option<watch::Receiver<State>> {
        self.tables.lock().containers.get(id).map(|entry| entry.state.subscribe())
    }

    /// Digests of images that containers use.
    pub fn images_in_use(&self) -> BTreeSet<String> {
        self.tables.lock().containers.values().map(|entry| entry.record.spec.image.digest.clone()).collect()
    }
}

/// Removes what a sandbox that was never finished has left: nobody knows its id.
async fn sweep(config: &Config, tables: &Tables) {
    for kind in ["netns", "sandboxes"] {
        for entry in std::fs::read_dir(config.root.join(kind)).into_iter().flatten().flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            // A record that cannot be read belongs to a sandbox that may still run.
            let recorded = config.root.join("sandboxes").join(&id).join(record::FILE).exists();
            if tables.sandboxes.contains_key(&id) || recorded {
                continue;
            }
            let removed = match kind {
                "netns" => {
                    if let Err(error) = cni::del(&config.cni, &id, &entry.path()).await {
                        tracing::warn!(%error, sandbox = id, "an unfinished sandbox cannot be disconnected");
                    }
                    crate::netns::remove(&entry.path())
                }
                _ => std::fs::remove_dir_all(entry.path()),
            };
            if let Err(error) = removed {
                tracing::warn!(%error, sandbox = id, "what an unfinished sandbox left cannot be removed");
            }
        }
    }
}

fn rank(state: &State) -> u8 {
    match state {
        State::Created { .. } => 0,
        State::Running { .. } => 1,
        State::Exited { .. } => 2,
    }
}

fn by_prefix<'a, T>(table: &'a BTreeMap<String, T>, id: &str) -> Option<&'a T> {
    if let Some(found) = table.get(id) {
        return Some(found);
    }
    // Shortened ids are for people; fewer digits than these are guesses.
    if id.len() < 8 {
        return None;
    }
    let mut matching = table.iter().filter(|(key, _)| key.starts_with(id));
    match (matching.next(), matching.next()) {
        (Some((_, only)), None) => Some(only),
        _ => None,
    }
}

/// Hears of exits of one executor until the shim ends.
async fn listen(
    shim: std::sync::Weak<Shim>,
    executor: Arc<dyn Executor>,
    mut exits: tokio::sync::broadcast::Receiver<(String, container::Exit)>,
) {
    use tokio::sync::broadcast::error::RecvError;
    loop {
        let heard = exits.recv().await;
        let Some(shim) = shim.upgrade() else { return };
        match heard {
            Ok((id, _)) => shim.refresh(&id, &executor).await,
            Err(RecvError::Lagged(_)) => {
                for record in shim.containers().into_iter().filter(|r| r.executor == executor.name() && r.running()) {
                    shim.refresh(&record.spec.id, &executor).await;
                }
            }
            Err(RecvError::Closed) => return,
        }
    }
}
