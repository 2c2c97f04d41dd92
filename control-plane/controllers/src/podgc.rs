//! Removes pods that nobody else will: on nodes that are gone, deleted before they had a node, and too many finished ones.

use std::time::Duration;

use client::plan::DeleteOptions;
use client::{Controller, Decision, Key, Moment, Plan, Read, View, Watches};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::core::ApiResource;
use serde_json::json;

use crate::{index, pods};

/// Finished pods that are kept, as upstream.
const FINISHED_KEPT: usize = 12_500;
const PERIOD: Duration = Duration::from_secs(20);

pub(crate) struct PodGarbage;

impl Controller for PodGarbage {
    fn name(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.mapped::<Pod>(|_, change| match &change.after {
            Some(pod) if never_ran(pod) => vec![change.key.clone()],
            _ => vec![],
        });
        watches.seen::<Node>();
        watches.every(PERIOD, |view| {
            let pods = view.of::<Pod>().list();
            let nodes = view.of::<Node>();
            let lost = |pod: &Pod| !pods::node(pod).is_empty() && nodes.get("", pods::node(pod)).is_none();
            let mut keys: Vec<Key> = pods.iter().filter(|pod| lost(pod)).map(|pod| Key::of(pod.as_ref())).collect();
            let mut finished: Vec<_> = pods.iter().filter(|pod| pods::is_finished(pod)).collect();
            finished.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
            let surplus = finished.len().saturating_sub(FINISHED_KEPT);
            keys.extend(finished.into_iter().take(surplus).map(|pod| Key::of(pod.as_ref())));
            keys
        });
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let mut plan = Plan::done();
        let Some(pod) = view.of::<Pod>().get_key(key) else { return plan.into() };
        let node = pods::node(&pod);
        let lost = !node.is_empty() && view.of::<Node>().get("", node).is_none();
        if lost {
            // The node may be back already: only the server knows.
            let read = Read::object(&ApiResource::erase::<Node>(&()), &Key::new("", node)).metadata();
            match view.answer(&read) {
                None => return Decision::Need(vec![read]),
                Some(Some(_)) => return plan.into(),
                Some(None) => fail(&pod, moment.now, &mut plan),
            }
        }
        let surplus = || pods::is_finished(&pod) && index::finished_pods(view) > FINISHED_KEPT;
        if lost || never_ran(&pod) || surplus() {
            let at_once = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
            plan.delete_with(pod.as_ref(), at_once);
        }
        plan.into()
    }
}

fn never_ran(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() && pods::node(pod).is_empty()
}

/// A pod whose node is gone did not finish: it says so before it goes.
fn fail(pod: &Pod, now: Timestamp, plan: &mut Plan) {
    if pods::is_finished(pod) {
        return;
    }
    let conditions = pods::disrupted(pod, "DeletionByPodGC", "PodGC: node no longer exists", now);
    let version = &pod.metadata.resource_version;
    let patch =
        json!({"metadata": {"resourceVersion": version}, "status": {"phase": "Failed", "conditions": conditions}});
    plan.patch(pod, Some("status"), patch);
}
