//! The store as the registry and the cache see it: objects' bytes under keys.

use super::keys;
use crate::cache::Entry;
use crate::metrics::{Histogram, SECONDS};
use api::{Kind, Object, Status};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;
use store::{Compare, KeyValue, Op, Revision, Store, Txn, TxnOutcome};

/// How long an Event lives, as upstream's default.
const EVENT_TTL_SECONDS: u64 = 3600;
/// Events of this long share a lease, so that a storm of them makes few.
const EVENT_LEASE_SHARED_SECONDS: u64 = 60;

#[derive(Clone)]
pub(crate) struct Storage {
    pub(super) store: Store,
    event_lease: Arc<Mutex<Option<(u64, Instant)>>>,
    times: Arc<Mutex<Times>>,
}

/// How long requests took, by operation and by what is below `/registry/`: `GROUP/PLURAL`.
type Times = BTreeMap<&'static str, HashMap<Box<str>, Histogram>>;
/// Definitions of custom resources make more resources, without end.
const TIMES: usize = 2000;

/// A stored value with the revision of its last change.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub value: Bytes,
    pub revision: u64,
}

/// A page of a list at one revision.
pub(crate) struct Page {
    pub entries: Vec<Entry>,
    pub revision: u64,
    pub more: bool,
    pub count: u64,
}

/// How a write ended.
#[derive(Debug)]
pub(crate) enum Written {
    At(u64),
    /// The key is not at the expected revision.
    Conflict,
    /// Something that was to be written together with it is not.
    BesideConflict,
}

/// The replacement of another object, which happens together with a write or not at all.
pub(crate) struct Beside {
    key: Bytes,
    value: Bytes,
    expected: Revision,
}

impl Beside {
    pub(crate) fn replace(kind: &Kind, new: &Object, old: &Object) -> Beside {
        Beside {
            key: keys::key(kind, old.namespace(), old.name()).into(),
            value: super::encode(kind, new),
            expected: Revision(old.resource_version().parse().unwrap_or(0)),
        }
    }
}

impl Storage {
    pub(crate) fn new(store: Store) -> Storage {
        Storage { store, event_lease: Arc::default(), times: Arc::default() }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.store.revision().0
    }

    /// The newest revision of the cluster, which this server has reached when this returns.
    pub(crate) async fn newest(&self) -> Result<u64, Status> {
        self.store.current_revision().await.map(|revision| revision.0).map_err(|e| status(&e))
    }

    /// Whether the store still knows a revision: what it has forgotten is shown from nowhere else either.
    pub(crate) async fn knows(&self, revision: u64) -> bool {
        self.store.get(keys::ROOT.as_bytes(), Some(Revision(revision))).await.is_ok()
    }

    pub(crate) fn request_progress(&self) {
        self.store.request_progress();
    }

