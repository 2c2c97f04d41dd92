//! The store behind an informer: objects by key, by namespace and by owner, and how far it has read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Weak};

use kube::core::ApiResource;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::changes::{Changes, Inbox};
use super::filing::{Filing, Index, Tally};
use crate::object::{Key, Object};

/// How far an informer has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    pub synced: bool,
    /// The newest resource version seen, in an object, a list or a bookmark.
    pub revision: u64,
    pub closed: bool,
}

/// A handle to the shared store of one kind. Cloning it is cheap and shares the store.
pub struct Informer<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    resource: ApiResource,
    objects: RwLock<Objects<K>>,
    progress: watch::Sender<Progress>,
    inboxes: Mutex<Vec<Weak<Inbox<K>>>>,
}

struct Objects<K> {
    by_key: BTreeMap<Key, Arc<K>>,
    by_owner: HashMap<String, BTreeSet<Key>>,
    /// Those that no owner controls.
    loose: BTreeSet<Key>,
    /// How many there are of each namespace.
    counts: HashMap<String, usize>,
    /// By the names of the indexes that were asked for.
    filings: HashMap<&'static str, Filing<K>>,
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Informer { shared: self.shared.clone() }
    }
}

/// What may be asked of an informer without knowing its type.
pub trait Tracked: Send + Sync {
    fn resource(&self) -> &ApiResource;
    fn progress(&self) -> watch::Receiver<Progress>;
    /// Whether this very object is still here and not being deleted.
    fn lives(&self, key: &Key, uid: &str) -> bool;
}

impl<K: Object> Informer<K> {
    pub(super) fn empty(resource: ApiResource) -> Informer<K> {
        let objects = RwLock::new(Objects {
            by_key: BTreeMap::new(),
            by_owner: HashMap::new(),
            loose: BTreeSet::new(),
            counts: HashMap::new(),
            filings: HashMap::new(),
        });
        let shared = Shared { resource, objects, progress: watch::Sender::default(), inboxes: Mutex::default() };
        Informer { shared: Arc::new(shared) }
    }

    /// A store with these objects that nothing feeds: plans are tested on it.
    pub fn fixed(resource: ApiResource, objects: impl IntoIterator<Item = K>) -> Informer<K> {
        let informer = Informer::empty(resource);
        informer.replace(objects.into_iter().collect(), 1);
        informer
    }

    /// Waits for the first complete list, or for the end of the informer.
    pub async fn synced(&self) {
        let mut progress = self.shared.progress.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = progress.wait_for(|p| p.synced || p.closed).await;
    }

