//! The life of a sandbox: network namespace, address, files; and its removal without a trace.

use crate::convert;
use crate::events::now_ns;
use crate::host_ports;
use crate::netns;
use crate::record::{SandboxRecord, Wire};
use crate::shim::Shim;
use rpc::cri::{self, ContainerEventType};
use rpc::tonic::Status;
use std::sync::Arc;

type Result<T> = std::result::Result<T, Status>;

pub async fn run(shim: &Arc<Shim>, request: cri::RunPodSandboxRequest) -> Result<String> {
    let config = request.config.ok_or_else(|| Status::invalid_argument("the request has no sandbox config"))?;
    convert::check_sandbox(&config).map_err(Status::invalid_argument)?;
    if shim.config.host_ports.is_none() && host_ports::has(&config) {
        return Err(Status::invalid_argument("hostPort is not offered on this node's pod network"));
    }
    if !request.runtime_handler.is_empty() {
        shim.executor(&request.runtime_handler)?;
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    match prepare(shim, &id, config, request.runtime_handler).await {
        Ok(()) => Ok(id),
        Err(status) => {
            // Half a sandbox is of no use to anyone, and the kubelet does not know its id.
            if let Err(error) = release_network(shim, &id).await {
                tracing::warn!(%error, sandbox = id, "what a failed sandbox left cannot be removed");
            }
            let _ = std::fs::remove_dir_all(shim.directory("sandboxes", &id));
            Err(status)
        }
    }
}

async fn prepare(shim: &Arc<Shim>, id: &str, config: cri::PodSandboxConfig, handler: String) -> Result<()> {
    let directory = shim.directory("sandboxes", id);
    let pin = shim.directory("netns", id);
    let on_host = convert::on_host_network(&config);
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut spec = convert::sandbox(id, &config, &directory, (!on_host).then(|| pin.clone()), &host);
    let io = |doing: &'static str| move |e: std::io::Error| Status::internal(format!("{doing}: {e}"));
    std::fs::create_dir_all(&directory).map_err(io("make the sandbox's directory"))?;
    if !on_host {
        let (path, sysctls) = (pin.clone(), spec.sysctls.clone());
        let made = tokio::task::spawn_blocking(move || netns::create(&path, &sysctls)).await;
        made.map_err(|e| Status::internal(e.to_string()))?.map_err(io("make the pod's network namespace"))?;
        let attached = cni::add(&shim.config.cni, id, &pin).await;
        spec.ips = attached.map_err(|e| Status::internal(format!("connect the pod to the network: {e}")))?.ips;
    }
    let resolv = if spec.dns == container::DnsConfig::default() {
        std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default()
    } else {
        convert::resolv_conf(&spec.dns)
    };
    std::fs::write(&spec.resolv_conf, resolv).map_err(io("write resolv.conf"))?;
    std::fs::write(&spec.hostname_file, format!("{}\n", spec.hostname)).map_err(io("write hostname"))?;
    let record = SandboxRecord {
        spec: Arc::new(spec),
        created_at: now_ns(),
        ready: true,
        handler,
        executors: Vec::new(),
        config: Wire(config),
    };
    if host_ports::has(&record.config.0) {
        let _turn = shim.ports.lock().await;
        host_ports::open(shim, Some(&record)).await?;
        shim.put_sandbox(record)?;
    } else {
        shim.put_sandbox(record)?;
    }
    shim.events.tell(id, id, ContainerEventType::ContainerCreatedEvent);
    shim.events.tell(id, id, ContainerEventType::ContainerStartedEvent);
    Ok(())
}

/// Has the sandbox opened by an executor, once. For who has the sandbox's turn.
pub async fn open_by(shim: &Shim, id: &str, executor: &Arc<dyn container::Executor>) -> Result<()> {
    let mut record = shim.sandbox(id)?;
    if record.executors.iter().any(|name| name == executor.name()) {
        return Ok(());
    }
    if let Err(error) = executor.open_sandbox(&record.spec).await {
        // What there is of it is in nobody's way then; it is opened anew for the next container.
        if let Err(error) = executor.close_sandbox(id).await {
            tracing::warn!(%error, sandbox = id, "what is half open cannot be closed");
        }
        return Err(Status::internal(format!("open the sandbox: {error}")));
    }
    record.executors.push(executor.name().to_owned());
    shim.put_sandbox(record)
}

/// Ends the sandbox's containers and gives its address back; its records stay. Idempotent.
pub async fn stop(shim: &Arc<Shim>, id: &str) -> Result<()> {
    let Ok(record) = shim.sandbox(id) else { return Ok(()) };
    let id = record.spec.id.clone();
    let _turn = shim.turn(&id).await;
    for container in shim.containers_of(&id) {
        crate::containers::stop(shim, &container.spec.id, 0).await?;
    }
    let mut record = shim.sandbox(&id)?;
    // All of them: one that was opening it when the shim was ended is not in the record.
    record.executors.clear();
    for executor in &shim.executors {
        executor.close_sandbox(&id).await.map_err(|e| Status::internal(format!("close the sandbox: {e}")))?;
    }
    release_network(shim, &id).await?;
    let was_ready = std::mem::replace(&mut record.ready, false);
    let had_ports = host_ports::has(&record.config.0);
    shim.put_sandbox(record)?;
    if had_ports {
        let _turn = shim.ports.lock().await;
        host_ports::open(shim, None).await?;
    }
    if was_ready {
        shim.events.tell(&id, &id, ContainerEventType::ContainerStoppedEvent);
    }
    Ok(())
}

/// Removes the sandbox and everything of it. Idempotent.
pub async fn remove(shim: &Arc<Shim>, id: &str) -> Result<()> {
    let Ok(record) = shim.sandbox(id) else { return Ok(()) };
    let id = record.spec.id.clone();
    stop(shim, &id).await?;
    for container in shim.containers_of(&id) {
        crate::containers::remove(shim, &container.spec.id).await?;
    }
    let directory = shim.directory("sandboxes", &id);
    match tokio::fs::remove_dir_all(&directory).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Status::internal(format!("remove {}: {error}", directory.display())));
        }
        _ => {}
    }
    shim.forget_sandbox(&id);
    shim.events.tell(&id, &id, ContainerEventType::ContainerDeletedEvent);
    Ok(())
}

