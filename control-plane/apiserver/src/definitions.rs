//! The kinds of CustomResourceDefinitions: built when a definition is established, dropped when it is gone.
//!
//! Establishing is the work of ordinary controllers; here the result is read.

use crate::Registry;
use crate::cache::{Cursor, Entry};
use crate::expressions;
use crate::lookup;
use api::kind::custom;
use api::{Kind, Status};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between attempts to read the definitions after the cache broke.
const RETRY: Duration = Duration::from_millis(100);

/// What was built from a definition at a revision.
#[derive(Default)]
pub(crate) struct Built(HashMap<Bytes, (u64, Vec<Arc<Kind>>)>);

impl Built {
    /// Serves the kinds of the definitions as they are now, and returns a cursor behind them.
    pub(crate) async fn update(&mut self, registry: &Registry) -> Result<Cursor, Status> {
        let kind = registry.known(lookup::DEFINITIONS)?;
        let cache = registry.cache(&kind).await?;
        registry.caches().fresh().await?;
        let (entries, cursor) = cache.snapshot("");
        let mut next = HashMap::with_capacity(entries.len());
        let mut served = Vec::new();
        for entry in entries {
            let kinds = match self.0.remove(&entry.name) {
                Some((revision, kinds)) if revision == entry.revision => kinds,
                _ => build(&kind, &entry),
            };
            served.extend(kinds.iter().cloned());
            next.insert(entry.name.clone(), (entry.revision, kinds));
        }
        self.0 = next;
        registry.serve_custom(served);
        Ok(cursor)
    }
}

fn build(kind: &Kind, entry: &Entry) -> Vec<Arc<Kind>> {
    let built = match entry.decode(kind) {
        Ok(definition) => custom::kinds(&definition).map_err(|e| e.to_string()),
        Err(status) => Err(status.message),
    };
    match built {
        Ok(kinds) => kinds.into_iter().map(expressions::with_rules).map(Arc::new).collect(),
        Err(error) => {
            let name = String::from_utf8_lossy(&entry.name);
            tracing::error!(%name, error, "a CustomResourceDefinition cannot be served");
            Vec::new()
        }
    }
}

/// Follows the definitions until the server stops.
pub(crate) async fn follow(registry: Registry, mut built: Built, stop: CancellationToken) {
    loop {
        match built.update(&registry).await {
            Ok(mut cursor) => {
                tokio::select! {
                    () = changed(&mut cursor) => {}
                    () = stop.cancelled() => return,
                }
            }
            Err(status) => {
                tracing::warn!(error = status.message, "CustomResourceDefinitions cannot be read");
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    () = stop.cancelled() => return,
                }
            }
        }
    }
}

/// Returns when something has changed, or the cursor is good for nothing any more.
async fn changed(cursor: &mut Cursor) {
    while cursor.ready().is_ok_and(|changes| changes.is_empty()) {
        cursor.changed().await;
    }
}
