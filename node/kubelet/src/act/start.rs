//! Starting a container: image, environment, mounts, create, start, postStart hook.

use super::{Failed, Job, image};
use crate::handler::{self, Action, Target};
use crate::observed::State;
use crate::translate::env::{self, Fetches};
use crate::translate::{self, container::Prepared, security};
use crate::units::{self, Unit};
use crate::volumes;
use rpc::cri;
use std::time::Duration;

/// A hook has no limit of its own upstream; without one a hung hook would hold its pod for ever.
const HOOK: Duration = Duration::from_secs(15 * 60);

pub async fn start(job: &Job, name: &str, attempt: u32) -> Result<(), Failed> {
    let unit = units::find(&job.pod, name)
        .ok_or_else(|| Failed::new("CreateContainerConfigError", format!("container {name} is not in the pod")))?;
    let result = steps(job, &unit, attempt).await;
    if let Err(failed) = &result
        && !failed.pull
        && failed.reason != "ErrImageNeverPull"
        && failed.reason != "PostStartHookError"
    {
        job.node.events.warning(&job.pod, Some(name), "Failed", format!("Error: {}", failed.message));
    }
    result
}

async fn steps(job: &Job, unit: &Unit<'_>, attempt: u32) -> Result<(), Failed> {
    let sandbox = job.rt.sandbox().ok_or_else(|| Failed::new("CreateContainerError", "the pod's sandbox is gone"))?;
    let image = image::ensure(job, unit).await?;
    let config_error = |e: &dyn std::fmt::Display| Failed::new("CreateContainerConfigError", e);
    let uid = image.uid.as_ref().map(|u| u.value);
    security::check_non_root(&job.pod, unit, uid, &image.username).map_err(|e| config_error(&e))?;
    let env = environment(job, unit).await?;
    let ips = ips(job);
    let (mounts, message) =
        volumes::mounts(&job.node, &job.pod, unit, attempt, &env, &ips).map_err(|e| config_error(&e))?;
    leftovers(job, unit, attempt).await?;
    let prepared = Prepared {
        attempt,
        image: cri::ImageSpec {
            image: image.id.clone(),
            user_specified_image: unit.spec.image.clone().unwrap_or_default(),
            ..cri::ImageSpec::default()
        },
        env,
        mounts,
        message_file: message.as_deref(),
        node_memory: job.node.memory_bytes,
        target: unit.target.and_then(|t| job.rt.current(t)).map(|c| c.id.clone()),
    };
    let config = translate::container::config(&job.pod, unit, prepared).map_err(|e| config_error(&e))?;
    let pod = translate::sandbox::config(&job.pod, sandbox.attempt, &job.node.config.logs(), &job.node.resolver)
        .map_err(|e| config_error(&e))?;
    let logs = std::path::Path::new(&pod.log_directory).join(unit.name());
    std::fs::create_dir_all(&logs).map_err(|e| config_error(&format!("making {}: {e}", logs.display())))?;
    let id =
        job.node.runtime.create(&sandbox.id, config, pod).await.map_err(|e| Failed::new("CreateContainerError", e))?;
    job.node.events.normal(&job.pod, Some(unit.name()), "Created", format!("Created container: {}", unit.name()));
    job.node.runtime.start(&id).await.map_err(|e| Failed::new("RunContainerError", e))?;
    job.node.events.normal(&job.pod, Some(unit.name()), "Started", format!("Started container {}", unit.name()));
    post_start(job, unit, id, ips).await
}

async fn environment(job: &Job, unit: &Unit<'_>) -> Result<Vec<(String, String)>, Failed> {
    let uid = job.pod.metadata.uid.as_deref().unwrap_or_default();
    let namespace = job.pod.metadata.namespace.as_deref().unwrap_or("default");
    let mut fetched = Fetches::new();
    for key in env::needs(namespace, &unit.spec) {
        let data = job.node.sources.get(&key, uid).await;
        let data = data.map_err(|e| {
            Failed::new("CreateContainerConfigError", format!("reading {} \"{}\": {e}", key.kind.noun(), key.name))
        })?;
        fetched.insert(key, data);
    }
    let facts = job.node.facts(ips(job));
    let services = job.node.services.state();
    env::env(&job.pod, &unit.spec, &facts, &services, &fetched)
        .map_err(|e| Failed::new("CreateContainerConfigError", e))
}

fn ips(job: &Job) -> Vec<String> {
    if job.pod.spec.as_ref().and_then(|s| s.host_network) == Some(true) {
        return job.node.host.ips.clone();
    }
    job.rt.sandbox().map(|s| s.ips.clone()).unwrap_or_default()
}

/// A container that was created but never started (the kubelet or the runtime stopped in between) makes place.
async fn leftovers(job: &Job, unit: &Unit<'_>, attempt: u32) -> Result<(), Failed> {
    for c in job.rt.containers.iter().filter(|c| c.name == unit.name() && c.attempt == attempt) {
        if c.state == State::Created {
            job.node.runtime.remove(&c.id).await.map_err(|e| Failed::new("CreateContainerError", e))?;
        }
    }
    Ok(())
}

async fn post_start(job: &Job, unit: &Unit<'_>, id: String, ips: Vec<String>) -> Result<(), Failed> {
    let hook = unit.spec.lifecycle.as_ref().and_then(|l| l.post_start.as_ref());
    let Some(action) = hook.and_then(Action::of_hook) else { return Ok(()) };
    let target = Target {
        runtime: job.node.runtime.clone(),
        id: id.clone(),
        container: unit.spec.clone().into_owned(),
        ip: ips.first().cloned().unwrap_or_default(),
    };
    let Err(text) = handler::attempt(&action, &target, HOOK).await else { return Ok(()) };
    let events = &job.node.events;
    events.warning(&job.pod, Some(unit.name()), "FailedPostStartHook", format!("PostStartHook failed: {text}"));
    events.normal(&job.pod, Some(unit.name()), "Killing", "FailedPostStartHook");
    let grace = crate::plan::grace(&job.pod);
    if let Err(error) = job.node.runtime.stop(&id, grace).await {
        tracing::warn!(container = unit.name(), %error, "stopping a container whose postStart hook failed");
    }
    Err(Failed::new("PostStartHookError", text))
}
