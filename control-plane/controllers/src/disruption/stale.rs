//! Takes back the word that a pod is being disrupted, if after a while it is not.

use std::time::Duration;

use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::pods;

/// Upstream's time.
const STALE_AFTER: SignedDuration = SignedDuration::from_mins(2);

pub(crate) struct StaleDisruptions;

impl Controller for StaleDisruptions {
    fn name(&self) -> &'static str {
        "stale-pod-disruption"
    }

    fn identity(&self) -> &'static str {
        "disruption-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.mapped::<Pod>(|_, change| {
            let told = change.after.as_ref().is_some_and(|pod| pods::condition(pod, "DisruptionTarget").is_some());
            told.then(|| change.key.clone()).into_iter().collect()
        });
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let mut plan = Plan::done();
        let Some(pod) = view.of::<Pod>().get_key(key).filter(|pod| pods::is_active(pod)) else { return plan.into() };
        let told = pods::condition(&pod, "DisruptionTarget").filter(|condition| condition.status == "True");
        // What the kubelet says may come long before the end.
        let Some(told) = told.filter(|told| told.reason.as_deref() != Some("TerminationByKubelet")) else {
            return plan.into();
        };
        let since = told.last_transition_time.as_ref().map_or(moment.now, |time| time.0);
        let left = (since + STALE_AFTER).duration_since(moment.now);
        if left.is_positive() {
            plan.again(Duration::try_from(left).unwrap_or_default());
            return plan.into();
        }
        let mut conditions = json!(pod.status.as_ref().and_then(|status| status.conditions.as_ref()));
        for condition in conditions.as_array_mut().into_iter().flatten() {
            if condition["type"] == "DisruptionTarget" {
                *condition = json!({"type": "DisruptionTarget", "status": "False", "lastTransitionTime": moment.now});
            }
        }
        let version = &pod.metadata.resource_version;
        let patch = json!({"metadata": {"resourceVersion": version}, "status": {"conditions": conditions}});
        plan.patch(pod.as_ref(), Some("status"), patch);
        plan.into()
    }
}
