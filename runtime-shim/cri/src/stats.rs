//! What containers and sandboxes use, in CRI's words.

use crate::events::now_ns;
use crate::record::{ContainerRecord, SandboxRecord};
use crate::shim::Shim;
use container::Stats;
use rpc::cri;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Files counted below one directory; beyond it the figure is a lower bound.
const FILES_LIMIT: usize = 1_000_000;

fn value(value: u64) -> Option<cri::UInt64Value> {
    Some(cri::UInt64Value { value })
}

pub async fn container(shim: &Shim, record: &ContainerRecord) -> cri::ContainerStats {
    let stats = match shim.executor(&record.executor) {
        Ok(executor) => executor.stats(&record.spec.id).await.unwrap_or_default(),
        Err(_) => Stats::default(),
    };
    let upper = record.spec.state_dir.join("upper");
    let (bytes, inodes) = tokio::task::spawn_blocking(move || usage(&upper)).await.unwrap_or_default();
    let (cpu, memory) = parts(&stats, record.spec.resources.memory_limit_bytes);
    cri::ContainerStats {
        attributes: Some(cri::ContainerAttributes {
            id: record.spec.id.clone(),
            metadata: Some(record.metadata()),
            labels: record.config.0.labels.clone(),
            annotations: record.config.0.annotations.clone(),
        }),
        cpu: Some(cpu),
        memory: Some(memory),
        writable_layer: Some(filesystem(&shim.config.root.join("containers"), bytes, inodes)),
        ..Default::default()
    }
}

fn parts(stats: &Stats, limit: i64) -> (cri::CpuUsage, cri::MemoryUsage) {
    let timestamp = now_ns();
    let available =
        u64::try_from(limit).ok().filter(|limit| *limit > 0).map(|limit| limit.saturating_sub(stats.working_set_bytes));
    let cpu = cri::CpuUsage { timestamp, usage_core_nano_seconds: value(stats.cpu_ns), ..Default::default() };
    let memory = cri::MemoryUsage {
        timestamp,
        working_set_bytes: value(stats.working_set_bytes),
        available_bytes: available.and_then(value),
        usage_bytes: value(stats.usage_bytes),
        rss_bytes: value(stats.rss_bytes),
        page_faults: value(stats.page_faults),
        major_page_faults: value(stats.major_page_faults),
        ..Default::default()
    };
    (cpu, memory)
}

pub async fn sandbox(shim: &Shim, record: &SandboxRecord) -> cri::PodSandboxStats {
    let mut containers = Vec::new();
    let mut sum = Stats::default();
    for one in shim.containers_of(&record.spec.id).iter().filter(|one| one.running()) {
        let stats = container(shim, one).await;
        let get = |value: &Option<cri::UInt64Value>| value.as_ref().map_or(0, |value| value.value);
        let (cpu, memory) = (stats.cpu.unwrap_or_default(), stats.memory.unwrap_or_default());
        sum.cpu_ns += get(&cpu.usage_core_nano_seconds);
        sum.working_set_bytes += get(&memory.working_set_bytes);
        sum.usage_bytes += get(&memory.usage_bytes);
        sum.rss_bytes += get(&memory.rss_bytes);
        sum.page_faults += get(&memory.page_faults);
        sum.major_page_faults += get(&memory.major_page_faults);
        containers.push(stats);
    }
    let (cpu, memory) = parts(&sum, 0);
    cri::PodSandboxStats {
        attributes: Some(cri::PodSandboxAttributes {
            id: record.spec.id.clone(),
            metadata: Some(record.metadata()),
            labels: record.config.0.labels.clone(),
            annotations: record.config.0.annotations.clone(),
        }),
        linux: Some(cri::LinuxPodSandboxStats {
            cpu: Some(cpu),
            memory: Some(memory),
            network: network(&record.spec.id),
            containers,
            ..Default::default()
        }),
        windows: None,
    }
}

/// What has passed the pod's link: its other end is the node's, where what the pod sends is received. None on the host's
/// network.
fn network(sandbox: &str) -> Option<cri::NetworkUsage> {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").ok()?;
    let interface = link(&table, &cni::host_link_name(sandbox))?;
    Some(cri::NetworkUsage { timestamp: now_ns(), default_interface: Some(interface), ..Default::default() })
}

/// A line of the kernel's table: received bytes, packets, errors and five more, then the same of what was sent.
fn link(table: &str, name: &str) -> Option<cri::NetworkInterfaceUsage> {
    let line = table.lines().find_map(|l| l.trim_start().strip_prefix(name)?.strip_prefix(':'))?;
    let figures: Vec<u64> = line.split_whitespace().map_while(|n| n.parse().ok()).collect();
    let get = |i: usize| figures.get(i).copied().and_then(value);
    Some(cri::NetworkInterfaceUsage {
        name: cni::POD_LINK.to_owned(),
        rx_bytes: get(8),
        rx_errors: get(10),
        tx_bytes: get(0),
        tx_errors: get(2),
    })
}

pub fn filesystem(mountpoint: &Path, bytes: u64, inodes: u64) -> cri::FilesystemUsage {
    cri::FilesystemUsage {
        timestamp: now_ns(),
        fs_id: Some(cri::FilesystemIdentifier { mountpoint: mountpoint.to_string_lossy().into_owned() }),
        used_bytes: value(bytes),
        inodes_used: value(inodes),
    }
}

/// Bytes on disk and files below a directory.
pub fn usage(path: &Path) -> (u64, u64) {
    let (mut bytes, mut inodes) = (0, 0);
    let mut open = vec![path.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            bytes += metadata.blocks() * 512;
            inodes += 1;
            if inodes as usize >= FILES_LIMIT {
                return (bytes, inodes);
            }
            if metadata.is_dir() {
                open.push(entry.path());
            }
        }
    }
    (bytes, inodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_node_receives_the_pod_has_sent() {
        let table = "Inter-|   Receive |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes\n\
            lo: 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n  wv1: 10 2 3 0 0 0 0 0 40 5 6 0 0 0 0 0\n";
        let has = link(table, "wv1").expect("the link");
        let get = |v: &Option<cri::UInt64Value>| v.as_ref().map(|v| v.value);
        assert_eq!((get(&has.tx_bytes), get(&has.tx_errors)), (Some(10), Some(3)));
        assert_eq!((get(&has.rx_bytes), get(&has.rx_errors)), (Some(40), Some(6)));
        assert_eq!(link(table, "wv"), None);
    }
}
