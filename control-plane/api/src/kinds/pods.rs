//! Pods, pod templates and bindings.

use super::fill::{each, list, made, map, sub};
use super::pod_spec;
use super::rules;
use super::shape::keep_other_half;
use super::{columns, names, subresources, texts};
use crate::kind::Context;
use crate::kind::Kind;
use crate::object::Object;
use crate::table;
use crate::value::{Map, Value};
use std::borrow::Cow;

pub static BINDING: Kind = Kind {
    names: names!("", "v1", "Binding", "bindings", "binding", [], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.Binding"),
    verbs: texts!["create"],
    ..Kind::PLAIN
};

pub static POD: Kind = Kind {
    names: names!("", "v1", "Pod", "pods", "pod", ["po"], ["all"]),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.Pod"),
    subresources: subresources![
        ("attach", "", "", "PodAttachOptions", ["create", "get"]),
        ("binding", "", "", "Binding", ["create"]),
        ("ephemeralcontainers", "", "", "Pod", ["get", "patch", "update"]),
        ("eviction", "policy", "v1", "Eviction", ["create"]),
        ("exec", "", "", "PodExecOptions", ["create", "get"]),
        ("log", "", "", "Pod", ["get"]),
        ("portforward", "", "", "PodPortForwardOptions", ["create", "get"]),
        ("proxy", "", "", "PodProxyOptions", ["create", "delete", "get", "patch", "update"]),
        ("resize", "", "", "Pod", ["get", "patch", "update"]),
        ("status", "", "", "Pod", ["get", "patch", "update"]),
    ],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Ready", "string", "", 0),
        ("Status", "string", "", 0),
        ("Restarts", "string", "", 0),
        ("Age", "string", "", 0),
        ("IP", "string", "", 1),
        ("Node", "string", "", 1),
        ("Nominated Node", "string", "", 1),
        ("Readiness Gates", "string", "", 1),
    ],
    has_status: true,
    has_generation: true,
    default: pod,
    prepare_create: new_pod,
    prepare_update: update_pod,
    selectable: pod_fields,
    selectable_fields: POD_FIELDS,
    cells: table::pods,
    validate: rules::pod,
    validate_update: rules::pod_update,
    warnings: rules::pod_warnings,
    ..Kind::PLAIN
};

pub static POD_TEMPLATE: Kind = Kind {
    names: names!("", "v1", "PodTemplate", "podtemplates", "podtemplate", [], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.PodTemplate"),
    columns: columns![
        ("Name", "string", "name", 0),
        ("Containers", "string", "", 0),
        ("Images", "string", "", 0),
        ("Pod Labels", "string", "", 0),
    ],
    has_generation: true,
    default: |o| pod_spec::template(&mut o.0),
    cells: table::pod_templates,
    validate: rules::pod_template,
    warnings: rules::pod_template_warnings,
    validate_update: rules::metadata_update,
    ..Kind::PLAIN
};

fn pod(object: &mut Object) {
    if let Some(spec) = sub(&mut object.0, "spec") {
        pod_spec::pod_spec(spec);
        pod_spec::pod(spec);
    }
}

/// Where a pod may stand beside others that have, or have not, its own values of some labels, its selectors say so.
fn labels_into_selectors(spec: &mut Map, labels: &Map) {
    let add = |term: &mut Map| {
        for (keys, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
            let keys = term.get(keys).and_then(Value::as_list).unwrap_or(&[]).iter().filter_map(Value::as_str);
            let one = |key: &str| {
                let value = labels.get(key)?.clone();
                Some(map([("key", key.into()), ("operator", operator.into()), ("values", list([value]))]))
            };
            let added: Vec<Value> = keys.filter_map(one).collect();
            let Some(selector) = sub(term, "labelSelector").filter(|_| !added.is_empty()) else { continue };
            match selector.get_mut("matchExpressions") {
                Some(Value::List(known)) => known.extend(added),
                _ => drop(selector.insert("matchExpressions", added)),
            }
        }
    };
    each(spec, "topologySpreadConstraints", add);
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(pods) = sub(spec, "affinity").and_then(|a| sub(a, kind)) else { continue };
        each(pods, "requiredDuringSchedulingIgnoredDuringExecution", add);
        each(pods, "preferredDuringSchedulingIgnoredDuringExecution", |weighted| {
            if let Some(term) = sub(weighted, "podAffinityTerm") {
                add(term);
            }
        });
    }
}

