//! Types in OpenAPI's words, made from the schema tables.

use super::Gvk;
use super::operations::REFERENCE;
use api::schema::{self, Field, ListType, Presence, Schema, Type};
use api::{Map, Value};
use std::collections::BTreeSet;

/// The full names of a type and all types below it.
pub(super) fn reach(name: &str, names: &mut BTreeSet<String>) {
    if !names.contains(name) && (special(name).is_some() || schema::find(name).is_some()) {
        names.insert(name.to_owned());
        let fields = schema::find(name).map(|schema| &*schema.fields).unwrap_or_default();
        for field in fields.iter().filter(|f| !f.hidden) {
            named(field.name, &field.ty).into_iter().for_each(|below| reach(&below, names));
        }
    }
}

/// The type that a field or its items are of, where that has a name.
fn named(field: &str, ty: &Type) -> Option<String> {
    let name = match ty {
        Type::List(item) | Type::Map(item) => return named(field, item),
        Type::Struct(to) => return Some(to.get().full_name()),
        Type::Time => TIME,
        Type::MicroTime => MICRO_TIME,
        Type::Quantity => QUANTITY,
        Type::IntOrString => INT_OR_STRING,
        Type::Raw => RAW,
        Type::Object => FIELDS,
        Type::Any => any(field),
        Type::String | Type::Bool | Type::Int32 | Type::Int64 | Type::Double | Type::Bytes => return None,
    };
    Some(name.to_owned())
}

/// A type; `text` says what is known about it (for an empty name) and its fields.
pub(super) fn of_type(schema: &Schema, kinds: &[Gvk], text: &dyn Fn(&str) -> Option<String>) -> Map {
    let with_text = |mut of: Map, name: &str| {
        if let Some(text) = text(name) {
            of.insert("description", text);
        }
        of
    };
    let mut out = with_text(Map::new(), "");
    out.insert("type", "object");
    let shown = schema.fields.iter().filter(|f| !f.hidden);
    let properties: Map = shown.map(|f| (f.name, Value::Map(with_text(field_schema(schema, f), f.name)))).collect();
    if !kinds.is_empty() {
        let kinds = kinds.iter().map(|kind| Value::Map(kind.value()));
        out.insert("x-kubernetes-group-version-kind", Value::List(kinds.collect()));
    }
    if api::managed::is_atomic(schema) {
        out.insert("x-kubernetes-map-type", "atomic");
    }
    if !properties.is_empty() {
        out.insert("properties", properties);
    }
    let mut required: Vec<&str> = schema.fields.iter().filter(|f| f.required && !f.hidden).map(|f| f.name).collect();
    required.sort_by_key(|name| api::schema::position(schema, name));
    if !required.is_empty() {
        out.insert("required", required);
    }
    out
}

fn field_schema(of: &Schema, field: &Field) -> Map {
    let mut out = value_schema(field.name, &field.ty);
    // Beside a bare reference nothing else may stand.
    if out.contains_key("$ref") {
        out = Map::from_iter([("allOf", vec![out])]);
    }
    if let Some(mut values) = schema::enum_of(of, field) {
        values.sort_unstable();
        match out.get_mut("items").and_then(Value::as_map_mut) {
            Some(items) => drop(items.insert("enum", values)),
            None => drop(out.insert("enum", values)),
        }
    }
    if let Some(value) = default(field) {
        out.insert("default", value);
    }
    match &field.list {
        ListType::Unset => {}
        ListType::Atomic if matches!(field.ty, Type::List(_)) => drop(out.insert("x-kubernetes-list-type", "atomic")),
        ListType::Atomic => drop(out.insert("x-kubernetes-map-type", "atomic")),
        ListType::Granular => drop(out.insert("x-kubernetes-map-type", "granular")),
        ListType::Set => drop(out.insert("x-kubernetes-list-type", "set")),
        ListType::Map(keys) => {
            out.insert("x-kubernetes-list-type", "map");
            out.insert("x-kubernetes-list-map-keys", keys.clone());
        }
    }
    let mut strategies = Vec::new();
    for (set, name) in
        [(field.patch.merge, "merge"), (field.patch.replace, "replace"), (field.patch.retain_keys, "retainKeys")]
    {
        if set {
            strategies.push(name);
        }
    }
    if !strategies.is_empty() {
        out.insert("x-kubernetes-patch-strategy", strategies.join(","));
    }
    if let Some(key) = field.patch.merge_key {
        out.insert("x-kubernetes-patch-merge-key", key);
    }
    out
}

