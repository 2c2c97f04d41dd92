//! What a controller watches, and what its plan may look at.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use kube::Resource;
use kube::core::ApiResource;
use serde_json::Value;

use crate::informer::{Change, Informer, Informers, Tracked};
use crate::object::{Key, Meta, Object};
use crate::plan::{Answers, Read};

/// When a plan is made, and the chance it may use.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub now: Timestamp,
    pub seed: u64,
}

/// Everything a plan sees: the watched kinds and the answers to reads it asked for.
#[derive(Default)]
pub struct View {
    watched: Arc<HashMap<TypeId, Box<dyn Any + Send + Sync>>>,
    metadata: Arc<HashMap<ApiResource, Informer<Meta>>>,
    answers: Answers,
    memory: Option<Arc<Value>>,
}

impl View {
    /// The objects of a kind.
    ///
    /// # Panics
    /// If `watches()` does not name the kind: a mistake in the controller that its first test shows.
    pub fn of<K: Object>(&self) -> &Informer<K> {
        let known = self.watched.get(&TypeId::of::<K>()).and_then(|any| any.downcast_ref());
        known.unwrap_or_else(|| panic!("a plan looks at {}, which watches() does not name", std::any::type_name::<K>()))
    }

    /// The metadata of every kind that is watched by its metadata.
    pub fn metadata(&self) -> &HashMap<ApiResource, Informer<Meta>> {
        &self.metadata
    }

    /// The answer to a live read: none if it was not made yet, an inner none if nothing is there.
    pub fn answer(&self, read: &Read) -> Option<Option<&Value>> {
        self.answers.get(read).map(Option::as_ref)
    }

    /// The same view with these answers.
    pub fn with_answers(&self, answers: Answers) -> View {
        View { answers, memory: self.memory.clone(), watched: self.watched.clone(), metadata: self.metadata.clone() }
    }

    /// The same view for a key whose last plan left this to be remembered.
    pub fn with_memory(&self, memory: Option<Arc<Value>>) -> View {
        View { memory, answers: self.answers.clone(), watched: self.watched.clone(), metadata: self.metadata.clone() }
    }

    /// What the last plan of this key left to be remembered.
    pub fn memory(&self) -> Option<&Value> {
        self.memory.as_deref()
    }

    pub fn into_answers(self) -> Answers {
        self.answers
    }
}

type Mapping<K> = fn(&View, &Change<K>) -> Vec<Key>;
type Timed = (Duration, fn(&View) -> Vec<Key>);
type Starter = Box<dyn FnOnce(Arc<View>) -> Keys + Send>;
pub(crate) type Keys = Pin<Box<dyn Stream<Item = Vec<Key>> + Send>>;

/// Declares the kinds a controller looks at, and which keys a change of each concerns.
pub struct Watches<'a> {
    from: From<'a>,
    watched: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
    metadata: HashMap<ApiResource, Informer<Meta>>,
    pub(crate) tracked: Vec<Arc<dyn Tracked>>,
    starters: Vec<Starter>,
    pub(crate) timed: Vec<Timed>,
    /// What lists the keys of each kind that is watched under its own key.
    pub(crate) owned: Vec<fn(&View) -> Vec<Key>>,
}

