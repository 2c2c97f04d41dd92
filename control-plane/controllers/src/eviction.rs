//! Taints with the effect NoExecute: pods that do not tolerate them go, those that do for a while go after it.

use std::time::Duration;

use client::plan::Severity;
use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition, Taint, Toleration};
use serde_json::json;

use crate::{index, pods};

pub(crate) struct TaintEviction;

impl Controller for TaintEviction {
    fn name(&self) -> &'static str {
        "taint-eviction-controller"
    }

    fn identity(&self) -> &'static str {
        "node-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.mapped::<Pod>(|view, change| {
            let node = change.after.as_ref().and_then(|pod| view.of::<Node>().get("", pods::node(pod)));
            node.filter(|node| evicting(node).next().is_some()).map_or(vec![], |_| vec![change.key.clone()])
        });
        watches.mapped::<Node>(|view, change| {
            let taints = |node: &Option<std::sync::Arc<Node>>| {
                node.as_ref().map(|node| evicting(node).cloned().collect::<Vec<_>>()).unwrap_or_default()
            };
            if taints(&change.after).is_empty() || taints(&change.before) == taints(&change.after) {
                return vec![];
            }
            index::pods_on(view, &change.key.name).iter().map(|pod| Key::of(pod.as_ref())).collect()
        });
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let mut plan = Plan::done();
        let Some(pod) = view.of::<Pod>().get_key(key).filter(|pod| pods::is_active(pod)) else { return plan.into() };
        let Some(node) = view.of::<Node>().get("", pods::node(&pod)) else { return plan.into() };
        let Some(until) = evicting(&node).filter_map(|taint| stays(&pod, taint, moment.now)).min() else {
            return plan.into();
        };
        let left = until.duration_since(moment.now);
        if left > SignedDuration::ZERO {
            plan.again(Duration::try_from(left).unwrap_or_default());
        } else {
            evict(&pod, moment.now, &mut plan);
        }
        plan.into()
    }
}

fn evicting(node: &Node) -> impl Iterator<Item = &Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| taint.effect == "NoExecute")
}

/// Until when the pod may stay with this taint; none if for ever.
fn stays(pod: &Pod, taint: &Taint, now: Timestamp) -> Option<Timestamp> {
    let tolerations = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    let meeting: Vec<_> = tolerations.filter(|toleration| meets(toleration, taint)).collect();
    if meeting.is_empty() {
        return Some(now);
    }
    let shortest = meeting.iter().filter_map(|toleration| toleration.toleration_seconds).min()?;
    let since = taint.time_added.as_ref().map_or(now, |time| time.0);
    since.checked_add(SignedDuration::from_secs(shortest.max(0))).ok()
}

pub(crate) fn meets(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (key, effect) = (text(&toleration.key), text(&toleration.effect));
    let value = match toleration.operator.as_deref().unwrap_or_default() {
        "Exists" => true,
        "" | "Equal" => !key.is_empty() && text(&toleration.value) == text(&taint.value),
        _ => false,
    };
    value && (effect.is_empty() || effect == taint.effect) && (key.is_empty() || key == taint.key)
}

fn evict(pod: &Pod, now: Timestamp, plan: &mut Plan) {
    let reason = "DeletionByTaintManager";
    let said = |c: &PodCondition| c.status == "True" && c.reason.as_deref() == Some(reason);
    if !pods::condition(pod, "DisruptionTarget").is_some_and(said) {
        let conditions = pods::disrupted(pod, reason, "Taint manager: deleting due to NoExecute taint", now);
        let version = &pod.metadata.resource_version;
        let patch = json!({"metadata": {"resourceVersion": version}, "status": {"conditions": conditions}});
        plan.patch(pod, Some("status"), patch);
    }
    plan.event(pod, Severity::Normal, "TaintManagerEviction", format!("Marking for deletion Pod {}", Key::of(pod)));
    plan.delete(pod);
}
