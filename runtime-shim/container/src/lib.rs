//! What a container is, whoever runs it: the [`Executor`] trait, the [`State`] machine, and the CRI log files.
//!
//! This crate refuses to know namespaces, cgroups, WebAssembly or gRPC: the executors and the CRI server bring those.

pub mod log;
pub mod persist;
mod spec;
mod state;

pub use spec::{
    Capabilities, DnsConfig, Env, Image, ImageContent, Mount, NamespaceMode, Port, Propagation, Resources, Sandbox,
    Security, Spec,
};
pub use state::{Event, Exit, Illegal, State};

use std::sync::Arc;

/// A failure of an executor: what was being done, and why it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No container of that id is known.
    #[error("container {0:?} is not known")]
    NotFound(String),
    /// The container is in a state that does not allow the request.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// What was asked for is wrong, with a sentence that says what to do. The kubelet shows it to the user.
    #[error("{0}")]
    Invalid(String),
    /// The executor cannot do this for this kind of container (exec into a guest without a command world, say).
    #[error("{0}")]
    Unsupported(String),
    /// Anything else that failed underneath.
    #[error("{doing}: {source}")]
    Failed {
        doing: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Wraps `source` with what was being done when it happened.
    pub fn failed(doing: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Failed { doing: doing.into(), source: source.into() }
    }
}

pub type Result<T> = std::result::Result<T, Error>;

/// What a container uses, as CRI's `ContainerStats` wants it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// CPU time since the start, in nanoseconds.
    pub cpu_ns: u64,
    /// Memory in use less what the kernel can drop at once, in bytes.
    pub working_set_bytes: u64,
    /// Memory in use, in bytes.
    pub usage_bytes: u64,
    /// Resident anonymous memory, in bytes.
    pub rss_bytes: u64,
    pub page_faults: u64,
    pub major_page_faults: u64,
}

/// A command to run beside the container's own.
#[derive(Debug, Clone)]
pub struct ExecSpec {
    pub command: Vec<String>,
    pub tty: bool,
}

/// The three streams of an exec or attach session, as seen by the executor.
/// A stream that was not asked for is `None`. Dropping the writers tells the client that output has ended.
pub struct Stdio {
    pub stdin: Option<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
    pub stdout: Option<Box<dyn tokio::io::AsyncWrite + Send + Unpin>>,
    pub stderr: Option<Box<dyn tokio::io::AsyncWrite + Send + Unpin>>,
    /// New sizes of the client's terminal, (columns, rows).
    pub resize: Option<tokio::sync::mpsc::Receiver<(u16, u16)>>,
}

/// Runs containers of one kind. Everything that it starts outlives the process that asked for it:
/// after a restart [`Executor::recover`] finds it again.
#[async_trait::async_trait]
pub trait Executor: Send + Sync {
    /// The name a RuntimeClass handler picks it by: `oci`, `wasm`.
    fn name(&self) -> &'static str;

    /// Prepares what all containers of a pod share. Called once, before the first `create` in that sandbox.
    async fn open_sandbox(&self, sandbox: &Arc<Sandbox>) -> Result<()>;

    /// Ends and releases what `open_sandbox` made, with every container still in it. Idempotent.
    async fn close_sandbox(&self, sandbox_id: &str) -> Result<()>;

    /// Prepares a container up to the point where only `start` is missing.
    async fn create(&self, spec: &Spec) -> Result<()>;

    /// Starts it. Returns its process id, or 0 where it has none of its own.
    async fn start(&self, id: &str) -> Result<u32>;

    /// Sends a signal to the container's first process, or the nearest a guest has.
    async fn kill(&self, id: &str, signal: i32) -> Result<()>;

    /// Releases a container that has ended or never started. Idempotent.
    async fn delete(&self, id: &str) -> Result<()>;

    /// The state as the executor knows it.
    async fn state(&self, id: &str) -> Result<State>;

    async fn stats(&self, id: &str) -> Result<Stats>;

    /// Changes the limits of a running container (CRI `UpdateContainerResources`).
    async fn update(&self, id: &str, resources: &Resources) -> Result<()>;

    /// Runs a command in the container and returns its exit code.
    async fn exec(&self, id: &str, exec: &ExecSpec, stdio: Stdio) -> Result<i32>;

    /// Joins the streams of the container's own process until either side ends.
    async fn attach(&self, id: &str, stdio: Stdio) -> Result<()>;

    /// Opens the log file anew, after it was rotated.
    async fn reopen_log(&self, id: &str) -> Result<()>;

    /// What still exists after a restart of the process that asked for it: container ids and their states.
    async fn recover(&self) -> Result<Vec<(String, State)>>;

    /// Ends of containers, from the moment of the call. What ended before is in [`Executor::recover`] and [`Executor::state`].
    fn exits(&self) -> tokio::sync::broadcast::Receiver<(String, Exit)>;
}
