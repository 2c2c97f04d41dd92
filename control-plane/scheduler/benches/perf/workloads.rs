//! The shapes: what is there before, the pods that are measured, and what else happens between them.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::objects::{World, namespace, node, nodes, pod, put, sized};

pub struct Workload {
    /// As upstream names it.
    pub name: &'static str,
    /// Pods that are measured when nothing else is said: as many as upstream measures at 5,000 nodes.
    pub pods: usize,
    pub before: fn(&mut dyn World, usize),
    pub pod: fn(usize) -> Pod,
    pub between: fn(&mut dyn World, usize),
}

const PLAIN: Workload = Workload {
    name: "SchedulingBasic",
    pods: 10_000,
    before: |world, count| {
        nodes(world, count);
        (0..count / 5).for_each(|at| put(world, at, pod(&format!("init-{at}"), "init", json!({}), json!({}))));
    },
    pod: |at| pod(&format!("pod-{at}"), "test", json!({}), json!({})),
    between: |_, _| {},
};

pub static ALL: &[Workload] = &[
    PLAIN,
    Workload {
        name: "SchedulingNodeAffinity",
        pod: |at| {
            let zones = json!({"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["zone1", "zone2"]});
            let terms = json!({"nodeSelectorTerms": [{"matchExpressions": [zones]}]});
            let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}});
            pod(&format!("pod-{at}"), "test", json!({}), json!({"affinity": affinity}))
        },
        ..PLAIN
    },
    Workload {
        name: "SchedulingPodAffinity",
        pods: 5000,
        before: |world, count| {
            nodes(world, count);
            // All of one zone, so that there is room for those that want to be near.
            (0..count).for_each(|at| put(world, at / 3 * 3, blue("affinity", "init", at)));
        },
        pod: |at| blue("affinity", "test", at),
        ..PLAIN
    },
    Workload {
        name: "SchedulingPodAntiAffinity",
        pods: 2000,
        before: |world, count| {
            nodes(world, count);
            (0..count / 10).for_each(|at| put(world, at, green("init", at)));
        },
        pod: |at| green("test", at),
        ..PLAIN
    },
    Workload {
        name: "SchedulingPreferredPodAffinity",
        pods: 5000,
        before: |world, count| {
            nodes(world, count);
            (0..count).for_each(|at| put(world, at, preferring("podAffinity", "init", at)));
        },
        pod: |at| preferring("podAffinity", "test", at),
        ..PLAIN
    },
    Workload {
        name: "SchedulingPreferredPodAntiAffinity",
        pods: 5000,
        before: |world, count| {
            nodes(world, count);
            (0..count).for_each(|at| put(world, at, preferring("podAntiAffinity", "init", at)));
        },
        pod: |at| preferring("podAntiAffinity", "test", at),
        ..PLAIN
    },
    Workload {
        name: "SchedulingRequiredPodAntiAffinityWithNSSelector",
        pods: 1000,
        before: |world, count| {
            nodes(world, count);
            in_namespaces(world, count / 50, |at, space| across("podAntiAffinity", at, space));
        },
        pod: |at| across("podAntiAffinity", at, 0),
        ..PLAIN
    },
    Workload {
        name: "SchedulingRequiredPodAffinityWithNSSelector",
        pods: 2000,
        before: |world, count| {
            nodes(world, count);
            in_namespaces(world, count / 50, |at, space| across("podAffinity", at, space));
        },
        pod: |at| across("podAffinity", at, 0),
        ..PLAIN
    },
    Workload {
        name: "SchedulingPreferredAffinityWithNSSelector",
        pods: 5000,
        before: |world, count| {
            nodes(world, count);
            in_namespaces(world, count / 50, |at, space| across("preferred", at, space));
        },
        pod: |at| across("preferred", at, 0),
        ..PLAIN
    },
    Workload {
        name: "SchedulingPreferredAntiAffinityWithNSSelector",
        pods: 2000,
        before: |world, count| {
            nodes(world, count);
            in_namespaces(world, count / 50, |at, space| across("disliked", at, space));
        },
        pod: |at| across("disliked", at, 0),
        ..PLAIN
    },
    Workload {
        name: "TopologySpreading",
        pods: 5000,
        before: |world, count| {
            nodes(world, count);
            (0..count).for_each(|at| put(world, at, pod(&format!("init-{at}"), "init", json!({}), json!({}))));
        },
        pod: |at| spreading(at, "DoNotSchedule", 5),
        ..PLAIN
    },
    Workload {
        name: "PreferredTopologySpreading",
        pods: 5000,
        before: |world, count| {
            nodes(world, count);
            (0..count).for_each(|at| put(world, at, pod(&format!("init-{at}"), "init", json!({}), json!({}))));
        },
        pod: |at| spreading(at, "ScheduleAnyway", 5),
        ..PLAIN
    },
    Workload {
        name: "DefaultTopologySpreading",
        pods: 3000,
        before: |world, count| {
            nodes(world, count);
            world.service("test", "service", json!({"app": "spread"}));
            (0..count).for_each(|at| put(world, at, pod(&format!("init-{at}"), "init", json!({}), json!({}))));
        },
        pod: |at| pod(&format!("pod-{at}"), "test", json!({"app": "spread"}), json!({})),
        ..PLAIN
    },
    Workload {
        name: "Preemption",
        pods: 5000,
        before: |world, count| {
            nodes(world, count);
            (0..count * 4).for_each(|at| {
                // Without a kubelet nobody would end it otherwise, where there is an API.
                let more = json!({"priority": 0, "terminationGracePeriodSeconds": 0});
                let low = pod(&format!("low-{at}"), "init", json!({}), more);
                put(world, at / 4, sized(low, "900m", "500Mi"));
            });
        },
        pod: |at| {
            let high = pod(&format!("high-{at}"), "test", json!({}), json!({"priority": 10}));
            sized(high, "3000m", "500Mi")
        },
        ..PLAIN
    },
    Workload {
        name: "Unschedulable",
        pods: 10_000,
        pod: |at| {
            // One of twenty never fits.
            let cpu = if at % 20 == 0 { "9" } else { "100m" };
            sized(pod(&format!("pod-{at}"), "test", json!({}), json!({})), cpu, "500Mi")
        },
        ..PLAIN
    },
    Workload {
        name: "SchedulingWithMixedChurn",
        pods: 10_000,
        between: |world, at| {
            // A node, a pod that runs and its end, by turns, as fast as pods are placed.
            let name = format!("churn-{at}");
            match at % 3 {
                0 => world.node(node(100_000 + at, "4")),
                1 => world.remove_node(&format!("scheduler-perf-{:05}", 100_000 + at - 1)),
                _ => {
                    world.pod("scheduler-perf-00000", pod(&name, "churn", json!({}), json!({})));
                    world.remove_pod("scheduler-perf-00000", "churn", &name);
                }
            }
        },
        ..PLAIN
    },
    Workload {
        name: "MixedSchedulingBasePod",
        pods: 5000,
        before: |world, count| {
            nodes(world, count);
            for at in 0..count / 5 {
                put(world, at, pod(&format!("init-{at}"), "init", json!({}), json!({})));
                put(world, at / 3 * 3, blue("affinity", "init", at));
                put(world, at, green("init", at));
                put(world, at, preferring("podAffinity", "more", at));
                put(world, at, preferring("podAntiAffinity", "less", at));
            }
        },
        ..PLAIN
    },
];

