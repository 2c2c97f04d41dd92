//! The only writer of the store.

use api::{Kind, Object, Status};
use std::sync::Arc;

/// Reads and writes of objects for this server's own parts: no authorisation and no admission. Clones share one state.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {}

impl Registry {
    /// The kind of a resource (its plural), built-in or custom.
    pub fn kind(&self, _group: &str, _version: &str, _plural: &str) -> Option<Arc<Kind>> {
        None
    }

    /// Reads from the watch cache, as fresh as the store is at the time of the call. `namespace` is empty for
    /// cluster-scoped kinds.
    pub async fn get(&self, _kind: &Kind, _namespace: &str, _name: &str) -> Result<Object, Status> {
        Err(Status::unavailable("the registry is not there"))
    }

    /// All objects of a kind from the watch cache, of one namespace where it is given.
    pub async fn list(&self, _kind: &Kind, _namespace: Option<&str>) -> Result<Vec<Object>, Status> {
        Err(Status::unavailable("the registry is not there"))
    }

    /// A number that grows with each change to an object of the kind: what was computed from a list may be kept while
    /// this stays the same.
    pub async fn changed(&self, _kind: &Kind) -> Result<u64, Status> {
        Err(Status::unavailable("the registry is not there"))
    }

    /// Defaults, validates and creates; sets uid and creationTimestamp.
    pub async fn create(&self, _kind: &Kind, _object: Object) -> Result<Object, Status> {
        Err(Status::unavailable("the registry is not there"))
    }

    /// Replaces an object. With a resourceVersion in it, only that version. `subresource` is empty or `status`.
    pub async fn update(&self, _kind: &Kind, _object: Object, _subresource: &str) -> Result<Object, Status> {
        Err(Status::unavailable("the registry is not there"))
    }

    /// Deletes in the background, with the default grace, honouring finalizers.
    pub async fn delete(&self, _kind: &Kind, _namespace: &str, _name: &str) -> Result<(), Status> {
        Err(Status::unavailable("the registry is not there"))
    }
}
