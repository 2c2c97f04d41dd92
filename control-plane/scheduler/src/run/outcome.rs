//! A decision as writes: the binding, or the condition and the events that tell why there is none.

use client::plan::Severity;
use client::{Key, Plan};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use crate::pod::{PodInfo, uid};
use crate::schedule::{Nowhere, Preemption};

/// What is told of a pod that was bound.
pub(super) fn bound(pod: &Pod, node: &str) -> Plan {
    let mut plan = Plan::done();
    plan.event(pod, Severity::Normal, "Scheduled", format!("Successfully assigned {} to {node}", Key::of(pod)));
    plan
}

/// The pod did not come to a node for no reason of its own: it is tried again later.
pub(super) fn failed(pod: &Pod, why: &str) -> Plan {
    let mut plan = Plan::done();
    plan.event(pod, Severity::Warning, "FailedScheduling", why.to_owned());
    plan
}

/// `waits` tells which victims wait to be bound yet: they give up their place and live.
pub(super) fn unschedulable(pod: &Pod, nowhere: &Nowhere, waits: impl Fn(&PodInfo) -> bool) -> Plan {
    let mut plan = Plan::done();
    plan.event(pod, Severity::Warning, "FailedScheduling", nowhere.message.clone());
    let before = pod.status.as_ref();
    let conditions = before.and_then(|status| status.conditions.clone()).unwrap_or_default();
    let known = conditions.iter().find(|condition| condition.type_ == "PodScheduled");
    let same = known.is_some_and(|known| {
        known.status == "False"
            && known.reason.as_deref() == Some("Unschedulable")
            && known.message.as_deref() == Some(&nowhere.message)
    });
    let nominated = nowhere.preempt.as_ref().map(|preemption| preemption.node.as_str());
    let was_nominated = before.and_then(|status| status.nominated_node_name.as_deref());
    let ends = nowhere.end_nomination && was_nominated.is_some();
    if !same || ends || nominated.is_some() && nominated != was_nominated {
        let mut status = json!({"conditions": with_condition(conditions, unscheduled(&nowhere.message))});
        if nominated.is_some() || ends {
            status["nominatedNodeName"] = json!(nominated);
        }
        let version = &pod.metadata.resource_version;
        plan.patch(pod, Some("status"), json!({"metadata": {"resourceVersion": version}, "status": status}));
    }
    if let Some(preemption) = &nowhere.preempt {
        make_room(pod, preemption, waits, &mut plan);
    }
    plan
}

fn make_room(pod: &Pod, preemption: &Preemption, waits: impl Fn(&PodInfo) -> bool, plan: &mut Plan) {
    let victims = preemption.victims.iter().filter(|victim| !victim.is_leaving() && !waits(victim));
    for victim in victims.map(|victim| &victim.pod) {
        let scheduler = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or_default();
        let why = PodCondition {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
            reason: Some("PreemptionByScheduler".to_owned()),
            message: Some(format!("{scheduler}: preempting to accommodate a higher priority pod")),
            last_transition_time: Some(Time(Timestamp::now())),
            ..PodCondition::default()
        };
        let conditions = victim.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        let status = json!({"conditions": with_condition(conditions, why)});
        plan.patch(victim.as_ref(), Some("status"), json!({"status": status}));
        plan.delete(victim.as_ref());
        let message = format!("Preempted by pod {} on node {}", uid(pod), preemption.node);
        plan.event(victim.as_ref(), Severity::Normal, "Preempted", message);
    }
}

/// Room was being made for the pod where another now takes it.
pub(super) fn end_nomination(pod: &Pod, plan: &mut Plan) {
    plan.patch(pod, Some("status"), json!({"status": {"nominatedNodeName": null}}));
}

fn unscheduled(message: &str) -> PodCondition {
    PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some("Unschedulable".to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(Time(Timestamp::now())),
        ..PodCondition::default()
    }
}

/// The conditions with this one in the place of its like; the time of its transition stays if its status does.
fn with_condition(mut all: Vec<PodCondition>, mut condition: PodCondition) -> Vec<PodCondition> {
    match all.iter_mut().find(|known| known.type_ == condition.type_) {
        Some(known) => {
            if known.status == condition.status {
                condition.last_transition_time = known.last_transition_time.take();
            }
            *known = condition;
        }
        None => all.push(condition),
    }
    all
}
