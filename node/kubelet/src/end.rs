//! Ending every pod of a node at once, when the cluster on this machine is being stopped. The objects stay.

use crate::config::Error;
use crate::runtime::{Runtime, RuntimeError};
use crate::volumes;
use futures::future::join_all;
use rpc::cri;
use std::path::Path;
use std::time::Duration;

/// Beyond the grace: SIGKILL, networks and cgroups released.
const SLACK: Duration = Duration::from_secs(10);

/// Stops all pods with at most `grace` between SIGTERM and SIGKILL, then their sandboxes.
/// preStop hooks are not run. The kubelet must have been stopped before. Files of the pods stay for the next start,
/// but not what they kept in memory.
pub async fn stop_all_pods(cri_endpoint: &Path, root: &Path, grace: Duration) -> Result<(), Error> {
    let runtime = Runtime::connect(cri_endpoint);
    let limit = grace + SLACK;
    let result = tokio::time::timeout(limit, stop(&runtime, grace)).await;
    result.map_err(|_| Error::StillRunning(limit.as_secs()))??;
    release_mounts(root)
}

/// Unmounts everything that volumes of pods have mounted below a kubelet's directory. Only when no pod runs any more.
pub fn release_mounts(root: &Path) -> Result<(), Error> {
    volumes::unmount_below(root)
        .map_err(|e| Error::Io { doing: "releasing the mounts of volumes".into(), source: std::io::Error::other(e) })
}

async fn stop(runtime: &Runtime, grace: Duration) -> Result<(), RuntimeError> {
    let seconds = i64::try_from(grace.as_secs()).unwrap_or(0);
    let running = |c: &cri::Container| c.state == cri::ContainerState::ContainerRunning as i32;
    let containers = runtime.all_containers().await?;
    let stops = containers.iter().filter(|c| running(c)).map(|c| runtime.stop(&c.id, seconds));
    join_all(stops).await.into_iter().collect::<Result<Vec<()>, _>>()?;
    let sandboxes = runtime.pods().await?;
    let stops = sandboxes.iter().map(|(_, s)| runtime.stop_sandbox(&s.id));
    join_all(stops).await.into_iter().collect::<Result<Vec<()>, _>>()?;
    Ok(())
}
