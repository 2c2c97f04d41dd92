//! Priority: a pod's priority is what its PriorityClass says, and only one class is the default.

use super::{Admission, Operation};
use crate::ctx::Ctx;
use crate::lookup;
use api::{Object, Status};

const PREEMPT: &str = "PreemptLowerPriority";

pub(super) async fn mutate(ctx: &Ctx, admission: &mut Admission<'_>) -> Result<(), Status> {
    if admission.writes(lookup::PODS, "", &[Operation::Update]) {
        if let (Some(old), Some(pod)) = (admission.old, admission.object.as_mut()) {
            for path in [["spec", "priority"], ["spec", "preemptionPolicy"]] {
                let kept = old.at(&path).filter(|v| !v.is_null()).cloned();
                if let Some(kept) = kept.filter(|_| pod.at(&path).is_none_or(api::Value::is_null)) {
                    pod.set(&path, kept);
                }
            }
        }
        return Ok(());
    }
    if !admission.writes(lookup::PODS, "", &[Operation::Create]) {
        return Ok(());
    }
    let name = admission.object.as_ref().map_or("", |p| p.str_at(&["spec", "priorityClassName"])).to_owned();
    let class = match name.as_str() {
        "" => default_class(&ctx.registry.all(lookup::PRIORITY_CLASSES, None).await?),
        name => match ctx.registry.find(lookup::PRIORITY_CLASSES, "", name).await? {
            Some(class) => Some(class),
            None => return Err(admission.forbid(&format!("no PriorityClass with name {name} was found"))),
        },
    };
    let Some(pod) = admission.object.as_mut() else { return Ok(()) };
    prioritise(pod, class.as_ref()).map_err(|why| admission.forbid(&why))
}

/// The class that pods without one get: of several defaults the lowest.
fn default_class(classes: &[Object]) -> Option<Object> {
    let defaults = classes.iter().filter(|c| c.bool_at(&["globalDefault"]) == Some(true));
    defaults.min_by_key(|c| c.i64_at(&["value"])).cloned()
}

pub(super) fn prioritise(pod: &mut Object, class: Option<&Object>) -> Result<(), String> {
    let priority = class.and_then(|c| c.i64_at(&["value"])).unwrap_or(0);
    let policy = class.map(|c| c.str_at(&["preemptionPolicy"])).filter(|p| !p.is_empty()).unwrap_or(PREEMPT);
    let computed = "priority admission controller computed";
    if let Some(given) = pod.i64_at(&["spec", "priority"]).filter(|g| *g != priority) {
        return Err(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; {computed} {priority} from the given PriorityClass name"
        ));
    }
    let given = pod.str_at(&["spec", "preemptionPolicy"]);
    if !given.is_empty() && given != policy {
        return Err(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; {computed} {policy} from the given PriorityClass name"
        ));
    }
    if let Some(class) = class {
        pod.set(&["spec", "priorityClassName"], class.name());
    }
    pod.set(&["spec", "priority"], priority);
    pod.set(&["spec", "preemptionPolicy"], policy);
    Ok(())
}

pub(super) async fn validate(ctx: &Ctx, admission: &Admission<'_>) -> Result<(), Status> {
    if !admission.writes(lookup::PRIORITY_CLASSES, "", &[Operation::Create, Operation::Update]) {
        return Ok(());
    }
    let Some(class) = admission.object.as_ref().filter(|c| c.bool_at(&["globalDefault"]) == Some(true)) else {
        return Ok(());
    };
    let classes = ctx.registry.all(lookup::PRIORITY_CLASSES, None).await?;
    let other = classes.iter().find(|c| c.bool_at(&["globalDefault"]) == Some(true) && c.name() != class.name());
    match other {
        Some(other) => Err(admission.forbid(&format!(
            "PriorityClass {} is already marked as default. Only one default can exist",
            other.name()
        ))),
        None => Ok(()),
    }
}
