//! The host's containers, and their records on disk from which the next host learns what was.

use super::container::Container;
use container::{Error, Exit, Spec, State};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A container on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub spec: Spec,
    pub state: State,
}

/// All containers by id.
pub struct Table {
    records: PathBuf,
    containers: Mutex<HashMap<String, Arc<Container>>>,
}

impl Table {
    pub fn new(records: PathBuf) -> Table {
        Table { records, containers: Mutex::default() }
    }

    pub fn get(&self, id: &str) -> Result<Arc<Container>, Error> {
        self.containers.lock().get(id).cloned().ok_or_else(|| Error::NotFound(id.to_owned()))
    }

    pub fn all(&self) -> Vec<Arc<Container>> {
        self.containers.lock().values().cloned().collect()
    }

    /// Adds a container, unless its id is taken.
    pub fn add(&self, container: Container) -> Result<Arc<Container>, Error> {
        let container = Arc::new(container);
        let mut containers = self.containers.lock();
        if containers.contains_key(&container.spec.id) {
            return Err(Error::Invalid(format!("container {:?} exists already", container.spec.id)));
        }
        containers.insert(container.spec.id.clone(), container.clone());
        drop(containers);
        self.write(&container)?;
        Ok(container)
    }

    pub fn remove(&self, id: &str) -> Result<(), Error> {
        let file = self.file(id);
        match std::fs::remove_file(&file) {
            Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::failed(format!("removing {}", file.display()), err));
            }
            Ok(()) | Err(_) => {}
        }
        self.containers.lock().remove(id);
        Ok(())
    }

    /// Writes the container's record as it is now.
    pub fn write(&self, container: &Container) -> Result<(), Error> {
        let file = self.file(&container.spec.id);
        let record = Record { spec: container.spec.clone(), state: container.state() };
        container::persist::write(&file, &record)
            .map_err(|err| Error::failed(format!("writing {}", file.display()), err))
    }

    /// What a former host left. A record that cannot be read is said and passed over: the others must come back.
    pub fn left(&self) -> Result<Vec<Record>, Error> {
        let failed = |err| Error::failed(format!("reading {}", self.records.display()), err);
        std::fs::create_dir_all(&self.records).map_err(failed)?;
        let mut records = Vec::new();
        for entry in std::fs::read_dir(&self.records).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match container::persist::read(&path) {
                Ok(record) => records.push(record),
                Err(err) => tracing::warn!("{err}"),
            }
        }
        Ok(records)
    }

    fn file(&self, id: &str) -> PathBuf {
        self.records.join(format!("{id}.json"))
    }
}

/// The state that a container of a host that has ended has now.
pub fn after_a_crash(state: State, now: i64) -> State {
    let exit =
        |message: &str| Exit { code: 255, finished_at: now, reason: "WasmHostExited".into(), message: message.into() };
    match state {
        State::Running { created_at, started_at, .. } => State::Exited {
            created_at,
            started_at,
            exit: exit("the process that hosts the node's WebAssembly guests ended"),
        },
        State::Created { .. } | State::Exited { .. } => state,
    }
}
