//! The life of a container, by its executor.

use crate::convert;
use crate::record::{ContainerRecord, Wire};
use crate::sandboxes;
use crate::shim::Shim;
use container::{Error, State};
use rpc::cri::{self, ContainerEventType};
use rpc::tonic::Status;
use std::sync::Arc;
use std::time::Duration;

type Result<T> = std::result::Result<T, Status>;

/// How long a container may take to end after SIGKILL before we say that it does not.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// The longest wait for a stop signal to be followed; the kubelet's own limit on grace is far below.
const GRACE_LIMIT_S: i64 = 24 * 3600;

/// A failure of an executor as gRPC has it.
pub fn status(error: Error) -> Status {
    match &error {
        Error::NotFound(_) => Status::not_found(error.to_string()),
        Error::Illegal(_) => Status::failed_precondition(error.to_string()),
        Error::Invalid(_) => Status::invalid_argument(error.to_string()),
        Error::Unsupported(_) => Status::unimplemented(error.to_string()),
        Error::Failed { .. } => Status::internal(error.to_string()),
    }
}

pub async fn create(shim: &Arc<Shim>, request: cri::CreateContainerRequest) -> Result<String> {
    let config = request.config.ok_or_else(|| Status::invalid_argument("the request has no container config"))?;
    let _turn = shim.turn(&shim.sandbox(&request.pod_sandbox_id)?.spec.id).await;
    // As it is now: it may have been stopped meanwhile.
    let sandbox = shim.sandbox(&request.pod_sandbox_id)?;
    if !sandbox.ready {
        return Err(Status::failed_precondition(format!("pod sandbox {} is not ready", sandbox.spec.id)));
    }
    let wanted = config.image.clone().unwrap_or_default();
    let shown = if wanted.user_specified_image.is_empty() { wanted.image.clone() } else { wanted.user_specified_image };
    let (store, name) = (shim.store.clone(), wanted.image);
    let image = tokio::task::spawn_blocking(move || {
        let found = store.find(&name).map_err(|e| Status::internal(e.to_string()))?;
        let found = found.ok_or_else(|| Status::not_found(format!("image {name:?} is not on this node")))?;
        store.prepare(&shown, &found.digest).map_err(|e| Status::invalid_argument(e.to_string()))
    });
    let image = image.await.map_err(|e| Status::internal(e.to_string()))??;
    let executor = shim.choose(&sandbox.handler, &image.content)?;
    sandboxes::open_by(shim, &sandbox.spec.id, &executor).await?;
    let id = uuid::Uuid::new_v4().simple().to_string();
    let directory = shim.directory("containers", &id);
    let logs = &sandbox.config.0.log_directory;
    let spec =
        convert::container(&id, &config, &sandbox.spec, logs, image, &directory).map_err(Status::invalid_argument)?;
    std::fs::create_dir_all(&directory).map_err(|e| Status::internal(format!("make {}: {e}", directory.display())))?;
    if let Err(error) = executor.create(&spec).await {
        let _ = std::fs::remove_dir_all(&directory);
        return Err(status(error));
    }
    let state = match executor.state(&id).await {
        Ok(state) => state,
        Err(_) => State::Created { created_at: crate::events::now_ns() },
    };
    let record = ContainerRecord { spec, executor: executor.name().to_owned(), state, config: Wire(config) };
    shim.put_container(record)?;
    shim.events.tell(&id, &sandbox.spec.id, ContainerEventType::ContainerCreatedEvent);
    Ok(id)
}

pub async fn start(shim: &Arc<Shim>, id: &str) -> Result<()> {
    let record = shim.container(id)?;
    let id = &record.spec.id;
    let executor = shim.executor(&record.executor)?;
    executor.start(id).await.map_err(status)?;
    shim.refresh(id, &executor).await;
    Ok(())
}

