//! Watches over nodes: one that stops renewing its Lease is unknown, and its conditions become taints. What moves pods away is
//! left to [`zones`], which is in no hurry.

mod health;
mod zones;

use client::plan::Severity;
use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::json;

use crate::{index, pods};

const LEASES: &str = "kube-node-lease";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// The conditions that a silent node no longer tells of.
const TOLD: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
/// Conditions, the status in which they keep new pods away, and the taint that does it.
const TAINTS: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];
/// The taints that move pods away, with the effect NoExecute.
const AWAY: [&str; 2] = [NOT_READY, UNREACHABLE];
const CORDONED: &str = "node.kubernetes.io/unschedulable";

pub use health::NodeHealth;

pub(crate) struct NodeLifecycle {
    pub(crate) health: NodeHealth,
    /// Silence from before this process began is not held against a node: the whole cluster may have been down.
    pub(crate) since: Timestamp,
}

impl Controller for NodeLifecycle {
    fn name(&self) -> &'static str {
        "node-lifecycle-controller"
    }

    fn identity(&self) -> &'static str {
        "node-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.mapped::<Node>(|_, change| {
            let zones = zones::concerned(&change.before, &change.after).then(zones::key);
            std::iter::once(change.key.clone()).chain(zones).collect()
        });
        watches.mapped::<Lease>(|_, change| match change.key.namespace == LEASES {
            true => vec![Key::new("", &change.key.name)],
            false => vec![],
        });
        watches.seen::<Pod>();
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let mut plan = Plan::done();
        if *key == zones::key() {
            zones::plan(view, &self.health, moment.now, &mut plan);
            return plan.into();
        }
        let Some(node) = view.of::<Node>().get_key(key) else {
            farewell(view, key, &mut plan);
            return plan.into();
        };
        greet(view, &node, &mut plan);
        if node.metadata.deletion_timestamp.is_some() {
            return plan.into();
        }
        let heard = self.heard(view, &node);
        let mut conditions = node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        let was_ready = status(&conditions, "Ready") == Some("True");
        let silent = moment.now.duration_since(heard);
        if let Some(wait) = self.health.patience(silent, status(&conditions, "Ready").is_some()) {
            plan.again(wait);
        } else if silence(&mut conditions, &node, moment.now) {
            let patch = json!({"metadata": {"resourceVersion": node.metadata.resource_version}, "status": {"conditions": conditions}});
            plan.patch(node.as_ref(), Some("status"), patch);
            if was_ready {
                let message = format!("Node {} status is now: NodeNotReady", key.name);
                plan.event(node.as_ref(), Severity::Normal, "NodeNotReady", message);
            }
        }
        taint(&node, &conditions, moment.now, &mut plan);
        if status(&conditions, "Ready").is_some_and(|ready| ready != "True") {
            unready(view, &node, moment.now, &mut plan);
        }
        plan.into()
    }
}

/// Says that a node is new here, and remembers which one it is.
fn greet(view: &View, node: &Node, plan: &mut Plan) {
    let (name, uid) = (node.metadata.name.as_deref().unwrap_or_default(), json!(node.metadata.uid));
    if view.memory() != Some(&uid) {
        let message = format!("Node {name} event: Registered Node {name} in Controller");
        plan.event(node, Severity::Normal, "RegisteredNode", message);
    }
    plan.memory = Some(uid);
}

/// Says that a node is gone that was known here.
fn farewell(view: &View, key: &Key, plan: &mut Plan) {
    let Some(uid) = view.memory().and_then(|uid| uid.as_str()) else { return };
    let (name, uid) = (Some(key.name.clone()), Some(uid.to_owned()));
    let node = Node { metadata: ObjectMeta { name, uid, ..ObjectMeta::default() }, ..Node::default() };
    let message = format!("Node {0} event: Removing Node {0} from Controller", key.name);
    plan.event(&node, Severity::Normal, "RemovingNode", message);
}

impl NodeLifecycle {
    /// When the node was last heard of.
    fn heard(&self, view: &View, node: &Node) -> Timestamp {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let lease = view.of::<Lease>().get(LEASES, name);
        let renewed = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref().map(|time| time.0));
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let ready =
            conditions.into_iter().find(|condition| condition.type_ == "Ready" && condition.status != "Unknown");
        let told = ready.and_then(|ready| ready.last_heartbeat_time.as_ref().map(|time| time.0));
        let made = node.metadata.creation_timestamp.as_ref().map(|time| time.0);
        [renewed, told, made].into_iter().flatten().max().unwrap_or(self.since).max(self.since)
    }
}