/// The type of a field in OpenAPI's words.
fn value_schema(field: &str, ty: &Type) -> Map {
    let mut out = Map::new();
    if !matches!(ty, Type::List(_) | Type::Map(_))
        && let Some(name) = named(field, ty)
    {
        return reference(&name);
    }
    let (name, format) = match ty {
        Type::Bool => ("boolean", ""),
        Type::Int32 => ("integer", "int32"),
        Type::Int64 => ("integer", "int64"),
        Type::Double => ("number", "double"),
        Type::Bytes => ("string", "byte"),
        Type::List(item) => {
            out.insert("items", value_schema(field, item));
            ("array", "")
        }
        Type::Map(item) => {
            out.insert("additionalProperties", value_schema(field, item));
            ("object", "")
        }
        _ => ("string", ""),
    };
    out.insert("type", name);
    if !format.is_empty() {
        out.insert("format", format);
    }
    out
}

const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const RAW: &str = "io.k8s.apimachinery.pkg.runtime.RawExtension";
const FIELDS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// The types that have a form of their own in JSON, or two.
const SPECIAL: &[(&str, &str, &str)] = &[
    (TIME, "string", "date-time"),
    (MICRO_TIME, "string", "date-time"),
    (QUANTITY, "string number", ""),
    (INT_OR_STRING, "integer string", "int-or-string"),
    (RAW, "object", ""),
    (FIELDS, "object", ""),
    (PATCH, "object", ""),
];

const JSON: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON";
const OR_BOOL: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool";
const OR_ARRAY: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray";
const OR_STRINGS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray";

/// What such values can be, in upstream's names.
const ANY: &[(&str, &str)] = &[
    (JSON, "Any value of JSON: a boolean, a number, a string, a list, an object or null."),
    (OR_BOOL, "A JSONSchemaProps, or a boolean."),
    (OR_ARRAY, "A JSONSchemaProps, or a list of them."),
    (OR_STRINGS, "A JSONSchemaProps, or a list of strings."),
];

/// The type of a field of JSONSchemaProps that holds more than one type of JSON.
fn any(field: &str) -> &'static str {
    match field {
        "additionalItems" | "additionalProperties" => OR_BOOL,
        "items" => OR_ARRAY,
        "dependencies" => OR_STRINGS,
        _ => JSON,
    }
}

/// A type that is no structure.
pub(super) fn special(name: &str) -> Option<Map> {
    let mut out = Map::new();
    if let Some((_, text)) = ANY.iter().find(|(n, _)| *n == name) {
        out.insert("description", *text);
        return Some(out);
    }
    let (_, types, format) = SPECIAL.iter().find(|(n, ..)| *n == name)?;
    match types.split_once(' ') {
        None => out.insert("type", *types),
        Some((one, other)) => out.insert("oneOf", [one, other].map(|ty| Map::from_iter([("type", ty)])).to_vec()),
    };
    if !format.is_empty() {
        out.insert("format", *format);
    }
    Some(out)
}

/// What a field that is always there holds when nothing is given.
fn default(field: &Field) -> Option<Value> {
    if !matches!(field.presence, Presence::Value | Presence::ValueAlways) {
        return None;
    }
    match &field.ty {
        Type::Struct(_) => Some(Map::new().into()),
        Type::String if field.required => Some("".into()),
        Type::Int32 | Type::Int64 if field.required => Some(Value::Int(0)),
        Type::Bool if field.required => Some(Value::Bool(false)),
        _ => None,
    }
}

fn reference(name: &str) -> Map {
    Map::from_iter([("$ref", format!("{REFERENCE}{name}"))])
}