enum From<'a> {
    Live(&'a Informers),
    Fixed(&'a [Value]),
}

impl<'a> Watches<'a> {
    pub(crate) fn live(informers: &'a Informers) -> Watches<'a> {
        Watches::new(From::Live(informers))
    }

    /// Stores that hold these objects and nothing else: plans are tested on them.
    pub fn fixed(objects: &'a [Value]) -> Watches<'a> {
        Watches::new(From::Fixed(objects))
    }

    fn new(from: From<'a>) -> Watches<'a> {
        Watches {
            from,
            watched: HashMap::new(),
            metadata: HashMap::new(),
            tracked: Vec::new(),
            starters: Vec::new(),
            timed: Vec::new(),
            owned: Vec::new(),
        }
    }

    /// A change of such an object concerns its own key.
    pub fn own<K: Object<DynamicType = ()>>(&mut self) {
        self.mapped::<K>(|_, change| vec![change.key.clone()]);
        self.owned.push(|view| view.of::<K>().list().iter().map(|object| Key::of(object.as_ref())).collect());
    }

    /// A change of such an object concerns its controlling owner, if that is of kind `O`.
    pub fn owned<K: Object<DynamicType = ()>, O: Object<DynamicType = ()>>(&mut self) {
        self.mapped::<K>(|_, change| {
            let mut keys: Vec<Key> =
                [&change.before, &change.after].into_iter().flatten().filter_map(|o| controller::<K, O>(o)).collect();
            keys.dedup();
            keys
        });
    }

    /// A change of such an object concerns the keys that `keys` names.
    pub fn mapped<K: Object<DynamicType = ()>>(&mut self, keys: Mapping<K>) {
        self.selected::<K>("", keys);
    }

    /// The same for the objects that a field selector chooses; the others are not even cached.
    pub fn selected<K: Object<DynamicType = ()>>(&mut self, fields: &str, keys: Mapping<K>) {
        let informer = self.look::<K>(fields);
        self.starters.push(Box::new(move |view| {
            Box::pin(
                informer
                    .changes()
                    .map(move |change| keys(&view, &change))
                    .filter(|k| std::future::ready(!k.is_empty())),
            )
        }));
    }

    /// A change of an object of this kind, of which only the metadata is kept, concerns the keys that `keys` names.
    pub fn metadata(&mut self, resource: &ApiResource, keys: fn(&View, &ApiResource, &Change<Meta>) -> Vec<Key>) {
        let informer = match self.from {
            From::Live(informers) => informers.metadata(resource),
            From::Fixed(objects) => fixed::<Meta>(resource, objects),
        };
        self.metadata.insert(resource.clone(), informer.clone());
        self.tracked.push(Arc::new(informer.clone()));
        let resource = resource.clone();
        self.starters.push(Box::new(move |view| {
            let keys = informer.changes().map(move |change| keys(&view, &resource, &change));
            Box::pin(keys.filter(|k| std::future::ready(!k.is_empty())))
        }));
    }

    /// Such objects are looked at, but their changes concern nobody.
    pub fn seen<K: Object<DynamicType = ()>>(&mut self) {
        self.look::<K>("");
    }

    fn look<K: Object<DynamicType = ()>>(&mut self, fields: &str) -> Informer<K> {
        let informer = match self.from {
            From::Live(informers) => informers.filtered::<K>(fields, ""),
            From::Fixed(objects) => fixed::<K>(&ApiResource::erase::<K>(&()), objects),
        };
        self.watched.insert(TypeId::of::<K>(), Box::new(informer.clone()));
        self.tracked.push(Arc::new(informer.clone()));
        informer
    }

    /// These keys are planned every so often, even if nothing changes.
    pub fn every(&mut self, period: Duration, keys: fn(&View) -> Vec<Key>) {
        self.timed.push((period, keys));
    }

    /// The view over everything named so far.
    pub fn view(&mut self) -> View {
        View {
            watched: Arc::new(std::mem::take(&mut self.watched)),
            metadata: Arc::new(std::mem::take(&mut self.metadata)),
            answers: Answers::new(),
            memory: None,
        }
    }

    /// The keys that the objects there are now concern, one object after the other.
    pub fn concerned(&mut self, view: &Arc<View>) -> Vec<Key> {
        let mut keys = Vec::new();
        for mut changes in self.start(view) {
            while let Some(Some(more)) = futures::FutureExt::now_or_never(changes.next()) {
                keys.extend(more);
            }
        }
        keys
    }

    pub(crate) fn start(&mut self, view: &Arc<View>) -> Vec<Keys> {
        self.starters.drain(..).map(|starter| starter(view.clone())).collect()
    }
}

fn controller<K: Resource, O: Resource<DynamicType = ()>>(object: &K) -> Option<Key> {
    let meta = object.meta();
    let owner = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    let group = |api_version: &str| api_version.split_once('/').map_or(String::new(), |(group, _)| group.to_owned());
    let matches = owner.kind == O::kind(&()) && group(&owner.api_version) == O::group(&());
    matches.then(|| Key::new(meta.namespace.clone().unwrap_or_default(), owner.name.clone()))
}

fn fixed<K: Object>(resource: &ApiResource, objects: &[Value]) -> Informer<K> {
    let of_kind = |o: &&Value| o["kind"] == resource.kind.as_str() && o["apiVersion"] == resource.api_version.as_str();
    let decode = |o: &Value| {
        serde_json::from_value(o.clone()).unwrap_or_else(|error| panic!("a {} of a test case: {error}", resource.kind))
    };
    Informer::fixed(resource.clone(), objects.iter().filter(of_kind).map(decode).collect::<Vec<K>>())
}
