//! The only writer of the store: kinds, keys, what every write does to an object, and what a delete means.

mod claims;
pub(crate) mod deletion;
mod encoding;
mod keys;
mod kinds;
pub(crate) mod options;
pub(crate) mod rules;
mod storage;

pub(crate) use encoding::{
    decode, decode_metadata, encode, metadata, metadata_of, partial_value, viewed, write_item, write_object,
    write_partial,
};
pub(crate) use keys::{ROOT, below, key, prefix, upstream_key};
pub(crate) use kinds::Kinds;
pub(crate) use storage::{Beside, Storage, Written, status as store_status};

use crate::cache::{Caches, KindCache};
pub(crate) use api::versions::{is_view, stored_as, tells_more, type_of};
use api::{Kind, Object, Status};
use arc_swap::ArcSwap;
use deletion::{DeleteOptions, Deletion};
use std::sync::Arc;

/// How often a write is planned again when another one came between; each round sees a newer object.
const ROUNDS: usize = 32;
/// How often a generated name is tried again when it is taken.
const GENERATED_TRIES: usize = 8;

/// Reads and writes of objects for this server's own parts: no authorisation and no admission. Clones share one state.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    storage: Storage,
    caches: Arc<Caches>,
    kinds: ArcSwap<Kinds>,
}

impl Registry {
    pub(crate) fn start(store: store::Store) -> Registry {
        let storage = Storage::new(store);
        let caches = Caches::start(storage.clone());
        Registry { inner: Arc::new(Inner { storage, caches, kinds: ArcSwap::from_pointee(Kinds::built_in()) }) }
    }

    /// The kind of a resource (its plural), built-in or custom.
    pub fn kind(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        self.inner.kinds.load().get(group, version, plural).cloned()
    }

    /// Every kind as it is now.
    pub(crate) fn kinds(&self) -> Arc<Kinds> {
        self.inner.kinds.load_full()
    }

    /// Serves these custom kinds from now on, and no others. Watches of what is gone or has changed end.
    pub(crate) fn serve_custom(&self, custom: Vec<Arc<Kind>>) {
        let before = self.inner.kinds.load_full();
        let after = Arc::new(before.with_custom(custom));
        self.inner.kinds.store(after.clone());
        for prefix in before.changed(&after) {
            self.inner.caches.retire(&prefix);
        }
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.inner.storage
    }

    pub(crate) fn caches(&self) -> &Arc<Caches> {
        &self.inner.caches
    }

    pub(crate) async fn cache(&self, kind: &Kind) -> Result<Arc<KindCache>, Status> {
        self.inner.caches.of(&prefix(kind)).await
    }

    /// Reads one object, as it is now. `namespace` is empty for cluster-scoped kinds.
    pub async fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Object, Status> {
        let found = self.inner.storage.get_object(kind, namespace, name).await?;
        let found = found.ok_or_else(|| not_found(kind, name))?;
        decode(kind, &found.value, found.revision)
    }

    /// All objects of a kind from the watch cache, of one namespace where it is given.
    pub async fn list(&self, kind: &Kind, namespace: Option<&str>) -> Result<Vec<Object>, Status> {
        let cache = self.cache(kind).await?;
        self.inner.caches.fresh().await?;
        let below = namespace.map(|n| format!("{n}/")).unwrap_or_default();
        cache.entries(&below).iter().map(|e| e.decode(kind)).collect()
    }

    /// A number that grows with each change to an object of the kind: what was computed from a list may be kept while
    /// this stays the same.
    pub async fn changed(&self, kind: &Kind) -> Result<u64, Status> {
        let cache = self.cache(kind).await?;
        self.inner.caches.fresh().await?;
        Ok(cache.modified())
    }

    /// Defaults, validates and creates for the server itself; sets uid and creationTimestamp.
    pub async fn create(&self, kind: &Kind, object: Object) -> Result<Object, Status> {
        let mut object = typed(kind, object);
        kind.default(&mut object);
        own(kind, None, &mut object, "");
        let unlabelled = is_unlabelled(&object);
        begin_create(kind, &mut object, unlabelled)?;
        self.insert(kind, object).await
    }

    /// Stores a new object that is ready. A generated name that is taken is made again.
    pub(crate) async fn insert(&self, kind: &Kind, object: Object) -> Result<Object, Status> {
        let name = object.name().to_owned();
        self.insert_beside(kind, object, &[]).await?.ok_or_else(|| modified(kind, &name))
    }

