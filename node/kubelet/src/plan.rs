//! What to do next for one pod: a pure function of its manifest and of what is known of it on this node.
//!
//! The plan never waits and never does IO. It is made anew after every change, so a step that is under way
//! (see `Memory::op`) is not planned again.

mod end;
mod init;
mod resize;
mod restart;

pub use resize::{Change, changes};
pub use restart::{Verdict, verdict};

use crate::observed::{Container, EndReason, Ending, Failure, Op, RuntimeStatus, State, Volumes};
use crate::units::{self, Role, Unit};
use crate::{identity, status};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

/// Upstream's default for `terminationGracePeriodSeconds`.
const GRACE_S: i64 = 30;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Prepare every volume.
    Mount,
    RunSandbox {
        attempt: u32,
    },
    StopSandbox {
        id: String,
    },
    /// Pull the image where the policy says so, create, start, run the postStart hook.
    Start {
        name: String,
        attempt: u32,
    },
    /// Run the preStop hook, then SIGTERM, then SIGKILL when the grace is over.
    Kill {
        name: String,
        id: String,
        grace: i64,
        why: Why,
    },
    /// Change the limits of running containers, one after the other.
    Resize(Vec<Change>),
    /// Release the volumes of a pod that will not run again.
    Unmount,
    /// Nothing runs any more: forget the pod in the runtime and on disk, and delete its object where it still exists.
    Remove,
    /// Nothing to do before that time.
    Wait {
        until: Timestamp,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Ending,
    Liveness,
    Startup,
    Changed,
    Resized,
    SandboxDied,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::Mount => write!(f, "mount"),
            Step::RunSandbox { attempt } => write!(f, "run sandbox {attempt}"),
            Step::StopSandbox { id } => write!(f, "stop sandbox {id}"),
            Step::Start { name, attempt } => write!(f, "start {name} {attempt}"),
            Step::Kill { name, id, grace, why } => write!(f, "kill {name} {id} {grace}s {why:?}"),
            Step::Resize(changes) => {
                write!(f, "resize")?;
                changes.iter().try_for_each(|change| write!(f, " {change}"))
            }
            Step::Unmount => write!(f, "unmount"),
            Step::Remove => write!(f, "remove"),
            Step::Wait { until } => write!(f, "wait {until}"),
        }
    }
}

/// The steps that can be taken now, in no particular order but for `Wait`, which comes last.
pub fn plan(pod: &Pod, rt: &RuntimeStatus, now: Timestamp) -> Vec<Step> {
    if let Some(ending) = &rt.ending {
        return end::plan(pod, rt, ending, now);
    }
    if finished(pod, rt) {
        let ending = Ending { why: EndReason::Over, grace: grace(pod), since: now };
        return end::plan(pod, rt, &ending, now);
    }
    let mut steps = Steps { list: Vec::new(), wait: None };
    volumes(rt, now, &mut steps);
    match rt.sandbox() {
        Some(_) => containers(pod, rt, now, &mut steps),
        None => sandbox(pod, rt, now, &mut steps),
    }
    steps.done()
}

/// Whether every main container has ended for good, or an init container has failed for good.
/// What the object's status once said of it stays true.
pub fn finished(pod: &Pod, rt: &RuntimeStatus) -> bool {
    let ended = |phase: &str| matches!(phase, "Succeeded" | "Failed");
    ended(status::verdict(pod, rt)) || pod.status.as_ref().and_then(|s| s.phase.as_deref()).is_some_and(ended)
}

/// Why the pod has to end though nobody deleted it (`activeDeadlineSeconds`), or when that will be.
pub fn deadline(pod: &Pod, now: Timestamp) -> Option<Result<EndReason, Timestamp>> {
    let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
    let start = pod.status.as_ref()?.start_time.as_ref()?.0;
    let at = start.checked_add(SignedDuration::from_secs(seconds)).ok()?;
    Some(match at <= now {
        true => Ok(EndReason::Failed {
            reason: "DeadlineExceeded".into(),
            message: "Pod was active on the node longer than the specified deadline".into(),
        }),
        false => Err(at),
    })
}

pub fn grace(pod: &Pod) -> i64 {
    let asked = pod.metadata.deletion_grace_period_seconds;
    asked.or(pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds)).unwrap_or(GRACE_S)
}

struct Steps {
    list: Vec<Step>,
    wait: Option<Timestamp>,
}

impl Steps {
    fn push(&mut self, step: Step) {
        self.list.push(step);
    }

    fn wait(&mut self, until: Timestamp) {
        self.wait = Some(self.wait.map_or(until, |w| w.min(until)));
    }

    fn done(mut self) -> Vec<Step> {
        self.list.extend(self.wait.map(|until| Step::Wait { until }));
        self.list
    }
}

fn volumes(rt: &RuntimeStatus, now: Timestamp, steps: &mut Steps) {
    match &rt.volumes {
        Volumes::Absent => steps.push(Step::Mount),
        Volumes::Failed(Failure { retry, .. }) if *retry <= now => steps.push(Step::Mount),
        Volumes::Failed(Failure { retry, .. }) => steps.wait(*retry),
        Volumes::Mounting | Volumes::Ready => {}
    }
}

