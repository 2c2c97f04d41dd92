//! The objects of a kind as they were at a revision of the near past: those of now, with what happened since undone.
//!
//! The window of changes holds each object as it was before, so that no past has to be kept for its own sake. What the
//! window no longer reaches is for the store to tell.

use super::entry::Entry;
use super::index::Place;
use super::kind::{KindCache, State};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::iter;
use std::sync::Arc;

/// A part of a past.
pub(crate) struct Past {
    /// In the order of their keys.
    pub entries: Vec<Arc<Entry>>,
    /// How many there are behind them.
    pub left: usize,
}

impl KindCache {
    /// The objects that a selection may take at a revision, from a key on; `most` of them where it wants all there are
    /// (0 is no limit). `None` for a past that the window does not reach.
    ///
    /// The cache must have reached the revision.
    pub(crate) fn past(&self, place: &Place, from: &str, most: usize, revision: u64) -> Option<Past> {
        let state = self.state.read();
        let undone = state.undone(revision)?;
        let found = match place.takes_all() {
            true => state.range(place, from, most, &undone),
            false => state.chosen(place, from, &undone),
        };
        drop(state);
        self.learn(place, found.entries.len());
        Some(found)
    }
}

/// The objects that have changed since, as they were; `None` for those that were not there.
type Undone = BTreeMap<Bytes, Option<Arc<Entry>>>;

impl State {
    fn undone(&self, revision: u64) -> Option<Undone> {
        if self.oldest > revision {
            return None;
        }
        let first = self.events.partition_point(|change| change.revision <= revision);
        let mut undone = Undone::new();
        for change in self.events.range(first..) {
            let Some(entry) = change.previous.as_ref().or(change.current.as_ref()) else { continue };
            // The first change found it as it was.
            undone.entry(entry.name.clone()).or_insert_with(|| change.previous.clone());
        }
        Some(undone)
    }

    /// All objects from a key on: those of now and those that were, two sorted lists merged.
    fn range(&self, place: &Place, from: &str, most: usize, undone: &Undone) -> Past {
        let below = place.below.as_bytes();
        let start = Bytes::copy_from_slice(from.as_bytes().max(below));
        let here = self.items.range(start.clone()..).take_while(|(key, _)| key.starts_with(below));
        let mut here = here.filter(|(key, _)| !undone.contains_key(*key)).map(|(_, entry)| entry).peekable();
        let were = undone.range(start..).take_while(|(key, _)| key.starts_with(below));
        let mut were = were.filter_map(|(_, entry)| entry.as_ref()).peekable();
        let mut merged = iter::from_fn(|| match (here.peek(), were.peek()) {
            (Some(one), Some(other)) if other.name < one.name => were.next(),
            (Some(_), _) => here.next(),
            (None, _) => were.next(),
        });
        let most = if most == 0 { usize::MAX } else { most };
        let entries = merged.by_ref().take(most).cloned().collect();
        Past { entries, left: merged.count() }
    }

    /// The objects that the indexes name, or all, and those that have changed: whether they fit is asked of each.
    fn chosen(&self, place: &Place, from: &str, undone: &Undone) -> Past {
        let fits =
            |entry: &Arc<Entry>| entry.name.starts_with(place.below.as_bytes()) && &entry.name[..] >= from.as_bytes();
        let here = self.candidates(place).into_iter().filter(|entry| !undone.contains_key(&entry.name));
        let were = undone.values().flatten().cloned();
        let mut entries: Vec<_> = here.chain(were).filter(fits).collect();
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Past { entries, left: 0 }
    }
}
