//! Watches. There is one short memory of the newest events for all of them; who needs older ones reads history.
//!
//! A watcher costs its prefix and a cursor, however slow it is: nothing is queued for it. It never misses an event: it
//! is told that history has been compacted past it, or it gets them all, in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::blocking;
use crate::contract::{Event, Result, Revision};
use crate::machine::Shared;
use crate::read;

/// Newest events that are kept in memory for watchers, and bytes of their values.
const RECENT_EVENTS: usize = 2048;
const RECENT_BYTES: usize = 2 << 20;
/// Events that one call of `next` returns, about.
const AT_ONCE: usize = 512;

/// The events of one revision.
#[derive(Debug, Clone)]
pub struct Batch {
    pub revision: Revision,
    pub events: Arc<[Event]>,
}

#[derive(Default)]
struct Recent {
    batches: VecDeque<Batch>,
    events: usize,
    bytes: usize,
    /// Every event after this revision is here.
    complete_after: Revision,
    newest: Revision,
}

pub struct Hub {
    revision: AtomicU64,
    recent: RwLock<Recent>,
    watchers: Mutex<BTreeMap<u64, Arc<Watcher>>>,
    next_id: AtomicU64,
    /// Somebody has not been told of the newest revision.
    behind: Notify,
    closed: AtomicBool,
}

struct Watcher {
    prefix: Bytes,
    cursor: Mutex<Cursor>,
    wake: Notify,
}

struct Cursor {
    /// Everything up to here was looked at.
    seen: Revision,
    /// The watcher waits, so that the publisher may move `seen` past what does not concern it.
    waiting: bool,
    /// There is something for it after `seen`.
    pending: bool,
    /// It wants to hear how far it is, even without an event.
    progress: bool,
}

impl Hub {
    pub fn new(revision: Revision) -> Self {
        let recent = Recent { complete_after: revision, newest: revision, ..Recent::default() };
        Self {
            revision: revision.0.into(),
            recent: RwLock::new(recent),
            watchers: Mutex::default(),
            next_id: AtomicU64::default(),
            behind: Notify::new(),
            closed: AtomicBool::new(false),
        }
    }

    pub fn revision(&self) -> Revision {
        Revision(self.revision.load(Ordering::Acquire))
    }

    /// Called after the tables have the events, by one caller, in order.
    pub fn publish(&self, revision: Revision, batches: Vec<Batch>) {
        if batches.is_empty() {
            return;
        }
        // INVARIANT: events can be read before a watcher is told of them. The other way round one that looks in between
        // would find nothing and go to sleep.
        self.recent.write().push(batches.clone(), revision);
        self.revision.store(revision.0, Ordering::Release);
        for watcher in self.watchers.lock().values() {
            watcher.tell(&batches, revision);
        }
        self.behind.notify_one();
    }

    /// Called when other tables have taken the place of those that events were told of: watchers go on with history.
    pub fn jump(&self, revision: Revision) {
        *self.recent.write() = Recent { complete_after: revision, newest: revision, ..Recent::default() };
        self.revision.store(revision.0, Ordering::Release);
        for watcher in self.watchers.lock().values() {
            watcher.cursor.lock().pending = true;
            watcher.wake.notify_one();
        }
        self.behind.notify_one();
    }

    /// Has every watcher report how far it is.
    pub fn request_progress(&self) {
        for watcher in self.watchers.lock().values() {
            watcher.cursor.lock().progress = true;
            watcher.wake.notify_one();
        }
    }

    /// Returns when a revision was published since the last time it returned.
    pub async fn behind(&self) {
        self.behind.notified().await;
    }

    /// Ends every watch.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for watcher in self.watchers.lock().values() {
            watcher.wake.notify_one();
        }
    }
}

impl Recent {
    fn push(&mut self, batches: Vec<Batch>, revision: Revision) {
        for batch in batches {
            self.events += batch.events.len();
            self.bytes += batch.events.iter().map(bytes_of).sum::<usize>();
            self.batches.push_back(batch);
        }
        self.newest = revision;
        while self.events > RECENT_EVENTS || self.bytes > RECENT_BYTES {
            let Some(oldest) = self.batches.pop_front() else { break };
            self.events -= oldest.events.len();
            self.bytes -= oldest.events.iter().map(bytes_of).sum::<usize>();
            self.complete_after = oldest.revision;
        }
    }

