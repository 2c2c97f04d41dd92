//! `containerStatuses`: state, last state, restarts and readiness of each container.

use super::{Host, known, resize, second};
use crate::identity::PodId;
use crate::observed::{Container, Exit, Op, RuntimeStatus, State, Volumes};
use crate::plan::{self, Verdict};
use crate::units::{self, Role, Unit};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod,
    VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) fn of(
    pod: &Pod,
    rt: &RuntimeStatus,
    host: &Host,
    now: Timestamp,
    roles: &[Role],
) -> Option<Vec<ContainerStatus>> {
    let list: Vec<ContainerStatus> =
        units::units(pod).iter().filter(|u| roles.contains(&u.role)).map(|u| one(pod, u, rt, host, now)).collect();
    (!list.is_empty()).then_some(list)
}

/// Whether a container runs, its postStart hook is through, and its startup probe (if any) has succeeded.
pub fn started(unit: &Unit<'_>, rt: &RuntimeStatus) -> bool {
    let Some(c) = rt.latest(unit.name()).filter(|c| c.running()) else { return false };
    !hooking(rt, c) && (unit.spec.startup_probe.is_none() || rt.probes(c).startup == Some(true))
}

/// Its start is not complete: the postStart hook is running.
fn hooking(rt: &RuntimeStatus, c: &Container) -> bool {
    rt.remembered(&c.name).is_some_and(|m| matches!(m.op, Some(Op::Start { attempt }) if attempt == c.attempt))
}

/// Whether it runs or has run.
pub(super) fn ran(unit: &Unit<'_>, rt: &RuntimeStatus) -> bool {
    rt.latest(unit.name()).is_some_and(|c| (c.running() && !hooking(rt, c)) || c.exit().is_some() || c.attempt > 0)
}

fn ready(unit: &Unit<'_>, rt: &RuntimeStatus) -> bool {
    let latest = rt.latest(unit.name());
    match unit.role {
        Role::Init => latest.and_then(Container::exit).is_some_and(|e| e.code == 0),
        Role::Ephemeral => false,
        Role::Main | Role::Sidecar => {
            let passes = |c: &Container| unit.spec.readiness_probe.is_none() || rt.probes(c).readiness == Some(true);
            started(unit, rt) && latest.is_some_and(passes)
        }
    }
}

fn one(pod: &Pod, unit: &Unit<'_>, rt: &RuntimeStatus, host: &Host, now: Timestamp) -> ContainerStatus {
    let latest = rt.latest(unit.name());
    let old = known(pod, unit);
    let (state, last) = match latest {
        Some(c) => states(pod, unit, rt, host, c, now),
        None => forgotten(pod, unit, rt, old),
    };
    let image = unit.spec.image.clone().unwrap_or_default();
    ContainerStatus {
        name: unit.name().to_owned(),
        ready: ready(unit, rt),
        started: Some(started(unit, rt)).filter(|s| *s || unit.role != Role::Ephemeral),
        restart_count: match latest {
            Some(c) => i32::try_from(c.attempt).unwrap_or(i32::MAX),
            None => old.map_or(0, |o| o.restart_count),
        },
        image: latest.map(|c| c.image.clone()).filter(|i| !i.is_empty()).unwrap_or(image),
        image_id: latest.map(|c| c.image_id.clone()).unwrap_or_default(),
        container_id: latest.map(|c| id(host, c)).or_else(|| old.and_then(|o| o.container_id.clone())),
        state: Some(state),
        last_state: Some(last.unwrap_or_default()),
        allocated_resources: unit.spec.resources.as_ref().and_then(|r| r.requests.clone()),
        resources: resize::has(pod, unit, latest),
        volume_mounts: volume_mounts(unit),
        ..ContainerStatus::default()
    }
}

fn volume_mounts(unit: &Unit<'_>) -> Option<Vec<VolumeMountStatus>> {
    let list = unit.spec.volume_mounts.iter().flatten().map(|m| VolumeMountStatus {
        name: m.name.clone(),
        mount_path: m.mount_path.clone(),
        read_only: m.read_only.filter(|r| *r),
        recursive_read_only: m.read_only.filter(|r| *r).map(|_| "Disabled".to_owned()),
        ..VolumeMountStatus::default()
    });
    let list: Vec<_> = list.collect();
    (!list.is_empty()).then_some(list)
}

