//! ReplicationControllers.

use super::fill::{put, sub};
use super::pod_spec;
use super::rules;
use super::shape::{keep_other_half, reset_status};
use super::{columns, names, subresources};
use crate::kind::Kind;
use crate::object::Object;
use crate::table;
use crate::value::Value;
use std::borrow::Cow;

pub static REPLICATION_CONTROLLER: Kind = Kind {
    names: names!(
        "",
        "v1",
        "ReplicationController",
        "replicationcontrollers",
        "replicationcontroller",
        ["rc"],
        ["all"]
    ),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.ReplicationController"),
    subresources: subresources![
        ("scale", "autoscaling", "v1", "Scale", ["get", "patch", "update"]),
        ("status", "", "", "ReplicationController", ["get", "patch", "update"]),
    ],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Desired", "integer", "", 0),
        ("Current", "integer", "", 0),
        ("Ready", "integer", "", 0),
        ("Age", "string", "", 0),
        ("Containers", "string", "", 1),
        ("Images", "string", "", 1),
        ("Selector", "string", "", 1),
    ],
    has_status: true,
    has_generation: true,
    default: controller,
    prepare_create: reset_status,
    prepare_update: keep_other_half,
    selectable: replicas_field,
    selectable_fields: &["status.replicas"],
    cells: table::replica_sets,
    validate: rules::replication_controller,
    validate_update: rules::controller_update,
    warnings: rules::template_warnings,
    ..Kind::PLAIN
};

/// Selector and labels follow from the template.
fn controller(object: &mut Object) {
    let labels =
        object.at(&["spec", "template", "metadata", "labels"]).and_then(Value::as_map).cloned().unwrap_or_default();
    if !labels.is_empty() && object.meta_pairs("labels").next().is_none() {
        object.set(&["metadata", "labels"], labels.clone());
    }
    let Some(spec) = sub(&mut object.0, "spec") else { return };
    let selects = spec.get("selector").and_then(Value::as_map).is_some_and(|s| !s.is_empty());
    if !labels.is_empty() && !selects {
        spec.insert("selector", labels);
    }
    put(spec, "replicas", 1);
    pod_spec::template(spec);
}

fn replicas_field(object: &Object) -> Vec<(&'static str, String)> {
    vec![("status.replicas", object.i64_at(&["status", "replicas"]).unwrap_or(0).to_string())]
}
