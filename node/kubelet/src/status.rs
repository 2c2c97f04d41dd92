//! The `status` of a pod: a pure function of its manifest, of what is known of it on this node, and of the last status.
//!
//! `qosClass`, `resize` and conditions of other writers are not touched.

mod conditions;

mod containers;
mod phase;
mod resize;

pub use conditions::OWNED;
pub use containers::started;
pub use phase::verdict;

use crate::observed::{EndReason, RuntimeStatus};
use crate::units::{Role, Unit};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What of the node a pod's status shows.
#[derive(Debug, Clone, Default)]
pub struct Host {
    pub ips: Vec<String>,
    /// `containerd`, `wherry`: the scheme of container ids.
    pub runtime: String,
}

/// Makes the whole status; `pod.status` is the last one.
pub fn status(pod: &Pod, rt: &RuntimeStatus, host: &Host, now: Timestamp) -> PodStatus {
    let old = pod.status.clone().unwrap_or_default();
    if settled(&old, rt) {
        return old;
    }
    if let Some(EndReason::Refused { reason, message }) = rt.ending.as_ref().map(|e| &e.why) {
        return refused(pod, old, reason, message, now);
    }
    let ips = ips(pod, rt, host);
    let phase = phase::phase(pod, rt);
    let mut new = PodStatus {
        phase: Some(phase.to_owned()),
        host_ip: host.ips.first().cloned(),
        host_ips: Some(host.ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect()),
        pod_ip: ips.first().cloned(),
        pod_ips: Some(ips.iter().map(|ip| PodIP { ip: ip.clone() }).collect()).filter(|l: &Vec<PodIP>| !l.is_empty()),
        start_time: Some(old.start_time.clone().unwrap_or_else(|| Time(second(now)))),
        init_container_statuses: containers::of(pod, rt, host, now, &[Role::Init, Role::Sidecar]),
        container_statuses: containers::of(pod, rt, host, now, &[Role::Main]),
        ephemeral_container_statuses: containers::of(pod, rt, host, now, &[Role::Ephemeral]),
        observed_generation: pod.metadata.generation,
        ..old
    };
    if let Some(EndReason::Failed { reason, message }) = rt.ending.as_ref().map(|e| &e.why) {
        new.reason = Some(reason.clone());
        new.message = Some(message.clone());
    }
    conditions::set(pod, rt, &mut new, now);
    new
}

/// Of a pod that was not let in nothing is told but why, as upstream: what others said of it stays.
fn refused(pod: &Pod, old: PodStatus, reason: &str, message: &str, now: Timestamp) -> PodStatus {
    let theirs = |c: &PodCondition| !OWNED.contains(&c.type_.as_str());
    PodStatus {
        phase: Some("Failed".to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(format!("Pod was rejected: {message}")),
        start_time: Some(old.start_time.unwrap_or_else(|| Time(second(now)))),
        observed_generation: pod.metadata.generation,
        conditions: old.conditions.map(|all| all.into_iter().filter(theirs).collect()),
        qos_class: old.qos_class,
        ..PodStatus::default()
    }
}

/// A pod that was said to have ended, with every container, is not described again: the runtime forgets them in time.
fn settled(old: &PodStatus, rt: &RuntimeStatus) -> bool {
    let lists = [&old.init_container_statuses, &old.container_statuses];
    let all = || lists.into_iter().flatten().flatten();
    let over = |s: &ContainerStatus| s.state.as_ref().is_some_and(|s| s.terminated.is_some());
    let phase = matches!(old.phase.as_deref(), Some("Succeeded" | "Failed"));
    phase && all().all(over) && !rt.containers.iter().any(|c| c.may_run())
}

/// The API keeps whole seconds.
pub fn second(t: Timestamp) -> Timestamp {
    Timestamp::from_second(t.as_second()).unwrap_or(t)
}

fn ips(pod: &Pod, rt: &RuntimeStatus, host: &Host) -> Vec<String> {
    if pod.spec.as_ref().and_then(|s| s.host_network) == Some(true) {
        return rt.sandboxes.first().map(|_| host.ips.clone()).unwrap_or_default();
    }
    rt.sandboxes.first().map(|s| s.ips.clone()).filter(|l| !l.is_empty()).unwrap_or_else(|| {
        let kept = pod.status.as_ref().and_then(|s| s.pod_ips.clone()).unwrap_or_default();
        kept.into_iter().map(|p| p.ip).collect()
    })
}

/// What the object's status says of a container.
pub fn known<'a>(pod: &'a Pod, unit: &Unit<'_>) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let list = match unit.role {
        Role::Init | Role::Sidecar => &status.init_container_statuses,
        Role::Main => &status.container_statuses,
        Role::Ephemeral => &status.ephemeral_container_statuses,
    };
    list.iter().flatten().find(|s| s.name == unit.name())
}
