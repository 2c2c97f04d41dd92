//! The objects of one kind as they are now, and a window of what happened to them lately.

use super::cursor::{Cursor, Waiting};
use super::entry::Entry;
use super::forms::Made;
use super::index::{FEW, Facet, Indexes, Place};
use super::interest::{Interest, Interests, Slot};
use crate::registry::Storage;
use api::{Kind, Status};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{OnceCell, watch};

/// Events kept per kind: a watcher that comes back after a short break resumes, one that is this far behind is cut.
const WINDOW_EVENTS: usize = 2048;
/// The bytes that the window may hold alive per kind, so that a busy kind of large objects stays small.
const WINDOW_BYTES: usize = 2 << 20;
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
pub(super) struct State {
    pub(super) items: BTreeMap<Bytes, Arc<Entry>>,
    indexes: Indexes,
    pub(super) events: VecDeque<Arc<Change>>,
    event_bytes: usize,
    /// The number of the first event in the window; they are numbered from 0 without gaps.
    pub(super) first: u64,
    /// Events after this revision are all in the window.
    pub(super) oldest: u64,
    /// The revision of the last change, or of the list that filled the cache.
    modified: u64,
    filled: bool,
    /// The revision of the list that filled the cache.
    base: u64,
    /// Changes that arrived while the list was read.
    early: Vec<(Bytes, Option<Bytes>, u64)>,
    pub(super) closed: bool,
    /// Closed because the kind's definition is gone or has changed.
    pub(super) retired: bool,
}

pub(crate) struct KindCache {
    prefix: String,
    pub(super) state: RwLock<State>,
    /// Taken after `state` where both are.
    pub(super) interests: Mutex<Interests>,
    filling: OnceCell<()>,
    received: AtomicU64,
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
            interests: Mutex::default(),
            filling: OnceCell::new(),
            received: AtomicU64::new(0),
            wake: watch::Sender::new(0),
        }
    }

    /// One that has been filled with nothing.
    #[cfg(test)]
    pub(super) fn empty() -> Arc<KindCache> {
        let cache = KindCache::new("");
        cache.state.write().filled = true;
        Arc::new(cache)
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
            let entry = value.map(|value| Arc::new(Entry::new(name.clone(), value, revision)));
            self.change(&mut state, name, entry, revision);
        }
        Ok(())
    }

    /// How many changes have come from the store.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(super) fn apply(&self, name: Bytes, value: Option<Bytes>, revision: u64) {
        self.received.fetch_add(1, Ordering::Relaxed);
        if !self.state.read().filled {
            let mut state = self.state.write();
            // Another may have filled it meanwhile.
            if !state.filled {
                return state.early.push((name, value, revision));
            }
        }
        let entry = value.map(|value| Arc::new(Entry::new(name.clone(), value, revision)));
        if let Some(entry) = &entry {
            self.state.read().indexes.prepare(entry);
            self.interests.lock().prepare(entry);
        }
        self.change(&mut self.state.write(), name, entry, revision);
        self.wake.send_replace(revision);
    }

    /// What happens goes into the window, and those whom it concerns are told.
    fn change(&self, state: &mut State, name: Bytes, current: Option<Arc<Entry>>, revision: u64) {
        if let Some(change) = state.apply(name, current, revision) {
            let event = state.first + state.events.len() as u64 - 1;
            self.interests.lock().tell(event, change.previous.as_deref(), change.current.as_deref());
        }
    }

    pub(super) fn close(&self) {
        self.state.write().closed = true;
        self.wake.send_modify(|_| {});
        self.interests.lock().wake_all();
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
        self.state.read().below(below)
    }

    /// The objects that a selection may take, in the order of their keys, and the revision of the kind's last change:
    /// no other object was there, then.
    pub(crate) fn select(&self, place: &Place) -> (Vec<Arc<Entry>>, u64) {
        let state = self.state.read();
        let found = (state.candidates(place), state.modified);
        drop(state);
        self.learn(place, found.0.len());
        found
    }

    /// The objects that a selection may take, all without one, and a cursor behind everything that made them so.
    pub(crate) fn snapshot(self: &Arc<Self>, place: Option<&Place>) -> (Vec<Arc<Entry>>, Cursor) {
        let state = self.state.read();
        let items = place.map_or_else(|| state.below(""), |place| state.candidates(place));
        let cursor = self.cursor(&state, place, state.modified);
        drop(state);
        if let Some(place) = place {
            self.learn(place, items.len());
        }
        (items, cursor)
    }

    /// A cursor behind a revision; of a selection it skips some of what cannot concern it.
    pub(crate) fn after(self: &Arc<Self>, revision: u64, place: Option<&Place>) -> Result<Cursor, Lapsed> {
        let state = self.state.read();
        match state.oldest > revision {
            true => Err(Lapsed { oldest: state.oldest, retired: false }),
            false => Ok(self.cursor(&state, place, revision)),
        }
    }

    fn cursor(self: &Arc<Self>, state: &State, place: Option<&Place>, after: u64) -> Cursor {
        let next = state.first + state.events.partition_point(|e| e.revision <= after) as u64;
        let interests = place.map(Interest::of).unwrap_or_default();
        let waiting = match place {
            Some(place) if !interests.is_empty() => {
                let slot = Arc::new(Slot::new(Some(next).filter(|n| *n < state.end())));
                self.interests.lock().add(&place.kind, &interests, &slot);
                Waiting::Some { slot, interests, kind: place.kind.clone() }
            }
            Some(_) | None => Waiting::All(self.wake.subscribe()),
        };
        Cursor::new(self.clone(), waiting, next, after)
    }

    /// Counts what the lack of an index has cost, and makes the index when that is as much as it costs.
    pub(super) fn learn(&self, place: &Place, seen: usize) {
        if place.key.is_some() || seen < FEW {
            return;
        }
        for wanted in &place.wanted {
            let state = self.state.read();
            let missing = !state.indexes.has(&wanted.facet);
            if missing && state.indexes.scanned(&wanted.facet, seen, state.items.len()) {
                drop(state);
                self.make_index(&wanted.facet, &place.kind);
            }
        }
    }

    pub(super) fn make_index(&self, facet: &Facet, kind: &Arc<Kind>) {
        // Reading the values takes long, and is done before writers have to wait.
        for entry in self.entries("") {
            facet.value(kind, &entry);
        }
        let state = &mut *self.state.write();
        state.indexes.add(facet, kind, &state.items);
    }
}

