//! The fence: after a write, a key is not planned again before the informers show that write.
//!
//! Without it a plan made on an old view would create twice. One fence, in the driver, for every controller; it replaces
//! the expectations that upstream's controllers keep each on their own.

use std::sync::Arc;
use std::time::Duration;

use kube::core::ApiResource;

use crate::execute::{Executor, Failure, Written};
use crate::informer::Tracked;

/// A watch that shows nothing for this long is broken in a way that waiting does not mend; upstream's expectations
/// end after the same time.
const LIMIT: Duration = Duration::from_secs(300);
/// A write that may not have happened may leave nothing to be seen but the next bookmark.
const UNKNOWN_LIMIT: Duration = Duration::from_secs(10);

/// Waits until every write is seen. The kinds that nothing here watches are not waited for.
pub(crate) async fn pass(
    written: Vec<Written>,
    tracked: &[Arc<dyn Tracked>],
    executor: &Executor,
) -> Result<(), Failure> {
    for write in written {
        match write {
            Written::At { resource, revision } => reach(tracked, &resource, revision, LIMIT).await,
            Written::Unknown { resource, namespace } => {
                if watching(tracked, &resource).next().is_some() {
                    let revision = executor.revision(&resource, &namespace).await?;
                    reach(tracked, &resource, revision, UNKNOWN_LIMIT).await;
                }
            }
            Written::Deleted { resource, key, uid } => {
                for informer in watching(tracked, &resource) {
                    let mut progress = informer.progress();
                    let gone = progress.wait_for(|p| p.closed || !informer.lives(&key, &uid));
                    if tokio::time::timeout(LIMIT, gone).await.is_err() {
                        tracing::warn!(%key, plural = resource.plural, "a deletion was not seen in time");
                    }
                }
            }
        }
    }
    Ok(())
}

async fn reach(tracked: &[Arc<dyn Tracked>], resource: &ApiResource, revision: u64, limit: Duration) {
    for informer in watching(tracked, resource) {
        let mut progress = informer.progress();
        let reached = progress.wait_for(|p| p.closed || p.revision >= revision);
        if tokio::time::timeout(limit, reached).await.is_err() {
            tracing::warn!(plural = resource.plural, revision, "a write was not seen in time");
        }
    }
}

fn watching<'a>(
    tracked: &'a [Arc<dyn Tracked>],
    resource: &'a ApiResource,
) -> impl Iterator<Item = &'a Arc<dyn Tracked>> {
    tracked.iter().filter(|t| t.resource().group == resource.group && t.resource().plural == resource.plural)
}