    /// Events after a revision.
    pub(crate) async fn watch(&self, prefix: &str, after: u64) -> Result<store::Watch, store::Error> {
        self.store.watch(prefix.as_bytes(), Revision(after)).await
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Stored>, Status> {
        let found = self.timed("get", key, self.store.get(key.as_bytes(), None)).await.map_err(|e| status(&e))?;
        Ok(found.map(stored))
    }

    /// Everything below a prefix, now.
    pub(crate) async fn entries(&self, prefix: &str) -> Result<(Vec<Entry>, u64), Status> {
        let page = self.page(prefix, prefix, None, 0).await?;
        Ok((page.entries, page.revision))
    }

    /// Keys from `start` on that begin with `range`; the entries are named by what follows `prefix`. A limit of 0 is none.
    pub(crate) async fn page_from(
        &self,
        prefix: &str,
        range: &str,
        start: &str,
        at: Option<u64>,
        limit: usize,
    ) -> Result<Page, store::Error> {
        let end = end_of(range);
        let list = self.timed("list", prefix, self.store.list(start.as_bytes(), &end, at.map(Revision), limit)).await?;
        let named = |kv: KeyValue| Entry::new(kv.key.slice(prefix.len()..), kv.value, kv.mod_revision.0);
        Ok(Page {
            entries: list.items.into_iter().map(named).collect(),
            revision: list.revision.0,
            more: list.more,
            count: list.count,
        })
    }

    async fn page(&self, prefix: &str, range: &str, at: Option<u64>, limit: usize) -> Result<Page, Status> {
        self.page_from(prefix, range, range, at, limit).await.map_err(|e| status(&e))
    }

    /// Writes where the key is at `expected`, 0 for absent.
    pub(crate) async fn put(
        &self,
        kind: &Kind,
        key: &str,
        value: Bytes,
        expected: u64,
        beside: &[Beside],
    ) -> Result<Written, Status> {
        let lease = self.lease(kind).await?;
        let put = Op::Put { key: Bytes::copy_from_slice(key.as_bytes()), value, lease };
        self.write(kind, key, put, expected, beside).await
    }

    pub(crate) async fn delete(&self, kind: &Kind, key: &str, expected: u64) -> Result<Written, Status> {
        let delete = Op::Delete { key: Bytes::copy_from_slice(key.as_bytes()) };
        self.write(kind, key, delete, expected, &[]).await
    }

    async fn write(&self, kind: &Kind, key: &str, op: Op, expected: u64, beside: &[Beside]) -> Result<Written, Status> {
        let renewal = kind.names.plural == "leases" && kind.names.group == "coordination.k8s.io" && expected > 0;
        let volatile = renewal && matches!(op, Op::Put { .. });
        let own = Compare::ModRevision(Bytes::copy_from_slice(key.as_bytes()), Revision(expected));
        let others = beside.iter().map(|other| Compare::ModRevision(other.key.clone(), other.expected));
        let puts = beside.iter().map(|o| Op::Put { key: o.key.clone(), value: o.value.clone(), lease: 0 });
        let compare = std::iter::once(own).chain(others).collect();
        let operation = match (&op, expected) {
            (Op::Put { .. }, 0) => "create",
            (Op::Put { .. }, _) => "update",
            (Op::Delete { .. }, _) => "delete",
        };
        let txn = Txn { compare, ops: std::iter::once(op).chain(puts).collect(), volatile };
        match self.timed(operation, key, self.store.txn(txn)).await.map_err(|e| status(&e))? {
            TxnOutcome::Committed(revision) => Ok(Written::At(revision.0)),
            TxnOutcome::Conflict { current, .. } => {
                let own = current.first().and_then(Option::as_ref).map_or(0, |kv| kv.mod_revision.0);
                Ok(if own == expected { Written::BesideConflict } else { Written::Conflict })
            }
        }
    }

    async fn timed<T>(&self, operation: &'static str, key: &str, work: impl Future<Output = T>) -> T {
        let since = Instant::now();
        let result = work.await;
        let Some(resource) = resource(key) else { return result };
        let mut times = self.times.lock();
        let times = times.entry(operation).or_default();
        if !times.contains_key(resource) && times.len() < TIMES {
            times.insert(resource.into(), Histogram::default());
        }
        if let Some(histogram) = times.get_mut(resource) {
            histogram.observe(&SECONDS, since.elapsed().as_secs_f64());
        }
        result
    }

    /// How long requests took, by operation, group and resource.
    pub(crate) fn times(&self) -> Vec<((&'static str, String, String), Histogram)> {
        let times = self.times.lock();
        let each = times.iter().flat_map(|(operation, of)| of.iter().map(|(resource, h)| (*operation, resource, h)));
        let mut all: Vec<_> = each
            .map(|(operation, resource, histogram)| {
                let (group, plural) = resource.split_once('/').unwrap_or(("", resource));
                let group = if group == keys::CORE { "" } else { group };
                ((operation, group.to_owned(), plural.to_owned()), histogram.clone())
            })
            .collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// How many objects there are below a prefix.
    pub(crate) async fn count(&self, prefix: &str) -> Result<u64, Status> {
        let list = self.store.list(prefix.as_bytes(), &end_of(prefix), None, 1).await;
        list.map(|list| list.count).map_err(|e| status(&e))
    }

    async fn lease(&self, kind: &Kind) -> Result<u64, Status> {
        if kind.names.plural != "events" || kind.custom.is_some() {
            return Ok(0);
        }
        let now = Instant::now();
        if let Some((lease, made)) = *self.event_lease.lock()
            && now.duration_since(made).as_secs() < EVENT_LEASE_SHARED_SECONDS
        {
            return Ok(lease);
        }
        let ttl = EVENT_TTL_SECONDS + EVENT_LEASE_SHARED_SECONDS;
        let lease = self.store.grant_lease(ttl).await.map_err(|e| status(&e))?;
        *self.event_lease.lock() = Some((lease, now));
        Ok(lease)
    }
}

/// `GROUP/PLURAL` of a key.
fn resource(key: &str) -> Option<&str> {
    let below = key.strip_prefix(keys::ROOT)?;
    let plural = below.find('/')? + 1;
    Some(&below[..plural + below[plural..].find('/')?])
}

fn stored(kv: KeyValue) -> Stored {
    Stored { value: kv.value, revision: kv.mod_revision.0 }
}

/// The first key behind all that begin with a prefix.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // Prefixes end in a slash or are UTF-8, so the last byte is never 0xff.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

pub(crate) fn status(error: &store::Error) -> Status {
    match error {
        store::Error::Compacted { .. } => Status::expired("The resourceVersion for the provided list is too old."),
        store::Error::Unavailable(_) => Status::unavailable(error.to_string()),
        store::Error::Invalid(_) => Status::too_large(format!("Request entity too large: {error}")),
        store::Error::Future { .. } | store::Error::Disk(_) | store::Error::Data(_) => Status::internal(error),
    }
}

impl Storage {
    pub(crate) async fn get_object(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Option<Stored>, Status> {
        self.get(&keys::key(kind, namespace, name)).await
    }
}
