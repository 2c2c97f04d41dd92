//! What `resize` may change: CPU and memory of a pod and its containers, within the pod's class of service.

use super::at::At;
use crate::kinds::pod_spec::qos_class;
use crate::object::Object;
use crate::value::{Map, Value};

pub(super) fn resize(root: &At<'_>, new: &Object, old: &Object) {
    let spec = root.field("spec");
    let class = |pod: &Object| pod.at(&["spec"]).and_then(Value::as_map).map_or("", qos_class);
    if class(new) != class(old) {
        spec.invalid_text(class(old), "Pod QOS Class may not change as a result of resizing");
    }
    if !can_resize(old) {
        spec.forbidden("Pod running on node without support for resize");
    }
    whole(&spec, old.at(&["spec", "resources"]));
    if !old.at(&["status", "nodeAllocatableResourceClaimStatuses"]).and_then(Value::as_list).unwrap_or(&[]).is_empty() {
        spec.forbidden("pods with node allocatable resource claims cannot be resized");
    }
    let lists = ["initContainers", "containers"].map(|list| (spec.field(list), of(old, list)));
    if !same_names(&spec, old) {
        return;
    }
    for (container, was) in lists.iter().flat_map(|(list, was)| list.items().zip(*was).collect::<Vec<_>>()) {
        kept(&container.field("resources"), was.get("resources"), "resource");
    }
    for (list, was) in lists.iter().rev() {
        list.items().zip(*was).for_each(|(container, was)| only_compute(&spec, &container, was));
    }
}

fn of<'a>(old: &'a Object, list: &str) -> &'a [Value] {
    old.at(&["spec", list]).and_then(Value::as_list).unwrap_or(&[])
}

/// Whether the containers are those that were.
fn same_names(spec: &At<'_>, old: &Object) -> bool {
    let before = spec.errors_count();
    for list in ["containers", "initContainers"] {
        let (now, was) = (spec.field(list), of(old, list));
        if now.len() != was.len() {
            now.forbidden(&format!("{list} may not be added or removed on resize"));
            continue;
        }
        for (container, was) in now.items().zip(was) {
            if was.get("name").and_then(Value::as_str) != Some(container.get("name")) {
                container.field("name").forbidden(&format!("{list} may not be renamed or reordered on resize"));
            }
        }
    }
    spec.errors_count() == before
}

/// The resources of the pod as a whole.
fn whole(spec: &At<'_>, was: Option<&Value>) {
    let at = spec.field("resources");
    let was = was.filter(|w| !w.is_null());
    if was.is_some() && !at.is() {
        return at.forbidden("pod-level resources cannot be removed");
    }
    kept(&at, was, "pod-level resource");
    if at.is() && others(at.value) != others(was) {
        spec.forbidden("only cpu and memory resources are mutable at pod-level");
    }
}

/// What was requested or limited is so still, by whatever amount.
fn kept(resources: &At<'_>, was: Option<&Value>, what: &str) {
    for list in ["requests", "limits"] {
        let before = was.and_then(|r| r.get(list)).and_then(Value::as_map);
        if before.into_iter().flat_map(Map::keys).any(|key| !resources.field(list).has(key)) {
            resources.field(list).forbidden(&format!("{what} {list} cannot be removed"));
        }
    }
}

/// Everything but the amounts of CPU and memory.
fn others(resources: Option<&Value>) -> Map {
    let mut resources = resources.and_then(Value::as_map).cloned().unwrap_or_default();
    for list in ["limits", "requests"] {
        let mut amounts = resources.remove(list).and_then(|l| l.as_map().cloned()).unwrap_or_default();
        amounts.remove("cpu");
        amounts.remove("memory");
        if !amounts.is_empty() {
            resources.insert(list, amounts);
        }
    }
    resources
}

fn only_compute(spec: &At<'_>, container: &At<'_>, was: &Value) {
    let rest = |value: Option<&Value>| {
        let mut map = value.and_then(Value::as_map).cloned().unwrap_or_default();
        let resources = others(map.remove("resources").as_ref());
        (map, resources)
    };
    let is_init = container.path.contains("initContainers[");
    let changed = rest(container.value) != rest(Some(was));
    match (changed, is_init) {
        (true, true) => container.forbidden("only cpu and memory resources for init or sidecar containers are mutable"),
        (true, false) => spec.forbidden("only cpu and memory resources are mutable"),
        _ => {}
    }
    if is_init && container.get("restartPolicy") != "Always" && container.value != Some(was) {
        for _ in container.field("resizePolicy").items().filter(|p| p.get("restartPolicy") == "RestartContainer") {
            let why = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
            container.forbidden(why);
        }
    }
}

/// Whether the pod's node resizes: one that does tells the resources of what runs there.
fn can_resize(pod: &Object) -> bool {
    let statuses = pod.at(&["status", "containerStatuses"]).and_then(Value::as_list).unwrap_or(&[]);
    let running = statuses.iter().find(|s| s.at(&["state", "running"]).is_some_and(|r| !r.is_null()));
    running.is_none_or(|s| s.get("resources").is_some_and(|r| !r.is_null()))
}
