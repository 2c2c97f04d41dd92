//! What waits, and what wakes it.

use super::*;
use crate::node::NodeInfo;
use crate::plugins::{Plugin, Point};

const FIRST: Duration = Duration::from_secs(1);

fn key(name: &str) -> Key {
    Key::new("a", name)
}

fn pod(spec: serde_json::Value) -> Arc<PodInfo> {
    let pod = serde_json::json!({"metadata": {"namespace": "a"}, "spec": spec});
    Arc::new(PodInfo::new(Arc::new(serde_json::from_value(pod).unwrap())))
}

fn plain(priority: i32) -> Arc<PodInfo> {
    pod(serde_json::json!({"priority": priority, "containers": []}))
}

fn taken(queue: &mut Queue, now: Instant) -> Option<Key> {
    queue.take(now).map(|(key, _)| key)
}

#[test]
fn priority_first_then_arrival() {
    let now = Instant::now();
    let mut queue = Queue::default();
    for (name, priority) in [("low", 0), ("high", 10), ("low2", 0)] {
        queue.put(&key(name), plain(priority), now);
    }
    let order: Vec<_> = std::iter::from_fn(|| taken(&mut queue, now)).map(|key| key.name).collect();
    assert_eq!(order, ["high", "low", "low2"]);
}

#[test]
fn a_parked_pod_is_woken_by_what_helps_it_and_backs_off() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.put(&key("x"), plain(0), now);
    queue.take(now).unwrap();
    queue.park(&key("x"), BTreeSet::from(["NodeResourcesFit"]), now);
    let node = NodeInfo::default();
    queue.happened(&Event::Node(Happening::NodeRelabelled, &node), now);
    assert_eq!(queue.next_at(), Some(now + PARKED_MOST), "labels do not make room");
    queue.happened(&Event::Pod(Happening::PodLeft, &plain(0)), now);
    assert_eq!(queue.next_at(), Some(now + FIRST), "it backs off first");
    queue.put(&key("y"), plain(0), now);
    assert_eq!(taken(&mut queue, now), Some(key("y")), "whose turn it is");
    assert_eq!(taken(&mut queue, now), Some(key("x")), "nobody else waits");
    queue.park(&key("x"), BTreeSet::from(["NodeName"]), now);
    assert_eq!(taken(&mut queue, now + PARKED_MOST), Some(key("x")), "nothing helped, but it is tried anyway");
}

#[test]
fn a_removed_pod_is_gone_wherever_it_was() {
    let now = Instant::now();
    let mut queue = Queue::default();
    for name in ["active", "parked", "failed"] {
        queue.put(&key(name), plain(0), now);
    }
    assert_eq!(taken(&mut queue, now), Some(key("active")));
    queue.failed(&key("active"), now);
    queue.take(now).unwrap();
    queue.park(&key("parked"), BTreeSet::new(), now);
    for name in ["active", "parked", "failed"] {
        queue.remove(&key(name));
    }
    assert_eq!(taken(&mut queue, now + PARKED_MOST), None);
    assert_eq!(queue.next_at(), None);
}

#[test]
fn only_a_pod_that_asks_for_something_else_is_tried_again() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.put(&key("x"), plain(0), now);
    queue.take(now).unwrap();
    queue.park(&key("x"), BTreeSet::from(["NodeAffinity"]), now);
    queue.put(&key("x"), plain(0), now);
    assert_eq!(queue.next_at(), Some(now + PARKED_MOST), "its condition was written, no more");
    queue.put(&key("x"), pod(serde_json::json!({"containers": [], "nodeSelector": {"a": "b"}})), now);
    assert_eq!(taken(&mut queue, now + FIRST), Some(key("x")));
}

