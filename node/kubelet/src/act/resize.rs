//! Changing the limits of running containers.

use super::Job;
use crate::plan::Change;

/// One container after the other, up to the first that fails.
pub async fn resize(job: &Job, changes: &[Change]) -> Result<(), String> {
    for change in changes {
        one(job, change).await.map_err(|e| format!("{}: {e}", change.name))?;
    }
    Ok(())
}

/// A container that uses more than it would have left would be killed: it keeps what it has until it uses less.
async fn one(job: &Job, change: &Change) -> Result<(), String> {
    let (from, to) = (change.from.memory_bytes, change.to.memory_bytes);
    if to > 0 && (from == 0 || to < from) {
        let used = job.node.runtime.memory_of(&change.id).await.map_err(|e| e.to_string())?;
        if let Some(used) = used.filter(|used| *used >= to.unsigned_abs()) {
            return Err(format!("attempting to set the memory limit ({to}) below the current usage ({used})"));
        }
    }
    job.node.runtime.update(&change.id, change.to.to_runtime()).await.map_err(|e| e.to_string())
}
