//! Among several servers: what the others give out, so that the own choice seldom meets it, and now and then a repair.
//!
//! What is remembered here is a hint; who holds what, the claims in the store say.

use super::{Allocators, owner_of, repair, service};
use crate::cache::{Change, Entry};
use crate::ctx::Ctx;
use crate::lookup;
use api::{Kind, Object, Status};
use std::sync::Arc;
use std::time::Duration;

/// Between repairs. A claim that nothing holds takes one of a few thousand ports; there is no hurry.
const REPAIR: Duration = Duration::from_secs(300);
/// Between attempts to follow the Services after the cache broke.
const RETRY: Duration = Duration::from_millis(200);

/// Until the server stops.
pub(crate) async fn run(ctx: Arc<Ctx>) {
    let following = async {
        loop {
            if let Err(status) = follow(&ctx).await {
                tracing::debug!(error = status.message, "Services are not followed");
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    let repairing = async {
        loop {
            tokio::time::sleep(REPAIR).await;
            if let Err(status) = repair(&ctx).await {
                tracing::warn!(error = status.message, "addresses and ports of Services are not repaired");
            }
        }
    };
    ctx.stop.run_until_cancelled(futures::future::join(following, repairing)).await;
}

/// Returns when the cache can be followed no further.
async fn follow(ctx: &Ctx) -> Result<(), Status> {
    let kind = ctx.registry.known(lookup::SERVICES)?;
    let cache = ctx.registry.cache(&kind).await?;
    let (entries, mut cursor) = cache.snapshot(None);
    ctx.allocators.remember(entries.iter().filter_map(|entry| entry.decode(&kind).ok()).collect());
    loop {
        match cursor.ready() {
            Ok(changes) if changes.is_empty() => cursor.changed().await,
            Ok(changes) => changes.iter().for_each(|change| ctx.allocators.see(&kind, change)),
            Err(_) => return Ok(()),
        }
    }
}

impl Allocators {
    /// Forgets everything but what these Services hold.
    fn remember(&self, services: Vec<Object>) {
        let mut taken = self.taken.lock();
        (taken.addresses, taken.ports) = Default::default();
        drop(taken);
        services.iter().for_each(|service| self.hold(service));
    }

    fn see(&self, kind: &Kind, change: &Change) {
        let object = |entry: &Option<Arc<Entry>>| entry.as_ref().and_then(|entry| entry.decode(kind).ok());
        if let Some(before) = object(&change.previous) {
            self.forget(&owner_of(&before), &service::addresses(&before), &service::held_ports(&before));
        }
        if let Some(now) = object(&change.current) {
            self.hold(&now);
        }
    }

    fn hold(&self, object: &Object) {
        let mut taken = self.taken.lock();
        taken.addresses.extend(service::addresses(object).into_iter().map(|address| (address, owner_of(object))));
        taken.ports.extend(service::held_ports(object).into_iter().map(|port| (port, owner_of(object))));
    }
}
