//! What is too much at once is done in parts, and what one object can't hold is left out of it, as upstream.

use client::view::Moment;
use client::{Action, Decision, Key, Plan, Watches};
use serde_json::{Value, json};

fn plan(name: &str, objects: &[Value], key: Key) -> Plan {
    let all = controllers::all(&controllers::Config::default());
    let controller = all.into_iter().find(|controller| controller.name() == name).expect("it is there");
    let mut watches = Watches::fixed(objects);
    controller.watches(&mut watches);
    let moment = Moment { now: "2026-01-01T00:00:00Z".parse().unwrap(), seed: 1 };
    match controller.plan(&watches.view(), &key, moment) {
        Decision::Do(plan) => plan,
        Decision::Need(reads) => panic!("{name} asks for {reads:?}"),
    }
}

/// What is made or replaced of a kind.
fn written(plan: &Plan, kind: &str) -> Vec<Value> {
    let object = |action: &Action| match action {
        Action::Create { object, .. } | Action::Update { object, .. } => Some(object.clone()),
        _ => None,
    };
    plan.actions.iter().filter_map(object).filter(|object| object["kind"] == kind).collect()
}

fn service(selector: Option<Value>) -> Value {
    let ports = json!([{"name": "http", "port": 80, "targetPort": 8080}]);
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "a", "uid": "s"},
        "spec": {"clusterIP": "10.96.0.9", "ipFamilies": ["IPv4"], "selector": selector, "ports": ports}})
}

fn address(n: usize) -> String {
    format!("10.244.{}.{}", n / 250, n % 250)
}

fn web(n: usize, ready: bool) -> Value {
    let ready = if ready { "True" } else { "False" };
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("p{n:04}"), "namespace": "a", "uid": format!("p{n}"), "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c"}]},
        "status": {"phase": "Running", "podIP": address(n), "podIPs": [{"ip": address(n)}], "conditions": [{"type": "Ready", "status": ready}]}})
}

fn node(n: usize) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("n{n}"), "uid": format!("n{n}")}, "spec": {}})
}

fn pods_of_web(count: usize) -> Vec<Value> {
    [service(Some(json!({"app": "web"}))), node(1)].into_iter().chain((0..count).map(|n| web(n, true))).collect()
}

fn sizes(slices: &[Value]) -> Vec<usize> {
    slices.iter().map(|slice| slice["endpoints"].as_array().map_or(0, Vec::len)).collect()
}

#[test]
fn a_slice_takes_a_hundred_endpoints() {
    let mut objects = pods_of_web(250);
    let mut made = written(&plan("endpointslice-controller", &objects, Key::new("a", "web")), "EndpointSlice");
    assert_eq!(sizes(&made), [100, 100, 50]);
    // One slice loses a third of its endpoints, and twenty new pods come: they take the room that there is.
    let gone: Vec<Value> =
        made[0]["endpoints"].as_array().unwrap()[..33].iter().map(|e| e["targetRef"]["name"].clone()).collect();
    objects.retain(|object| !gone.contains(&object["metadata"]["name"]));
    objects.extend((300..320).map(|n| web(n, true)));
    for (n, slice) in made.iter_mut().enumerate() {
        slice["metadata"]["uid"] = json!(format!("slice-{n}"));
    }
    objects.extend(made);
    let again = plan("endpointslice-controller", &objects, Key::new("a", "web"));
    let changed = written(&again, "EndpointSlice");
    assert_eq!(sizes(&changed), [87], "one slice is written, and no other");
    assert_eq!(again.actions.len(), 1, "{:?}", again.actions);
}

#[test]
fn endpoints_take_a_thousand_addresses_the_ready_first() {
    let mut objects = pods_of_web(0);
    objects.extend((0..20).map(|n| web(n, false)));
    objects.extend((20..1019).map(|n| web(n, true)));
    let made = written(&plan("endpoint-controller", &objects, Key::new("a", "web")), "Endpoints");
    let count = |list: &str| made[0]["subsets"][0][list].as_array().map_or(0, Vec::len);
    assert_eq!((count("addresses"), count("notReadyAddresses")), (999, 1));
    assert_eq!(made[0]["metadata"]["annotations"]["endpoints.kubernetes.io/over-capacity"], "truncated");
}

#[test]
fn a_thousand_addresses_of_a_subset_are_mirrored() {
    let addresses: Vec<Value> = (0..1001).map(|n| json!({"ip": address(n)})).collect();
    let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web", "namespace": "a", "uid": "e"},
        "subsets": [{"addresses": addresses, "ports": [{"port": 80, "protocol": "TCP"}]}]});
    let plan = plan("endpointslicemirroring-controller", &[service(None), endpoints], Key::new("a", "web"));
    assert_eq!(sizes(&written(&plan, "EndpointSlice")), [100; 10]);
}

#[test]
fn pods_are_made_in_bursts() {
    let template =
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let meta = json!({"name": "web", "namespace": "a", "uid": "o", "generation": 1});
    let selector = json!({"matchLabels": {"app": "web"}});
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": meta,
        "spec": {"replicas": 700, "selector": selector, "template": template}});
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta,
        "spec": {"completions": 700, "parallelism": 700, "backoffLimit": 6, "template": template}});
    let stateful = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta,
        "spec": {"replicas": 700, "serviceName": "web", "podManagementPolicy": "Parallel", "selector": selector, "template": template}});
    let daemons = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta,
        "spec": {"selector": selector, "template": template}});
    let mut everywhere: Vec<Value> = (0..300).map(node).collect();
    everywhere.push(daemons);
    for (name, objects, most) in [
        ("replicaset-controller", vec![set], 500),
        ("job-controller", vec![job], 500),
        ("statefulset-controller", vec![stateful], 100),
        ("daemonset-controller", everywhere, 250),
    ] {
        let made = written(&plan(name, &objects, Key::new("a", "web")), "Pod");
        assert_eq!(made.len(), most, "{name}");
    }
}

#[test]
fn a_job_counts_five_hundred_ended_pods_at_a_time() {
    let owner = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "web", "uid": "o", "controller": true}]);
    let pod = |n: usize| {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("p{n}"), "namespace": "a", "uid": format!("p{n}"), "ownerReferences": owner, "finalizers": ["batch.kubernetes.io/job-tracking"]},
            "spec": {"nodeName": "n1", "containers": [{"name": "c"}]}, "status": {"phase": "Succeeded"}})
    };
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "web", "namespace": "a", "uid": "o"},
        "spec": {"completions": 1000, "parallelism": 0, "backoffLimit": 6, "template": {"spec": {"containers": [{"name": "c"}]}}},
        "status": {"startTime": "2025-12-31T23:00:00Z"}});
    let objects: Vec<Value> = std::iter::once(job).chain((0..600).map(pod)).collect();
    let told = written(&plan("job-controller", &objects, Key::new("a", "web")), "Job");
    assert_eq!(told[0]["status"]["uncountedTerminatedPods"]["succeeded"].as_array().map(Vec::len), Some(500));
}
