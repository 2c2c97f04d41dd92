//! A snapshot that much came to and left decides as one that is made anew from what is there: whatever is kept up between
//! decisions, the order of nodes, sums and counts, is as if it had been counted just now.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use scheduler::{Placement, PodInfo, Profile, Snapshot, schedule};
use serde_json::{Value, json};

#[derive(Default)]
struct There {
    nodes: BTreeMap<String, Arc<Node>>,
    /// By uid, with the node.
    pods: BTreeMap<String, (String, Arc<PodInfo>)>,
    /// Room that is being made, by uid.
    nominated: BTreeMap<String, (String, Arc<PodInfo>)>,
}

impl There {
    fn made_anew(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        self.nodes.values().for_each(|node| snapshot.set_node(node.clone()));
        self.pods.values().for_each(|(node, pod)| snapshot.add_pod(node, pod.clone()));
        self.nominated.values().for_each(|(node, pod)| snapshot.nominate(pod.clone(), node));
        snapshot
    }
}

fn node(name: &str, random: &mut StdRng) -> Arc<Node> {
    let mut labels = json!({"kubernetes.io/hostname": name});
    if random.random_bool(0.9) {
        labels["topology.kubernetes.io/zone"] = json!(format!("z{}", random.random_range(0..4)));
    }
    let allocatable = json!({"cpu": "4", "memory": "8Gi", "pods": "6"});
    let node = json!({"metadata": {"name": name, "labels": labels}, "status": {"allocatable": allocatable}});
    Arc::new(serde_json::from_value(node).unwrap())
}

/// A pod of one of a few sorts: spread, near, away, with a host port, plain.
fn pod(name: &str, sort: usize, priority: i32, cpu: u32, second: u64) -> Arc<PodInfo> {
    let zone = "topology.kubernetes.io/zone";
    let chosen = |app: &str| json!({"matchLabels": {"app": app}});
    let terms = |key: &str, app: &str| json!([{"topologyKey": key, "labelSelector": chosen(app)}]);
    let wish = |key: &str, app: &str| json!([{"weight": 10, "podAffinityTerm": terms(key, app)[0]}]);
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    let spread = |when: &str| json!([{"maxSkew": 1, "topologyKey": zone, "whenUnsatisfiable": when, "labelSelector": chosen("a")}]);
    let mut spec =
        json!({"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": format!("{cpu}m")}}}]});
    spec["priority"] = json!(priority);
    let more: Value = match sort {
        0 => json!({"topologySpreadConstraints": spread("DoNotSchedule")}),
        1 => json!({"affinity": {"podAffinity": {required: terms(zone, "a")}}}),
        2 => json!({"affinity": {"podAntiAffinity": {required: terms("kubernetes.io/hostname", "a")}}}),
        3 => json!({"affinity": {"podAntiAffinity": {preferred: wish(zone, "b")}}}),
        4 => json!({"topologySpreadConstraints": spread("ScheduleAnyway")}),
        5 => json!({"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": 80}]}]}),
        _ => json!({}),
    };
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let app = if sort.is_multiple_of(2) { "a" } else { "b" };
    let started = jiff::Timestamp::from_second(1_700_000_000 + second as i64).unwrap();
    let pod = json!({
        "metadata": {"name": name, "namespace": "n", "uid": name, "labels": {"app": app}},
        "spec": spec,
        "status": {"startTime": started.to_string()},
    });
    Arc::new(PodInfo::new(Arc::new(serde_json::from_value::<Pod>(pod).unwrap())))
}

#[test]
fn churn_leaves_nothing_behind() {
    let profile = Profile::default();
    let (mut placed, mut preempted, mut refused) = (0, 0, 0);
    for seed in 0..25 {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut there, mut kept) = (There::default(), Snapshot::default());
        for step in 0..120u64 {
            let name = format!("n{}", random.random_range(0..9));
            match random.random_range(0..10) {
                0..2 => {
                    let node = node(&name, &mut random);
                    kept.set_node(node.clone());
                    there.nodes.insert(name, node);
                }
                2 => {
                    // Its pods may outlive it for a while.
                    kept.remove_node(&name);
                    there.nodes.remove(&name);
                }
                3..5 => {
                    let any = there.pods.keys().nth(random.random_range(0..there.pods.len().max(1))).cloned();
                    if let Some((uid, (node, _))) = any.and_then(|uid| there.pods.remove_entry(&uid)) {
                        assert!(kept.remove_pod(&node, &uid).is_some());
                    }
                }
                _ => {
                    let (sort, priority) = (random.random_range(0..7), random.random_range(0..4));
                    let pod = pod(&format!("p{step}"), sort, priority, random.random_range(1..20) * 100, step);
                    let choice = random.random();
                    let placement = schedule(&profile, &kept, &pod, choice);
                    assert_eq!(
                        placement,
                        schedule(&profile, &there.made_anew(), &pod, choice),
                        "seed {seed}, step {step}: {:?}",
                        pod.pod
                    );
                    match placement {
                        Placement::Node(node) => {
                            placed += 1;
                            kept.add_pod(&node, pod.clone());
                            there.pods.insert(pod.uid().to_owned(), (node, pod));
                        }
                        Placement::Nowhere(nowhere) => match nowhere.preempt {
                            None => refused += 1,
                            Some(preemption) => {
                                preempted += 1;
                                kept.nominate(pod.clone(), &preemption.node);
                                there.nominated.insert(pod.uid().to_owned(), (preemption.node, pod));
                            }
                        },
                    }
                    // Nobody waits for room for long.
                    if there.nominated.len() > 4
                        && let Some((uid, _)) = there.nominated.pop_first()
                    {
                        kept.end_nomination(&uid);
                    }
                }
            }
        }
    }
    assert!(placed > 500 && preempted > 50 && refused > 50, "too little was tried: {placed}, {preempted}, {refused}");
}