impl State {
    /// The number of the event that comes next.
    pub(super) fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    fn below(&self, below: &str) -> Vec<Arc<Entry>> {
        if below.is_empty() {
            return self.items.values().cloned().collect();
        }
        let start = Bytes::copy_from_slice(below.as_bytes());
        let range = self.items.range(start..).take_while(|(k, _)| k.starts_with(below.as_bytes()));
        range.map(|(_, e)| e.clone()).collect()
    }

    pub(super) fn candidates(&self, place: &Place) -> Vec<Arc<Entry>> {
        if let Some(key) = &place.key {
            return self.items.get(key.as_bytes()).cloned().into_iter().collect();
        }
        match self.indexes.keys(place) {
            Some(keys) => keys.iter().filter_map(|key| self.items.get(key).cloned()).collect(),
            None => self.below(&place.below),
        }
    }

    fn apply(&mut self, name: Bytes, current: Option<Arc<Entry>>, revision: u64) -> Option<Arc<Change>> {
        if revision <= self.base {
            return None;
        }
        let previous = match &current {
            Some(entry) => self.items.insert(name, entry.clone()),
            None => self.items.remove(&name),
        };
        self.modified = revision;
        if current.is_none() && previous.is_none() {
            return None;
        }
        self.indexes.change(previous.as_deref(), current.as_deref());
        let change = Arc::new(Change { revision, current, previous, frames: Made::default() });
        self.event_bytes += change.size();
        self.events.push_back(change.clone());
        while self.events.len() > WINDOW_EVENTS || self.event_bytes > WINDOW_BYTES {
            let Some(dropped) = self.events.pop_front() else { break };
            self.event_bytes -= dropped.size();
            self.first += 1;
            self.oldest = dropped.revision;
        }
        Some(change)
    }
}
