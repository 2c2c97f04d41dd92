//! Containers that run with other limits than the pod was given: changed as they run, or ended to start again with the
//! new ones where their `resizePolicy` says so (KEP-1287).

use super::{Step, Steps, Why, grace, kill};
use crate::observed::{Container, RuntimeStatus};
use crate::translate::resources::Figures;
use crate::units::{self, Role, Unit};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

/// New limits of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub name: String,
    pub id: String,
    pub from: Figures,
    pub to: Figures,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Figures { cpu_shares, cpu_quota_us, memory_bytes } = self.to;
        write!(f, "{} {} shares={cpu_shares} quota={cpu_quota_us} memory={memory_bytes}", self.name, self.id)
    }
}

impl Change {
    /// Whether it takes memory or CPU away: that goes first, so that the whole never grows in between.
    fn shrinks(&self) -> bool {
        let less = |from: i64, to: i64| to > 0 && (from == 0 || to < from);
        less(self.from.memory_bytes, self.to.memory_bytes) || less(self.from.cpu_quota_us, self.to.cpu_quota_us)
    }

    /// Whether the container has to start again for it.
    fn restarts(&self, unit: &Unit<'_>) -> bool {
        let policy = |resource: &str| {
            let own = unit.spec.resize_policy.iter().flatten().find(|p| p.resource_name == resource);
            own.is_some_and(|p| p.restart_policy == "RestartContainer")
        };
        let cpu = |f: Figures| (f.cpu_shares, f.cpu_quota_us);
        (cpu(self.from) != cpu(self.to) && policy("cpu"))
            || (self.from.memory_bytes != self.to.memory_bytes && policy("memory"))
    }
}

fn change(pod: &Pod, unit: &Unit<'_>, c: &Container) -> Option<Change> {
    let (from, to) = (c.figures?, Figures::wanted(pod, &unit.spec));
    (from != to).then(|| Change { name: c.name.clone(), id: c.id.clone(), from, to })
}

/// What is still to be changed, of containers that run.
pub fn changes(pod: &Pod, rt: &RuntimeStatus) -> Vec<Change> {
    open(pod, rt).into_iter().map(|(_, change)| change).collect()
}

fn open<'a>(pod: &'a Pod, rt: &RuntimeStatus) -> Vec<(Unit<'a>, Change)> {
    let stay = units::units(pod).into_iter().filter(|u| matches!(u.role, Role::Main | Role::Sidecar));
    let running = stay.filter_map(|unit| {
        let change = rt.current(unit.name()).filter(|c| c.running()).and_then(|c| change(pod, &unit, c))?;
        Some((unit, change))
    });
    running.collect()
}

pub(super) fn plan(pod: &Pod, rt: &RuntimeStatus, now: Timestamp, steps: &mut Steps) {
    let mut live: Vec<Change> = Vec::new();
    for (unit, change) in open(pod, rt) {
        let ending = |step: &Step| matches!(step, Step::Kill { id, .. } if *id == change.id);
        let busy = rt.remembered(unit.name()).is_some_and(|m| m.op.is_some());
        if busy || steps.list.iter().any(ending) {
            continue;
        }
        match rt.current(unit.name()) {
            Some(c) if change.restarts(&unit) => kill(rt, c, grace(pod), Why::Resized, now, steps),
            Some(_) | None => live.push(change),
        }
    }
    if live.is_empty() || rt.resizing {
        return;
    }
    live.sort_by_key(|change| !change.shrinks());
    match &rt.resize_failure {
        Some(failure) if failure.retry > now => steps.wait(failure.retry),
        Some(_) | None => steps.push(Step::Resize(live)),
    }
}
