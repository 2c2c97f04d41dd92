//! The cluster as one scheduling decision sees it: nodes, and what runs on each.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};

use crate::resources::{self, Amounts};

/// Cheap to clone: nodes are shared until they change.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    nodes: BTreeMap<String, Arc<NodeInfo>>,
    /// Labels of namespaces, for terms that choose namespaces by label.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Pods that wait for room that is being made for them, and where.
    pub nominated: HashMap<String, (Arc<Pod>, String)>,
}

/// A node with its pods.
#[derive(Debug, Clone, Default)]
pub struct NodeInfo {
    pub name: String,
    /// None while only pods tell of the node.
    pub node: Option<Arc<Node>>,
    pub pods: Vec<Arc<Pod>>,
    pub allocatable: Amounts,
    pub requested: Amounts,
    pub likely: Amounts,
}

impl Snapshot {
    /// The nodes that exist, ordered by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<NodeInfo>> {
        self.nodes.values().filter(|info| info.node.is_some())
    }

    pub fn get(&self, name: &str) -> Option<&Arc<NodeInfo>> {
        self.nodes.get(name).filter(|info| info.node.is_some())
    }

    pub fn set_node(&mut self, node: Arc<Node>) {
        let info = self.info(node.metadata.name.as_deref().unwrap_or_default());
        info.allocatable = resources::amounts(node.status.as_ref().and_then(|status| status.allocatable.as_ref()));
        info.node = Some(node);
    }

    pub fn remove_node(&mut self, name: &str) {
        let info = self.info(name);
        info.node = None;
        if info.pods.is_empty() {
            self.nodes.remove(name);
        }
    }

    pub fn set_namespace(&mut self, name: &str, namespace: Option<&Namespace>) {
        match namespace {
            Some(namespace) => {
                self.namespaces.insert(name.to_owned(), namespace.metadata.labels.clone().unwrap_or_default())
            }
            None => self.namespaces.remove(name),
        };
    }

    /// Counts a pod on a node.
    pub fn add_pod(&mut self, node: &str, pod: Arc<Pod>) {
        self.info(node).add(pod);
    }

    /// Ends counting the pod of this uid.
    pub fn remove_pod(&mut self, node: &str, uid: &str) {
        let info = self.info(node);
        info.remove(uid);
        if info.pods.is_empty() && info.node.is_none() {
            self.nodes.remove(node);
        }
    }

    fn info(&mut self, name: &str) -> &mut NodeInfo {
        let info = self
            .nodes
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(NodeInfo { name: name.to_owned(), ..NodeInfo::default() }));
        Arc::make_mut(info)
    }
}

impl NodeInfo {
    pub fn add(&mut self, pod: Arc<Pod>) {
        resources::add(&mut self.requested, &resources::requests(&pod));
        resources::add(&mut self.likely, &resources::likely_requests(&pod));
        self.pods.push(pod);
    }

    pub fn remove(&mut self, uid: &str) {
        let Some(at) = self.pods.iter().position(|pod| pod.metadata.uid.as_deref() == Some(uid)) else { return };
        let pod = self.pods.swap_remove(at);
        resources::subtract(&mut self.requested, &resources::requests(&pod));
        resources::subtract(&mut self.likely, &resources::likely_requests(&pod));
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.node.as_ref()?.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }
}

pub fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0)
}

pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

pub fn node_name(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// The pod came to its end by itself.
pub fn is_finished(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).is_some_and(|phase| matches!(phase, "Succeeded" | "Failed"))
}
