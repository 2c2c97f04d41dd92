//! A subscriber's view of what changed: coalesced by key, so that a slow reader holds one entry per object, not per event.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use parking_lot::Mutex;

use crate::object::Key;

/// Entries about objects that still exist are bounded by the store itself; this bounds those about deleted ones.
const DELETED_LIMIT: usize = 65_536;

/// One object changed since the subscriber last asked about it.
#[derive(Debug)]
pub struct Change<K> {
    pub key: Key,
    /// The object as the subscriber last knew it.
    pub before: Option<Arc<K>>,
    /// The object now; none when it is gone.
    pub after: Option<Arc<K>>,
}

/// A stream of [`Change`]s. It starts with every object there is and ends when the informer stops.
pub struct Changes<K> {
    pub(super) inbox: Arc<Inbox<K>>,
}

pub(super) struct Inbox<K> {
    pending: Mutex<Pending<K>>,
    reader: AtomicWaker,
}

type BeforeAfter<K> = (Option<Arc<K>>, Option<Arc<K>>);

struct Pending<K> {
    order: VecDeque<Key>,
    changes: HashMap<Key, BeforeAfter<K>>,
    deleted: usize,
    closed: bool,
}

impl<K> Inbox<K> {
    pub(super) fn new() -> Inbox<K> {
        let pending = Pending { order: VecDeque::new(), changes: HashMap::new(), deleted: 0, closed: false };
        Inbox { pending: Mutex::new(pending), reader: AtomicWaker::new() }
    }

    pub(super) fn put(&self, key: &Key, before: Option<&Arc<K>>, after: Option<&Arc<K>>) {
        self.pending.lock().put(key, before, after);
        self.reader.wake();
    }

    pub(super) fn close(&self) {
        self.pending.lock().closed = true;
        self.reader.wake();
    }
}

impl<K> Pending<K> {
    fn put(&mut self, key: &Key, before: Option<&Arc<K>>, after: Option<&Arc<K>>) {
        if let Some((_, latest)) = self.changes.get_mut(key) {
            self.deleted -= usize::from(latest.is_none());
            self.deleted += usize::from(after.is_none());
            *latest = after.cloned();
            return;
        }
        if after.is_none() {
            if self.deleted >= DELETED_LIMIT {
                tracing::warn!(%key, "a change was dropped: too many deletions wait for their reader");
                return;
            }
            self.deleted += 1;
        }
        self.order.push_back(key.clone());
        self.changes.insert(key.clone(), (before.cloned(), after.cloned()));
    }

    fn take(&mut self) -> Option<Change<K>> {
        let key = self.order.pop_front()?;
        let (before, after) = self.changes.remove(&key)?;
        self.deleted -= usize::from(after.is_none());
        Some(Change { key, before, after })
    }
}

impl<K> Changes<K> {
    pub async fn next(&mut self) -> Option<Change<K>> {
        std::future::poll_fn(|cx| self.poll_change(cx)).await
    }

    fn poll_change(&self, cx: &mut Context<'_>) -> Poll<Option<Change<K>>> {
        self.inbox.reader.register(cx.waker());
        let mut pending = self.inbox.pending.lock();
        match (pending.take(), pending.closed) {
            (Some(change), _) => Poll::Ready(Some(change)),
            (None, true) => Poll::Ready(None),
            (None, false) => Poll::Pending,
        }
    }
}

impl<K> futures::Stream for Changes<K> {
    type Item = Change<K>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Change<K>>> {
        self.poll_change(cx)
    }
}
