//! Removes pods that nobody else will: on nodes that are gone or off for good, deleted before they had a node, and too many
//! finished ones.

use std::time::Duration;

use client::plan::{ACTION_LIMIT, DeleteOptions};
use client::{Controller, Decision, Key, Moment, Plan, Read, View, Watches};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use kube::core::ApiResource;
use serde_json::json;

use crate::{index, pods};

/// Finished pods that are kept if nothing is said, as upstream.
const FINISHED_KEPT: i32 = 12_500;
/// A node that is gone may be on its way back: so long its pods are left alone, as upstream.
const QUARANTINE: SignedDuration = SignedDuration::from_secs(40);
/// Says that a node is off and stays off.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
const PERIOD: Duration = Duration::from_secs(20);

/// How many finished pods are kept before the oldest go; 0 or less to keep all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinishedPods(pub i32);

impl Default for FinishedPods {
    fn default() -> FinishedPods {
        FinishedPods(FINISHED_KEPT)
    }
}

impl FinishedPods {
    pub(crate) fn kept(self) -> Option<usize> {
        usize::try_from(self.0).ok().filter(|kept| *kept > 0)
    }
}

pub(crate) struct PodGarbage {
    /// Finished pods that are kept; none to keep all.
    pub(crate) kept: Option<usize>,
}

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
            lost.chain([all_finished()]).collect()
        });
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let mut plan = Plan::done();
        if *key == all_finished() {
            if let Some(kept) = self.kept {
                trim(view, kept, &mut plan);
            }
            return plan.into();
        }
        let Some(pod) = view.of::<Pod>().get_key(key) else { return plan.into() };
        if is_lost(view, &pod) {
            let since = view.memory().and_then(|since| since.as_str()?.parse().ok()).unwrap_or(moment.now);
            let left = QUARANTINE - moment.now.duration_since(since);
            if left > SignedDuration::ZERO {
                plan.memory = Some(json!(since.to_string()));
                plan.again(Duration::try_from(left).unwrap_or_default());
                return plan.into();
            }
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
        } else if never_ran(&pod) || is_out_of_service(view, &pod) {
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

/// Stands for all finished pods together; no pod is without a namespace.
fn all_finished() -> Key {
    Key::new("", "finished")
}

/// Removes finished pods that are too many: those that a node evicted first, then the oldest.
fn trim(view: &View, kept: usize, plan: &mut Plan) {
    let mut finished = index::finished_pods(view);
    let evicted = |pod: &Pod| pod.status.as_ref().is_some_and(|s| s.reason.as_deref() == Some("Evicted"));
    finished.sort_by_cached_key(|pod| (!evicted(pod), pod.metadata.creation_timestamp.as_ref().map(|time| time.0)));
    let surplus = finished.len().saturating_sub(kept);
    finished.iter().take(surplus.min(ACTION_LIMIT)).for_each(|pod| remove(pod, None, plan));
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
