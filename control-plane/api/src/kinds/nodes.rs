//! Nodes and component statuses.

use super::fill::{has, sub, text};
use super::rules;
use super::shape::keep_other_half;
use super::{columns, names, subresources, texts};
use crate::kind::{Context, Kind, Scope};
use crate::object::Object;
use crate::table;
use crate::value::Value;
use std::borrow::Cow;

pub static COMPONENT_STATUS: Kind = Kind {
    names: names!("", "v1", "ComponentStatus", "componentstatuses", "componentstatus", ["cs"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.ComponentStatus"),
    scope: Scope::Cluster,
    verbs: texts!["get", "list"],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Status", "string", "", 0),
        ("Message", "string", "", 0),
        ("Error", "string", "", 0),
    ],
    cells: table::component_statuses,
    ..Kind::PLAIN
};

pub static NODE: Kind = Kind {
    names: names!("", "v1", "Node", "nodes", "node", ["no"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.Node"),
    scope: Scope::Cluster,
    subresources: subresources![
        ("proxy", "", "", "NodeProxyOptions", ["create", "delete", "get", "patch", "update"]),
        ("status", "", "", "Node", ["get", "patch", "update"]),
    ],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Status", "string", "", 0),
        ("Roles", "string", "", 0),
        ("Age", "string", "", 0),
        ("Version", "string", "", 0),
        ("Internal-IP", "string", "", 1),
        ("External-IP", "string", "", 1),
        ("OS-Image", "string", "", 1),
        ("Kernel-Version", "string", "", 1),
        ("Container-Runtime", "string", "", 1),
    ],
    has_status: true,
    default: node,
    prepare_create: |o, _| without_configuration(o),
    prepare_update: update_node,
    warnings: rules::node_warnings,
    selectable: |o| vec![("spec.unschedulable", o.bool_at(&["spec", "unschedulable"]).unwrap_or(false).to_string())],
    selectable_fields: &["spec.unschedulable"],
    cells: table::nodes,
    validate: rules::node,
    validate_update: rules::node_update,
    ..Kind::PLAIN
};

/// What kubelets do no longer: their configuration by an object of the API.
fn without_configuration(object: &mut Object) {
    for (part, key) in [("spec", "configSource"), ("status", "config")] {
        sub(&mut object.0, part).map(|map| map.remove(key));
    }
}

fn update_node(new: &mut Object, old: &Object, context: Context<'_>) {
    without_configuration(new);
    keep_other_half(new, old, context);
}

/// What can be given out is all there is, unless the node says less; the first of the pod ranges has a field of its own.
fn node(object: &mut Object) {
    if let Some(status) = sub(&mut object.0, "status")
        && let Some(Value::Map(capacity)) = status.get("capacity").cloned()
        && !has(status, "allocatable")
    {
        status.insert("allocatable", capacity);
    }
    if let Some(spec) = sub(&mut object.0, "spec") {
        let range = text(spec, "podCIDR").to_owned();
        let first = spec.get("podCIDRs").and_then(|l| l.at(&["0"])).and_then(Value::as_str);
        if !range.is_empty() && first != Some(&range) {
            spec.insert("podCIDRs", vec![range]);
        } else if let Some(first) = spec.get("podCIDRs").and_then(|l| l.at(&["0"])).cloned()
            && range.is_empty()
        {
            spec.insert("podCIDR", first);
        }
    }
}
