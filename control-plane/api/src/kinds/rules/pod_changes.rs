//! What of a pod may change: its images and little else, and what its subresources write.

use super::annotations::{self, MIRROR};
use super::at::{At, Errors};
use super::metadata::{self, differs};
use super::{containers, placement, pod_resize, pod_status, pods};
use crate::kind::Context;
use crate::object::Object;
use crate::status::FieldError;
use crate::value::{Map, Value};

const CHANGES: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(in crate::kinds) fn pod_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    // What a new pod must be is not what a changed one must.
    out.clear();
    let errors = Errors::default();
    let root = At::root(new, &errors);
    let notes = root.fields(&["metadata", "annotations"]);
    match context.subresource {
        "" => {
            pods::whole(&root, &errors);
            annotations::changes(&notes, old, &root.field("spec"));
            changes(&root.field("spec"), old);
        }
        "status" => {
            annotations::changes(&notes, old, &root.field("spec"));
            pod_status::status(&root, old);
        }
        "ephemeralcontainers" | "resize" if old.annotation(MIRROR).is_some() => {
            let what = if context.subresource == "resize" {
                "cannot be resized"
            } else {
                "do not support ephemeral containers"
            };
            root.named("").forbidden(&format!("static pods {what}"));
            return alone(new, old, errors, out);
        }
        "ephemeralcontainers" => {
            pods::whole(&root, &errors);
            annotations::changes(&notes, old, &root.field("spec"));
            ephemeral(&root.fields(&["spec", "ephemeralContainers"]), old);
        }
        "resize" if old.str_at(&["spec", "os", "name"]) == "windows" => {
            root.named("").forbidden("windows pods cannot be resized");
            return alone(new, old, errors, out);
        }
        "resize" => {
            pods::whole(&root, &errors);
            pod_resize::resize(&root, new, old);
        }
        _ => pods::whole(&root, &errors),
    }
    out.extend(errors.into_list());
    metadata::update(new, old, out);
}

/// Behind what every update is asked, a complaint that makes all others needless.
fn alone(new: &Object, old: &Object, errors: Errors, out: &mut Vec<FieldError>) {
    metadata::common_update(new, old, out);
    out.extend(errors.into_list());
}

fn changes(spec: &At<'_>, old: &Object) {
    for list in ["containers", "initContainers"] {
        let before = old.at(&["spec", list]).and_then(Value::as_list).map_or(0, <[Value]>::len);
        if spec.field(list).len() != before {
            return spec.field(list).forbidden("pod updates may not add or remove containers");
        }
        for container in spec.field(list).items() {
            container.field("image").not_empty();
            containers::trimmed_image(&container);
        }
    }
    if !deadline(&spec.field("activeDeadlineSeconds"), old) {
        return;
    }
    tolerations(&spec.field("tolerations"), old);
    gates(&spec.field("schedulingGates"), old);
    let empty = Map::new();
    let before = old.at(&["spec"]).and_then(Value::as_map).unwrap_or(&empty);
    let mut now = fixed(spec.value.and_then(Value::as_map).unwrap_or(&empty), before);
    let is_gated = before.get("schedulingGates").and_then(Value::as_list).is_some_and(|g| !g.is_empty());
    if is_gated {
        while_gated(spec, &mut now, before);
    }
    let (fixed, before) = (Value::Map(now), Value::Map(before.clone()));
    if fixed != before {
        let changes = super::inner::changes(Some(&before), Some(&fixed), "io.k8s.api.core.v1.PodSpec", None);
        spec.forbidden(&format!("{CHANGES}\n{changes}"));
    }
}

fn as_it_was(spec: &mut Map, old: &Map, field: &'static str) {
    match old.get(field) {
        Some(value) => drop(spec.insert(field, value.clone())),
        None => drop(spec.remove(field)),
    }
}

/// A spec with what may change as it was.
fn fixed(spec: &Map, old: &Map) -> Map {
    let mut spec = spec.clone();
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        as_it_was(&mut spec, old, field);
    }
    let was_negative = old.get("terminationGracePeriodSeconds").and_then(Value::as_i64).is_some_and(|g| g < 0);
    if was_negative && spec.get("terminationGracePeriodSeconds") == Some(&Value::Int(1)) {
        as_it_was(&mut spec, old, "terminationGracePeriodSeconds");
    }
    for list in ["containers", "initContainers"] {
        let before = old.get(list).and_then(Value::as_list).unwrap_or(&[]);
        let now = spec.get_mut(list).and_then(Value::as_list_mut).into_iter().flatten();
        for (one, was) in now.zip(before) {
            if let Some(container) = one.as_map_mut() {
                as_it_was(container, was.as_map().unwrap_or(&Map::new()), "image");
            }
        }
    }
    spec
}

