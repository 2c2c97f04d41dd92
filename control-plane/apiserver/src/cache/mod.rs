//! The watch cache: one store watch feeds a cache per kind, made when the kind is first listed or watched.
//!
//! It shares the store's bytes, encodes an event once for all watchers, and is as fresh as the store was when asked.

mod cursor;
mod entry;
mod forms;
mod index;
mod interest;
mod kind;
mod past;
#[cfg(test)]
mod tests;

pub(crate) use cursor::Cursor;
pub(crate) use entry::Entry;
pub(crate) use forms::{Form, Made, What};
pub(crate) use index::{Facet, Place, Wanted};
pub(crate) use kind::{Change, KindCache, Lapsed};

use crate::registry::{ROOT, Storage};
use api::Status;
use bytes::Bytes;
use forms::Kept;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long a read waits for the cache to reach a revision, as upstream's does.
const FRESH_TIMEOUT: Duration = Duration::from_secs(3);

/// Between attempts to open the store's watch again after it broke.
const RETRY: Duration = Duration::from_millis(100);

pub(crate) struct Caches {
    storage: Storage,
    kinds: RwLock<HashMap<String, Arc<KindCache>>>,
    /// Every change up to this revision is in the caches.
    applied: watch::Sender<u64>,
    kept: Kept,
}

impl Caches {
    /// Starts the feed; it ends when the returned value is dropped everywhere.
    pub(crate) fn start(storage: Storage) -> Arc<Caches> {
        let caches = Arc::new(Caches {
            storage,
            kinds: RwLock::default(),
            applied: watch::Sender::new(0),
            kept: Kept::default(),
        });
        tokio::spawn(feed(Arc::downgrade(&caches), caches.storage.clone()));
        caches
    }

    /// The cache of the kind whose keys begin with `prefix`; filled from the store on first use.
    pub(crate) async fn of(&self, prefix: &str) -> Result<Arc<KindCache>, Status> {
        // The feed must be running before a kind registers, so that no change falls between the list and the feed.
        self.wait(|applied| applied > 0)
            .await
            .map_err(|()| Status::unavailable("the store's watch has not started"))?;
        let cache = self.registered(prefix);
        cache.fill(&self.storage).await?;
        Ok(cache)
    }

    /// A form of an object or of a change; made if it is not there.
    pub(crate) fn form(
        &self,
        at: &Made,
        form: Form,
        make: impl FnOnce() -> Result<Vec<u8>, Status>,
    ) -> Result<Bytes, Status> {
        let (bytes, full) = self.kept.get(at, form, make)?;
        if full {
            self.kinds.read().values().for_each(|cache| cache.forget_forms());
        }
        Ok(bytes)
    }

    /// The cached entry of an object at a revision, if its kind is cached and it is there: with the forms made of it.
    pub(crate) fn entry(&self, prefix: &str, name: &[u8], revision: u64) -> Option<Arc<Entry>> {
        self.kinds.read().get(prefix)?.entry(name, revision)
    }

    /// How many changes of a kind have come from the store; `None` where nobody has looked at it.
    pub(crate) fn received(&self, prefix: &str) -> Option<u64> {
        Some(self.kinds.read().get(prefix)?.received())
    }

    fn registered(&self, prefix: &str) -> Arc<KindCache> {
        if let Some(cache) = self.kinds.read().get(prefix) {
            return cache.clone();
        }
        self.kinds.write().entry(prefix.to_owned()).or_insert_with(|| Arc::new(KindCache::new(prefix))).clone()
    }

    /// Waits until the caches hold all that this server's store held when this was called, and returns the revision they are at.
    pub(crate) async fn fresh(&self) -> Result<u64, Status> {
        self.at_least(self.storage.revision()).await
    }

    /// The same for all that any server's store held when this was called: what a client has written elsewhere is there.
    pub(crate) async fn newest(&self) -> Result<u64, Status> {
        self.at_least(self.storage.newest().await?).await
    }

