//! What is asked of an executor, as plain data.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// What the containers of one pod share.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sandbox {
    pub id: String,
    pub pod_name: String,
    pub pod_namespace: String,
    pub pod_uid: String,
    pub hostname: String,
    /// The pinned network namespace (a bind mount); `None` on the host's network.
    pub netns: Option<PathBuf>,
    /// The pod's addresses, the primary one first. Empty on the host's network.
    pub ips: Vec<std::net::IpAddr>,
    pub dns: DnsConfig,
    /// Files that every container of the pod gets at `/etc/resolv.conf`, `/etc/hostname`.
    pub resolv_conf: PathBuf,
    pub hostname_file: PathBuf,
    /// Where `/dev/shm` of the pod is mounted on the host.
    pub shm: Option<PathBuf>,
    /// The cgroup that holds the pod's containers, relative to each controller's root.
    pub cgroup_parent: String,
    pub pid: NamespaceMode,
    pub ipc: NamespaceMode,
    pub sysctls: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// A directory of the sandbox's own, for the executor to keep its files in.
    pub state_dir: PathBuf,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsConfig {
    pub servers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<String>,
}

/// Which namespace a container joins (CRI `NamespaceMode`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceMode {
    /// One namespace for all containers of the pod.
    Pod,
    /// A namespace of its own.
    #[default]
    Container,
    /// The host's.
    Node,
    /// Another container's, by id.
    Target(String),
}

/// One container to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    pub id: String,
    pub sandbox: Arc<Sandbox>,
    pub name: String,
    pub attempt: u32,
    pub image: Image,
    /// Replaces the image's entry point, if not empty.
    pub command: Vec<String>,
    /// Replaces the image's default arguments, if not empty.
    pub args: Vec<String>,
    pub working_dir: String,
    pub env: Vec<Env>,
    pub mounts: Vec<Mount>,
    /// Container ports of the pod's manifest, in its order. A `wasi:http` guest listens on the first TCP one.
    pub ports: Vec<Port>,
    pub resources: Resources,
    pub security: Security,
    pub tty: bool,
    pub stdin: bool,
    pub stdin_once: bool,
    /// The CRI log file.
    pub log_path: PathBuf,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// A directory of the container's own, for the executor to keep its files in.
    pub state_dir: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    pub port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Env {
    pub name: String,
    pub value: String,
}

/// An image that is on this node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Image {
    /// The name that the pod asked for.
    pub reference: String,
    /// `sha256:…` of its manifest.
    pub digest: String,
    pub content: ImageContent,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub env: Vec<String>,
    pub working_dir: String,
    /// `user[:group]` of the image's configuration.
    pub user: String,
    pub stop_signal: Option<i32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageContent {
    /// Unpacked layers for overlayfs, the topmost first.
    Layers(Vec<PathBuf>),
    /// One WebAssembly file (module or component) with its content hash `sha256:…`.
    Wasm { file: PathBuf, digest: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub host_path: PathBuf,
    pub container_path: PathBuf,
    pub readonly: bool,
    pub propagation: Propagation,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    #[default]
    Private,
    HostToContainer,
    Bidirectional,
}

/// Limits as CRI's `LinuxContainerResources` has them; zero is "not set".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    pub cpu_shares: u64,
    pub cpu_quota_us: i64,
    pub cpu_period_us: u64,
    pub memory_limit_bytes: i64,
    pub oom_score_adj: i64,
    pub cpuset_cpus: String,
    pub cpuset_mems: String,
    pub pids_limit: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    pub privileged: bool,
    pub run_as_user: Option<i64>,
    pub run_as_group: Option<i64>,
    pub run_as_username: String,
    pub supplemental_groups: Vec<i64>,
    /// No groups but these: what the image's `/etc/group` says of the user does not count.
    #[serde(default)]
    pub strict_groups: bool,
    pub readonly_rootfs: bool,
    pub no_new_privs: bool,
    pub capabilities: Capabilities,
    pub masked_paths: Vec<String>,
    pub readonly_paths: Vec<String>,
    /// The filter: `RuntimeDefault`, `Unconfined` or `Localhost:<path>`.
    pub seccomp: String,
}

/// Changes to the default set of capabilities, without the `CAP_` prefix; `ALL` stands for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    pub add: Vec<String>,
    pub drop: Vec<String>,
}