fn new_pod(object: &mut Object, context: Context<'_>) {
    let labels = object.at(&["metadata", "labels"]).and_then(Value::as_map).cloned().unwrap_or_default();
    let spec = made(&mut object.0, "spec");
    labels_into_selectors(spec, &labels);
    if spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64).is_some_and(|s| s < 0) {
        // Negative asks for as short as can be.
        spec.insert("terminationGracePeriodSeconds", 1);
    }
    let status = pod_spec::first_status(spec, context.now);
    object.0.insert("status", status);
}

/// Each subresource writes its own part of a pod; a write of the pod keeps the status, whose class of service follows
/// from the spec.
fn update_pod(new: &mut Object, old: &Object, context: Context<'_>) {
    match context.subresource {
        "" | "status" => keep_other_half(new, old, context),
        "ephemeralcontainers" => keep_all_but(new, old, &["ephemeralContainers"]),
        "resize" => {
            let lists = ["containers", "initContainers"].map(|list| (list, resized(new, old, list)));
            keep_all_but(new, old, &["resources"]);
            for (list, containers) in lists {
                if let Some(containers) = containers {
                    new.set(&["spec", list], containers);
                }
            }
        }
        _ => {}
    }
    if let Some(class) = old.at(&["status", "qosClass"]).cloned() {
        new.set(&["status", "qosClass"], class);
    }
}

/// The old containers with what a resize may change. Another name stays, for validation to complain of.
fn resized(new: &Object, old: &Object, list: &str) -> Option<Vec<Value>> {
    let before = old.at(&["spec", list]).and_then(Value::as_list)?;
    let mut containers = before.to_vec();
    let wanted = new.at(&["spec", list]).and_then(Value::as_list).unwrap_or(&[]);
    for (container, wanted) in containers.iter_mut().filter_map(Value::as_map_mut).zip(wanted) {
        for field in ["name", "resources", "resizePolicy"] {
            match wanted.get(field).cloned() {
                Some(value) => drop(container.insert(field, value)),
                None => drop(container.remove(field)),
            }
        }
    }
    Some(containers)
}

/// The old pod with some fields of the new spec, and what of its metadata the write is about.
fn keep_all_but(new: &mut Object, old: &Object, fields: &[&'static str]) {
    let mut kept = old.0.clone();
    let spec = made(&mut kept, "spec");
    for field in fields {
        match new.at(&["spec", field]).cloned() {
            Some(value) => drop(spec.insert(*field, value)),
            None => drop(spec.remove(field)),
        }
    }
    let meta = made(&mut kept, "metadata");
    for field in ["name", "namespace", "uid", "resourceVersion", "managedFields"] {
        match new.at(&["metadata", field]).cloned() {
            Some(value) => drop(meta.insert(field, value)),
            None => drop(meta.remove(field)),
        }
    }
    new.0 = kept;
}

const POD_FIELDS: &[&str] = &[
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.podIPs",
    "status.nominatedNodeName",
];

fn pod_fields(object: &Object) -> Vec<(&'static str, String)> {
    let value = |name: &'static str| match name {
        "spec.hostNetwork" => object.bool_at(&["spec", "hostNetwork"]).unwrap_or(false).to_string(),
        "status.podIPs" => pod_ips(object),
        _ => {
            let (part, field) = name.split_once('.').unwrap_or((name, ""));
            object.str_at(&[part, field]).to_owned()
        }
    };
    POD_FIELDS.iter().map(|name| (*name, value(name))).collect()
}

fn pod_ips(object: &Object) -> String {
    let ips = object.at(&["status", "podIPs"]).and_then(Value::as_list).unwrap_or(&[]);
    ips.iter().filter_map(|ip| ip.get("ip")?.as_str()).collect::<Vec<_>>().join(",")
}