/// There is no sandbox to run in: end what is left of the old one, then make a new one.
fn sandbox(pod: &Pod, rt: &RuntimeStatus, now: Timestamp, steps: &mut Steps) {
    let left: Vec<&Container> = rt.containers.iter().filter(|c| c.may_run()).collect();
    for c in &left {
        kill(rt, c, 0, Why::SandboxDied, now, steps);
    }
    if rt.sandbox_busy || !left.is_empty() {
        return;
    }
    if !rt.containers.is_empty() && !any_to_run(pod, rt) {
        return;
    }
    match &rt.sandbox_failure {
        Some(f) if f.retry > now => steps.wait(f.retry),
        Some(_) | None => {
            steps.push(Step::RunSandbox { attempt: rt.sandboxes.first().map_or(0, |s| s.attempt + 1) });
        }
    }
}

/// Whether a main container would run in a new sandbox.
fn any_to_run(pod: &Pod, rt: &RuntimeStatus) -> bool {
    let units = units::units(pod);
    units.iter().filter(|u| u.role == Role::Main).any(|u| verdict(pod, u, rt.latest(u.name())) != Verdict::Ended)
}

fn containers(pod: &Pod, rt: &RuntimeStatus, now: Timestamp, steps: &mut Steps) {
    let units = units::units(pod);
    let initialized = init::plan(pod, &units, rt, now, steps);
    for unit in &units {
        match unit.role {
            Role::Main if initialized => keep(pod, unit, rt, now, steps),
            Role::Ephemeral if rt.latest(unit.name()).is_none() => start(pod, unit, rt, now, steps),
            Role::Main | Role::Ephemeral | Role::Init | Role::Sidecar => {}
        }
    }
    resize::plan(pod, rt, now, steps);
}

/// Keeps one container as its restart policy, probes and manifest want it.
fn keep(pod: &Pod, unit: &Unit<'_>, rt: &RuntimeStatus, now: Timestamp, steps: &mut Steps) {
    let Some(current) = rt.current(unit.name()) else {
        if verdict(pod, unit, rt.latest(unit.name())) != Verdict::Ended {
            start(pod, unit, rt, now, steps);
        }
        return;
    };
    match &current.state {
        State::Running { .. } => watch_running(pod, unit, rt, current, now, steps),
        State::Created => start(pod, unit, rt, now, steps),
        State::Unknown => kill(rt, current, grace(pod), Why::Changed, now, steps),
        State::Exited(exit) => {
            if verdict(pod, unit, Some(current)) == Verdict::Ended {
                return;
            }
            let memory = rt.remembered(unit.name());
            match memory.and_then(|m| m.restart).and_then(|b| b.until(exit.finished, now)) {
                Some(until) => steps.wait(until),
                None => start(pod, unit, rt, now, steps),
            }
        }
    }
}

fn watch_running(pod: &Pod, unit: &Unit<'_>, rt: &RuntimeStatus, c: &Container, now: Timestamp, steps: &mut Steps) {
    let probes = rt.probes(c);
    let own = |probe: &Option<k8s_openapi::api::core::v1::Probe>| {
        probe.as_ref().and_then(|p| p.termination_grace_period_seconds).unwrap_or_else(|| grace(pod))
    };
    if !c.hash.is_empty() && c.hash != identity::hash(&unit.spec) {
        kill(rt, c, grace(pod), Why::Changed, now, steps);
    } else if probes.startup == Some(false) {
        kill(rt, c, own(&unit.spec.startup_probe), Why::Startup, now, steps);
    } else if probes.liveness == Some(false) {
        kill(rt, c, own(&unit.spec.liveness_probe), Why::Liveness, now, steps);
    }
}

fn start(pod: &Pod, unit: &Unit<'_>, rt: &RuntimeStatus, now: Timestamp, steps: &mut Steps) {
    let memory = rt.remembered(unit.name());
    if memory.is_some_and(|m| m.op.is_some()) || rt.volumes != Volumes::Ready {
        return;
    }
    match memory.and_then(|m| m.failure.as_ref()) {
        Some(f) if f.retry > now => steps.wait(f.retry),
        Some(_) | None => steps.push(Step::Start { name: unit.name().to_owned(), attempt: attempt(pod, unit, rt) }),
    }
}

/// One more than the last one that ran, as the runtime or, where that has forgotten it, the object's status knows.
fn attempt(pod: &Pod, unit: &Unit<'_>, rt: &RuntimeStatus) -> u32 {
    match rt.latest(unit.name()) {
        Some(c) if c.state == State::Created => c.attempt,
        Some(c) => c.attempt + 1,
        None => status::known(pod, unit)
            .filter(|s| s.container_id.as_deref().is_some_and(|id| !id.is_empty()))
            .map_or(0, |s| u32::try_from(s.restart_count + 1).unwrap_or(0)),
    }
}

/// Plans a kill unless one with as little patience is under way.
fn kill(rt: &RuntimeStatus, c: &Container, grace: i64, why: Why, now: Timestamp, steps: &mut Steps) {
    let until = now + SignedDuration::from_secs(grace.max(0));
    match rt.remembered(&c.name).and_then(|m| m.op.as_ref()) {
        Some(Op::Kill { until: present }) if *present <= until => {}
        Some(Op::Start { .. }) if why != Why::Ending => {}
        Some(Op::Kill { .. } | Op::Start { .. }) | None => {
            steps.push(Step::Kill { name: c.name.clone(), id: c.id.clone(), grace, why });
        }
    }
}
