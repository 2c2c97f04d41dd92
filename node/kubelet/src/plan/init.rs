//! Init containers: one after the other; a sidecar among them has to have started before the next one's turn.

use super::{Steps, keep, start, watch_running};
use crate::observed::{RuntimeStatus, State};
use crate::status;
use crate::units::{Role, Unit};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

/// Plans for init containers and sidecars. Returns whether the main containers may run.
pub(super) fn plan(pod: &Pod, units: &[Unit<'_>], rt: &RuntimeStatus, now: Timestamp, steps: &mut Steps) -> bool {
    if units.iter().any(|u| u.role == Role::Main && rt.current(u.name()).is_some()) {
        for unit in units.iter().filter(|u| u.role == Role::Sidecar) {
            keep(pod, unit, rt, now, steps);
        }
        return true;
    }
    let mut open = true;
    for unit in units.iter().filter(|u| matches!(u.role, Role::Init | Role::Sidecar)) {
        let done = match (rt.current(unit.name()).map(|c| &c.state), unit.role) {
            (Some(State::Exited(exit)), Role::Init) => exit.code == 0,
            (Some(State::Running { .. }), Role::Sidecar) => status::started(unit, rt),
            (_, Role::Init | Role::Sidecar | Role::Main | Role::Ephemeral) => false,
        };
        if open {
            turn(pod, unit, rt, done, now, steps);
        } else if unit.role == Role::Sidecar && rt.current(unit.name()).is_some() {
            keep(pod, unit, rt, now, steps);
        }
        open &= done;
    }
    open
}

fn turn(pod: &Pod, unit: &Unit<'_>, rt: &RuntimeStatus, done: bool, now: Timestamp, steps: &mut Steps) {
    match rt.current(unit.name()) {
        Some(c) if c.running() => watch_running(pod, unit, rt, c, now, steps),
        Some(_) if done => {}
        Some(_) => keep(pod, unit, rt, now, steps),
        None => start(pod, unit, rt, now, steps),
    }
}
