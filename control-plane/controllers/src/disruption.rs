//! PodDisruptionBudget: how many of the chosen pods may be disturbed now. Evictions are granted by the apiserver, out of
//! what the status here allows.

mod scale;
pub(crate) mod stale;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::plan::Severity;
use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::rollout::scaled;
use crate::{index, pods};
use scale::Unknown;

/// An evicted pod that is not being deleted after this time will not be: upstream's.
const DELETED_WITHIN: SignedDuration = SignedDuration::from_mins(2);

pub(crate) struct Disruptions;

impl Controller for Disruptions {
    fn name(&self) -> &'static str {
        "disruption-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<PodDisruptionBudget>();
        watches.mapped::<Pod>(|view, change| {
            let pods = [&change.before, &change.after].into_iter().flatten();
            let budgets = pods.flat_map(|pod| index::budgets_of(view, pod));
            let mut keys: Vec<Key> = budgets.map(|budget| Key::of(budget.as_ref())).collect();
            keys.sort_unstable();
            keys.dedup();
            keys
        });
        watches.seen::<Deployment>();
        watches.seen::<ReplicaSet>();
        watches.seen::<StatefulSet>();
        watches.seen::<ReplicationController>();
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        match view.of::<PodDisruptionBudget>().get_key(key) {
            Some(budget) => plan(view, &budget, moment.now),
            None => Plan::done().into(),
        }
    }
}

/// How many pods there are to be, and how many of them healthy.
struct Aim {
    expected: i32,
    desired: i32,
    unmanaged: bool,
}

fn plan(view: &View, budget: &PodDisruptionBudget, now: Timestamp) -> Decision {
    let mut plan = Plan::done();
    let namespace = budget.metadata.namespace.as_deref().unwrap_or_default();
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let chosen = selector.map(|selector| index::chosen(view, namespace, selector)).unwrap_or_default();
    if chosen.is_empty() {
        plan.event(budget, Severity::Normal, "NoPods", "No matching pods found");
    }
    let spec = budget.spec.clone().unwrap_or_default();
    let status = match aim(view, &spec, &chosen) {
        Ok(aim) => {
            if aim.unmanaged {
                plan.event(budget, Severity::Warning, "UnmanagedPods", unmanaged(&spec));
            }
            measure(budget, &chosen, &aim, now, &mut plan)
        }
        Err(Unknown::Reads(reads)) => return Decision::Need(reads),
        Err(Unknown::Failed(why)) => {
            let message = format!("Failed to calculate the number of expected pods: {why}");
            plan.event(budget, Severity::Warning, "CalculateExpectedPodCountFailed", message);
            // Nothing is known, so nothing is allowed.
            let mut status = budget.status.clone().unwrap_or_default();
            status.disruptions_allowed = Some(0);
            tell(&mut status, "SyncFailed", &why, now);
            status
        }
    };
    if budget.status.as_ref() != Some(&status) {
        plan.status(&PodDisruptionBudget { status: Some(status), ..budget.clone() });
    }
    plan.into()
}

fn unmanaged(spec: &PodDisruptionBudgetSpec) -> String {
    let selector = serde_json::to_string(&spec.selector).unwrap_or_default();
    format!(
        "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the status of \
         the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set \
         \".spec.minAvailable\" field of the PDB to an integer value."
    )
}

fn aim(view: &View, spec: &PodDisruptionBudgetSpec, chosen: &[Arc<Pod>]) -> Result<Aim, Unknown> {
    if let Some(IntOrString::Int(desired)) = spec.min_available.as_ref().filter(|_| spec.max_unavailable.is_none()) {
        return Ok(Aim { expected: count(chosen.len()), desired: *desired, unmanaged: false });
    }
    let part = spec.max_unavailable.as_ref().or(spec.min_available.as_ref());
    let Some(part) = part else { return Ok(Aim { expected: 0, desired: 0, unmanaged: false }) };
    let (expected, unmanaged) = scale::of(view, chosen)?;
    let part = scaled(part, expected, true);
    let desired = if spec.max_unavailable.is_some() { (expected - part).max(0) } else { part };
    Ok(Aim { expected, desired, unmanaged })
}

fn measure(
    budget: &PodDisruptionBudget,
    chosen: &[Arc<Pod>],
    aim: &Aim,
    now: Timestamp,
    plan: &mut Plan,
) -> PodDisruptionBudgetStatus {
    let disrupted = disrupted(budget, chosen, now, plan);
    let named = |pod: &Pod| pod.metadata.name.as_ref().is_some_and(|name| disrupted.contains_key(name));
    let healthy = |pod: &&Arc<Pod>| pod.metadata.deletion_timestamp.is_none() && !named(pod) && pods::is_ready(pod);
    let healthy = count(chosen.iter().filter(healthy).count());
    let mut status = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(aim.desired),
        expected_pods: Some(aim.expected),
        disruptions_allowed: Some(if aim.expected > 0 { (healthy - aim.desired).max(0) } else { 0 }),
        disrupted_pods: Some(disrupted).filter(|disrupted| !disrupted.is_empty()),
        observed_generation: budget.metadata.generation,
        conditions: budget.status.as_ref().and_then(|status| status.conditions.clone()),
    };
    let reason = if status.disruptions_allowed > Some(0) { "SufficientPods" } else { "InsufficientPods" };
    tell(&mut status, reason, "", now);
    status
}

/// The pods whose eviction was granted and whose deletion is not seen yet.
fn disrupted(
    budget: &PodDisruptionBudget,
    chosen: &[Arc<Pod>],
    now: Timestamp,
    plan: &mut Plan,
) -> BTreeMap<String, Time> {
    let granted = budget.status.as_ref().and_then(|status| status.disrupted_pods.as_ref());
    let mut still = BTreeMap::new();
    for pod in chosen.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        let Some((name, at)) = pod.metadata.name.as_ref().and_then(|name| granted?.get_key_value(name)) else {
            continue;
        };
        let left = (at.0 + DELETED_WITHIN).duration_since(now);
        if left.is_negative() {
            let message = format!("Pod was expected by PDB {} to be deleted but it wasn't", Key::of(budget));
            plan.event(pod.as_ref(), Severity::Warning, "NotDeleted", message);
            continue;
        }
        // At the very end it is still waited for; a moment later it is not.
        plan.again(Duration::try_from(left).unwrap_or_default() + Duration::from_millis(1));
        still.insert(name.clone(), at.clone());
    }
    still
}

/// Says whether a disruption is allowed, and why.
fn tell(status: &mut PodDisruptionBudgetStatus, reason: &str, message: &str, now: Timestamp) {
    let value = if status.disruptions_allowed > Some(0) { "True" } else { "False" };
    let all = status.conditions.get_or_insert_default();
    let before = all.iter().find(|known| known.type_ == "DisruptionAllowed" && known.status == value);
    let condition = Condition {
        type_: "DisruptionAllowed".to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: status.observed_generation,
        last_transition_time: before.map_or(Time(now), |known| known.last_transition_time.clone()),
    };
    match all.iter_mut().find(|known| known.type_ == condition.type_) {
        Some(known) => *known = condition,
        None => all.push(condition),
    }
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