fn id(host: &Host, c: &Container) -> String {
    format!("{}://{}", host.runtime, c.id)
}

type States = (ContainerState, Option<ContainerState>);

fn states(pod: &Pod, unit: &Unit<'_>, rt: &RuntimeStatus, host: &Host, c: &Container, now: Timestamp) -> States {
    let before = rt.previous(unit.name()).and_then(|p| Some(terminated(host, p, p.exit()?)));
    let failure = rt.remembered(unit.name()).and_then(|m| m.failure.as_ref());
    match &c.state {
        State::Running { .. } if hooking(rt, c) => (waiting("ContainerCreating", ""), before),
        State::Running { started } => (running(*started), before),
        State::Created | State::Unknown => match failure {
            Some(f) => (waiting(&f.reason, &f.message), before),
            None => (waiting("ContainerCreating", ""), before),
        },
        State::Exited(exit) => {
            let this = terminated(host, c, exit);
            let again = rt.ending.is_none() && plan::verdict(pod, unit, Some(c)) == Verdict::Again;
            let backoff =
                rt.remembered(unit.name()).and_then(|m| m.restart).filter(|b| b.until(exit.finished, now).is_some());
            match (again, failure, backoff) {
                (true, Some(f), _) => (waiting(&f.reason, &f.message), Some(this)),
                (true, None, Some(b)) => {
                    let (name, pod) = (unit.name(), PodId::of(pod));
                    let text = format!("back-off {} restarting failed container={name} pod={pod}", span(b.delay_s));
                    (waiting("CrashLoopBackOff", &text), Some(this))
                }
                (_, _, _) => (this, before),
            }
        }
    }
}

/// `10s`, `1m20s`, `5m0s`.
pub fn span(seconds: i64) -> String {
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}

/// The runtime knows no container of that name.
fn forgotten(pod: &Pod, unit: &Unit<'_>, rt: &RuntimeStatus, old: Option<&ContainerStatus>) -> States {
    let ended = old.and_then(|o| o.state.as_ref()).filter(|s| s.terminated.is_some());
    if let Some(state) = ended {
        return (state.clone(), old.and_then(|o| o.last_state.clone()));
    }
    let last = old.and_then(|o| o.last_state.clone());
    if let Some(f) = rt.remembered(unit.name()).and_then(|m| m.failure.as_ref()) {
        return (waiting(&f.reason, &f.message), last);
    }
    let inits = pod.spec.as_ref().is_some_and(|s| s.init_containers.as_ref().is_some_and(|l| !l.is_empty()));
    let first = units::units(pod).first().is_some_and(|u| u.name() == unit.name());
    let stuck = matches!(rt.volumes, Volumes::Failed(_)) || rt.sandbox().is_none();
    let waits = match unit.role {
        Role::Init | Role::Sidecar => !first || stuck,
        Role::Main => inits,
        Role::Ephemeral => false,
    };
    (waiting(if waits { "PodInitializing" } else { "ContainerCreating" }, ""), last)
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    let message = (!message.is_empty()).then(|| message.to_owned());
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn running(started: Timestamp) -> ContainerState {
    let running = ContainerStateRunning { started_at: Some(Time(second(started))) };
    ContainerState { running: Some(running), ..ContainerState::default() }
}

fn terminated(host: &Host, c: &Container, exit: &Exit) -> ContainerState {
    let reason = match (exit.reason.as_str(), exit.code) {
        ("", 0) => "Completed",
        ("", _) => "Error",
        (reason, _) => reason,
    };
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: exit.code,
            reason: Some(reason.to_owned()),
            message: Some(exit.message.clone()).filter(|m| !m.is_empty()),
            started_at: Some(Time(second(exit.started))),
            finished_at: Some(Time(second(exit.finished))),
            container_id: Some(id(host, c)),
            signal: None,
        }),
        ..ContainerState::default()
    }
}
