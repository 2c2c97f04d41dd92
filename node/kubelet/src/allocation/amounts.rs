//! The resources of a pod's containers, and their sums.

use crate::quantity::{milli_of, value_of};
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, ResourceRequirements};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The resources of each container and init container, by its name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Allocation(BTreeMap<String, ResourceRequirements>);

impl Allocation {
    /// What the manifest asks for.
    pub fn of(pod: &Pod) -> Allocation {
        Allocation(containers(pod).map(|c| (c.name.clone(), c.resources.clone().unwrap_or_default())).collect())
    }

    /// What the object's status says that its containers have; what the manifest asks for where it says nothing.
    pub fn shown(pod: &Pod) -> Allocation {
        let mut all = Allocation::of(pod);
        let lists = pod.status.iter().flat_map(|s| [&s.container_statuses, &s.init_container_statuses]);
        for status in lists.flatten().flatten().filter(|s| started(s)) {
            if let (Some(entry), Some(has)) = (all.0.get_mut(&status.name), &status.resources) {
                *entry = has.clone();
            }
        }
        all
    }

    /// The pod with these resources in the place of those it asks for. What is no amount of CPU or memory stays.
    pub fn overlay(&self, pod: &Pod) -> Pod {
        let mut pod = pod.clone();
        let spec = pod.spec.iter_mut();
        for c in spec.flat_map(|s| s.containers.iter_mut().chain(s.init_containers.iter_mut().flatten())) {
            if let Some(given) = self.0.get(&c.name) {
                let resources = c.resources.get_or_insert_default();
                (resources.limits, resources.requests) = (given.limits.clone(), given.requests.clone());
            }
        }
        pod
    }

    /// Whether the pod asks for another amount of CPU or memory.
    pub fn differs(&self, pod: &Pod) -> bool {
        containers(pod).any(|c| {
            let given = self.0.get(&c.name);
            given.is_some_and(|given| figures(Some(given)) != figures(c.resources.as_ref()))
        })
    }
}

fn started(status: &ContainerStatus) -> bool {
    status.container_id.as_deref().is_some_and(|id| !id.is_empty())
}

fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.spec.iter().flat_map(|s| s.containers.iter().chain(s.init_containers.iter().flatten()))
}

/// What can be resized: limits and requests of CPU and memory.
fn figures(resources: Option<&ResourceRequirements>) -> [i64; 4] {
    let (limits, requests) = (resources.and_then(|r| r.limits.as_ref()), resources.and_then(|r| r.requests.as_ref()));
    [milli_of(limits, "cpu"), value_of(limits, "memory"), milli_of(requests, "cpu"), value_of(requests, "memory")]
}

/// CPU in thousandths, memory in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Amounts {
    pub cpu: i64,
    pub memory: i64,
}

impl Amounts {
    pub fn in_list(
        list: Option<&BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>,
    ) -> Amounts {
        Amounts { cpu: milli_of(list, "cpu"), memory: value_of(list, "memory") }
    }

    pub fn plus(self, other: Amounts) -> Amounts {
        Amounts { cpu: self.cpu.saturating_add(other.cpu), memory: self.memory.saturating_add(other.memory) }
    }

    pub fn minus(self, other: Amounts) -> Amounts {
        Amounts { cpu: self.cpu.saturating_sub(other.cpu), memory: self.memory.saturating_sub(other.memory) }
    }

    /// What the pod asks the node for.
    pub fn requested(pod: &Pod) -> Amounts {
        let all = fit::resources::asked(pod);
        Amounts { cpu: all.cpu, memory: all.memory }
    }
}