async fn release_network(shim: &Shim, id: &str) -> Result<()> {
    let pin = shim.directory("netns", id);
    if pin.exists() {
        let gone = cni::del(&shim.config.cni, id, &pin).await;
        gone.map_err(|e| Status::internal(format!("disconnect the pod from the network: {e}")))?;
        netns::remove(&pin).map_err(|e| Status::internal(format!("remove the pod's network namespace: {e}")))?;
    }
    Ok(())
}

pub fn state(record: &SandboxRecord) -> cri::PodSandboxState {
    if record.ready { cri::PodSandboxState::SandboxReady } else { cri::PodSandboxState::SandboxNotready }
}

pub fn status(record: &SandboxRecord) -> cri::PodSandboxStatus {
    let mut ips = record.spec.ips.iter().map(ToString::to_string);
    let network = cri::PodSandboxNetworkStatus {
        ip: ips.next().unwrap_or_default(),
        additional_ips: ips.map(|ip| cri::PodIp { ip }).collect(),
    };
    cri::PodSandboxStatus {
        id: record.spec.id.clone(),
        metadata: Some(record.metadata()),
        state: state(record) as i32,
        created_at: record.created_at,
        network: Some(network),
        linux: Some(cri::LinuxPodSandboxStatus {
            namespaces: Some(cri::Namespace { options: Some(convert::options(&record.config.0)) }),
        }),
        labels: record.config.0.labels.clone(),
        annotations: record.config.0.annotations.clone(),
        runtime_handler: record.handler.clone(),
    }
}

pub fn listed(record: &SandboxRecord) -> cri::PodSandbox {
    cri::PodSandbox {
        id: record.spec.id.clone(),
        metadata: Some(record.metadata()),
        state: state(record) as i32,
        created_at: record.created_at,
        labels: record.config.0.labels.clone(),
        annotations: record.config.0.annotations.clone(),
        runtime_handler: record.handler.clone(),
    }
}

pub fn matches(record: &SandboxRecord, filter: &Option<cri::PodSandboxFilter>) -> bool {
    let Some(filter) = filter else { return true };
    let labels = &record.config.0.labels;
    (filter.id.is_empty() || record.spec.id.starts_with(&filter.id))
        && filter.state.as_ref().is_none_or(|wanted| wanted.state == state(record) as i32)
        && filter.label_selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}
