//! The end of a pod: main containers first, sidecars after them in reverse order, then sandbox, volumes, object.

use super::{Step, Steps, Why, kill};
use crate::observed::{Container, EndReason, Ending, RuntimeStatus, Volumes};
use crate::units::{self, Role};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

pub(super) fn plan(pod: &Pod, rt: &RuntimeStatus, ending: &Ending, now: Timestamp) -> Vec<Step> {
    let mut steps = Steps { list: Vec::new(), wait: None };
    let running: Vec<&Container> = rt.containers.iter().filter(|c| c.may_run()).collect();
    if !running.is_empty() {
        let grace = left(ending, now);
        for c in next(pod, &running, grace) {
            kill(rt, c, grace, Why::Ending, now, &mut steps);
        }
        return steps.done();
    }
    if rt.busy() {
        return steps.done();
    }
    if let Some(s) = rt.sandbox() {
        return vec![Step::StopSandbox { id: s.id.clone() }];
    }
    match &ending.why {
        EndReason::Deleted | EndReason::Gone => vec![Step::Remove],
        EndReason::Over | EndReason::Failed { .. } | EndReason::Refused { .. } if rt.volumes != Volumes::Absent => {
            vec![Step::Unmount]
        }
        EndReason::Over | EndReason::Failed { .. } | EndReason::Refused { .. } => Vec::new(),
    }
}

/// What is left of the grace; the whole of it for the first kill.
fn left(ending: &Ending, now: Timestamp) -> i64 {
    let over = ending.since + SignedDuration::from_secs(ending.grace.max(0));
    let left = over.duration_since(now);
    (left.as_secs() + i64::from(left.subsec_nanos() > 0)).max(0)
}

/// Whose turn it is: everything but sidecars; then the last sidecar, then the one before it.
/// When no grace is left nobody waits for anybody.
fn next<'a>(pod: &Pod, running: &[&'a Container], grace: i64) -> Vec<&'a Container> {
    let sidecars: Vec<String> =
        units::units(pod).iter().filter(|u| u.role == Role::Sidecar).map(|u| u.name().to_owned()).collect();
    let others: Vec<&Container> = running.iter().copied().filter(|c| !sidecars.contains(&c.name)).collect();
    if grace == 0 {
        return running.to_vec();
    }
    if !others.is_empty() {
        return others;
    }
    sidecars.iter().rev().find_map(|name| running.iter().find(|c| &c.name == name)).into_iter().copied().collect()
}
