//! What the node reports of itself: pods, statistics, metrics, configuration.

use super::Here;
use crate::board::Shown;
use crate::identity::{CONTAINER_NAME, POD_NAME, POD_NAMESPACE, POD_UID};
use crate::node::object;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use rpc::cri;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

pub async fn pods(State(node): Here) -> Json<Value> {
    let items: Vec<Pod> = node
        .board
        .all()
        .into_iter()
        .map(|Shown { pod, status, .. }| Pod { status: Some(status), ..Pod::clone(&pod) })
        .collect();
    Json(json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))
}

fn time(nanoseconds: i64) -> Value {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).map(|t| json!(t.to_string())).unwrap_or(Value::Null)
}

fn number(value: Option<cri::UInt64Value>) -> Value {
    value.map_or(Value::Null, |v| json!(v.value))
}

fn cpu(usage: Option<&cri::CpuUsage>) -> Value {
    usage.map_or(Value::Null, |u| {
        json!({
            "time": time(u.timestamp),
            "usageNanoCores": number(u.usage_nano_cores),
            "usageCoreNanoSeconds": number(u.usage_core_nano_seconds),
        })
    })
}

fn memory(usage: Option<&cri::MemoryUsage>) -> Value {
    usage.map_or(Value::Null, |u| {
        json!({
            "time": time(u.timestamp),
            "usageBytes": number(u.usage_bytes),
            "workingSetBytes": number(u.working_set_bytes),
            "rssBytes": number(u.rss_bytes),
            "pageFaults": number(u.page_faults),
            "majorPageFaults": number(u.major_page_faults),
        })
    })
}

fn label(stats: &cri::ContainerStats, key: &str) -> String {
    stats.attributes.as_ref().and_then(|a| a.labels.get(key)).cloned().unwrap_or_default()
}

pub async fn summary(State(node): Here) -> Response {
    let stats = match node.runtime.stats().await {
        Ok(stats) => stats,
        Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    };
    let mut pods: BTreeMap<String, Vec<&cri::ContainerStats>> = BTreeMap::new();
    for one in &stats {
        pods.entry(label(one, POD_UID)).or_default().push(one);
    }
    let pods: Vec<Value> = pods.iter().filter(|(uid, _)| !uid.is_empty()).map(|(uid, list)| pod(uid, list)).collect();
    let nanoseconds = object::usage().cpu_seconds.map(|s| (s * 1e9) as u64);
    let total = object::memory("MemTotal");
    let available = object::memory("MemAvailable");
    Json(json!({
        "node": {
            "nodeName": node.config.node_name,
            "cpu": {"time": Timestamp::now().to_string(), "usageCoreNanoSeconds": nanoseconds},
            "memory": {
                "time": Timestamp::now().to_string(),
                "availableBytes": available,
                "usageBytes": total - object::memory("MemFree"),
                "workingSetBytes": total - available,
            },
        },
        "pods": pods,
    }))
    .into_response()
}

fn pod(uid: &str, list: &[&cri::ContainerStats]) -> Value {
    let containers: Vec<Value> = list
        .iter()
        .map(|s| {
            json!({"name": label(s, CONTAINER_NAME), "cpu": cpu(s.cpu.as_ref()), "memory": memory(s.memory.as_ref())})
        })
        .collect();
    let sum = |f: &dyn Fn(&cri::ContainerStats) -> Option<u64>| list.iter().filter_map(|s| f(s)).sum::<u64>();
    let now = Timestamp::now().to_string();
    let nanoseconds = sum(&|s| s.cpu.as_ref()?.usage_core_nano_seconds.map(|v| v.value));
    let working = sum(&|s| s.memory.as_ref()?.working_set_bytes.map(|v| v.value));
    let name = list.first().map(|s| label(s, POD_NAME)).unwrap_or_default();
    let namespace = list.first().map(|s| label(s, POD_NAMESPACE)).unwrap_or_default();
    json!({
        "podRef": {"name": name, "namespace": namespace, "uid": uid},
        "containers": containers,
        "cpu": {"time": now, "usageCoreNanoSeconds": nanoseconds},
        "memory": {"time": now, "workingSetBytes": working},
    })
}

pub async fn metrics(State(node): Here) -> Response {
    let pods = node.board.all();
    let running = pods.iter().filter(|p| p.status.phase.as_deref() == Some("Running")).count();
    let containers = pods.iter().flat_map(|p| &p.containers).filter(|c| c.running()).count();
    let mut text = String::new();
    for (name, help, value) in [
        ("kubelet_running_pods", "Number of pods that have a running pod sandbox", running),
        ("kubelet_running_containers", "Number of containers currently running", containers),
        ("kubelet_desired_pods", "The number of pods the kubelet is being instructed to run", pods.len()),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

pub async fn configz(State(node): Here) -> Json<Value> {
    let c = &node.config;
    Json(json!({"kubeletconfig": {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "clusterDomain": c.cluster_domain,
        "clusterDNS": c.cluster_dns,
        "maxPods": c.max_pods,
        "staticPodPath": c.static_pods,
        "containerRuntimeEndpoint": format!("unix://{}", c.cri_endpoint.display()),
    }}))
}
