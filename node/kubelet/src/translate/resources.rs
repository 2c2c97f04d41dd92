//! Requests and limits as cgroup figures.

use crate::quantity::{milli_of, value_of};
use crate::units;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use rpc::cri::LinuxContainerResources;
use serde::Deserialize;

pub const PERIOD_US: i64 = 100_000;
const MIN_QUOTA_US: i64 = 1_000;
const MIN_SHARES: i64 = 2;
const MAX_SHARES: i64 = 262_144;

/// Upstream's quality-of-service classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    Guaranteed,
    Burstable,
    BestEffort,
}

pub fn qos(pod: &Pod) -> Qos {
    match pod.status.as_ref().and_then(|s| s.qos_class.as_deref()) {
        Some("Guaranteed") => return Qos::Guaranteed,
        Some("Burstable") => return Qos::Burstable,
        Some("BestEffort") => return Qos::BestEffort,
        Some(_) | None => {}
    }
    let list = units::units(pod);
    let resources: Vec<Option<&ResourceRequirements>> = list.iter().map(|u| u.spec.resources.as_ref()).collect();
    let amount = |r: &Option<&ResourceRequirements>, name: &str| {
        let limit = milli_of(r.and_then(|r| r.limits.as_ref()), name);
        let request = milli_of(r.and_then(|r| r.requests.as_ref()), name);
        (limit, if request == 0 { limit } else { request })
    };
    let both = ["cpu", "memory"];
    if resources.iter().all(|r| both.iter().all(|n| amount(r, n) == (0, 0))) {
        return Qos::BestEffort;
    }
    let fixed = |(limit, request): (i64, i64)| limit > 0 && limit == request;
    match resources.iter().all(|r| both.iter().all(|n| fixed(amount(r, n)))) {
        true => Qos::Guaranteed,
        false => Qos::Burstable,
    }
}

/// `kubepods/pod<uid>`, with the class between them unless it is Guaranteed.
pub fn cgroup_parent(pod: &Pod) -> String {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    match qos(pod) {
        Qos::Guaranteed => format!("/kubepods/pod{uid}"),
        Qos::Burstable => format!("/kubepods/burstable/pod{uid}"),
        Qos::BestEffort => format!("/kubepods/besteffort/pod{uid}"),
    }
}

/// The limits of a container that can be changed while it runs; 0 is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Figures {
    pub cpu_shares: i64,
    /// Of each `PERIOD_US`.
    pub cpu_quota_us: i64,
    pub memory_bytes: i64,
}

impl Figures {
    pub fn wanted(pod: &Pod, container: &Container) -> Figures {
        Figures::of_runtime(&of_container(pod, container, 0))
    }

    /// As the runtime tells them: no limit is 0 or -1.
    pub fn of_runtime(has: &LinuxContainerResources) -> Figures {
        let period = if has.cpu_period > 0 { has.cpu_period } else { PERIOD_US };
        Figures {
            cpu_shares: has.cpu_shares.max(0),
            cpu_quota_us: has.cpu_quota.max(0).saturating_mul(PERIOD_US) / period,
            memory_bytes: has.memory_limit_in_bytes.max(0),
        }
    }

    pub fn to_runtime(self) -> LinuxContainerResources {
        LinuxContainerResources {
            cpu_period: PERIOD_US,
            cpu_quota: self.cpu_quota_us,
            cpu_shares: self.cpu_shares,
            memory_limit_in_bytes: self.memory_bytes,
            ..LinuxContainerResources::default()
        }
    }

    /// Thousandths of a CPU that the shares stand for.
    pub fn cpu_request_milli(self) -> i64 {
        (self.cpu_shares.saturating_mul(1000) + 1023) / 1024
    }

    pub fn cpu_limit_milli(self) -> i64 {
        self.cpu_quota_us.saturating_mul(1000) / PERIOD_US
    }
}

pub fn of_container(pod: &Pod, container: &Container, node_memory: i64) -> LinuxContainerResources {
    let limits = container.resources.as_ref().and_then(|r| r.limits.as_ref());
    let requests = container.resources.as_ref().and_then(|r| r.requests.as_ref());
    let cpu_limit = milli_of(limits, "cpu");
    let cpu_request = Some(milli_of(requests, "cpu")).filter(|r| *r > 0).unwrap_or(cpu_limit);
    let memory_limit = value_of(limits, "memory");
    let memory_request = Some(value_of(requests, "memory")).filter(|r| *r > 0).unwrap_or(memory_limit);
    LinuxContainerResources {
        cpu_period: PERIOD_US,
        cpu_quota: quota(cpu_limit),
        cpu_shares: shares(cpu_request),
        memory_limit_in_bytes: memory_limit,
        oom_score_adj: oom_score(pod, memory_request, node_memory),
        ..LinuxContainerResources::default()
    }
}

/// The whole pod's figures, for the cgroup that its containers share.
pub fn of_pod(pod: &Pod) -> LinuxContainerResources {
    let list: Vec<_> = pod.spec.iter().flat_map(|s| s.containers.iter()).collect();
    let sum = |f: &dyn Fn(&Container) -> i64| list.iter().map(|c| f(c)).sum::<i64>();
    let limit = |c: &Container, n: &str| milli_of(c.resources.as_ref().and_then(|r| r.limits.as_ref()), n);
    let bounded = |n: &str| list.iter().all(|c| limit(c, n) > 0);
    let request = sum(&|c| {
        let request = milli_of(c.resources.as_ref().and_then(|r| r.requests.as_ref()), "cpu");
        if request > 0 { request } else { limit(c, "cpu") }
    });
    LinuxContainerResources {
        cpu_period: PERIOD_US,
        cpu_quota: if bounded("cpu") { quota(sum(&|c| limit(c, "cpu"))) } else { 0 },
        cpu_shares: shares(request),
        memory_limit_in_bytes: if bounded("memory") { sum(&|c| limit(c, "memory")) / 1000 } else { 0 },
        ..LinuxContainerResources::default()
    }
}

fn shares(milli: i64) -> i64 {
    (milli * 1024 / 1000).clamp(MIN_SHARES, MAX_SHARES)
}

fn quota(milli: i64) -> i64 {
    if milli == 0 { 0 } else { (milli * PERIOD_US / 1000).max(MIN_QUOTA_US) }
}

/// Upstream's rule: the more of its node a burstable container asks for, the later it is killed.
fn oom_score(pod: &Pod, memory_request: i64, node_memory: i64) -> i64 {
    let priority = pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0);
    // system-node-critical and above.
    if priority >= 2_000_001_000 {
        return -997;
    }
    match qos(pod) {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let share = if node_memory > 0 { 1000 * i128::from(memory_request) / i128::from(node_memory) } else { 0 };
            (1000 - i64::try_from(share).unwrap_or(1000)).clamp(3, 999)
        }
    }
}
