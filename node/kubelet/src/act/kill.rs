//! Ending a container: preStop hook, SIGTERM, SIGKILL, all within the grace.

use super::Job;
use crate::handler::{self, Action, Target};
use crate::plan::Why;
use crate::units::{self, Unit};
use std::time::Duration;
use tokio::time::Instant;

/// However long the hook took, the container gets that long to react to SIGTERM (upstream's minimum).
const LEAST_S: i64 = 2;

pub async fn kill(job: &Job, name: &str, id: &str, grace: i64, why: Why) -> Result<(), String> {
    let message = match why {
        Why::Ending => format!("Stopping container {name}"),
        Why::Liveness => format!("Container {name} failed liveness probe, will be restarted"),
        Why::Startup => format!("Container {name} failed startup probe, will be restarted"),
        Why::Changed => format!("Container {name} definition changed, will be restarted"),
        Why::Resized => format!("Container {name} resize requires restart"),
        Why::SandboxDied => "Pod sandbox changed, it will be killed and re-created.".to_owned(),
    };
    job.node.events.normal(&job.pod, Some(name), "Killing", message);
    let begun = Instant::now();
    if grace > 0
        && let Some(unit) = units::find(&job.pod, name)
    {
        pre_stop(job, &unit, id, grace).await;
    }
    let spent = i64::try_from(begun.elapsed().as_secs()).unwrap_or(i64::MAX);
    let left = if grace == 0 { 0 } else { (grace - spent).max(LEAST_S) };
    job.node.runtime.stop(id, left).await.map_err(|e| e.to_string())
}

async fn pre_stop(job: &Job, unit: &Unit<'_>, id: &str, grace: i64) {
    let hook = unit.spec.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref());
    let Some(action) = hook.and_then(Action::of_hook) else { return };
    let ips = job.rt.sandboxes.first().map(|s| s.ips.clone()).unwrap_or_default();
    let host = job.node.host.ips.first().cloned();
    let target = Target {
        runtime: job.node.runtime.clone(),
        id: id.to_owned(),
        container: unit.spec.clone().into_owned(),
        ip: ips.first().cloned().or(host).unwrap_or_default(),
    };
    let limit = Duration::from_secs(u64::try_from(grace).unwrap_or(1));
    if let Err(text) = handler::attempt(&action, &target, limit).await {
        let message = format!("PreStopHook failed: {text}");
        job.node.events.warning(&job.pod, Some(unit.name()), "FailedPreStopHook", message);
    }
}
