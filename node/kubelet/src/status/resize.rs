//! What a pod's status says of its resources: what each container has, and whether the pod waits for others.

use super::conditions::Verdict;
use crate::observed::{Container, RuntimeStatus};
use crate::plan;
use crate::translate::resources::Figures;
use crate::units::Unit;
use api::quantity::Format;
use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

pub const PENDING: &str = "PodResizePending";
pub const IN_PROGRESS: &str = "PodResizeInProgress";

pub(super) fn conditions(pod: &Pod, rt: &RuntimeStatus) -> Vec<(&'static str, Verdict)> {
    let mut list = Vec::new();
    if rt.ending.is_some() {
        return list;
    }
    if let Some(pending) = &rt.pending {
        let (reason, message) = (Some(pending.reason.name()), Some(pending.message.clone()));
        list.push((PENDING, Verdict { holds: true, reason, message }));
    }
    if !plan::changes(pod, rt).is_empty() {
        let failure = rt.resize_failure.as_ref();
        let reason = failure.map(|_| "Error");
        list.push((IN_PROGRESS, Verdict { holds: true, reason, message: failure.map(|f| f.message.clone()) }));
    }
    list
}

/// What the container was given, and where it runs with something else yet, that. Nothing of a container whose runtime
/// does not tell: the API then knows that it cannot be resized.
pub(super) fn has(pod: &Pod, unit: &Unit<'_>, container: Option<&Container>) -> Option<ResourceRequirements> {
    let mut given = unit.spec.resources.clone().unwrap_or_default();
    let Some(running) = container.filter(|c| c.running()) else { return Some(given) };
    let (has, wanted) = (running.figures?, Figures::wanted(pod, &unit.spec));
    if has.cpu_quota_us != wanted.cpu_quota_us {
        put(&mut given.limits, "cpu", milli(has.cpu_limit_milli()));
    }
    if has.memory_bytes != wanted.memory_bytes {
        put(&mut given.limits, "memory", bytes(has.memory_bytes));
    }
    if has.cpu_shares != wanted.cpu_shares {
        put(&mut given.requests, "cpu", milli(has.cpu_request_milli()));
    }
    Some(given)
}

fn milli(value: i64) -> api::Quantity {
    api::Quantity::from_milli(value)
}

fn bytes(value: i64) -> api::Quantity {
    api::Quantity::from_int(value).with_format(Format::BinarySi)
}

/// No limit is no entry.
fn put(list: &mut Option<BTreeMap<String, Quantity>>, name: &str, amount: api::Quantity) {
    let list = list.get_or_insert_default();
    match amount.is_zero() {
        true => drop(list.remove(name)),
        false => drop(list.insert(name.to_owned(), Quantity(amount.to_string()))),
    }
}