    /// The newest resource version seen, bookmarks included; 0 before the first list.
    pub fn revision(&self) -> u64 {
        self.shared.progress.borrow().revision
    }

    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.get_key(&Key::new(namespace, name))
    }

    pub fn get_key(&self, key: &Key) -> Option<Arc<K>> {
        self.shared.objects.read().by_key.get(key).cloned()
    }

    /// Every object, ordered by namespace and name.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.shared.objects.read().by_key.values().cloned().collect()
    }

    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        let from = Bound::Included(Key::new(namespace, ""));
        let objects = self.shared.objects.read();
        let within = objects.by_key.range((from, Bound::Unbounded)).take_while(|(key, _)| key.namespace == namespace);
        within.map(|(_, object)| object.clone()).collect()
    }

    /// The namespaces that have any; an empty one for objects that are in none.
    pub fn namespaces(&self) -> Vec<String> {
        self.shared.objects.read().counts.keys().cloned().collect()
    }

    /// How many objects a namespace has.
    pub fn count_in(&self, namespace: &str) -> usize {
        self.shared.objects.read().counts.get(namespace).copied().unwrap_or(0)
    }

    /// The objects that have a term, ordered by namespace and name.
    pub fn by(&self, index: &Index<K>, term: &str) -> Vec<Arc<K>> {
        self.filed(index, |objects, filing| filing.keys(term).filter_map(|k| objects.by_key.get(k).cloned()).collect())
    }

    /// How many objects have a term.
    pub fn count_by(&self, index: &Index<K>, term: &str) -> usize {
        self.filed(index, |_, filing| filing.count(term))
    }

    /// What the objects of each term that begins so add up to.
    pub fn tallies(&self, index: &Index<K>, prefix: &str) -> Vec<Tally<K>> {
        self.filed(index, |objects, filing| {
            let tally = |term: &super::filing::Term| {
                let any = objects.by_key.get(term.keys.first()?)?.clone();
                Some(Tally { count: term.keys.len(), sum: term.sum(), any })
            };
            filing.beginning(prefix).filter_map(tally).collect()
        })
    }

    fn filed<T>(&self, index: &Index<K>, answer: impl FnOnce(&Objects<K>, &Filing<K>) -> T) -> T {
        let objects = self.shared.objects.read();
        if let Some(filing) = objects.filings.get(index.name) {
            return answer(&objects, filing);
        }
        drop(objects);
        let mut objects = self.shared.objects.write();
        if !objects.filings.contains_key(index.name) {
            let mut filing = Filing::new(index);
            objects.by_key.iter().for_each(|(key, object)| filing.put(key, Some(object)));
            objects.filings.insert(index.name, filing);
        }
        let objects = parking_lot::RwLockWriteGuard::downgrade(objects);
        answer(&objects, &objects.filings[index.name])
    }

    /// The objects that name this uid among their owners.
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        let objects = self.shared.objects.read();
        let keys = objects.by_owner.get(uid).into_iter().flatten();
        keys.filter_map(|key| objects.by_key.get(key).cloned()).collect()
    }

    /// The objects of a namespace that no owner controls.
    pub fn loose_in(&self, namespace: &str) -> Vec<Arc<K>> {
        let from = Bound::Included(Key::new(namespace, ""));
        let objects = self.shared.objects.read();
        let within = objects.loose.range((from, Bound::Unbounded)).take_while(|key| key.namespace == namespace);
        within.filter_map(|key| objects.by_key.get(key).cloned()).collect()
    }

    pub fn len(&self) -> usize {
        self.shared.objects.read().by_key.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Subscribes to changed keys; every object there is comes first.
    pub fn changes(&self) -> Changes<K> {
        let inbox = Arc::new(Inbox::new());
        let mut inboxes = self.shared.inboxes.lock();
        // INVARIANT: never asked for while the objects are locked: who waits for progress locks them in the other order.
        if self.shared.progress.borrow().closed {
            inbox.close();
        }
        let objects = self.shared.objects.read();
        objects.by_key.iter().for_each(|(key, object)| inbox.put(key, None, Some(object)));
        inboxes.push(Arc::downgrade(&inbox));
        Changes { inbox }
    }

    /// Takes in a complete list: what is not in it is gone.
    pub(super) fn replace(&self, objects: Vec<K>, revision: u64) {
        let incoming: BTreeMap<Key, K> = objects.into_iter().map(|object| (Key::of(&object), object)).collect();
        let gone: Vec<Key> = {
            let objects = self.shared.objects.read();
            objects.by_key.keys().filter(|key| !incoming.contains_key(key)).cloned().collect()
        };
        for key in gone {
            self.change(key, None);
        }
        for (key, object) in incoming {
            self.change(key, Some(object));
        }
        self.shared.progress.send_modify(|p| *p = Progress { synced: true, revision: p.revision.max(revision), ..*p });
    }

    pub(super) fn apply(&self, object: K, revision: u64) {
        self.change(Key::of(&object), Some(object));
        self.reach(revision);
    }

    pub(super) fn remove(&self, key: Key, revision: u64) {
        self.change(key, None);
        self.reach(revision);
    }

    /// Everything up to this revision has been seen.
    pub(super) fn reach(&self, revision: u64) {
        self.shared.progress.send_if_modified(|p| {
            let newer = revision > p.revision;
            p.revision = p.revision.max(revision);
            newer
        });
    }

    pub(super) fn close(&self) {
        self.shared.progress.send_modify(|p| p.closed = true);
        let inboxes = std::mem::take(&mut *self.shared.inboxes.lock());
        inboxes.iter().filter_map(Weak::upgrade).for_each(|inbox| inbox.close());
    }

    fn change(&self, key: Key, object: Option<K>) {
        let after = object.map(|mut object| {
            object.meta_mut().managed_fields = None;
            Arc::new(object)
        });
        // INVARIANT: the inboxes are locked before the objects, here and in `changes`, so a new subscriber misses nothing.
        let mut inboxes = self.shared.inboxes.lock();
        let before = self.shared.objects.write().put(&key, after.clone());
        if before.is_none() && after.is_none() {
            return;
        }
        if let (Some(old), Some(new)) = (&before, &after)
            && old.meta().resource_version.is_some()
            && old.meta().resource_version == new.meta().resource_version
        {
            return;
        }
        inboxes.retain(|inbox| match inbox.upgrade() {
            Some(inbox) => {
                inbox.put(&key, before.as_ref(), after.as_ref());
                true
            }
            None => false,
        });
    }
}

impl<K: Object> Objects<K> {
    fn put(&mut self, key: &Key, object: Option<Arc<K>>) -> Option<Arc<K>> {
        let before = match &object {
            Some(object) => self.by_key.insert(key.clone(), object.clone()),
            None => self.by_key.remove(key),
        };
        for owner in before.iter().flat_map(|object| object.meta().owner_references.iter().flatten()) {
            if let Some(owned) = self.by_owner.get_mut(&owner.uid) {
                owned.remove(key);
                if owned.is_empty() {
                    self.by_owner.remove(&owner.uid);
                }
            }
        }
        let controlled = |object: &Arc<K>| {
            object.meta().owner_references.iter().flatten().any(|owner| owner.controller == Some(true))
        };
        match object.as_ref().is_some_and(|object| !controlled(object)) {
            true => self.loose.insert(key.clone()),
            false => self.loose.remove(key),
        };
        for owner in object.iter().flat_map(|object| object.meta().owner_references.iter().flatten()) {
            self.by_owner.entry(owner.uid.clone()).or_default().insert(key.clone());
        }
        self.count(&key.namespace, before.is_some(), object.is_some());
        self.filings.values_mut().for_each(|filing| filing.put(key, object.as_deref()));
        before
    }
}

impl<K> Objects<K> {
    fn count(&mut self, namespace: &str, before: bool, after: bool) {
        match (before, after) {
            (false, true) => *self.counts.entry(namespace.to_owned()).or_default() += 1,
            (true, false) => {
                if let Some(count) = self.counts.get_mut(namespace) {
                    *count -= 1;
                    if *count == 0 {
                        self.counts.remove(namespace);
                    }
                }
            }
            _ => {}
        }
    }
}

impl<K: Object> Tracked for Informer<K> {
    fn resource(&self) -> &ApiResource {
        &self.shared.resource
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress.subscribe()
    }

    fn lives(&self, key: &Key, uid: &str) -> bool {
        self.get_key(key).is_some_and(|object| {
            let meta = object.meta();
            meta.uid.as_deref() == Some(uid) && meta.deletion_timestamp.is_none()
        })
    }
}
