//! The Node object: what this machine is, has and runs.

use super::Node;
use crate::quantity;
use crate::status::second;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    self as core, ContainerImage, DaemonEndpoint, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeFeatures,
    NodeRuntimeHandler, NodeRuntimeHandlerFeatures, NodeSpec, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use rpc::cri;
use std::collections::BTreeMap;
use std::path::Path;

/// Upstream's limits for the list of images.
const IMAGES: usize = 50;
const NAMES: usize = 5;
/// Below that a node is out of memory (upstream's hard eviction threshold).
const LEAST_MEMORY_BYTES: i64 = 100 << 20;
/// Below that part of the filesystem a node is out of disk (upstream's hard eviction threshold), but a large filesystem
/// keeps no more than this free: a tenth of it would hold back a machine that has room for thousands of images.
const LEAST_DISK_PERCENT: u64 = 10;
const LEAST_DISK_BYTES: u64 = 2 << 30;

/// CPU, memory, disk and pods of this machine.
pub fn capacity(root: &Path, max_pods: u32) -> BTreeMap<String, Quantity> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let disk = disk(root).map_or(0, |(size, _)| size);
    let list = [
        ("cpu", cpus.to_string()),
        ("memory", format!("{}Ki", memory("MemTotal") / 1024)),
        ("ephemeral-storage", format!("{}Ki", disk / 1024)),
        ("pods", max_pods.to_string()),
        ("hugepages-1Gi", "0".to_owned()),
        ("hugepages-2Mi", "0".to_owned()),
    ];
    list.into_iter().map(|(k, v)| (k.to_owned(), Quantity(v))).collect()
}

/// What upstream leaves to pods: all of it, less the memory and disk whose lack would evict them.
pub fn allocatable(capacity: &BTreeMap<String, Quantity>) -> BTreeMap<String, Quantity> {
    let mut list = capacity.clone();
    let memory = quantity::value_of(Some(capacity), "memory");
    let disk = quantity::value_of(Some(capacity), "ephemeral-storage");
    list.insert("memory".into(), Quantity(format!("{}Ki", (memory - LEAST_MEMORY_BYTES).max(0) / 1024)));
    let kept = i64::try_from(reserve(disk.unsigned_abs())).unwrap_or(disk);
    list.insert("ephemeral-storage".into(), Quantity((disk - kept).to_string()));
    list
}

/// What stays free, in bytes, of a filesystem of `size` bytes.
fn reserve(size: u64) -> u64 {
    (size / 100 * LEAST_DISK_PERCENT).min(LEAST_DISK_BYTES)
}

/// Whether the filesystem below `path` has less than `percent` of its reserve left.
pub fn short_of_disk(path: &Path, percent: u64) -> bool {
    disk(path).is_some_and(|(size, left)| left < reserve(size) / 100 * percent)
}

/// A line of /proc/meminfo in bytes; 0 where it cannot be read.
pub fn memory(line: &str) -> i64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let found = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'));
    let kib = found.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse::<i64>().ok());
    kib.unwrap_or(0) * 1024
}

/// What the whole machine uses.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Of all cores since the start; none where it cannot be read.
    pub cpu_seconds: Option<f64>,
    pub working_set_bytes: f64,
    pub memory_bytes: f64,
    pub at_ms: Option<i64>,
}

pub fn usage() -> Usage {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let total = memory("MemTotal");
    Usage {
        cpu_seconds: cpu_seconds(&text),
        working_set_bytes: (total - memory("MemAvailable")).max(0) as f64,
        memory_bytes: total as f64,
        at_ms: Some(Timestamp::now().as_millisecond()),
    }
}

/// The first line of /proc/stat: hundredths of seconds (`USER_HZ`) in user, nice, system, idle, iowait, irq, softirq, steal.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = line.split_whitespace().map_while(|n| n.parse().ok()).collect();
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|i| ticks.get(*i)).sum::<f64>();
    Some(busy / 100.0)
}

/// Size and free bytes of the filesystem below `path`.
fn disk(path: &Path) -> Option<(u64, u64)> {
    let at = path.ancestors().find(|p| p.exists())?;
    let s = nix::sys::statvfs::statvfs(at).ok()?;
    Some((s.blocks() * s.fragment_size(), s.blocks_available() * s.fragment_size()))
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub fn labels(node: &Node) -> BTreeMap<String, String> {
    let own = [
        ("kubernetes.io/hostname", node.config.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", arch()),
    ];
    let own = own.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned()));
    own.chain(node.config.labels.clone()).collect()
}

pub fn annotations(node: &Node) -> BTreeMap<String, String> {
    let own = ("volumes.kubernetes.io/controller-managed-attach-detach".to_owned(), "true".to_owned());
    node.config.annotations.clone().into_iter().chain([own]).collect()
}

pub fn object(node: &Node, status: NodeStatus) -> core::Node {
    let taints = Some(node.config.taints.clone()).filter(|t| !t.is_empty());
    core::Node {
        metadata: ObjectMeta {
            name: Some(node.config.node_name.clone()),
            labels: Some(labels(node)),
            annotations: Some(annotations(node)),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            taints,
            pod_cidr: node.config.pod_cidr.clone(),
            pod_cidrs: node.config.pod_cidr.clone().map(|range| vec![range]),
            ..NodeSpec::default()
        }),
        status: Some(status),
    }
}

/// What the runtime says, for the status.
pub struct Asked {
    pub version: cri::VersionResponse,
    pub status: Result<cri::StatusResponse, String>,
    pub images: Vec<cri::Image>,
}