fn status<'a>(conditions: &'a [NodeCondition], kind: &str) -> Option<&'a str> {
    conditions.iter().find(|condition| condition.type_ == kind).map(|condition| condition.status.as_str())
}

/// Makes unknown what a silent node told of; true if that changes anything.
fn silence(conditions: &mut Vec<NodeCondition>, node: &Node, now: Timestamp) -> bool {
    let mut changed = false;
    for kind in TOLD {
        match conditions.iter_mut().find(|condition| condition.type_ == kind) {
            Some(condition) if condition.status == "Unknown" => {}
            Some(condition) => {
                changed = true;
                condition.status = "Unknown".to_owned();
                condition.reason = Some("NodeStatusUnknown".to_owned());
                condition.message = Some("Kubelet stopped posting node status.".to_owned());
                condition.last_transition_time = Some(Time(now));
            }
            None => {
                changed = true;
                conditions.push(NodeCondition {
                    type_: kind.to_owned(),
                    status: "Unknown".to_owned(),
                    reason: Some("NodeStatusNeverUpdated".to_owned()),
                    message: Some("Kubelet never posted node status.".to_owned()),
                    last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                    last_transition_time: Some(Time(now)),
                });
            }
        }
    }
    changed
}

fn taint(node: &Node, conditions: &[NodeCondition], now: Timestamp, plan: &mut Plan) {
    let before: Vec<Taint> = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    let told: Vec<(&str, &str)> = TAINTS
        .iter()
        .map(|(kind, bad, key)| (*key, *kind, *bad))
        .filter_map(|(key, kind, bad)| (status(conditions, kind) == Some(bad)).then_some((key, "NoSchedule")))
        .collect();
    let mut wanted: Vec<(&str, &str)> = told.clone();
    // Pods that are being moved away already go on to be, whichever way their node is not there.
    if before.iter().any(moves_away) {
        let away = told.iter().filter(|(key, _)| AWAY.contains(key));
        wanted.extend(away.map(|(key, _)| (*key, "NoExecute")));
    }
    if cordoned {
        wanted.push((CORDONED, "NoSchedule"));
    }
    let ours = |taint: &Taint| {
        let known = TAINTS.iter().any(|(_, _, key)| *key == taint.key) || taint.key == CORDONED;
        known && taint.effect != "PreferNoSchedule"
    };
    // A node that has not told anything yet keeps the taints it came with.
    let speaks = status(conditions, "Ready").is_some();
    let is_wanted = |taint: &Taint| wanted.iter().any(|(key, effect)| taint.key == *key && taint.effect == *effect);
    let mut after: Vec<Taint> = before.iter().filter(|t| !ours(t) || !speaks || is_wanted(t)).cloned().collect();
    for (key, effect) in wanted {
        if !after.iter().any(|taint| taint.key == key && taint.effect == effect) {
            after.push(Taint {
                key: key.to_owned(),
                effect: effect.to_owned(),
                value: None,
                time_added: Some(Time(now)),
            });
        }
    }
    if after != before {
        // Only the taints are compared with what was read: the status may have been written just now.
        plan.patch(node, None, json!({"spec": {"taints": after}}));
    }
}

/// Whether it is this controller's taint that moves pods away.
fn moves_away(taint: &Taint) -> bool {
    taint.effect == "NoExecute" && AWAY.contains(&taint.key.as_str())
}

/// The pods of a node that is not ready are not ready either, whatever they told last.
fn unready(view: &View, node: &Node, now: Timestamp, plan: &mut Plan) {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    for pod in index::pods_on(view, name).iter().filter(|pod| pods::is_ready(pod)) {
        let mut conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        for condition in conditions.iter_mut().filter(|condition| condition.type_ == "Ready") {
            condition.status = "False".to_owned();
            condition.last_transition_time = Some(Time(now));
        }
        let patch = json!({"metadata": {"resourceVersion": pod.metadata.resource_version}, "status": {"conditions": conditions}});
        plan.patch(pod.as_ref(), Some("status"), patch);
        plan.event(pod.as_ref(), Severity::Warning, "NodeNotReady", "Node is not ready");
    }
}
