//! Making and stopping a pod's sandbox.

use super::Job;
use crate::translate;

pub async fn run(job: &Job, attempt: u32) -> Result<(), String> {
    let node = &job.node;
    let class = job.pod.spec.as_ref().and_then(|s| s.runtime_class_name.as_deref());
    let handler = node.handler(class)?;
    let config = translate::sandbox::config(&job.pod, attempt, &node.config.logs(), &node.resolver);
    let config = config.map_err(|e| e.to_string())?;
    std::fs::create_dir_all(&config.log_directory).map_err(|e| format!("making {}: {e}", config.log_directory))?;
    node.runtime.run_sandbox(config, handler).await.map(drop).map_err(|e| e.to_string())
}

pub async fn stop(job: &Job, id: &str) -> Result<(), String> {
    job.node.runtime.stop_sandbox(id).await.map_err(|e| e.to_string())
}
