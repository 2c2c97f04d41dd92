//! What the HTTPS server shows of the pods: the last word of each worker.

use crate::observed::{Container, RuntimeStatus};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Clone)]
pub struct Shown {
    pub pod: Arc<Pod>,
    pub status: PodStatus,
    pub sandbox: Option<String>,
    /// Newest first.
    pub containers: Vec<Container>,
}

#[derive(Default)]
pub struct Board {
    pods: RwLock<HashMap<String, Shown>>,
}

impl Board {
    pub fn show(&self, pod: &Arc<Pod>, status: PodStatus, rt: &RuntimeStatus) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let shown = Shown {
            pod: pod.clone(),
            status,
            sandbox: rt.sandbox().map(|s| s.id.clone()),
            containers: rt.containers.clone(),
        };
        self.pods.write().insert(uid, shown);
    }

    pub fn forget(&self, uid: &str) {
        self.pods.write().remove(uid);
    }

    pub fn all(&self) -> Vec<Shown> {
        self.pods.read().values().cloned().collect()
    }

    /// The newest pod of that name; of that uid where one is given.
    pub fn find(&self, namespace: &str, name: &str, uid: Option<&str>) -> Option<Shown> {
        let pods = self.pods.read();
        let named = pods.iter().filter(|(u, s)| {
            s.pod.metadata.namespace.as_deref() == Some(namespace)
                && s.pod.metadata.name.as_deref() == Some(name)
                && uid.is_none_or(|wanted| wanted == u.as_str())
        });
        named.max_by_key(|(_, s)| s.pod.metadata.creation_timestamp.as_ref().map(|t| t.0)).map(|(_, s)| s.clone())
    }
}