    /// Events under a prefix after a revision; `None` when they are no longer all here.
    fn events(&self, prefix: &[u8], after: Revision) -> Option<read::Piece> {
        if after < self.complete_after {
            return None;
        }
        let start = self.batches.partition_point(|batch| batch.revision <= after);
        let mut piece = read::Piece { events: Vec::new(), upto: after };
        for batch in self.batches.range(start..) {
            if piece.events.len() >= AT_ONCE {
                return Some(piece);
            }
            piece.events.extend(batch.events.iter().filter(|event| concerns(event, prefix)).cloned());
            piece.upto = batch.revision;
        }
        piece.upto = self.newest;
        Some(piece)
    }
}

fn bytes_of(event: &Event) -> usize {
    match event {
        Event::Put { kv, prev } => kv.value.len() + prev.as_ref().map_or(0, |prev| prev.value.len()),
        Event::Delete { prev, .. } => prev.value.len(),
        Event::Progress(_) => 0,
    }
}

fn concerns(event: &Event, prefix: &[u8]) -> bool {
    match event {
        Event::Put { kv, .. } => kv.key.starts_with(prefix),
        Event::Delete { key, .. } => key.starts_with(prefix),
        Event::Progress(_) => true,
    }
}

impl Watcher {
    fn tell(&self, batches: &[Batch], revision: Revision) {
        let concerned = batches.iter().any(|batch| batch.events.iter().any(|event| concerns(event, &self.prefix)));
        let mut cursor = self.cursor.lock();
        if concerned {
            cursor.pending = true;
            self.wake.notify_one();
        } else if cursor.waiting && !cursor.pending && !cursor.progress {
            cursor.seen = revision;
        }
    }
}

/// Events under a prefix, from a revision on, without a gap.
pub struct Watch {
    shared: Arc<Shared>,
    id: u64,
    watcher: Arc<Watcher>,
    told: Revision,
    ended: bool,
}

impl Watch {
    pub(crate) fn new(shared: Arc<Shared>, prefix: &[u8], after: Revision) -> Self {
        let cursor = Cursor { seen: after, waiting: false, pending: true, progress: false };
        let watcher =
            Watcher { prefix: Bytes::copy_from_slice(prefix), cursor: Mutex::new(cursor), wake: Notify::new() };
        let watcher = Arc::new(watcher);
        let id = shared.hub.next_id.fetch_add(1, Ordering::Relaxed);
        shared.hub.watchers.lock().insert(id, watcher.clone());
        Self { shared, id, watcher, told: after, ended: false }
    }

    /// The next events, in the order of their revisions; the events of one revision come together. A lone
    /// [`Event::Progress`] says that nothing under the prefix happened up to its revision. `None` when the store closes
    /// and after an error; [`Error::Compacted`] when this watch is slower than history is long.
    pub async fn next(&mut self) -> Option<Result<Vec<Event>>> {
        loop {
            if self.ended || self.shared.hub.closed.load(Ordering::Acquire) {
                return None;
            }
            let (after, progress) = self.begin();
            let piece = match self.read(after).await {
                Ok(piece) => piece,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            };
            let upto = piece.upto;
            self.watcher.cursor.lock().seen = upto;
            if !piece.events.is_empty() {
                self.told = upto;
                let mut events = piece.events;
                // A prefix that got events out of history may be far behind them.
                if last_revision(&events) < upto {
                    events.push(Event::Progress(upto));
                }
                return Some(Ok(events));
            }
            if progress && upto > self.told {
                self.told = upto;
                return Some(Ok(vec![Event::Progress(upto)]));
            }
            if self.wait_allowed(upto) {
                self.watcher.wake.notified().await;
            }
        }
    }

    fn begin(&self) -> (Revision, bool) {
        let mut cursor = self.watcher.cursor.lock();
        cursor.waiting = false;
        cursor.pending = false;
        (cursor.seen, std::mem::take(&mut cursor.progress))
    }

    /// Whether there is nothing to do; from then on the publisher moves the cursor.
    fn wait_allowed(&self, upto: Revision) -> bool {
        let mut cursor = self.watcher.cursor.lock();
        cursor.waiting = !cursor.pending && !cursor.progress && upto >= self.shared.hub.revision();
        cursor.waiting
    }

    async fn read(&self, after: Revision) -> Result<read::Piece> {
        if let Some(piece) = self.shared.hub.recent.read().events(&self.watcher.prefix, after) {
            return Ok(piece);
        }
        let (shared, prefix) = (self.shared.clone(), self.watcher.prefix.clone());
        blocking::run("reading history", move || read::events(&shared.layers, &prefix, after, AT_ONCE)).await
    }
}

fn last_revision(events: &[Event]) -> Revision {
    match events.last() {
        Some(Event::Put { kv, .. }) => kv.mod_revision,
        Some(Event::Delete { revision, .. } | Event::Progress(revision)) => *revision,
        None => Revision::default(),
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.hub.watchers.lock().remove(&self.id);
    }
}
