//! Which objects a quota with scopes is about.

use super::pods::best_effort;
use crate::{Object, Value};

fn list<'a>(object: &'a Object, path: &[&str]) -> &'a [Value] {
    object.at(path).and_then(Value::as_list).unwrap_or_default()
}

/// Whether a quota is about an object. Only pods have scopes: a quota that has some is about nothing else.
pub fn covers(quota: &Object, group: &str, resource: &str, object: &Object) -> bool {
    let scopes = list(quota, &["spec", "scopes"]);
    let selectors = list(quota, &["spec", "scopeSelector", "matchExpressions"]);
    if scopes.is_empty() && selectors.is_empty() {
        return true;
    }
    let all = || scopes.iter().filter_map(Value::as_str).all(|scope| holds(scope, object));
    (group, resource) == ("", "pods") && all() && selectors.iter().all(|selector| selected(selector, object))
}

/// What decides which quotas are about an object, and how much of its usage counts: objects of a resource that have the same
/// are treated alike. A pod that is being deleted is like no other, for its grace passes by itself.
pub fn class(group: &str, resource: &str, object: &Object) -> String {
    if (group, resource) != ("", "pods") {
        return String::new();
    }
    if object.deletion_timestamp().is_some() {
        return format!("ends {}", object.name());
    }
    let scopes = ["Terminating", "BestEffort", "CrossNamespacePodAffinity"].map(|scope| u8::from(holds(scope, object)));
    let class = object.str_at(&["spec", "priorityClassName"]);
    format!("{}{}{} {class}", scopes[0], scopes[1], scopes[2])
}

fn holds(scope: &str, pod: &Object) -> bool {
    let deadline = pod.i64_at(&["spec", "activeDeadlineSeconds"]).is_some_and(|seconds| seconds >= 0);
    match scope {
        "Terminating" => deadline,
        "NotTerminating" => !deadline,
        "BestEffort" => best_effort(pod),
        "NotBestEffort" => !best_effort(pod),
        "PriorityClass" => !pod.str_at(&["spec", "priorityClassName"]).is_empty(),
        "CrossNamespacePodAffinity" => looks_across(pod),
        _ => false,
    }
}

fn selected(selector: &Value, pod: &Object) -> bool {
    let text = |key: &str| selector.get(key).and_then(Value::as_str).unwrap_or_default();
    let scope = text("scopeName");
    let class = pod.str_at(&["spec", "priorityClassName"]);
    let values = selector.get("values").and_then(Value::as_list).unwrap_or_default();
    let listed = !class.is_empty() && values.iter().any(|value| value.as_str() == Some(class));
    match text("operator") {
        "In" => scope == "PriorityClass" && listed,
        "NotIn" => scope == "PriorityClass" && !listed,
        "DoesNotExist" => !holds(scope, pod),
        _ => holds(scope, pod),
    }
}

/// Whether a pod's affinity looks at pods of other namespaces.
fn looks_across(pod: &Object) -> bool {
    ["podAffinity", "podAntiAffinity"].iter().any(|affinity| {
        let at = |rule| list(pod, &["spec", "affinity", affinity, rule]);
        let required = at("requiredDuringSchedulingIgnoredDuringExecution").iter();
        let preferred = at("preferredDuringSchedulingIgnoredDuringExecution").iter();
        required.chain(preferred.filter_map(|weighted| weighted.get("podAffinityTerm"))).any(|term| {
            let named = term.get("namespaces").and_then(Value::as_list).is_some_and(|names| !names.is_empty());
            named || term.get("namespaceSelector").is_some_and(|selector| !selector.is_null())
        })
    })
}