#[test]
fn a_hint_looks_at_the_object() {
    let now = Instant::now();
    let mut queue = Queue::default();
    let wanting = |port: u16| {
        let ports = serde_json::json!([{"containerPort": port, "hostPort": port}]);
        pod(serde_json::json!({"containers": [{"name": "c", "ports": ports}]}))
    };
    queue.put(&key("x"), wanting(80), now);
    queue.take(now).unwrap();
    queue.park(&key("x"), BTreeSet::from(["NodePorts"]), now);
    queue.happened(&Event::Pod(Happening::PodLeft, &wanting(81)), now);
    assert_eq!(queue.next_at(), Some(now + PARKED_MOST), "another port was set free");
    queue.happened(&Event::Pod(Happening::PodLeft, &wanting(80)), now);
    assert_eq!(queue.next_at(), Some(now + FIRST));
}

#[test]
fn waits_double_from_the_first_to_the_longest() {
    let mut now = Instant::now();
    let backoff = Backoff { first: Duration::from_secs(2), most: Duration::from_secs(5) };
    let mut queue = Queue::new(backoff, Rules::default());
    queue.put(&key("x"), plain(0), now);
    for seconds in [2, 4, 5, 5] {
        queue.take(now).unwrap();
        queue.failed(&key("x"), now);
        assert_eq!(queue.next_at(), Some(now + Duration::from_secs(seconds)));
        now += Duration::from_secs(seconds);
    }
}

#[test]
fn who_failed_does_not_go_early() {
    let now = Instant::now();
    let mut queue = Queue::default();
    for name in ["failed", "refused"] {
        queue.put(&key(name), plain(0), now);
        queue.take(now).unwrap();
    }
    queue.failed(&key("failed"), now);
    queue.park(&key("refused"), BTreeSet::from(["NodeResourcesFit"]), now);
    assert_eq!(taken(&mut queue, now), None, "nothing has helped the other yet");
    queue.happened(&Event::Pod(Happening::PodLeft, &plain(0)), now);
    assert_eq!(taken(&mut queue, now), Some(key("refused")));
    assert_eq!(taken(&mut queue, now), None);
    assert_eq!(taken(&mut queue, now + FIRST), Some(key("failed")));
}

#[test]
fn a_gated_pod_is_not_tried_before_its_gates_are_gone() {
    let now = Instant::now();
    let mut queue = Queue::default();
    let gated = |gates: serde_json::Value| pod(serde_json::json!({"containers": [], "schedulingGates": gates}));
    queue.put(&key("x"), gated(serde_json::json!([{"name": "a"}, {"name": "b"}])), now);
    queue.put(&key("y"), plain(0), now);
    assert_eq!(queue.sizes(), Sizes { active: 1, gated: 1, ..Sizes::default() });
    assert_eq!(taken(&mut queue, now), Some(key("y")));
    queue.put(&key("x"), gated(serde_json::json!([{"name": "b"}])), now);
    queue.happened(&Event::Node(Happening::NodeAdded, &NodeInfo::default()), now);
    assert_eq!(taken(&mut queue, now + PARKED_MOST), None, "one gate is left, and time does not open it");
    queue.put(&key("x"), gated(serde_json::json!([])), now);
    assert_eq!(taken(&mut queue, now), Some(key("x")));
    let incoming = |part, cause| queue.ledger().incoming.get(&(part, cause)).copied();
    assert_eq!(incoming("active", "UnschedulablePodAdd"), Some(1));
    assert_eq!(incoming("unschedulable", "UnschedulablePodAdd"), Some(1));
    assert_eq!(incoming("active", "UnschedulablePodUpdate"), Some(1));
}