    /// Waits until the caches have reached a revision.
    pub(crate) async fn at_least(&self, revision: u64) -> Result<u64, Status> {
        self.wait(|applied| applied >= revision).await.map_err(|()| too_large(revision, self.applied()))
    }

    pub(crate) fn applied(&self) -> u64 {
        *self.applied.borrow()
    }

    async fn wait(&self, reached: impl Fn(u64) -> bool) -> Result<u64, ()> {
        let mut applied = self.applied.subscribe();
        if reached(*applied.borrow_and_update()) {
            return Ok(self.applied());
        }
        self.storage.request_progress();
        let found = tokio::time::timeout(FRESH_TIMEOUT, applied.wait_for(|a| reached(*a))).await;
        match found {
            Ok(Ok(revision)) => Ok(*revision),
            Ok(Err(_)) | Err(_) => Err(()),
        }
    }

    fn apply(&self, events: Vec<store::Event>) {
        let kinds = self.kinds.read();
        let mut reached = 0;
        for event in events {
            let (key, value, revision) = match event {
                store::Event::Put { kv, .. } => (kv.key, Some(kv.value), kv.mod_revision.0),
                store::Event::Delete { key, revision, .. } => (key, None, revision.0),
                store::Event::Progress(revision) => {
                    reached = revision.0;
                    continue;
                }
            };
            reached = revision;
            if let Some((prefix, name)) = split(&key)
                && let Some(cache) = kinds.get(prefix)
            {
                cache.apply(name, value, revision);
            }
        }
        drop(kinds);
        self.applied.send_if_modified(|applied| {
            let newer = reached > *applied;
            *applied = (*applied).max(reached);
            newer
        });
    }

    /// Forgets a kind whose definition is gone or has changed: its watches end, and whoever comes next reads the store.
    pub(crate) fn retire(&self, prefix: &str) {
        if let Some(cache) = self.kinds.write().remove(prefix) {
            cache.retire();
        }
    }

    /// Forgets everything after the feed broke: watchers are told to list again, lists read the store again.
    fn reset(&self) {
        for (_, cache) in self.kinds.write().drain() {
            cache.close();
        }
    }
}

/// `/registry/GROUP/PLURAL/` and the rest of a key.
fn split(key: &bytes::Bytes) -> Option<(&str, bytes::Bytes)> {
    let text = std::str::from_utf8(key).ok()?;
    let below = text.strip_prefix(ROOT)?;
    let (end, _) = below.match_indices('/').nth(1)?;
    let at = ROOT.len() + end + 1;
    Some((&text[..at], key.slice(at..)))
}

async fn feed(caches: std::sync::Weak<Caches>, storage: Storage) {
    loop {
        let from = storage.revision();
        match storage.watch(ROOT, from).await {
            Ok(mut watch) => {
                if let Some(caches) = caches.upgrade() {
                    caches.applied.send_if_modified(|a| from.max(1) > std::mem::replace(a, (*a).max(from.max(1))));
                }
                while let Some(events) = watch.next().await {
                    let Some(caches) = caches.upgrade() else { return };
                    match events {
                        Ok(events) => caches.apply(events),
                        Err(error) => {
                            tracing::warn!(%error, "the store's watch broke; the caches are filled again");
                            break;
                        }
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "the store cannot be watched"),
        }
        let Some(caches) = caches.upgrade() else { return };
        caches.reset();
        drop(caches);
        tokio::time::sleep(RETRY).await;
    }
}

/// Somebody asks for a version that is not there yet.
pub(crate) fn too_large(asked: u64, current: u64) -> Status {
    let mut status = Status::timeout(format!("Timeout: Too large resource version: {asked}, current: {current}"));
    status.details = Some(api::status::Details {
        causes: vec![api::Cause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            field: String::new(),
        }],
        retry_after_seconds: 1,
        ..api::status::Details::default()
    });
    status
}