pub fn status(node: &Node, port: u16, asked: &Asked, old: Option<&NodeStatus>, now: Timestamp) -> NodeStatus {
    let mut addresses: Vec<NodeAddress> = node.host.ips.iter().map(|ip| address("InternalIP", ip)).collect();
    addresses.push(address("Hostname", &node.config.node_name));
    NodeStatus {
        addresses: Some(addresses),
        capacity: Some(capacity(&node.config.root_dir, node.config.max_pods)),
        allocatable: Some(node.allocatable.clone()),
        conditions: Some(conditions(node, asked, old, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints { kubelet_endpoint: Some(DaemonEndpoint { port: port.into() }) }),
        images: Some(images(&asked.images)),
        node_info: Some(info(node, &asked.version)),
        features: asked
            .status
            .as_ref()
            .ok()
            .and_then(|s| s.features.as_ref())
            .map(|f| NodeFeatures { supplemental_groups_policy: Some(f.supplemental_groups_policy) }),
        runtime_handlers: asked.status.as_ref().ok().map(handlers).filter(|l| !l.is_empty()),
        ..NodeStatus::default()
    }
}

fn address(kind: &str, value: &str) -> NodeAddress {
    NodeAddress { type_: kind.to_owned(), address: value.to_owned() }
}

fn handlers(status: &cri::StatusResponse) -> Vec<NodeRuntimeHandler> {
    let one = |h: &cri::RuntimeHandler| NodeRuntimeHandler {
        name: Some(h.name.clone()),
        features: h.features.as_ref().map(|f| NodeRuntimeHandlerFeatures {
            recursive_read_only_mounts: Some(f.recursive_read_only_mounts),
            user_namespaces: Some(f.user_namespaces),
        }),
    };
    status.runtime_handlers.iter().map(one).collect()
}

fn images(list: &[cri::Image]) -> Vec<ContainerImage> {
    let mut list: Vec<&cri::Image> = list.iter().collect();
    list.sort_by_key(|i| std::cmp::Reverse(i.size));
    let one = |i: &&cri::Image| ContainerImage {
        names: Some(i.repo_digests.iter().chain(&i.repo_tags).take(NAMES).cloned().collect()),
        size_bytes: i64::try_from(i.size).ok(),
    };
    list.iter().take(IMAGES).map(one).collect()
}

fn info(node: &Node, version: &cri::VersionResponse) -> NodeSystemInfo {
    let read = |path: &str| std::fs::read_to_string(path).map(|t| t.trim().to_owned()).unwrap_or_default();
    let release = read("/etc/os-release");
    let name = release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux");
    let machine = read("/etc/machine-id");
    NodeSystemInfo {
        architecture: arch().into(),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: format!("{}://{}", version.runtime_name, version.runtime_version),
        kernel_version: read("/proc/sys/kernel/osrelease"),
        kubelet_version: node.config.version.clone(),
        machine_id: machine.clone(),
        operating_system: "linux".into(),
        os_image: name.trim_matches('"').to_owned(),
        system_uuid: Some(read("/sys/class/dmi/id/product_uuid")).filter(|u| !u.is_empty()).unwrap_or(machine),
        ..NodeSystemInfo::default()
    }
}

fn conditions(node: &Node, asked: &Asked, old: Option<&NodeStatus>, now: Timestamp) -> Vec<NodeCondition> {
    let free = memory("MemAvailable");
    let tight = free > 0 && free < LEAST_MEMORY_BYTES;
    let full = short_of_disk(&node.config.root_dir, 100);
    let ready = ready(asked);
    let list = [
        (
            "MemoryPressure",
            tight,
            pick(tight, "KubeletHasInsufficientMemory", "KubeletHasSufficientMemory"),
            pick(tight, "kubelet has insufficient memory available", "kubelet has sufficient memory available")
                .to_owned(),
        ),
        (
            "DiskPressure",
            full,
            pick(full, "KubeletHasDiskPressure", "KubeletHasNoDiskPressure"),
            pick(full, "kubelet has disk pressure", "kubelet has no disk pressure").to_owned(),
        ),
        ("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available".to_owned()),
        (
            "Ready",
            ready.is_ok(),
            if ready.is_ok() { "KubeletReady" } else { "KubeletNotReady" },
            ready.clone().err().unwrap_or_else(|| "kubelet is posting ready status".to_owned()),
        ),
    ];
    list.into_iter()
        .map(|(name, holds, reason, message)| {
            let status = if holds { "True" } else { "False" };
            let before = old.and_then(|o| o.conditions.as_ref()).and_then(|l| l.iter().find(|c| c.type_ == name));
            let since = before.filter(|b| b.status == status).and_then(|b| b.last_transition_time.clone());
            NodeCondition {
                type_: name.to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message),
                last_heartbeat_time: Some(Time(second(now))),
                last_transition_time: Some(since.unwrap_or_else(|| Time(second(now)))),
            }
        })
        .collect()
}

fn pick(holds: bool, yes: &'static str, no: &'static str) -> &'static str {
    if holds { yes } else { no }
}

fn ready(asked: &Asked) -> Result<(), String> {
    let status = asked.status.as_ref().map_err(|e| format!("container runtime is down: {e}"))?;
    let conditions = status.status.as_ref().map(|s| s.conditions.clone()).unwrap_or_default();
    let problems: Vec<String> = conditions
        .iter()
        .filter(|c| !c.status && matches!(c.r#type.as_str(), "RuntimeReady" | "NetworkReady"))
        .map(|c| format!("{} is false: {} {}", c.r#type, c.reason, c.message))
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join(", ")) }
}
