//! A cluster full of Deployments, each with its set, pods, Service, slice and budget, all in one namespace under one quota:
//! the worst place to look for one's own.

use client::{Controller, Key, Moment, View, Watches};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const PODS_EACH: usize = 10;

pub fn objects(deployments: usize) -> Vec<Value> {
    (0..deployments).flat_map(one).chain([quota(deployments)]).collect()
}

fn one(n: usize) -> Vec<Value> {
    let (name, uid, set) = (format!("d{n}"), format!("du{n}"), format!("su{n}"));
    let labels = json!({"app": name, "pod-template-hash": "1", "tier": "web"});
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    let owner = |api: &str, kind: &str, name: &str, uid: &str| json!([{"apiVersion": api, "kind": kind, "name": name, "uid": uid, "controller": true}]);
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "a", "uid": uid, "generation": 1, "annotations": {"deployment.kubernetes.io/revision": "1"}},
        "spec": {"replicas": PODS_EACH, "progressDeadlineSeconds": 600, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec}},
    });
    let replica_set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": format!("{name}-1"), "namespace": "a", "uid": set, "generation": 1, "labels": labels,
            "ownerReferences": owner("apps/v1", "Deployment", &name, &uid),
            "annotations": {"deployment.kubernetes.io/revision": "1", "deployment.kubernetes.io/desired-replicas": PODS_EACH.to_string(),
                "deployment.kubernetes.io/max-replicas": "13"}},
        "spec": {"replicas": PODS_EACH, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
        "status": {"replicas": PODS_EACH, "readyReplicas": PODS_EACH, "availableReplicas": PODS_EACH,
            "fullyLabeledReplicas": PODS_EACH, "terminatingReplicas": 0, "observedGeneration": 1},
    });
    let pods = (0..PODS_EACH).map(|pod| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("{name}-1-{pod}"), "namespace": "a", "uid": format!("p{n}-{pod}"), "labels": labels,
                "ownerReferences": owner("apps/v1", "ReplicaSet", &format!("{name}-1"), &set)},
            "spec": {"nodeName": format!("n{pod}"), "containers": [{"name": "c", "image": "i"}]},
            "status": {"phase": "Running", "podIP": address(n, pod), "podIPs": [{"ip": address(n, pod)}], "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2025-12-31T23:00:00Z"}]},
        })
    });
    [deployment, replica_set, service(n), slice(n), budget(n)].into_iter().chain(pods).collect()
}

fn address(n: usize, pod: usize) -> String {
    format!("10.{}.{}.{pod}", n / 250, n % 250)
}

fn service(n: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("d{n}"), "namespace": "a", "uid": format!("vu{n}")},
        "spec": {"selector": {"app": format!("d{n}"), "tier": "web"}, "clusterIP": "10.96.0.9", "ipFamilies": ["IPv4"],
            "ports": [{"port": 80, "protocol": "TCP"}]},
    })
}

fn slice(n: usize) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": [],
        "metadata": {"name": format!("d{n}-x"), "namespace": "a", "labels": {"kubernetes.io/service-name": format!("d{n}"),
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
    })
}

fn budget(n: usize) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": format!("d{n}"), "namespace": "a"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": format!("d{n}"), "tier": "web"}}},
    })
}

fn quota(deployments: usize) -> Value {
    let pods = (deployments * PODS_EACH).to_string();
    json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "a", "resourceVersion": "1"},
        "spec": {"hard": {"pods": "1000000", "services": "1000000"}},
        "status": {"hard": {"pods": "1000000", "services": "1000000"}, "used": {"pods": pods, "services": deployments.to_string()}},
    })
}

/// The key of a controller's nth object.
type KeyOf = fn(usize) -> Key;

/// Every controller that is measured, with the key of its nth object.
const MEASURED: [(&str, KeyOf); 6] = [
    ("deployment-controller", |n| Key::new("a", format!("d{n}"))),
    ("replicaset-controller", |n| Key::new("a", format!("d{n}-1"))),
    ("endpointslice-controller", |n| Key::new("a", format!("d{n}"))),
    ("endpoint-controller", |n| Key::new("a", format!("d{n}"))),
    ("disruption-controller", |n| Key::new("a", format!("d{n}"))),
    ("resourcequota-controller", |_| Key::new("a", "q")),
];

/// A controller with a view of its own of these objects, and the key of its nth object.
pub struct Planner {
    pub name: &'static str,
    controller: Arc<dyn Controller>,
    view: Arc<View>,
    key: KeyOf,
    /// What finding out whom one object concerns took on average.
    pub change: Duration,
}

impl Planner {
    fn of(name: &'static str, objects: &[Value], key: KeyOf) -> Planner {
        let mut all = controllers::all(&controllers::Config::default());
        all.push(Arc::new(controllers::Quotas::of(&[("v1", "ConfigMap", "configmaps")])));
        let controller = all.into_iter().find(|controller| controller.name() == name).expect("it is there");
        let mut watches = Watches::fixed(objects);
        controller.watches(&mut watches);
        let view = Arc::new(watches.view());
        let mut planner = Planner { name, view: view.clone(), controller, key, change: Duration::ZERO };
        // The indexes are made now, once: what is measured is what comes after.
        planner.plan(std::iter::once(0));
        let began = Instant::now();
        std::hint::black_box(watches.concerned(&view));
        planner.change = began.elapsed() / u32::try_from(objects.len().max(1)).unwrap_or(u32::MAX);
        planner
    }

    pub fn all(objects: &[Value]) -> impl Iterator<Item = Planner> {
        MEASURED.into_iter().map(|(name, key)| Planner::of(name, objects, key))
    }

    /// How long plans of so many keys took, the fastest and on average.
    pub fn plan(&self, keys: impl Iterator<Item = usize>) -> (Duration, Duration) {
        let moment = Moment { now: "2026-01-01T00:00:00Z".parse().expect("a time"), seed: 1 };
        let mut times = Vec::new();
        for n in keys {
            let key = (self.key)(n);
            let began = Instant::now();
            std::hint::black_box(self.controller.plan(&self.view, &key, moment));
            times.push(began.elapsed());
        }
        let count = u32::try_from(times.len().max(1)).unwrap_or(u32::MAX);
        (times.iter().min().copied().unwrap_or_default(), times.iter().sum::<Duration>() / count)
    }
}
