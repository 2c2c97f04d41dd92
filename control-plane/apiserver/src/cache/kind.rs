//! The objects of one kind as they are now, and a window of what happened to them lately.

use super::forms::Made;
use crate::registry::Storage;
use api::{Kind, Object, Status};
use bytes::Bytes;
use parking_lot::RwLock;
use smol_str::SmolStr;
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};
use tokio::sync::{OnceCell, watch};

/// Events kept per kind: a watcher that comes back after a short break resumes, one that is this far behind is cut.
const WINDOW_EVENTS: usize = 2048;
/// The bytes that the window may hold alive per kind, so that a busy kind of large objects stays small.
const WINDOW_BYTES: usize = 2 << 20;
/// Events handed to a watcher at once: one frame of a busy stream.
const BATCH: usize = 256;

/// One object at one revision.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The key below the kind's prefix: `NAMESPACE/NAME` or `NAME`.
    pub name: Bytes,
    /// As it is stored; see `registry::encoding`.
    pub value: Bytes,
    pub revision: u64,
    pub made: Made,
    /// Where the metadata ends in `value`, looked for once.
    metadata_end: OnceLock<usize>,
    index: OnceLock<Index>,
}

/// What selectors look at, read from the object when a selector first does.
#[derive(Debug)]
pub(crate) struct Index {
    pub labels: BTreeMap<SmolStr, SmolStr>,
    pub fields: Vec<(Cow<'static, str>, String)>,
    pub namespace: SmolStr,
    pub name: SmolStr,
}

impl Entry {
    pub(crate) fn new(name: Bytes, value: Bytes, revision: u64) -> Entry {
        Entry { name, value, revision, made: Made::default(), metadata_end: OnceLock::new(), index: OnceLock::new() }
    }

    pub(crate) fn decode(&self, kind: &Kind) -> Result<Object, Status> {
        crate::registry::decode(kind, &self.value, self.revision)
    }

    /// The metadata of the stored value; see `registry::metadata`.
    pub(crate) fn metadata(&self) -> &[u8] {
        let end = *self.metadata_end.get_or_init(|| crate::registry::metadata(&self.value).len());
        &self.value[..end]
    }

    /// Hands the index to `look`. Of a kind that is stored in another version it is made each time.
    pub(crate) fn indexed<T>(&self, kind: &Kind, look: impl FnOnce(&Index) -> T) -> T {
        match crate::registry::is_view(kind) {
            true => look(&self.make_index(kind)),
            false => look(self.index.get_or_init(|| self.make_index(kind))),
        }
    }

    fn make_index(&self, kind: &Kind) -> Index {
        let object = self.decode(kind).unwrap_or_default();
        Index {
            labels: object.meta_pairs("labels").map(|(k, v)| (k.into(), v.into())).collect(),
            fields: kind.selectable(&object),
            namespace: object.namespace().into(),
            name: object.name().into(),
        }
    }
}

/// What happened to one object.
#[derive(Debug)]
pub(crate) struct Change {
    pub revision: u64,
    pub current: Option<Arc<Entry>>,
    pub previous: Option<Arc<Entry>>,
    /// Its events, which watchers share.
    pub frames: Made,
}

impl Change {
    /// What the window alone keeps alive: the present is in the cache, or the past of a later change.
    fn size(&self) -> usize {
        self.previous.as_ref().map_or(0, |e| e.value.len())
    }
}

#[derive(Default)]
struct State {
    items: BTreeMap<Bytes, Arc<Entry>>,
    events: VecDeque<Arc<Change>>,
    event_bytes: usize,
    /// The number of the first event in the window; they are numbered from 0 without gaps.
    first: u64,
    /// Events after this revision are all in the window.
    oldest: u64,
    /// The revision of the last change, or of the list that filled the cache.
    modified: u64,
    filled: bool,
    /// The revision of the list that filled the cache.
    base: u64,
    /// Changes that arrived while the list was read.
    early: Vec<(Bytes, Option<Bytes>, u64)>,
    closed: bool,
    /// Closed because the kind's definition is gone or has changed.
    retired: bool,
}

pub(crate) struct KindCache {
    prefix: String,
    state: RwLock<State>,
    filling: OnceCell<()>,
    wake: watch::Sender<u64>,
}

/// The asked point is no longer in the window.
#[derive(Debug)]
pub(crate) struct Lapsed {
    pub oldest: u64,
    /// The kind is no longer what it was: the watch ends without an error.
    pub retired: bool,
}

impl KindCache {
    pub(super) fn new(prefix: &str) -> KindCache {
        KindCache {
            prefix: prefix.to_owned(),
            state: RwLock::default(),
            filling: OnceCell::new(),
            wake: watch::Sender::new(0),
        }
    }

    pub(super) async fn fill(&self, storage: &Storage) -> Result<(), Status> {
        self.filling.get_or_try_init(|| self.read(storage)).await.map(|_| ())
    }

    async fn read(&self, storage: &Storage) -> Result<(), Status> {
        let (entries, revision) = storage.entries(&self.prefix).await?;
        let mut state = self.state.write();
        state.items = entries.into_iter().map(|e| (e.name.clone(), Arc::new(e))).collect();
        (state.base, state.oldest, state.modified, state.filled) = (revision, revision, revision, true);
        for (name, value, revision) in std::mem::take(&mut state.early) {
            state.apply(name, value, revision);
        }
        Ok(())
    }

