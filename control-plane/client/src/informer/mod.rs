//! Informers: one shared store per process and kind, kept current by a list and a watch.
//!
//! An informer starts when it is first asked for, so a process caches only kinds that something in it needs.
//! `managedFields` are never kept: they are the largest part of most objects and no role reads them.

mod changes;
mod filing;
mod reflect;
mod store;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use kube::core::ApiResource;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

pub use changes::{Change, Changes};
pub use filing::{Index, Tally};
pub use store::{Informer, Progress, Tracked};

use crate::object::{Meta, Object};
use reflect::{Reflector, Shape};

/// The informers of a process.
pub struct Informers {
    client: kube::Client,
    stop: CancellationToken,
    running: Mutex<HashMap<Slot, Running>>,
}

/// What makes two requests for an informer the same.
#[derive(PartialEq, Eq, Hash)]
struct Slot {
    rust_type: TypeId,
    path: String,
    fields: String,
    labels: String,
}

struct Running {
    informer: Box<dyn Any + Send + Sync>,
    stop: CancellationToken,
}

impl Informers {
    pub fn new(client: kube::Client, stop: CancellationToken) -> Arc<Informers> {
        Arc::new(Informers { client, stop, running: Mutex::default() })
    }

    /// Every object of a kind.
    pub fn of<K: Object<DynamicType = ()>>(&self) -> Informer<K> {
        self.filtered("", "")
    }

    /// The objects of a kind that a field selector and a label selector choose; an empty selector chooses all.
    pub fn filtered<K: Object<DynamicType = ()>>(&self, fields: &str, labels: &str) -> Informer<K> {
        self.start(ApiResource::erase::<K>(&()), Shape::Whole, fields, labels)
    }

    /// The metadata of every object of a kind that is known only at run time.
    pub fn metadata(&self, resource: &ApiResource) -> Informer<Meta> {
        self.start(resource.clone(), Shape::Metadata, "", "")
    }

    /// Ends the metadata informer of a kind that is no longer served.
    pub fn forget_metadata(&self, resource: &ApiResource) {
        let slot = slot::<Meta>(resource, "", "");
        if let Some(running) = self.running.lock().remove(&slot) {
            running.stop.cancel();
        }
    }

    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    fn start<K: Object>(&self, resource: ApiResource, shape: Shape, fields: &str, labels: &str) -> Informer<K> {
        let slot = slot::<K>(&resource, fields, labels);
        let mut running = self.running.lock();
        if let Some(known) = running.get(&slot).and_then(|r| r.informer.downcast_ref::<Informer<K>>()) {
            return known.clone();
        }
        let informer = Informer::empty(resource.clone());
        let stop = self.stop.child_token();
        let reflector = Reflector {
            client: self.client.clone(),
            path: slot.path.clone(),
            shape,
            fields: fields.to_owned(),
            labels: labels.to_owned(),
            informer: informer.clone(),
        };
        let task_stop = stop.clone();
        tokio::spawn(async move {
            let done = reflector.informer.clone();
            task_stop.run_until_cancelled(reflector.run()).await;
            done.close();
        });
        running.insert(slot, Running { informer: Box::new(informer.clone()), stop });
        informer
    }
}

fn slot<K: Object>(resource: &ApiResource, fields: &str, labels: &str) -> Slot {
    use kube::Resource as _;
    Slot {
        rust_type: TypeId::of::<K>(),
        path: kube::core::DynamicObject::url_path(resource, None),
        fields: fields.to_owned(),
        labels: labels.to_owned(),
    }
}
