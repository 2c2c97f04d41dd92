//! A cluster full of Deployments, each with its set and its pods, all in one namespace: the worst place to look for one's own.

use client::{Key, Moment, View, Watches};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub const PODS_EACH: usize = 10;

pub fn objects(deployments: usize) -> Vec<Value> {
    (0..deployments).flat_map(one).collect()
}

fn one(n: usize) -> Vec<Value> {
    let (name, uid, set) = (format!("d{n}"), format!("du{n}"), format!("su{n}"));
    let labels = json!({"app": name, "pod-template-hash": "1"});
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
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2025-12-31T23:00:00Z"}]},
        })
    });
    [deployment, replica_set].into_iter().chain(pods).collect()
}

/// A controller with a view of its own of these objects, and the key of its nth object.
pub struct Planner {
    controller: std::sync::Arc<dyn client::Controller>,
    view: View,
    key: fn(usize) -> Key,
}

impl Planner {
    pub fn of(name: &str, objects: &[Value], key: fn(usize) -> Key) -> Planner {
        let all = controllers::all(&controllers::Config::default());
        let controller = all.into_iter().find(|controller| controller.name() == name).expect("it is there");
        let mut watches = Watches::fixed(objects);
        controller.watches(&mut watches);
        Planner { view: watches.view(), controller, key }
    }

    pub fn both(objects: &[Value]) -> [Planner; 2] {
        [
            Planner::of("deployment-controller", objects, |n| Key::new("a", format!("d{n}"))),
            Planner::of("replicaset-controller", objects, |n| Key::new("a", format!("d{n}-1"))),
        ]
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
