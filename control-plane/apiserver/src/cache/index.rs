//! Which objects of a kind have a value in a label or a field: a selective list looks at those alone.
//!
//! An index is made when scans for the lack of it have cost as much as making it does, follows every change, and goes
//! when it is no longer used. It holds keys, not objects.

use super::entry::Entry;
use api::Kind;
use bytes::Bytes;
use parking_lot::Mutex;
use smol_str::SmolStr;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Indexes of one kind. Controllers and kubelets ask by a handful of keys; each index takes about 100 bytes per object.
const MOST_INDEXES: usize = 16;
/// Uses of other indexes and changes of the kind after which an index that nobody asked for is dropped: following a
/// change costs a few microseconds, a scan of a large kind tens of milliseconds.
const IDLE: u64 = 20_000;
/// Keys whose scans are counted: enough that the keys in use are not pushed out by keys that are asked for once.
const MOST_COUNTED: usize = 64;
/// Fewer objects than this are scanned faster than looked up.
pub(super) const FEW: usize = 64;

/// What a selector looks at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Facet {
    Label(SmolStr),
    /// Of one version of the kind (`registry::type_of`): fields have other places and names in another.
    Field {
        version: SmolStr,
        field: SmolStr,
    },
}

impl Facet {
    /// An object's value; an absent label has none, an absent field is empty.
    pub(super) fn value(&self, kind: &Kind, entry: &Entry) -> Option<SmolStr> {
        match self {
            Facet::Label(key) => entry.label(key).cloned(),
            Facet::Field { field, .. } => Some(entry.field(kind, field)),
        }
    }

    pub(crate) fn field(kind: &Kind, field: &str) -> Facet {
        Facet::Field { version: crate::registry::type_of(kind).into(), field: field.into() }
    }
}

/// A condition that an index can answer: the value is one of these.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub facet: Facet,
    pub values: Vec<SmolStr>,
}

/// Where the objects of a selection can be; the selection itself is asked of each.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub kind: Arc<Kind>,
    /// The keys begin with this: `NAMESPACE/`, or nothing.
    pub below: String,
    /// The one key there can be.
    pub key: Option<String>,
    /// All of these hold.
    pub wanted: Vec<Wanted>,
}

impl Place {
    /// Whether nothing but the beginning of the key chooses.
    pub(super) fn takes_all(&self) -> bool {
        self.key.is_none() && self.wanted.is_empty()
    }
}

#[derive(Default)]
pub(super) struct Indexes {
    all: Vec<Index>,
    /// Counts uses and changes.
    clock: AtomicU64,
    /// How many objects were scanned for the lack of an index.
    scanned: Mutex<Vec<(Facet, usize)>>,
}

struct Index {
    facet: Facet,
    kind: Arc<Kind>,
    keys: HashMap<SmolStr, BTreeSet<Bytes>>,
    used: AtomicU64,
}

impl Indexes {
    pub(super) fn has(&self, facet: &Facet) -> bool {
        self.all.iter().any(|index| index.facet == *facet)
    }

    /// Notes a scan of some of a kind's objects, and says whether an index would have been worth it by now.
    pub(super) fn scanned(&self, facet: &Facet, count: usize, all: usize) -> bool {
        let mut scanned = self.scanned.lock();
        let so_far = match scanned.iter().position(|(f, _)| f == facet) {
            Some(at) => scanned.remove(at).1 + count,
            None => count,
        };
        if so_far >= all {
            return true;
        }
        if scanned.len() == MOST_COUNTED {
            scanned.remove(0);
        }
        scanned.push((facet.clone(), so_far));
        false
    }

    /// Makes an index of the objects as they are; the one that was not used for longest makes room.
    pub(super) fn add(&mut self, facet: &Facet, kind: &Arc<Kind>, items: &BTreeMap<Bytes, Arc<Entry>>) {
        if self.has(facet) {
            return;
        }
        if self.all.len() >= MOST_INDEXES
            && let Some(oldest) = (0..self.all.len()).min_by_key(|i| self.all[*i].used.load(Ordering::Relaxed))
        {
            self.all.swap_remove(oldest);
        }
        let used = self.tick().into();
        let mut index = Index { facet: facet.clone(), kind: kind.clone(), keys: HashMap::new(), used };
        for entry in items.values() {
            index.change(None, Some(entry));
        }
        self.all.push(index);
    }

    /// Follows a change of one object.
    pub(super) fn change(&mut self, previous: Option<&Entry>, current: Option<&Entry>) {
        if self.all.is_empty() {
            return;
        }
        let now = self.tick();
        self.all.retain(|index| now - index.used.load(Ordering::Relaxed) <= IDLE);
        self.all.iter_mut().for_each(|index| index.change(previous, current));
    }

    /// Reads from an object what the indexes want of it, before a lock is taken.
    pub(super) fn prepare(&self, entry: &Entry) {
        for index in &self.all {
            index.facet.value(&index.kind, entry);
        }
    }

    /// The keys below a place by the index that leaves the fewest; `None` without one.
    pub(super) fn keys(&self, place: &Place) -> Option<Vec<Bytes>> {
        let candidates = place.wanted.iter().filter_map(|wanted| {
            let index = self.all.iter().find(|index| index.facet == wanted.facet)?;
            let count: usize = wanted.values.iter().filter_map(|v| index.keys.get(v)).map(BTreeSet::len).sum();
            Some((count, index, wanted))
        });
        let (_, index, wanted) = candidates.min_by_key(|(count, ..)| *count)?;
        index.used.store(self.tick(), Ordering::Relaxed);
        let start = Bytes::copy_from_slice(place.below.as_bytes());
        let mut found: Vec<Bytes> = Vec::new();
        for keys in wanted.values.iter().filter_map(|v| index.keys.get(v)) {
            found.extend(keys.range(start.clone()..).take_while(|k| k.starts_with(&start)).cloned());
        }
        if wanted.values.len() > 1 {
            found.sort_unstable();
            found.dedup();
        }
        Some(found)
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }
}

impl Index {
    fn change(&mut self, previous: Option<&Entry>, current: Option<&Entry>) {
        let before = previous.and_then(|entry| self.facet.value(&self.kind, entry));
        let after = current.and_then(|entry| self.facet.value(&self.kind, entry));
        if before == after {
            return;
        }
        if let (Some(value), Some(entry)) = (before, previous)
            && let Some(keys) = self.keys.get_mut(&value)
        {
            keys.remove(&entry.name);
            if keys.is_empty() {
                self.keys.remove(&value);
            }
        }
        if let (Some(value), Some(entry)) = (after, current) {
            self.keys.entry(value).or_default().insert(entry.name.clone());
        }
    }
}