    pub(super) fn apply(&self, name: Bytes, value: Option<Bytes>, revision: u64) {
        let mut state = self.state.write();
        match state.filled {
            true => state.apply(name, value, revision),
            false => state.early.push((name, value, revision)),
        }
        drop(state);
        self.wake.send_replace(revision);
    }

    pub(super) fn close(&self) {
        self.state.write().closed = true;
        self.wake.send_modify(|_| {});
    }

    pub(super) fn retire(&self) {
        self.state.write().retired = true;
        self.close();
    }

    /// The revision of the last change to the kind.
    pub(crate) fn modified(&self) -> u64 {
        self.state.read().modified
    }

    pub(super) fn forget_forms(&self) {
        let state = self.state.read();
        state.items.values().for_each(|entry| entry.made.forget());
        for change in &state.events {
            change.frames.forget();
            change.previous.iter().for_each(|entry| entry.made.forget());
        }
    }

    pub(super) fn entry(&self, name: &[u8], revision: u64) -> Option<Arc<Entry>> {
        self.state.read().items.get(name).filter(|e| e.revision == revision).cloned()
    }

    /// The objects whose key begins with `below` (`NAMESPACE/`), in the order of their keys.
    pub(crate) fn entries(&self, below: &str) -> Vec<Arc<Entry>> {
        let state = self.state.read();
        if below.is_empty() {
            return state.items.values().cloned().collect();
        }
        let start = Bytes::copy_from_slice(below.as_bytes());
        let range = state.items.range(start..).take_while(|(k, _)| k.starts_with(below.as_bytes()));
        range.map(|(_, e)| e.clone()).collect()
    }

    /// The objects as they are, and a cursor behind everything that made them so.
    pub(crate) fn snapshot(self: &Arc<Self>, below: &str) -> (Vec<Arc<Entry>>, Cursor) {
        // Events that arrive between the two would be seen twice, never missed: the cursor is taken first.
        let mut cursor = self.cursor_at_end();
        let state = self.state.read();
        cursor.next = state.first + state.events.len() as u64;
        cursor.after = state.modified;
        let items =
            state.items.iter().filter(|(k, _)| k.starts_with(below.as_bytes())).map(|(_, e)| e.clone()).collect();
        (items, cursor)
    }

    fn cursor_at_end(self: &Arc<Self>) -> Cursor {
        Cursor { cache: self.clone(), wake: self.wake.subscribe(), next: 0, after: 0 }
    }

    /// A cursor behind a revision.
    pub(crate) fn after(self: &Arc<Self>, revision: u64) -> Result<Cursor, Lapsed> {
        let mut cursor = self.cursor_at_end();
        let state = self.state.read();
        if state.oldest > revision {
            return Err(Lapsed { oldest: state.oldest, retired: false });
        }
        cursor.next = state.first + state.events.partition_point(|e| e.revision <= revision) as u64;
        cursor.after = revision;
        Ok(cursor)
    }
}

impl State {
    fn apply(&mut self, name: Bytes, value: Option<Bytes>, revision: u64) {
        if revision <= self.base {
            return;
        }
        let current = value.map(|value| Arc::new(Entry::new(name.clone(), value, revision)));
        let previous = match &current {
            Some(entry) => self.items.insert(name, entry.clone()),
            None => self.items.remove(&name),
        };
        self.modified = revision;
        if current.is_none() && previous.is_none() {
            return;
        }
        let change = Change { revision, current, previous, frames: Made::default() };
        self.event_bytes += change.size();
        self.events.push_back(Arc::new(change));
        while self.events.len() > WINDOW_EVENTS || self.event_bytes > WINDOW_BYTES {
            let Some(dropped) = self.events.pop_front() else { break };
            self.event_bytes -= dropped.size();
            self.first += 1;
            self.oldest = dropped.revision;
        }
    }
}

/// A watcher's place in the window.
pub(crate) struct Cursor {
    cache: Arc<KindCache>,
    wake: watch::Receiver<u64>,
    next: u64,
    /// Nothing up to this revision is wanted: a watch may begin at a revision that has not happened yet.
    after: u64,
}

impl Cursor {
    /// What is there now, perhaps nothing.
    pub(crate) fn ready(&mut self) -> Result<Vec<Arc<Change>>, Lapsed> {
        self.wake.mark_unchanged();
        let state = self.cache.state.read();
        if self.next < state.first || state.closed {
            return Err(Lapsed { oldest: state.oldest, retired: state.retired });
        }
        let skip = usize::try_from(self.next - state.first).unwrap_or(usize::MAX);
        let mut batch = Vec::new();
        for change in state.events.iter().skip(skip) {
            self.next += 1;
            if change.revision > self.after {
                batch.push(change.clone());
            }
            if batch.len() == BATCH {
                break;
            }
        }
        Ok(batch)
    }

    /// Returns when [`Cursor::ready`] may have something.
    pub(crate) async fn changed(&mut self) {
        // The sender lives in `self.cache`.
        let _ = self.wake.changed().await;
    }
}