#[test]
fn a_plugin_of_ones_own_orders_and_holds_back() {
    /// Pods of the least priority first; none of priority 7 before a node comes.
    #[derive(Debug)]
    struct Modest;
    impl Plugin for Modest {
        fn name(&self) -> &'static str {
            "Modest"
        }
        fn points(&self) -> &'static [Point] {
            &[Point::PreEnqueue, Point::QueueSort]
        }
        fn helped_by(&self) -> &'static [Happening] {
            &[Happening::NodeAdded]
        }
        fn pre_enqueue(&self, pod: &PodInfo) -> Result<(), String> {
            if pod.priority == 7 && pod.pod.metadata.labels.is_none() { Err("not now".to_owned()) } else { Ok(()) }
        }
        fn rank(&self, pod: &PodInfo) -> i64 {
            i64::from(pod.priority)
        }
    }
    let profile = Profile { pre_enqueue: vec![&Modest], queue_sort: &Modest, ..Profile::default() };
    let now = Instant::now();
    let mut queue = Queue::new(Backoff::default(), Rules::of(&[profile]));
    for (name, priority) in [("high", 10), ("low", 0), ("held", 7)] {
        queue.put(&key(name), plain(priority), now);
    }
    let order: Vec<_> = std::iter::from_fn(|| taken(&mut queue, now)).map(|key| key.name).collect();
    assert_eq!(order, ["low", "high"]);
    let labelled = serde_json::json!({"metadata": {"namespace": "a", "labels": {"a": "b"}},
        "spec": {"priority": 7, "containers": []}});
    queue.put(&key("held"), Arc::new(PodInfo::new(Arc::new(serde_json::from_value(labelled).unwrap()))), now);
    assert_eq!(taken(&mut queue, now), Some(key("held")));
}

#[test]
fn who_fails_does_not_stay_ahead_of_who_waits() {
    let now = Instant::now();
    let mut queue = Queue::default();
    for name in ["fails", "waits"] {
        queue.put(&key(name), plain(0), now);
    }
    for at in [1, 3, 7] {
        assert!(taken(&mut queue, now + Duration::from_secs(at)).is_some());
        assert!(taken(&mut queue, now + Duration::from_secs(at)).is_some());
        queue.park(&key("waits"), BTreeSet::from(["NodeResourcesFit"]), now + Duration::from_secs(at));
        queue.failed(&key("fails"), now + Duration::from_secs(at));
        queue.happened(&Event::Pod(Happening::PodLeft, &plain(0)), now + Duration::from_secs(at));
    }
    assert_eq!(taken(&mut queue, now + Duration::from_secs(20)), Some(key("waits")));
}

fn on_the_way(queue: &mut Queue, spec: serde_json::Value, now: Instant) -> Key {
    let pod = serde_json::json!({"metadata": {"namespace": "a", "uid": "x"}, "spec": spec});
    queue.put(&key("x"), Arc::new(PodInfo::new(Arc::new(serde_json::from_value(pod).unwrap()))), now);
    taken(queue, now).unwrap()
}

#[test]
fn what_happens_on_the_way_is_not_missed() {
    let now = Instant::now();
    let mut queue = Queue::default();
    let wanting = serde_json::json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]});
    let x = on_the_way(&mut queue, wanting.clone(), now);
    queue.happened(&Event::Pod(Happening::PodLeft, &plain(0)), now);
    queue.happened(&Event::Pod(Happening::PodLeft, &pod(wanting.clone())), now);
    assert_eq!(queue.in_flight(), (&BTreeMap::from([("AssignedPodDelete", 2)]), 1));
    queue.park(&x, BTreeSet::from(["NodePorts"]), now);
    assert_eq!(queue.in_flight(), (&BTreeMap::new(), 0), "nobody is on the way");
    assert_eq!(taken(&mut queue, now + FIRST), Some(x.clone()), "its port was set free meanwhile");
    queue.happened(&Event::Pod(Happening::PodLeft, &plain(0)), now + FIRST);
    queue.park(&x, BTreeSet::from(["NodePorts"]), now + FIRST);
    assert_eq!(taken(&mut queue, now + 10 * FIRST), None, "nothing that helps");
}

#[test]
fn a_pod_that_changes_on_its_way_is_tried_again() {
    let now = Instant::now();
    let mut queue = Queue::default();
    let x = on_the_way(&mut queue, serde_json::json!({"containers": []}), now);
    queue.put(&x, pod(serde_json::json!({"containers": [], "tolerations": [{"operator": "Exists"}]})), now);
    assert_eq!(taken(&mut queue, now), None, "not beside the attempt under way");
    queue.park(&x, BTreeSet::from(["TaintToleration"]), now);
    assert_eq!(taken(&mut queue, now + FIRST), Some(x));
}