/// A pod that waits may be narrowed to fewer nodes: what was said stays, more may be said.
fn while_gated(spec: &At<'_>, now: &mut Map, before: &Map) {
    let selector = spec.field("nodeSelector");
    let was = before.get("nodeSelector").and_then(Value::as_map);
    let lost = |(key, value): (&crate::value::Key, &Value)| selector.value.and_then(|s| s.get(key)) != Some(value);
    if was.is_some_and(|was| was.iter().any(lost)) {
        selector.invalid("only additions to spec.nodeSelector are allowed (no mutations or deletions)");
    }
    as_it_was(now, before, "nodeSelector");
    let of_nodes =
        |spec: &Map| spec.get("affinity").and_then(|a| a.get("nodeAffinity")).filter(|n| !n.is_null()).cloned();
    let (asked, was) = (of_nodes(now), of_nodes(before));
    if asked == was {
        return;
    }
    node_terms(&spec.fields(&["affinity", "nodeAffinity"]), was.as_ref());
    let others = |affinity: &Map| {
        ["podAffinity", "podAntiAffinity"].iter().any(|k| affinity.get(k).is_some_and(|v| !v.is_null()))
    };
    let had_none = before.get("affinity").is_none_or(Value::is_null);
    let affinity = now.entry("affinity").make_map();
    match was {
        Some(was) => drop(affinity.insert("nodeAffinity", was)),
        None => drop(affinity.remove("nodeAffinity")),
    }
    if had_none && !others(affinity) {
        now.remove("affinity");
    }
}

fn node_terms(at: &At<'_>, was: Option<&Value>) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const TERM: &str = "io.k8s.api.core.v1.NodeSelectorTerm";
    let Some(before) = was.and_then(|w| w.at(&[REQUIRED, "nodeSelectorTerms"])).and_then(Value::as_list) else {
        return;
    };
    let terms = at.fields(&[REQUIRED, "nodeSelectorTerms"]);
    if !before.is_empty() && before.len() != terms.len() {
        let shown: Vec<String> =
            terms.list().iter().map(|t| super::inner::inner(Some(t), crate::schema::find(TERM))).collect();
        let shown = if terms.is() { format!("[{}]", shown.join(",")) } else { "null".to_owned() };
        return terms.invalid_as(&shown, "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
    }
    for (term, was) in terms.items().zip(before) {
        if !only_added(&term, was) {
            term.invalid_inner(TERM, "only additions are allowed (no mutations or deletions)");
        }
    }
}

fn only_added(term: &At<'_>, was: &Value) -> bool {
    let of = |list: &str| was.get(list).and_then(Value::as_list).unwrap_or(&[]);
    let lists = ["matchExpressions", "matchFields"];
    // A term of nothing selects nothing: more would make it select.
    let was_empty = lists.iter().all(|l| of(l).is_empty());
    !(was_empty && lists.iter().any(|l| !term.field(l).is_empty()))
        && lists.iter().all(|l| term.field(l).list().starts_with(of(l)))
}

/// Whether the rest is worth a look.
fn deadline(at: &At<'_>, old: &Object) -> bool {
    let before = old.i64_at(&["spec", "activeDeadlineSeconds"]);
    match (at.int(), before) {
        (Some(now), _) if !(0..=i64::from(i32::MAX)).contains(&now) => {
            at.between(0, i64::from(i32::MAX));
            false
        }
        (Some(now), Some(before)) if now > before => {
            at.invalid("must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            at.invalid_as("null", "must not update from a positive integer to nil value");
            true
        }
        _ => true,
    }
}

fn gates(at: &At<'_>, old: &Object) {
    let before = old.at(&["spec", "schedulingGates"]).and_then(Value::as_list).unwrap_or(&[]);
    let known = |name: &str| before.iter().any(|g| g.get("name").and_then(Value::as_str) == Some(name));
    // One that is named twice is told at its last place.
    let last = |gate: &At<'_>| at.items().filter(|g| g.get("name") == gate.get("name")).last().map(|g| g.path);
    for gate in at.items().filter(|g| !known(g.get("name")) && last(g).as_ref() == Some(&g.path)) {
        let why = format!("only deletion is allowed, but found new scheduling gate '{}'", gate.get("name"));
        gate.field("name").forbidden(&why);
    }
}

fn tolerations(at: &At<'_>, old: &Object) {
    let plain = |v: &Value| {
        let mut map = v.as_map().cloned().unwrap_or_default();
        map.remove("tolerationSeconds");
        map
    };
    let before = old.at(&["spec", "tolerations"]).and_then(Value::as_list).unwrap_or(&[]);
    if before.iter().any(|b| !at.list().iter().any(|n| plain(n) == plain(b))) {
        return at.forbidden("existing toleration can not be modified except its tolerationSeconds");
    }
    placement::tolerations(at);
}

fn ephemeral(at: &At<'_>, old: &Object) {
    let before = old.at(&["spec", "ephemeralContainers"]).and_then(Value::as_list).unwrap_or(&[]);
    for one in before {
        let name = one.get("name").and_then(Value::as_str).unwrap_or("");
        match at.items().filter(|n| n.get("name") == name).last() {
            None => at.forbidden(&format!("existing ephemeral containers {name:?} may not be removed\n")),
            Some(now) if differs(now.value, Some(one)) => {
                const TYPE: &str = "io.k8s.api.core.v1.EphemeralContainer";
                let changes = super::inner::changes(Some(one), now.value, TYPE, None);
                at.forbidden(&format!("existing ephemeral containers {name:?} may not be changed\n{changes}"));
            }
            Some(_) => {}
        }
    }
}