    /// Stores a new object together with other writes; `None` when one of those cannot be made any more.
    pub(crate) async fn insert_beside(
        &self,
        kind: &Kind,
        mut object: Object,
        beside: &[Beside],
    ) -> Result<Option<Object>, Status> {
        let generated = !object.meta_text("generateName").is_empty();
        for _ in 0..GENERATED_TRIES {
            let at = key(kind, object.namespace(), object.name());
            match self.inner.storage.put(kind, &at, encode(kind, &object), 0, beside).await? {
                Written::At(revision) => {
                    object.meta_mut().insert("resourceVersion", revision.to_string());
                    return Ok(Some(object));
                }
                Written::BesideConflict => return Ok(None),
                Written::Conflict if generated => {
                    let name = rules::generated(object.meta_text("generateName"), &random());
                    object.meta_mut().insert("name", name);
                }
                Written::Conflict => break,
            }
        }
        let there = self.get(kind, object.namespace(), object.name()).await;
        Err(taken(kind, object.name(), there.is_ok_and(|there| there.deletion_timestamp().is_some())))
    }

    /// Replaces an object for the server itself. With a resourceVersion in it, only that version. `subresource` is empty or `status`.
    pub async fn update(&self, kind: &Kind, object: Object, subresource: &str) -> Result<Object, Status> {
        let object = typed(kind, object);
        let (namespace, name) = (object.namespace().to_owned(), object.name().to_owned());
        for _ in 0..ROUNDS {
            let old = self.get(kind, &namespace, &name).await?;
            let asked = object.resource_version();
            if !asked.is_empty() && asked != old.resource_version() {
                return Err(modified(kind, &name));
            }
            let mut new = object.clone();
            kind.default(&mut new);
            own(kind, Some(&old), &mut new, subresource);
            rules::update(kind, &mut new, &old, subresource, &now_text())?;
            if let Some(stored) = self.replace(kind, new, &old).await? {
                return Ok(stored);
            }
        }
        Err(modified(kind, &name))
    }

    /// Stores what `old` becomes: removes it when that ends it. `None` when another write came between.
    pub(crate) async fn replace(&self, kind: &Kind, new: Object, old: &Object) -> Result<Option<Object>, Status> {
        self.replace_beside(kind, new, old, &[]).await
    }

    /// The same, together with other writes.
    pub(crate) async fn replace_beside(
        &self,
        kind: &Kind,
        mut new: Object,
        old: &Object,
        beside: &[Beside],
    ) -> Result<Option<Object>, Status> {
        let at = key(kind, old.namespace(), old.name());
        let expected: u64 = old.resource_version().parse().unwrap_or(0);
        let value = encode(kind, &new);
        if value == encode(kind, old) && self.is_stored_so(kind, &at, &value).await? {
            new.meta_mut().insert("resourceVersion", old.resource_version());
            return Ok(Some(new));
        }
        let over = deletion::is_over(kind, &new);
        let written = match over {
            true => self.inner.storage.delete(kind, &at, expected).await?,
            false => self.inner.storage.put(kind, &at, value, expected, beside).await?,
        };
        Ok(match written {
            Written::At(revision) => {
                let shown = if over { expected } else { revision };
                new.meta_mut().insert("resourceVersion", shown.to_string());
                Some(new)
            }
            Written::Conflict | Written::BesideConflict => None,
        })
    }

    /// Whether an object is stored in exactly these bytes: one that is shown as it would be may be stored in a version
    /// that is written no more.
    async fn is_stored_so(&self, kind: &Kind, at: &str, value: &[u8]) -> Result<bool, Status> {
        if kind.custom.is_none() || !is_view(kind) {
            return Ok(true);
        }
        Ok(self.inner.storage.get(at).await?.is_none_or(|stored| stored.value == value))
    }

    /// Deletes in the background, with the default grace, honouring finalizers.
    pub async fn delete(&self, kind: &Kind, namespace: &str, name: &str) -> Result<(), Status> {
        self.delete_with(kind, namespace, name, &DeleteOptions::default(), |_| Ok(())).await.map(drop)
    }