#[test]
fn only_as_much_is_kept_as_the_one_longest_on_its_way_needs() {
    let now = Instant::now();
    let mut queue = Queue::default();
    for name in ["a", "b"] {
        queue.put(&key(name), plain(0), now);
    }
    let a = taken(&mut queue, now).unwrap();
    queue.happened(&Event::Node(Happening::NodeAdded, &NodeInfo::default()), now);
    let b = taken(&mut queue, now).unwrap();
    queue.happened(&Event::Node(Happening::NodeGrew, &NodeInfo::default()), now);
    queue.remove(&a);
    assert_eq!(queue.in_flight(), (&BTreeMap::from([("NodeUpdateNodeAllocatable", 1)]), 1));
    queue.failed(&b, now);
    assert_eq!(queue.in_flight(), (&BTreeMap::new(), 0));
}

/// Which events wake which pods: the plugin that refused, the pod, what happens, to what; and whether it is tried again.
#[test]
fn hints() {
    use serde_json::json;
    let node = |name: &str, labels: serde_json::Value, spec: serde_json::Value, cpu: &str| {
        let allocatable = json!({"cpu": cpu, "memory": "8Gi", "pods": "10", "example.com/gpu": "1"});
        let node =
            json!({"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"allocatable": allocatable}});
        let facts = crate::node::Facts::of(Arc::new(serde_json::from_value(node).unwrap()));
        NodeInfo { facts: Arc::new(facts), ..NodeInfo::default() }
    };
    let placed = |namespace: &str, app: &str, spec: serde_json::Value| {
        let mut spec = spec;
        spec["nodeName"] = json!("n");
        let pod = json!({"metadata": {"name": app, "namespace": namespace, "uid": app, "labels": {"app": app}}, "spec": spec});
        Arc::new(PodInfo::new(Arc::new(serde_json::from_value(pod).unwrap())))
    };
    let asks = |much: serde_json::Value| json!({"containers": [{"name": "c", "resources": {"requests": much}}]});
    let term = |app: &str| json!([{"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": app}}}]);
    let near = json!({"containers": [], "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term("v")}}});
    let away = json!({"containers": [], "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term("v")}}});
    let spread = json!({"containers": [], "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]});
    let (plain, none) = (json!({"containers": []}), json!({}));
    let selects = json!({"containers": [], "nodeSelector": {"disk": "ssd"}});
    let plainly = |labels: serde_json::Value| node("n", labels, json!({}), "1");
    use Happening::*;
    let of_nodes = [
        ("NodeAffinity", &selects, NodeRelabelled, plainly(json!({"disk": "ssd"})), true),
        ("NodeAffinity", &selects, NodeRelabelled, plainly(json!({"disk": "hdd"})), false),
        ("NodeAffinity", &selects, NodeAdded, plainly(json!({"disk": "ssd"})), true),
        ("NodeAffinity", &selects, NodeGrew, plainly(json!({"disk": "ssd"})), false),
        ("NodeResourcesFit", &asks(json!({"cpu": "2"})), NodeGrew, node("n", none.clone(), none.clone(), "2"), true),
        ("NodeResourcesFit", &asks(json!({"cpu": "2"})), NodeGrew, node("n", none.clone(), none.clone(), "1"), false),
        ("NodeResourcesFit", &asks(json!({"example.com/gpu": "2"})), NodeAdded, plainly(none.clone()), false),
        ("NodeResourcesFit", &asks(json!({"example.com/ignored": "2"})), NodeAdded, plainly(none.clone()), true),
        (
            "NodeResourcesFit",
            &asks(json!({"cpu": "2"})),
            NodeRelabelled,
            node("n", none.clone(), none.clone(), "2"),
            false,
        ),
        ("NodeUnschedulable", &plain, NodeOpened, plainly(none.clone()), true),
        ("NodeUnschedulable", &plain, NodeOpened, node("n", none.clone(), json!({"unschedulable": true}), "1"), false),
        ("TaintToleration", &plain, NodeOpened, plainly(none.clone()), true),
        (
            "TaintToleration",
            &plain,
            NodeOpened,
            node("n", none.clone(), json!({"taints": [{"key": "k", "effect": "NoSchedule"}]}), "1"),
            false,
        ),
        ("InterPodAffinity", &near, NodeAdded, plainly(json!({"zone": "z"})), true),
        ("InterPodAffinity", &near, NodeGrew, plainly(json!({"zone": "z"})), false),
        ("PodTopologySpread", &spread, NodeRemoved, plainly(json!({"zone": "z"})), true),
        ("PodTopologySpread", &spread, NodeAdded, plainly(json!({"zone": "z"})), true),
        ("NodePorts", &plain, NodeRemoved, plainly(none.clone()), false),
    ];
    for (by, spec, happening, node, wakes) in of_nodes {
        assert_eq!(
            is_woken(by, spec, |queue, now| queue.happened(&Event::Node(happening, &node), now)),
            wakes,
            "{by} {happening:?} {spec}"
        );
    }
    let keeps_out = json!({"containers": [], "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term("x")}}});
    let of_pods = [
        ("NodeResourcesFit", &plain, PodLeft, placed("a", "v", plain.clone()), true),
        ("NodeResourcesFit", &plain, PodCame, placed("a", "v", plain.clone()), false),
        ("InterPodAffinity", &near, PodCame, placed("a", "v", plain.clone()), true),
        ("InterPodAffinity", &near, PodCame, placed("a", "w", plain.clone()), false),
        ("InterPodAffinity", &near, PodCame, placed("b", "v", plain.clone()), false),
        ("InterPodAffinity", &near, PodLeft, placed("a", "v", plain.clone()), false),
        ("InterPodAffinity", &away, PodLeft, placed("a", "v", plain.clone()), true),
        ("InterPodAffinity", &away, PodLeft, placed("a", "w", plain.clone()), false),
        ("InterPodAffinity", &away, PodRelabelled, placed("a", "v", plain.clone()), true),
        ("InterPodAffinity", &away, PodRelabelled, placed("a", "w", plain.clone()), false),
        ("InterPodAffinity", &plain, PodLeft, placed("a", "w", keeps_out), true),
        ("PodTopologySpread", &spread, PodLeft, placed("a", "w", plain.clone()), true),
        ("PodTopologySpread", &spread, PodLeft, placed("b", "w", plain.clone()), false),
        ("PodTopologySpread", &spread, PodRelabelled, placed("a", "w", plain.clone()), true),
        ("NodeAffinity", &selects, PodLeft, placed("a", "v", plain.clone()), false),
    ];
    for (by, spec, happening, other, wakes) in of_pods {
        assert_eq!(
            is_woken(by, spec, |queue, now| queue.happened(&Event::Pod(happening, &other), now)),
            wakes,
            "{by} {happening:?} {spec}"
        );
    }
}

/// Whether a pod that was refused by the plugin is tried again after this.
fn is_woken(by: &'static str, spec: &serde_json::Value, happens: impl Fn(&mut Queue, Instant)) -> bool {
    let now = Instant::now();
    let mut queue = Queue::default();
    let labelled = serde_json::json!({"metadata": {"name": "x", "namespace": "a", "uid": "x", "labels": {"app": "x"}}, "spec": spec});
    queue.put(&key("x"), Arc::new(PodInfo::new(Arc::new(serde_json::from_value(labelled).unwrap()))), now);
    let x = taken(&mut queue, now).unwrap();
    queue.park(&x, BTreeSet::from([by]), now);
    happens(&mut queue, now);
    taken(&mut queue, now + FIRST).is_some()
}
