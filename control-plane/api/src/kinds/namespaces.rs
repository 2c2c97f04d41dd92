//! Namespaces.

use super::fill::{made, map, put_text};
use super::rules;
use super::shape::keep_other_half;
use super::{columns, names, subresources, texts};
use crate::kind::Context;
use crate::kind::{Kind, Scope};
use crate::object::Object;
use crate::table;
use crate::value::Value;
use std::borrow::Cow;

pub static NAMESPACE: Kind = Kind {
    names: names!("", "v1", "Namespace", "namespaces", "namespace", ["ns"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.Namespace"),
    scope: Scope::Cluster,
    verbs: texts!["create", "delete", "get", "list", "patch", "update", "watch"],
    subresources: subresources![
        ("finalize", "", "", "Namespace", ["update"]),
        ("status", "", "", "Namespace", ["get", "patch", "update"]),
    ],
    columns: columns![("Name", "string", "name", 0), ("Status", "string", "", 0), ("Age", "string", "", 0),],
    has_status: true,
    default: namespace,
    prepare_create: new_namespace,
    prepare_update: update_namespace,
    selectable: |o| vec![("status.phase", o.str_at(&["status", "phase"]).to_owned())],
    selectable_fields: &["status.phase"],
    cells: table::namespaces,
    validate: rules::namespace,
    validate_update: rules::namespace_update,
    ..Kind::PLAIN
};

fn namespace(object: &mut Object) {
    name_label(object);
    put_text(made(&mut object.0, "status"), "phase", "Active");
}

/// Every namespace is labelled with its name, so that selectors can choose it.
fn name_label(object: &mut Object) {
    let name = object.name().to_owned();
    if !name.is_empty() {
        made(object.meta_mut(), "labels").insert("kubernetes.io/metadata.name", name);
    }
}

fn new_namespace(object: &mut Object, _: Context<'_>) {
    name_label(object);
    object.set(&["status"], map([("phase", "Active".into())]));
    let finalizers = made(&mut object.0, "spec").entry("finalizers");
    let mut kept = finalizers.as_list().unwrap_or(&[]).to_vec();
    let ours = Value::from("kubernetes");
    if !kept.contains(&ours) {
        kept.push(ours);
    }
    *finalizers = Value::List(kept);
}

/// Only `finalize` writes what finalizes a namespace.
fn update_namespace(new: &mut Object, old: &Object, context: Context<'_>) {
    match context.subresource {
        "finalize" => match old.0.get("status") {
            Some(status) => drop(new.0.insert("status", status.clone())),
            None => drop(new.0.remove("status")),
        },
        _ => {
            keep_other_half(new, old, context);
            if let Some(finalizers) = old.at(&["spec", "finalizers"]) {
                new.set(&["spec", "finalizers"], finalizers.clone());
            }
        }
    }
}