    /// Deletes as the options say; `allowed` sees each version of the object that would be deleted.
    pub(crate) async fn delete_with(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
        allowed: impl Fn(&Object) -> Result<(), Status>,
    ) -> Result<Deleted, Status> {
        for _ in 0..ROUNDS {
            let old = self.get(kind, namespace, name).await?;
            preconditions(kind, &old, options)?;
            allowed(&old)?;
            let done = match deletion::plan(kind, &old, options, jiff::Timestamp::now()) {
                Deletion::Stays => return Ok(Deleted { object: old, gone: false }),
                Deletion::Mark(object) if options.dry_run => return Ok(Deleted { object, gone: false }),
                Deletion::Remove(object) if options.dry_run => return Ok(Deleted { object, gone: true }),
                Deletion::Mark(object) => {
                    self.replace(kind, object, &old).await?.map(|o| Deleted { object: o, gone: false })
                }
                Deletion::Remove(object) => {
                    self.remove(kind, object, &old).await?.map(|o| Deleted { object: o, gone: true })
                }
            };
            if let Some(done) = done {
                return Ok(done);
            }
        }
        Err(modified(kind, name))
    }

    async fn remove(&self, kind: &Kind, mut object: Object, old: &Object) -> Result<Option<Object>, Status> {
        let at = key(kind, old.namespace(), old.name());
        let expected: u64 = old.resource_version().parse().unwrap_or(0);
        Ok(match self.inner.storage.delete(kind, &at, expected).await? {
            Written::At(revision) => {
                object.meta_mut().insert("resourceVersion", revision.to_string());
                Some(object)
            }
            Written::Conflict | Written::BesideConflict => None,
        })
    }
}

/// Writes down that the server itself set what is new or changed.
fn own(kind: &Kind, live: Option<&Object>, new: &mut Object, subresource: &str) {
    let manager = match &*kind.names.group {
        "flowcontrol.apiserver.k8s.io" => "api-priority-and-fairness-config-producer-v1",
        _ => "kube-apiserver",
    };
    let writer = api::managed::Writer { manager, now: &now_text(), subresource };
    api::managed::update(kind, live, new, writer);
}

/// How a delete ended.
pub(crate) struct Deleted {
    pub object: Object,
    pub gone: bool,
}

pub(crate) fn is_unlabelled(object: &Object) -> bool {
    object.meta_pairs("labels").next().is_none()
}

/// Gives a new object all that the server sets; `unlabelled` is whether it came without labels.
pub(crate) fn begin_create(kind: &Kind, object: &mut Object, unlabelled: bool) -> Result<(), Status> {
    let uid = uuid::Uuid::new_v4().to_string();
    let outside = rules::Outside { now: &now_text(), uid: &uid, random: &random(), unlabelled };
    rules::create(kind, object, outside)
}

fn random() -> [u8; 8] {
    rand::random()
}

/// The time of a write, as objects hold it.
pub(crate) fn now_text() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn typed(kind: &Kind, mut object: Object) -> Object {
    object.set_type(&kind.api_version(), &kind.names.kind);
    object
}

pub(crate) fn not_found(kind: &Kind, name: &str) -> Status {
    Status::not_found(&kind.names.group, &kind.names.plural, name)
}

/// The name of a new object is another's, which may be on its way out.
pub(crate) fn taken(kind: &Kind, name: &str, ends: bool) -> Status {
    let mut status = Status::already_exists(&kind.names.group, &kind.names.plural, name);
    if ends {
        status.message.insert_str(0, "object is being deleted: ");
    }
    status
}

pub(crate) fn modified(kind: &Kind, name: &str) -> Status {
    let why = "the object has been modified; please apply your changes to the latest version and try again";
    Status::conflict(&kind.names.group, &kind.names.plural, name, why)
}

pub(crate) fn preconditions(kind: &Kind, object: &Object, options: &DeleteOptions) -> Result<(), Status> {
    let wrong = |what: &str, asked: &str, has: &str| {
        if kind.names.plural == "namespaces" {
            // Upstream's namespaces leave the question to the store.
            let why = format!("Precondition failed: {what} in precondition: {asked}, {what} in object meta: {has}");
            return Err(Status::conflict(&kind.names.group, &kind.names.plural, object.name(), &why));
        }
        let why = format!(
            "the {what} in the precondition ({asked}) does not match the {what} in record ({has}). \
             The object might have been {}",
            if what == "UID" { "deleted and then recreated" } else { "modified" }
        );
        Err(Status::conflict(&kind.names.group, &kind.names.kind, object.name(), &why))
    };
    if let Some(uid) = &options.uid
        && uid != object.uid()
    {
        return wrong("UID", uid, object.uid());
    }
    if let Some(version) = &options.resource_version
        && version != object.resource_version()
    {
        return wrong("ResourceVersion", version, object.resource_version());
    }
    Ok(())
}
