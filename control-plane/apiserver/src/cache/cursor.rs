//! A watcher's place in the window of what happened to a kind. It costs no more, however slow its watcher is: one that
//! falls out of the window is cut.

use super::interest::{Interest, Slot};
use super::kind::{Change, KindCache, Lapsed};
use api::Kind;
use std::sync::Arc;
use tokio::sync::watch;

/// Events handed to a watcher at once: one frame of a busy stream.
const BATCH: usize = 256;

pub(crate) struct Cursor {
    cache: Arc<KindCache>,
    waiting: Waiting,
    next: u64,
    /// Nothing up to this revision is wanted: a watch may begin at a revision that has not happened yet.
    after: u64,
}

pub(super) enum Waiting {
    /// For every change.
    All(watch::Receiver<u64>),
    /// For those that may concern a selection.
    Some { slot: Arc<Slot>, interests: Vec<Interest>, kind: Arc<Kind> },
}

impl Cursor {
    pub(super) fn new(cache: Arc<KindCache>, waiting: Waiting, next: u64, after: u64) -> Cursor {
        Cursor { cache, waiting, next, after }
    }

    /// The revision that it is behind.
    pub(crate) fn after(&self) -> u64 {
        self.after
    }

    /// What is there now, perhaps nothing.
    pub(crate) fn ready(&mut self) -> Result<Vec<Arc<Change>>, Lapsed> {
        if let Waiting::All(wake) = &mut self.waiting {
            wake.mark_unchanged();
        }
        let state = self.cache.state.read();
        let next = match &self.waiting {
            Waiting::All(_) => self.next,
            // What came before did not concern it.
            Waiting::Some { slot, .. } => slot.pending().unwrap_or_else(|| state.end()),
        };
        if next < state.first || state.closed {
            return Err(Lapsed { oldest: state.oldest, retired: state.retired });
        }
        let skip = usize::try_from(next - state.first).unwrap_or(usize::MAX);
        self.next = next;
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
        if let Waiting::Some { slot, .. } = &self.waiting {
            slot.set(Some(self.next).filter(|n| *n < state.end()));
        }
        Ok(batch)
    }

    /// Returns when [`Cursor::ready`] may have something.
    pub(crate) async fn changed(&mut self) {
        match &mut self.waiting {
            // The sender lives in `self.cache`.
            Waiting::All(wake) => drop(wake.changed().await),
            Waiting::Some { slot, .. } => slot.wake.notified().await,
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        if let Waiting::Some { slot, interests, kind } = &self.waiting {
            self.cache.interests.lock().remove(kind, interests, slot);
        }
    }
}