fn in_namespaces(world: &mut dyn World, each: usize, pod: fn(usize, usize) -> Pod) {
    for space in 0..10 {
        let name = format!("space-{space}");
        world.namespace(namespace(&name, json!({"team": "devops"})));
        (0..each).for_each(|at| put(world, space * each + at, pod(100_000 + at, space)));
    }
}

fn blue(labelled: &str, space: &str, at: usize) -> Pod {
    let term = term("topology.kubernetes.io/zone", json!({"color": "blue"}), json!({"namespaces": ["init", "test"]}));
    let affinity = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    pod(&format!("{labelled}-{at}"), space, json!({"color": "blue"}), json!({"affinity": affinity}))
}

fn green(space: &str, at: usize) -> Pod {
    let term = term("kubernetes.io/hostname", json!({"color": "green"}), json!({"namespaces": ["init", "test"]}));
    let affinity = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    pod(&format!("anti-{at}"), space, json!({"color": "green"}), json!({"affinity": affinity}))
}

fn preferring(sort: &str, space: &str, at: usize) -> Pod {
    let term = term("kubernetes.io/hostname", json!({"color": "red"}), json!({"namespaces": ["init", "test"]}));
    let wish = json!({"preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": term, "weight": 1}]});
    pod(&format!("wish-{at}"), space, json!({"color": "red"}), json!({"affinity": {sort: wish}}))
}

/// Pods of all namespaces of a team stay apart, or like each other.
fn across(sort: &str, at: usize, space: usize) -> Pod {
    let chosen = json!({"namespaceSelector": {"matchLabels": {"team": "devops"}}});
    let key = if sort == "podAffinity" { "topology.kubernetes.io/zone" } else { "kubernetes.io/hostname" };
    let term = term(key, json!({"color": "green"}), chosen);
    let wish = |sort: &str| {
        let wish = json!([{"podAffinityTerm": term, "weight": 1}]);
        json!({sort: {"preferredDuringSchedulingIgnoredDuringExecution": wish}})
    };
    let affinity = match sort {
        "preferred" => wish("podAffinity"),
        "disliked" => wish("podAntiAffinity"),
        sort => json!({sort: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}),
    };
    pod(&format!("across-{at}"), &format!("space-{space}"), json!({"color": "green"}), json!({"affinity": affinity}))
}

fn term(topology_key: &str, labels: Value, more: Value) -> Value {
    let mut term = json!({"topologyKey": topology_key, "labelSelector": {"matchLabels": labels}});
    if let (Some(term), Some(more)) = (term.as_object_mut(), more.as_object()) {
        term.extend(more.clone());
    }
    term
}

fn spreading(at: usize, when: &str, max_skew: i32) -> Pod {
    let constraint = json!({
        "maxSkew": max_skew,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": when,
        "labelSelector": {"matchLabels": {"color": "blue"}},
    });
    pod(&format!("spread-{at}"), "test", json!({"color": "blue"}), json!({"topologySpreadConstraints": [constraint]}))
}
