//! RuntimeClass: a pod's overhead and where it may run come from its class.

use super::{Admission, Operation, fields};
use crate::ctx::Ctx;
use crate::lookup;
use api::{Object, Quantity, Status, Value};

pub(super) async fn mutate(ctx: &Ctx, admission: &mut Admission<'_>) -> Result<(), Status> {
    if !admission.writes(lookup::PODS, "", &[Operation::Create]) {
        return Ok(());
    }
    let name = admission.object.as_ref().map_or("", |p| p.str_at(&["spec", "runtimeClassName"])).to_owned();
    let class = match name.as_str() {
        "" => None,
        name => match ctx.registry.find(lookup::RUNTIME_CLASSES, "", name).await? {
            Some(class) => Some(class),
            None => return Err(admission.forbid(&format!("pod rejected: RuntimeClass {name:?} not found"))),
        },
    };
    let Some(pod) = admission.object.as_mut() else { return Ok(()) };
    apply(pod, class.as_ref()).map_err(|why| admission.forbid(&why))
}

/// A pod says its overhead only where its class does.
pub(super) async fn validate(ctx: &Ctx, admission: &Admission<'_>) -> Result<(), Status> {
    if !admission.writes(lookup::PODS, "", &[Operation::Create]) {
        return Ok(());
    }
    let Some(pod) = admission.object.as_ref() else { return Ok(()) };
    let class = match pod.str_at(&["spec", "runtimeClassName"]) {
        name if !name.is_empty() && has_amounts(pod, &["spec", "overhead"]) => {
            ctx.registry.find(lookup::RUNTIME_CLASSES, "", name).await?
        }
        _ => None,
    };
    covered(pod, class.as_ref()).map_err(|why| admission.forbid(&why))
}

pub(super) fn covered(pod: &Object, class: Option<&Object>) -> Result<(), String> {
    let fixed = class.is_some_and(|c| has_amounts(c, &["overhead", "podFixed"]));
    match has_amounts(pod, &["spec", "overhead"]) && !fixed {
        true => Err("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead".into()),
        false => Ok(()),
    }
}

fn has_amounts(object: &Object, path: &[&str]) -> bool {
    object.at(path).and_then(Value::as_map).is_some_and(|m| !m.is_empty())
}

pub(super) fn apply(pod: &mut Object, class: Option<&Object>) -> Result<(), String> {
    let overhead =
        class.and_then(|c| c.at(&["overhead", "podFixed"])).filter(|o| o.as_map().is_some_and(|m| !m.is_empty()));
    let given = pod.at(&["spec", "overhead"]).filter(|o| o.as_map().is_some_and(|m| !m.is_empty()));
    match (overhead, given) {
        // Validation refuses it, when the amounts are known to be some.
        (None, Some(_)) => {}
        (Some(fixed), Some(given)) if !same(fixed, given) => {
            return Err("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".into());
        }
        (Some(fixed), _) => pod.set(&["spec", "overhead"], fixed.clone()),
        (None, None) => {}
    }
    let Some(scheduling) = class.and_then(|c| c.at(&["scheduling"])) else { return Ok(()) };
    for (key, value) in scheduling.get("nodeSelector").and_then(Value::as_map).into_iter().flat_map(|m| m.iter()) {
        let wanted = value.as_str().unwrap_or("");
        match pod.at(&["spec", "nodeSelector", key]).and_then(Value::as_str) {
            Some(there) if there != wanted => {
                return Err(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {wanted}; pod.spec.nodeSelector[{key}] = {there}"
                ));
            }
            _ => pod.set(&["spec", "nodeSelector", key], wanted),
        }
    }
    for toleration in fields::list(scheduling, &["tolerations"]) {
        let tolerations = fields::list_mut(pod.0.entry("spec"), "tolerations");
        if !tolerations.contains(toleration) {
            tolerations.push(toleration.clone());
        }
    }
    Ok(())
}

/// Whether two resource lists hold the same amounts, however they are written.
fn same(a: &Value, b: &Value) -> bool {
    let amounts = |v: &Value| -> Vec<(String, Option<i128>)> {
        let amount = |v: &Value| v.as_str().and_then(|t| Quantity::parse(t).ok()).map(Quantity::nanos);
        v.as_map().into_iter().flat_map(|m| m.iter()).map(|(k, v)| (k.to_string(), amount(v))).collect()
    };
    amounts(a) == amounts(b)
}
