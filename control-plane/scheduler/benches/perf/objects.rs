//! Nodes and pods as scheduler_perf makes them, and where they are put.

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use serde_json::{Value, json};

/// A cluster that a workload is made in.
pub trait World {
    fn node(&mut self, node: Node);

    fn remove_node(&mut self, name: &str);

    fn namespace(&mut self, namespace: Namespace);

    /// A pod that runs on the node.
    fn pod(&mut self, node: &str, pod: Pod);

    fn remove_pod(&mut self, node: &str, namespace: &str, name: &str);

    fn service(&mut self, namespace: &str, name: &str, selector: Value);
}

/// A node of scheduler_perf's default template: 4 CPUs, 32 GiB, room for 110 pods, in one of three zones.
pub fn node(at: usize, cpu: &str) -> Node {
    let name = format!("scheduler-perf-{at:05}");
    let zone = format!("zone{}", at % 3 + 1);
    let labels = json!({"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone});
    decode(json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {"allocatable": {"cpu": cpu, "memory": "32Gi", "pods": "110"}},
    }))
}

/// A pod of the default template (100m CPU, 500Mi), with these labels and this added to its spec.
pub fn pod(name: &str, namespace: &str, labels: Value, more: Value) -> Pod {
    let mut spec = json!({"containers": [{
        "name": "pause",
        "image": "registry.k8s.io/pause:3.10.1",
        "ports": [{"containerPort": 80}],
        "resources": {"limits": {"cpu": "100m", "memory": "500Mi"}, "requests": {"cpu": "100m", "memory": "500Mi"}},
    }]});
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    let uid = format!("{namespace}/{name}");
    decode(json!({"metadata": {"name": name, "namespace": namespace, "uid": uid, "labels": labels}, "spec": spec}))
}

/// The same with other requests.
pub fn sized(mut pod: Pod, cpu: &str, memory: &str) -> Pod {
    let requests = json!({"requests": {"cpu": cpu, "memory": memory}});
    if let Some(container) = pod.spec.as_mut().and_then(|spec| spec.containers.first_mut()) {
        container.resources = Some(decode(requests));
    }
    pod
}

pub fn namespace(name: &str, labels: Value) -> Namespace {
    decode(json!({"metadata": {"name": name, "labels": labels}}))
}

pub fn nodes(world: &mut dyn World, count: usize) {
    (0..count).for_each(|at| world.node(node(at, "4")));
}

/// Puts a pod on the node of this number.
pub fn put(world: &mut dyn World, at: usize, pod: Pod) {
    world.pod(&format!("scheduler-perf-{at:05}"), pod);
}

pub fn decode<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the benchmark's own objects are whole")
}
