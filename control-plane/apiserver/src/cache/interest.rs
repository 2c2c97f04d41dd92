//! Whom a change concerns: a watcher with a selector says what it waits for, and sleeps through everything else.

use super::entry::{Entry, NAME};
use super::index::{Facet, Place};
use api::Kind;
use bytes::Bytes;
use smol_str::SmolStr;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// A watcher that waits for one of more values than this is woken by every change: it would stand in too many places.
const MOST_VALUES: usize = 16;

/// Nothing is pending.
const NOTHING: u64 = u64::MAX;

/// One place where a watcher waits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Interest {
    Key(Bytes),
    Namespace(SmolStr),
    Value(Facet, SmolStr),
}

impl Interest {
    /// Where to wait so that nothing of a place is missed; nowhere to be woken by everything.
    pub(super) fn of(place: &Place) -> Vec<Interest> {
        if let Some(key) = &place.key {
            return vec![Interest::Key(Bytes::copy_from_slice(key.as_bytes()))];
        }
        let narrow = place.wanted.iter().filter(|w| w.values.len() <= MOST_VALUES).min_by_key(|w| w.values.len());
        if let Some(wanted) = narrow {
            return wanted.values.iter().map(|v| Interest::Value(wanted.facet.clone(), v.clone())).collect();
        }
        match place.below.as_str() {
            "" => Vec::new(),
            below => vec![Interest::Namespace(below.trim_end_matches('/').into())],
        }
    }
}

/// Where a watcher is told that there is something for it.
#[derive(Debug)]
pub(super) struct Slot {
    /// The number of the first event that it has not seen and that may concern it. Written under the lock of the kind's
    /// events: by who adds one, and by the watcher as it reads them.
    pending: AtomicU64,
    pub wake: Notify,
}

impl Slot {
    pub(super) fn new(pending: Option<u64>) -> Slot {
        Slot { pending: pending.unwrap_or(NOTHING).into(), wake: Notify::new() }
    }

    pub(super) fn pending(&self) -> Option<u64> {
        Some(self.pending.load(Ordering::Acquire)).filter(|n| *n != NOTHING)
    }

    pub(super) fn set(&self, pending: Option<u64>) {
        self.pending.store(pending.unwrap_or(NOTHING), Ordering::Release);
    }

    fn tell(&self, event: u64) {
        self.pending.fetch_min(event, Ordering::AcqRel);
        self.wake.notify_one();
    }
}

/// The watchers of a kind that do not want everything.
#[derive(Default)]
pub(super) struct Interests {
    waiting: HashMap<Interest, Vec<Arc<Slot>>>,
    /// How many wait for labels; without any, labels are not looked at.
    labels: usize,
    /// How many wait for fields, by the version of the kind that offers them.
    fields: Vec<(Arc<Kind>, usize)>,
}

impl Interests {
    pub(super) fn add(&mut self, kind: &Arc<Kind>, interests: &[Interest], slot: &Arc<Slot>) {
        for interest in interests {
            match interest {
                Interest::Value(Facet::Label(_), _) => self.labels += 1,
                Interest::Value(Facet::Field { .. }, _) => match self.version(kind) {
                    Some(at) => self.fields[at].1 += 1,
                    None => self.fields.push((kind.clone(), 1)),
                },
                Interest::Key(_) | Interest::Namespace(_) => {}
            }
            self.waiting.entry(interest.clone()).or_default().push(slot.clone());
        }
    }

    pub(super) fn remove(&mut self, kind: &Kind, interests: &[Interest], slot: &Arc<Slot>) {
        for interest in interests {
            match interest {
                Interest::Value(Facet::Label(_), _) => self.labels -= 1,
                Interest::Value(Facet::Field { .. }, _) => {
                    if let Some(at) = self.version(kind) {
                        self.fields[at].1 -= 1;
                    }
                }
                Interest::Key(_) | Interest::Namespace(_) => {}
            }
            let Some(slots) = self.waiting.get_mut(interest) else { continue };
            slots.retain(|s| !Arc::ptr_eq(s, slot));
            if slots.is_empty() {
                self.waiting.remove(interest);
            }
        }
        self.fields.retain(|(_, count)| *count > 0);
    }

    fn version(&self, kind: &Kind) -> Option<usize> {
        let version = crate::registry::type_of(kind);
        self.fields.iter().position(|(k, _)| crate::registry::type_of(k) == version)
    }

    /// Tells whom an event concerns: who waits for what the object was, or for what it is.
    pub(super) fn tell(&self, event: u64, previous: Option<&Entry>, current: Option<&Entry>) {
        if self.waiting.is_empty() {
            return;
        }
        for entry in [previous, current].into_iter().flatten() {
            self.each(entry, |interest| {
                self.waiting.get(&interest).into_iter().flatten().for_each(|slot| slot.tell(event));
            });
        }
    }

    /// Reads from an object what watchers want to know of it, before a lock is taken.
    pub(super) fn prepare(&self, entry: &Entry) {
        if !self.waiting.is_empty() {
            self.each(entry, drop);
        }
    }

    pub(super) fn wake_all(&self) {
        self.waiting.values().flatten().for_each(|slot| slot.wake.notify_one());
    }

    fn each(&self, entry: &Entry, mut visit: impl FnMut(Interest)) {
        let (namespace, name) = entry.place();
        visit(Interest::Key(entry.name.clone()));
        visit(Interest::Namespace(namespace.into()));
        if self.labels > 0 {
            for (key, value) in entry.labels() {
                visit(Interest::Value(Facet::Label(key.clone()), value.clone()));
            }
        }
        for (kind, _) in &self.fields {
            visit(Interest::Value(Facet::field(kind, NAME), name.into()));
            entry.with_fields(kind, |fields| {
                for (field, value) in fields {
                    visit(Interest::Value(Facet::field(kind, field), value.clone()));
                }
            });
        }
    }
}

#[cfg(test)]
impl Interests {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.labels == 0 && self.fields.is_empty()
    }
}
