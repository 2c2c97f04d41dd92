//! What is known of a pod on this node: what the runtime reports, and what the pod's worker remembers.
//!
//! Everything here can be lost but for the runtime's part: a kubelet that restarts goes on from that alone.

use crate::allocation::Pending;
use crate::backoff::Backoff;
use crate::identity;
use crate::translate::resources::Figures;
use jiff::Timestamp;
use rpc::cri;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The input of `plan` beside the pod itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeStatus {
    /// Newest first.
    pub sandboxes: Vec<Sandbox>,
    /// Newest first, of all sandboxes.
    pub containers: Vec<Container>,
    pub memory: BTreeMap<String, Memory>,
    pub volumes: Volumes,
    /// An operation on the sandbox is under way.
    pub sandbox_busy: bool,
    pub sandbox_failure: Option<Failure>,
    /// Why the pod has not the resources that it asks for.
    pub pending: Option<Pending>,
    /// The limits of its containers are being changed.
    pub resizing: bool,
    pub resize_failure: Option<Failure>,
    /// Set once: the pod is to end, whatever its manifest says later.
    pub ending: Option<Ending>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sandbox {
    pub id: String,
    pub attempt: u32,
    pub ready: bool,
    pub created: Timestamp,
    pub ips: Vec<String>,
}

impl Default for Sandbox {
    fn default() -> Self {
        Sandbox { id: String::new(), attempt: 0, ready: true, created: Timestamp::UNIX_EPOCH, ips: Vec::new() }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Container {
    pub id: String,
    pub name: String,
    pub sandbox: String,
    /// How often a container of that name was started before this one.
    pub attempt: u32,
    /// Of the manifest it was made from; empty when not known.
    pub hash: String,
    pub image: String,
    pub image_id: String,
    pub created: Timestamp,
    pub state: State,
    pub log_path: String,
    /// Where the termination message is on the host; empty when there is none.
    pub message_file: String,
    pub logs_as_message: bool,
    /// The limits that it runs with; none where the runtime does not tell.
    pub figures: Option<Figures>,
    /// It was ended to start again with other resources, however it took that.
    pub renewed: bool,
}

impl Default for Container {
    fn default() -> Self {
        Container {
            id: String::new(),
            name: String::new(),
            sandbox: String::new(),
            attempt: 0,
            hash: String::new(),
            image: String::new(),
            image_id: String::new(),
            created: Timestamp::UNIX_EPOCH,
            state: State::Created,
            log_path: String::new(),
            message_file: String::new(),
            logs_as_message: false,
            figures: None,
            renewed: false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub enum State {
    Created,
    Running { started: Timestamp },
    Exited(Exit),
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Exit {
    pub started: Timestamp,
    pub finished: Timestamp,
    pub code: i32,
    pub reason: String,
    pub message: String,
}

impl Default for Exit {
    fn default() -> Self {
        Exit {
            started: Timestamp::UNIX_EPOCH,
            finished: Timestamp::UNIX_EPOCH,
            code: 0,
            reason: String::new(),
            message: String::new(),
        }
    }
}

impl Container {
    pub fn running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    pub fn exit(&self) -> Option<&Exit> {
        match &self.state {
            State::Exited(exit) => Some(exit),
            State::Created | State::Running { .. } | State::Unknown => None,
        }
    }

    /// Whether it may still have a process.
    pub fn may_run(&self) -> bool {
        matches!(self.state, State::Running { .. } | State::Unknown)
    }
}

/// What the worker remembers of one container name.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    pub op: Option<Op>,
    /// Why the last attempt to start it failed.
    pub failure: Option<Failure>,
    pub restart: Option<Backoff>,
    pub pull: Option<Backoff>,
    pub probes: Probes,
    /// The container of that name that is ended to start again with other resources.
    pub renewed: Option<String>,
}

/// What is being done to a container right now.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub enum Op {
    Start { attempt: u32 },
    Kill { until: Timestamp },
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    pub reason: String,
    pub message: String,
    pub retry: Timestamp,
}

/// Verdicts of the probes of one container; they belong to the id and are void for another.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Probes {
    pub id: String,
    pub startup: Option<bool>,
    pub liveness: Option<bool>,
    pub readiness: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub enum Volumes {
    #[default]
    Absent,
    Mounting,
    Ready,
    Failed(Failure),
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    pub why: EndReason,
    /// Seconds that a container gets between SIGTERM and SIGKILL.
    pub grace: i64,
    /// When the grace began.
    pub since: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub enum EndReason {
    /// Deleted through the API; the object goes when nothing is left.
    Deleted,
    /// The object is gone already, or was never there.
    Gone,
    /// The node ends it: the status says why.
    Failed { reason: String, message: String },
    /// It was not let in: nothing of it ever ran here.
    Refused { reason: String, message: String },
    /// All of it has ended by itself; the object stays.
    Over,
}

impl RuntimeStatus {
    /// The sandbox that containers can run in.
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first().filter(|s| s.ready)
    }

    /// The newest container of that name, in whatever sandbox.
    pub fn latest(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|c| c.name == name)
    }

    /// The newest container of that name in the present sandbox.
    pub fn current(&self, name: &str) -> Option<&Container> {
        let sandbox = &self.sandbox()?.id;
        self.containers.iter().find(|c| c.name == name && &c.sandbox == sandbox)
    }

    /// The one before the newest.
    pub fn previous(&self, name: &str) -> Option<&Container> {
        self.containers.iter().filter(|c| c.name == name).nth(1)
    }

    pub fn remembered(&self, name: &str) -> Option<&Memory> {
        self.memory.get(name)
    }

    pub fn probes(&self, container: &Container) -> Probes {
        self.memory
            .get(&container.name)
            .map(|m| &m.probes)
            .filter(|p| p.id == container.id)
            .cloned()
            .unwrap_or_default()
    }

    pub fn busy(&self) -> bool {
        self.sandbox_busy || self.volumes == Volumes::Mounting || self.memory.values().any(|m| m.op.is_some())
    }
}

fn time(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub fn sandbox(status: &cri::PodSandboxStatus) -> Sandbox {
    let network = status.network.clone().unwrap_or_default();
    let more = network.additional_ips.into_iter().map(|p| p.ip);
    Sandbox {
        id: status.id.clone(),
        attempt: status.metadata.as_ref().map_or(0, |m| m.attempt),
        ready: status.state == cri::PodSandboxState::SandboxReady as i32,
        created: time(status.created_at),
        ips: std::iter::once(network.ip).chain(more).filter(|ip| !ip.is_empty()).collect(),
    }
}

/// `sandbox` is given where the runtime's answer does not name it.
pub fn container(status: &cri::ContainerStatus, sandbox: &str) -> Container {
    let note = |key: &str| status.annotations.get(key).cloned().unwrap_or_default();
    let attempt = note(identity::RESTART_COUNT).parse().ok();
    Container {
        id: status.id.clone(),
        name: status.labels.get(identity::CONTAINER_NAME).cloned().unwrap_or_default(),
        sandbox: sandbox.to_owned(),
        attempt: attempt.unwrap_or_else(|| status.metadata.as_ref().map_or(0, |m| m.attempt)),
        hash: note(identity::HASH),
        image: status.image.as_ref().map(|i| i.image.clone()).unwrap_or_default(),
        image_id: if status.image_ref.is_empty() { status.image_id.clone() } else { status.image_ref.clone() },
        created: time(status.created_at),
        state: state(status),
        log_path: status.log_path.clone(),
        message_file: note(identity::MESSAGE_FILE),
        logs_as_message: note(identity::MESSAGE_POLICY) == "FallbackToLogsOnError",
        figures: status.resources.as_ref().and_then(|r| r.linux.as_ref()).map(Figures::of_runtime),
        renewed: false,
    }
}

fn state(status: &cri::ContainerStatus) -> State {
    match cri::ContainerState::try_from(status.state) {
        Ok(cri::ContainerState::ContainerCreated) => State::Created,
        Ok(cri::ContainerState::ContainerRunning) => State::Running { started: time(status.started_at) },
        Ok(cri::ContainerState::ContainerExited) => State::Exited(Exit {
            started: time(status.started_at),
            finished: time(status.finished_at),
            code: status.exit_code,
            reason: status.reason.clone(),
            message: status.message.clone(),
        }),
        Ok(cri::ContainerState::ContainerUnknown) | Err(_) => State::Unknown,
    }
}
