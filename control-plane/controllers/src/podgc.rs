//! Removes pods that nobody else will: on nodes that are gone or off for good, deleted before they had a node, and too many
//! finished ones.

use std::sync::Arc;
use std::time::Duration;

use client::plan::DeleteOptions;
use client::{Controller, Decision, Key, Moment, Plan, Read, View, Watches};
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use kube::core::ApiResource;
use serde_json::json;

use crate::{index, pods};

/// Finished pods that are kept, as upstream.
const FINISHED_KEPT: usize = 12_500;
/// Says that a node is off and stays off.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
const PERIOD: Duration = Duration::from_secs(20);

pub(crate) struct PodGarbage;

impl Controller for PodGarbage {
    fn name(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.mapped::<Pod>(|view, change| match &change.after {
            Some(pod) if never_ran(pod) || is_out_of_service(view, pod) => vec![change.key.clone()],
            _ => vec![],
        });
        watches.mapped::<Node>(|view, change| {
            let ending = change.after.iter().flat_map(|_| index::pods_on(view, &change.key.name));
            ending.filter(|pod| is_out_of_service(view, pod)).map(|pod| Key::of(pod.as_ref())).collect()
        });
        watches.every(PERIOD, |view| {
            let pods = view.of::<Pod>().list();
            let lost = pods.iter().filter(|pod| is_lost(view, pod)).map(|pod| Key::of(pod.as_ref()));
            lost.chain(surplus(&pods)).collect()
        });
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let mut plan = Plan::done();
        let Some(pod) = view.of::<Pod>().get_key(key) else { return plan.into() };
        if is_lost(view, &pod) {
            // The node may be back already: only the server knows.
            let read = Read::object(&ApiResource::erase::<Node>(&()), &Key::new("", pods::node(&pod))).metadata();
            match view.answer(&read) {
                None => return Decision::Need(vec![read]),
                Some(Some(_)) => return plan.into(),
                Some(None) => {
                    let gone = pods::disrupted(&pod, "DeletionByPodGC", "PodGC: node no longer exists", moment.now);
                    remove(&pod, Some(gone), &mut plan);
                }
            }
        } else if never_ran(&pod)
            || is_out_of_service(view, &pod)
            || pods::is_finished(&pod) && index::finished_pods(view) > FINISHED_KEPT
        {
            remove(&pod, None, &mut plan);
        }
        plan.into()
    }
}

fn never_ran(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() && pods::node(pod).is_empty()
}

fn is_lost(view: &View, pod: &Pod) -> bool {
    !pods::node(pod).is_empty() && view.of::<Node>().get("", pods::node(pod)).is_none()
}

/// Whether somebody says that the node of a pod that is being deleted is off for good: nobody will end the pod there.
fn is_out_of_service(view: &View, pod: &Pod) -> bool {
    let Some(node) = view.of::<Node>().get("", pods::node(pod)) else { return false };
    let mut taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    pod.metadata.deletion_timestamp.is_some() && !ready && taints.any(|taint| taint.key == OUT_OF_SERVICE)
}

/// Finished pods that are too many: those that a node evicted first, then the oldest.
fn surplus(pods: &[Arc<Pod>]) -> impl Iterator<Item = Key> {
    let mut finished: Vec<_> = pods.iter().filter(|pod| pods::is_finished(pod)).collect();
    let evicted = |pod: &Pod| pod.status.as_ref().is_some_and(|s| s.reason.as_deref() == Some("Evicted"));
    finished.sort_by_cached_key(|pod| (!evicted(pod), pod.metadata.creation_timestamp.as_ref().map(|time| time.0)));
    let surplus = finished.len().saturating_sub(FINISHED_KEPT);
    finished.into_iter().take(surplus).map(|pod| Key::of(pod.as_ref()))
}

/// A pod that nobody ends did not finish: it says so before it goes.
fn remove(pod: &Pod, conditions: Option<Vec<PodCondition>>, plan: &mut Plan) {
    if !pods::is_finished(pod) {
        let mut patch =
            json!({"metadata": {"resourceVersion": pod.metadata.resource_version}, "status": {"phase": "Failed"}});
        if let Some(conditions) = conditions {
            patch["status"]["conditions"] = json!(conditions);
        }
        plan.patch(pod, Some("status"), patch);
    }
    plan.delete_with(pod, DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() });
}
