//! What adds kinds: CustomResourceDefinitions and APIServices.

use super::fill::{has, made, put, put_text, sub, text};
use super::rules;
use super::shape::{keep_other_half, reset_status};
use super::{columns, names, subresources};
use crate::kind::Context;
use crate::kind::{Kind, Scope};
use crate::object::Object;
use crate::table;
use crate::value::{Map, Value};
use std::borrow::Cow;

pub static CUSTOM_RESOURCE_DEFINITION: Kind = Kind {
    names: names!(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "customresourcedefinition",
        ["crd", "crds"],
        ["api-extensions"]
    ),
    type_name: Cow::Borrowed("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"),
    scope: Scope::Cluster,
    subresources: subresources![("status", "", "", "CustomResourceDefinition", ["get", "patch", "update"]),],
    columns: columns![("Name", "string", "name", 0), ("Created At", "date", "", 0),],
    has_status: true,
    has_generation: true,
    unconditional_update: false,
    default: definition,
    prepare_create: new_definition,
    prepare_update: changed_definition,
    validate: rules::definition,
    validate_update: rules::definition_update,
    warnings: rules::definition_warnings,
    ..Kind::PLAIN
};

pub static API_SERVICE: Kind = Kind {
    names: names!("apiregistration.k8s.io", "v1", "APIService", "apiservices", "apiservice", [], ["api-extensions"]),
    type_name: Cow::Borrowed("io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService"),
    scope: Scope::Cluster,
    subresources: subresources![("status", "", "", "APIService", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Service", "string", "", 0),
        ("Available", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    has_status: true,
    unconditional_update: false,
    default: api_service,
    prepare_create: new_api_service,
    prepare_update: keep_other_half,
    cells: table::api_services,
    validate: rules::api_service,
    validate_update: rules::api_service_update,
    ..Kind::PLAIN
};

fn definition(object: &mut Object) {
    let Some(spec) = sub(&mut object.0, "spec") else { return };
    if let Some(names) = sub(spec, "names") {
        let kind = text(names, "kind").to_owned();
        put_text(names, "singular", &kind.to_lowercase());
        if !kind.is_empty() {
            put_text(names, "listKind", &format!("{kind}List"));
        }
    }
    if !has(spec, "conversion") {
        put_text(made(spec, "conversion"), "strategy", "None");
    }
    if let Some(service) =
        sub(made(spec, "conversion"), "webhook").and_then(|w| sub(w, "clientConfig")).and_then(|c| sub(c, "service"))
    {
        put(service, "port", 443);
    }
}

fn new_definition(object: &mut Object, context: Context<'_>) {
    reset_status(object, context);
    store_version(object);
}

fn changed_definition(new: &mut Object, old: &Object, context: Context<'_>) {
    keep_other_half(new, old, context);
    if context.subresource.is_empty() {
        store_version(new);
    }
}

/// Adds the version that objects are stored in from now on to those that they ever were.
fn store_version(object: &mut Object) {
    let versions = object.at(&["spec", "versions"]).and_then(Value::as_list).unwrap_or(&[]);
    let storage = versions.iter().find(|v| v.get("storage") == Some(&Value::Bool(true)));
    let Some(name) = storage.and_then(|v| v.get("name").cloned()) else { return };
    let known = object.at(&["status", "storedVersions"]).and_then(Value::as_list).unwrap_or(&[]);
    if !known.contains(&name) {
        let all: Vec<Value> = known.iter().cloned().chain([name]).collect();
        object.set(&["status", "storedVersions"], Value::List(all));
    }
}

/// What this server serves itself is there from the start.
fn new_api_service(object: &mut Object, context: Context<'_>) {
    reset_status(object, context);
    if object.at(&["spec", "service"]).is_none_or(Value::is_null) {
        let available = [
            ("type", "Available"),
            ("status", "True"),
            ("lastTransitionTime", context.now),
            ("reason", "Local"),
            ("message", "Local APIServices are always available"),
        ];
        let available: Map = available.into_iter().collect();
        object.set(&["status", "conditions"], Value::List(vec![Value::Map(available)]));
    }
}

fn api_service(object: &mut Object) {
    if let Some(service) = sub(&mut object.0, "spec").and_then(|s| sub(s, "service")) {
        put(service, "port", 443);
    }
}
