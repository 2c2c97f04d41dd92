//! The phase of a pod (upstream's rules: Pending, Running, Succeeded, Failed).

use crate::observed::{Container, EndReason, RuntimeStatus};
use crate::plan::{self, Verdict};
use crate::units::{self, Role, Unit};
use k8s_openapi::api::core::v1::Pod;

/// How far the containers have come, whether or not something of the pod still runs.
pub fn verdict(pod: &Pod, rt: &RuntimeStatus) -> &'static str {
    let units = units::units(pod);
    let state = |u: &Unit<'_>| plan::verdict(pod, u, rt.latest(u.name()));
    if units.iter().any(|u| u.role == Role::Init && failed(pod, u, rt)) {
        return "Failed";
    }
    let main: Vec<&Unit<'_>> = units.iter().filter(|u| u.role == Role::Main).collect();
    if main.is_empty() || !main.iter().all(|u| state(u) == Verdict::Ended) {
        return pending_or_running(&units, &main, rt);
    }
    let clean = main.iter().all(|u| rt.latest(u.name()).and_then(Container::exit).is_some_and(|e| e.code == 0));
    if clean { "Succeeded" } else { "Failed" }
}

fn failed(pod: &Pod, unit: &Unit<'_>, rt: &RuntimeStatus) -> bool {
    let exit = rt.latest(unit.name()).and_then(Container::exit);
    exit.is_some_and(|e| e.code != 0) && plan::verdict(pod, unit, rt.latest(unit.name())) == Verdict::Ended
}

fn pending_or_running(units: &[Unit<'_>], main: &[&Unit<'_>], rt: &RuntimeStatus) -> &'static str {
    let initialized = units.iter().filter(|u| matches!(u.role, Role::Init | Role::Sidecar)).all(|u| initialized(u, rt));
    let ran = main.iter().all(|u| super::containers::ran(u, rt));
    let had_run = main.iter().any(|u| rt.latest(u.name()).is_some_and(|c| c.running() || c.exit().is_some()));
    if ran && (initialized || had_run) { "Running" } else { "Pending" }
}

pub(super) fn initialized(unit: &Unit<'_>, rt: &RuntimeStatus) -> bool {
    match unit.role {
        Role::Init => rt.latest(unit.name()).and_then(Container::exit).is_some_and(|e| e.code == 0),
        Role::Sidecar => super::containers::started(unit, rt),
        Role::Main | Role::Ephemeral => true,
    }
}

/// What the status shows: a pod is not Succeeded or Failed before nothing of it runs any more.
pub(super) fn phase(pod: &Pod, rt: &RuntimeStatus) -> &'static str {
    let last = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    match last {
        Some("Succeeded") => return "Succeeded",
        Some("Failed") => return "Failed",
        Some(_) | None => {}
    }
    let runs = rt.containers.iter().any(Container::may_run);
    let verdict = verdict(pod, rt);
    let ends = match rt.ending.as_ref().map(|e| &e.why) {
        Some(EndReason::Failed { .. }) => return if runs { running_or(last) } else { "Failed" },
        Some(EndReason::Refused { .. }) => return "Failed",
        Some(EndReason::Deleted | EndReason::Gone) => !runs && !rt.busy(),
        Some(EndReason::Over) | None => false,
    };
    match verdict {
        "Succeeded" | "Failed" if runs => "Running",
        "Pending" | "Running" if ends => ended(pod, rt),
        other => other,
    }
}

fn running_or(last: Option<&str>) -> &'static str {
    if last == Some("Running") { "Running" } else { "Pending" }
}

/// A deleted pod whose containers are gone: clean only if all of them ended with 0.
fn ended(pod: &Pod, rt: &RuntimeStatus) -> &'static str {
    let clean = units::units(pod)
        .iter()
        .filter(|u| u.role == Role::Main)
        .all(|u| rt.latest(u.name()).and_then(Container::exit).is_some_and(|e| e.code == 0));
    if clean { "Succeeded" } else { "Failed" }
}
