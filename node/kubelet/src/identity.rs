//! How a pod is recognised in the runtime: the labels and annotations that every sandbox and container carries.
//!
//! The names are upstream's, so that `crictl` and any other CRI client show the pod a container belongs to.

use k8s_openapi::api::core::v1::{Container, Pod};

pub const POD_NAME: &str = "io.kubernetes.pod.name";
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub const POD_UID: &str = "io.kubernetes.pod.uid";
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
pub const HASH: &str = "io.kubernetes.container.hash";
pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
pub const MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
pub const MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
/// The host file behind the termination message, so that it is found after a restart without the manifest.
pub const MESSAGE_FILE: &str = "io.wherry.container.termination-message-file";
pub const GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";
/// Container ports as JSON, for runtimes that run guests without sockets of their own (`wherry shim`).
pub const PORTS: &str = "io.wherry.container.ports";
/// Marks an object of the API that only mirrors a pod read from a file.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
pub const SOURCE: &str = "kubernetes.io/config.source";
pub const CONFIG_HASH: &str = "kubernetes.io/config.hash";

/// A pod as the runtime names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodId {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

impl PodId {
    pub fn of(pod: &Pod) -> PodId {
        PodId {
            namespace: pod.metadata.namespace.clone().unwrap_or_else(|| "default".into()),
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
        }
    }

    pub fn from_labels(labels: &std::collections::HashMap<String, String>) -> Option<PodId> {
        Some(PodId {
            namespace: labels.get(POD_NAMESPACE)?.clone(),
            name: labels.get(POD_NAME)?.clone(),
            uid: labels.get(POD_UID)?.clone(),
        })
    }
}

/// `name_namespace(uid)`, the form that upstream's messages have.
impl std::fmt::Display for PodId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}_{}({})", self.name, self.namespace, self.uid)
    }
}

/// Whether a pod was read from a file of this node rather than from the API.
pub fn from_file(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|a| a.get(SOURCE).is_some_and(|s| s == "file"))
}

/// A container is made anew when this changes: only the image of a running pod can be replaced.
pub fn hash(container: &Container) -> String {
    let text = format!("{}\0{}", container.name, container.image.as_deref().unwrap_or_default());
    hex(&ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref()[..8])
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