/// Stops a container: its stop signal, and SIGKILL after `timeout_s` seconds. Idempotent.
pub async fn stop(shim: &Arc<Shim>, id: &str, timeout_s: i64) -> Result<()> {
    let Ok(record) = shim.container(id) else { return Ok(()) };
    let id = record.spec.id.clone();
    match record.state {
        State::Running { .. } => {}
        State::Created { .. } | State::Exited { .. } => return Ok(()),
    }
    let executor = shim.executor(&record.executor)?;
    let mut state = shim.watch_state(&id).ok_or_else(|| Status::not_found(format!("no container {id:?}")))?;
    let mut ended = async |limit: Duration| {
        let wait = state.wait_for(|state| matches!(state, State::Exited { .. }));
        tokio::time::timeout(limit, wait).await.is_ok()
    };
    if timeout_s > 0 {
        let signal = record.spec.image.stop_signal.unwrap_or(libc::SIGTERM);
        executor.kill(&id, signal).await.map_err(status)?;
        if ended(Duration::from_secs(timeout_s.min(GRACE_LIMIT_S) as u64)).await {
            return Ok(());
        }
    }
    executor.kill(&id, libc::SIGKILL).await.map_err(status)?;
    if ended(KILL_LIMIT).await {
        return Ok(());
    }
    shim.refresh(&id, &executor).await;
    if ended(Duration::ZERO).await {
        Ok(())
    } else {
        Err(Status::deadline_exceeded(format!("container {id} does not end")))
    }
}

/// Removes a container, ending it first if it runs. Idempotent.
pub async fn remove(shim: &Arc<Shim>, id: &str) -> Result<()> {
    let Ok(record) = shim.container(id) else { return Ok(()) };
    let id = record.spec.id.clone();
    stop(shim, &id, 0).await?;
    let executor = shim.executor(&record.executor)?;
    executor.delete(&id).await.map_err(status)?;
    let directory = shim.directory("containers", &id);
    match tokio::fs::remove_dir_all(&directory).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Status::internal(format!("remove {}: {error}", directory.display())));
        }
        _ => {}
    }
    shim.forget_container(&id);
    shim.events.tell(&id, &record.spec.sandbox.id, ContainerEventType::ContainerDeletedEvent);
    Ok(())
}

fn image_spec(record: &ContainerRecord) -> cri::ImageSpec {
    let mut spec = record.config.0.image.clone().unwrap_or_default();
    spec.image = record.spec.image.reference.clone();
    spec
}

pub fn listed(record: &ContainerRecord) -> cri::Container {
    let created_at = times(&record.state).0;
    cri::Container {
        id: record.spec.id.clone(),
        pod_sandbox_id: record.spec.sandbox.id.clone(),
        metadata: Some(record.metadata()),
        image: Some(image_spec(record)),
        image_ref: record.spec.image.digest.clone(),
        state: convert::state(&record.state) as i32,
        created_at,
        labels: record.config.0.labels.clone(),
        annotations: record.config.0.annotations.clone(),
        image_id: record.spec.image.digest.clone(),
    }
}

fn times(state: &State) -> (i64, i64) {
    match state {
        State::Created { created_at } => (*created_at, 0),
        State::Running { created_at, started_at, .. } | State::Exited { created_at, started_at, .. } => {
            (*created_at, *started_at)
        }
    }
}

pub fn container_status(record: &ContainerRecord) -> cri::ContainerStatus {
    let (created_at, started_at) = times(&record.state);
    let mut status = cri::ContainerStatus {
        id: record.spec.id.clone(),
        metadata: Some(record.metadata()),
        state: convert::state(&record.state) as i32,
        created_at,
        started_at,
        image: Some(image_spec(record)),
        image_ref: record.spec.image.digest.clone(),
        image_id: record.spec.image.digest.clone(),
        labels: record.config.0.labels.clone(),
        annotations: record.config.0.annotations.clone(),
        mounts: record.config.0.mounts.clone(),
        log_path: record.spec.log_path.to_string_lossy().into_owned(),
        resources: Some(cri::ContainerResources {
            linux: Some(convert::resources_back(&record.spec.resources)),
            windows: None,
        }),
        stop_signal: record.config.0.stop_signal,
        ..Default::default()
    };
    if let State::Exited { exit, .. } = &record.state {
        status.finished_at = exit.finished_at;
        status.exit_code = exit.code;
        status.reason = exit.reason.clone();
        status.message = exit.message.clone();
    }
    status
}

pub fn matches(record: &ContainerRecord, filter: &Option<cri::ContainerFilter>) -> bool {
    let Some(filter) = filter else { return true };
    let labels = &record.config.0.labels;
    (filter.id.is_empty() || record.spec.id.starts_with(&filter.id))
        && (filter.pod_sandbox_id.is_empty() || record.spec.sandbox.id.starts_with(&filter.pod_sandbox_id))
        && filter.state.as_ref().is_none_or(|wanted| wanted.state == convert::state(&record.state) as i32)
        && filter.label_selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}
