//! A node with what runs on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use fit::HostPort;
use fit::resources::{self, Amounts};
use k8s_openapi::api::core::v1::{Node, Taint};

use crate::pod::PodInfo;
use crate::selectors::Labels;

/// Cheap to clone but for the list of pods: trying what would be without some of them works on [`NodeInfo::sums`].
#[derive(Debug, Clone, Default)]
pub struct NodeInfo {
    /// Its place in the snapshot, which it keeps as long as it exists.
    pub slot: usize,
    pub facts: Arc<Facts>,
    /// Empty in a node that is only thought of, when pods are looked for that could make room: all else counts there, too.
    pub pods: Vec<Arc<PodInfo>>,
    pub pod_count: usize,
    pub requested: Amounts,
    pub likely: Amounts,
    pub ports: Vec<HostPort>,
    /// The least priority of its pods: below it, preemption finds nothing here.
    pub lowest: Option<i32>,
}

/// What a node says of itself.
#[derive(Debug, Default)]
pub struct Facts {
    pub name: String,
    /// None while only pods tell of the node.
    pub node: Option<Arc<Node>>,
    pub allocatable: Amounts,
    pub most_pods: i64,
    pub is_closed: bool,
    pub taints: Vec<Taint>,
    /// Sizes by name.
    pub images: BTreeMap<String, i64>,
}

impl Facts {
    pub fn named(name: &str) -> Facts {
        Facts { name: name.to_owned(), ..Facts::default() }
    }

    pub fn of(node: Arc<Node>) -> Facts {
        let (spec, status) = (node.spec.as_ref(), node.status.as_ref());
        let allocatable = resources::amounts(status.and_then(|status| status.allocatable.as_ref()));
        let images = status.into_iter().flat_map(|status| status.images.iter().flatten());
        let size = |image: &k8s_openapi::api::core::v1::ContainerImage| image.size_bytes.unwrap_or(0);
        Facts {
            name: node.metadata.name.clone().unwrap_or_default(),
            most_pods: allocatable.get("pods"),
            allocatable,
            is_closed: spec.and_then(|spec| spec.unschedulable) == Some(true),
            taints: spec.and_then(|spec| spec.taints.clone()).unwrap_or_default(),
            images: images.flat_map(|i| i.names.iter().flatten().map(move |name| (name.clone(), size(i)))).collect(),
            node: Some(node),
        }
    }

    pub fn labels(&self) -> Option<&Labels> {
        self.node.as_ref()?.metadata.labels.as_ref()
    }
}

impl NodeInfo {
    pub fn name(&self) -> &str {
        &self.facts.name
    }

    pub fn add(&mut self, pod: Arc<PodInfo>) {
        self.count(&pod, 1);
        self.lowest = Some(self.lowest.map_or(pod.priority, |lowest| lowest.min(pod.priority)));
        self.pods.push(pod);
    }

    pub fn remove(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let at = self.pods.iter().position(|pod| pod.uid() == uid)?;
        let pod = self.pods.swap_remove(at);
        self.count(&pod, -1);
        if self.lowest == Some(pod.priority) {
            self.lowest = self.pods.iter().map(|pod| pod.priority).min();
        }
        Some(pod)
    }

    /// The node without the list of its pods.
    pub fn sums(&self) -> NodeInfo {
        NodeInfo {
            slot: self.slot,
            facts: self.facts.clone(),
            pods: vec![],
            pod_count: self.pod_count,
            requested: self.requested.clone(),
            likely: self.likely.clone(),
            ports: self.ports.clone(),
            lowest: self.lowest,
        }
    }

    /// Counts a pod in (1) or out (-1) of everything but the list.
    pub fn count(&mut self, pod: &PodInfo, by: i32) {
        if by > 0 {
            self.pod_count += 1;
            self.requested.add(&pod.requests);
            self.likely.add(&pod.likely);
            self.ports.extend(pod.ports.iter().cloned());
            return;
        }
        self.pod_count -= 1;
        self.requested.subtract(&pod.requests);
        self.likely.subtract(&pod.likely);
        for port in &pod.ports {
            if let Some(at) = self.ports.iter().position(|known| known == port) {
                self.ports.swap_remove(at);
            }
        }
    }
}
