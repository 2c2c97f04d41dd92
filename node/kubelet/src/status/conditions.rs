//! The conditions that the kubelet owns: PodScheduled, PodReadyToStartContainers, Initialized, ContainersReady, Ready, and
//! of a pod that is resized PodResizePending and PodResizeInProgress.

use super::{phase, resize, second};
use crate::observed::RuntimeStatus;
use crate::units::{self, Role};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub const OWNED: [&str; 7] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    resize::PENDING,
    resize::IN_PROGRESS,
];

pub(super) struct Verdict {
    pub holds: bool,
    pub reason: Option<&'static str>,
    pub message: Option<String>,
}

impl Verdict {
    fn yes() -> Verdict {
        Verdict { holds: true, reason: None, message: None }
    }

    fn no(reason: &'static str, message: Option<String>) -> Verdict {
        Verdict { holds: false, reason: Some(reason), message }
    }
}

pub(super) fn set(pod: &Pod, rt: &RuntimeStatus, new: &mut PodStatus, now: Timestamp) {
    let containers = containers_ready(new);
    let ready = if containers.holds { gates(pod, new) } else { containers_ready(new) };
    let network = rt.sandbox().is_some_and(|s| !s.ips.is_empty() || host_network(pod));
    let verdicts = [
        ("PodReadyToStartContainers", Verdict { holds: network, reason: None, message: None }),
        ("Initialized", initialized(pod, rt, new)),
        ("Ready", ready),
        ("ContainersReady", containers),
        ("PodScheduled", Verdict::yes()),
    ];
    let old = new.conditions.take().unwrap_or_default();
    let mut list: Vec<PodCondition> = old.iter().filter(|c| !OWNED.contains(&c.type_.as_str())).cloned().collect();
    for (name, verdict) in verdicts.into_iter().chain(resize::conditions(pod, rt)) {
        let before = old.iter().find(|c| c.type_ == name);
        list.push(condition(name, verdict, before, pod, now));
    }
    new.conditions = Some(list);
}

fn host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|s| s.host_network) == Some(true)
}

fn condition(name: &str, v: Verdict, before: Option<&PodCondition>, pod: &Pod, now: Timestamp) -> PodCondition {
    let status = if v.holds { "True" } else { "False" };
    let kept = before.filter(|b| b.status == status).and_then(|b| b.last_transition_time.clone());
    PodCondition {
        type_: name.to_owned(),
        status: status.to_owned(),
        reason: v.reason.map(str::to_owned),
        message: v.message,
        last_transition_time: Some(kept.unwrap_or_else(|| Time(second(now)))),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    }
}

fn ended(status: &PodStatus) -> Option<&'static str> {
    match status.phase.as_deref() {
        Some("Succeeded") => Some("PodCompleted"),
        Some("Failed") => Some("PodFailed"),
        Some(_) | None => None,
    }
}

fn containers_ready(status: &PodStatus) -> Verdict {
    if let Some(reason) = ended(status) {
        return Verdict::no(reason, None);
    }
    let sidecars = status.init_container_statuses.iter().flatten().filter(|s| {
        // An init container that ends is ready once it has; only those that stay count here.
        s.state.as_ref().is_some_and(|st| st.running.is_some()) && s.started == Some(true)
    });
    let all = status.container_statuses.iter().flatten().chain(sidecars);
    let unready: Vec<&str> = all.filter(|s| !s.ready).map(|s| s.name.as_str()).collect();
    match unready.is_empty() {
        true => Verdict::yes(),
        false => {
            Verdict::no("ContainersNotReady", Some(format!("containers with unready status: [{}]", unready.join(" "))))
        }
    }
}

fn gates(pod: &Pod, status: &PodStatus) -> Verdict {
    let wanted = pod.spec.iter().flat_map(|s| s.readiness_gates.iter().flatten());
    let problems: Vec<String> = wanted
        .filter_map(|gate| {
            let kind = &gate.condition_type;
            match status.conditions.iter().flatten().find(|c| &c.type_ == kind) {
                Some(c) if c.status == "True" => None,
                Some(c) => {
                    Some(format!("the status of pod readiness gate \"{kind}\" is not \"True\", but {}", c.status))
                }
                None => Some(format!("corresponding condition of pod readiness gate \"{kind}\" does not exist.")),
            }
        })
        .collect();
    match problems.is_empty() {
        true => Verdict::yes(),
        false => Verdict::no("ReadinessGatesNotReady", Some(problems.join(", "))),
    }
}

fn initialized(pod: &Pod, rt: &RuntimeStatus, status: &PodStatus) -> Verdict {
    if status.phase.as_deref() == Some("Succeeded") {
        return Verdict { holds: true, reason: Some("PodCompleted"), message: None };
    }
    let units = units::units(pod);
    if units.iter().any(|u| u.role == Role::Main && rt.latest(u.name()).is_some()) {
        return Verdict::yes();
    }
    let open: Vec<&str> = units.iter().filter(|u| !phase::initialized(u, rt)).map(|u| u.name()).collect();
    match open.is_empty() {
        true => Verdict::yes(),
        false => Verdict::no(
            "ContainersNotInitialized",
            Some(format!("containers with incomplete status: [{}]", open.join(" "))),
        ),
    }
}
