//! Whole objects within objects (`x-kubernetes-embedded-resource`): their metadata is as every object's.

use super::{Structural, child};
use crate::names;
use crate::schema;
use crate::status::{FieldError, FieldReason, shown};
use crate::value::{Map, Value};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Brings the metadata of an object and of those in it into form; the unknown fields of it are added to `unknown`.
///
/// # Errors
/// A field of metadata of the wrong type.
pub fn coerce(schema: &Structural, object: &mut Map, unknown: &mut Vec<String>) -> Result<(), String> {
    in_map(schema, object, "", true, unknown)
}

fn in_map(schema: &Structural, map: &mut Map, path: &str, root: bool, unknown: &mut Vec<String>) -> Result<(), String> {
    if (root || schema.embedded)
        && let Some(meta) = map.get_mut("metadata")
    {
        let at = child(path, "metadata");
        if !meta.is_null() && meta.as_map().is_none() {
            let what = meta.json_type();
            return Err(format!("json: cannot unmarshal {what} into Go value of type v1.ObjectMeta"));
        }
        let checked = schema::normalize(OBJECT_META, meta);
        if let Some(error) = checked.error {
            return Err(error);
        }
        unknown.extend(checked.unknown.iter().map(|key| format!("{at}.{key}")));
        if let Some(meta) = meta.as_map_mut().filter(|_| !root) {
            meta.retain(|_, v| !v.is_null());
        }
    }
    for key in ["apiVersion", "kind"] {
        if let Some(value) = map.get(key).filter(|v| schema.embedded && !root && v.as_str().is_none()) {
            return Err(format!("{}: Invalid value: {}: must be a string", child(path, key), shown(value)));
        }
    }
    for (key, value) in map.iter_mut() {
        if let Some(below) = schema.below(key) {
            in_value(below, value, &child(path, key), unknown)?;
        }
    }
    Ok(())
}

fn in_value(schema: &Structural, value: &mut Value, path: &str, unknown: &mut Vec<String>) -> Result<(), String> {
    match value {
        Value::Map(map) => in_map(schema, map, path, false, unknown),
        Value::List(items) => match &schema.items {
            None => Ok(()),
            Some(of) => {
                let one = |(i, item)| in_value(of, item, &format!("{path}[{i}]"), unknown);
                items.iter_mut().enumerate().try_for_each(one)
            }
        },
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => Ok(()),
    }
}

/// What is wrong with the types and the metadata of objects within an object.
pub fn embedded(schema: &Structural, object: &Map, out: &mut Vec<FieldError>) {
    below_map(schema, object, "", out);
}

fn below_map(schema: &Structural, map: &Map, path: &str, out: &mut Vec<FieldError>) {
    for (key, value) in map.iter() {
        let at = match schema.properties.contains_key(key) {
            true => child(path, key),
            false => format!("{path}[{key}]"),
        };
        if let Some(below) = schema.below(key) {
            below_value(below, value, &at, out);
        }
    }
}

fn below_value(schema: &Structural, value: &Value, path: &str, out: &mut Vec<FieldError>) {
    match value {
        Value::Map(map) => {
            if schema.embedded {
                one(map, path, out);
            }
            below_map(schema, map, path, out);
        }
        Value::List(items) => {
            if let Some(of) = &schema.items {
                items.iter().enumerate().for_each(|(i, v)| below_value(of, v, &format!("{path}[{i}]"), out));
            }
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => {}
    }
}

fn one(map: &Map, path: &str, out: &mut Vec<FieldError>) {
    for key in ["apiVersion", "kind"] {
        let at = child(path, key);
        let mut invalid = |value: &Value, why: &str| {
            let message = format!("Invalid value: {}: {why}", shown(value));
            out.push(FieldError::new(FieldReason::Invalid, at.clone(), message));
        };
        match map.get(key) {
            None => out.push(FieldError::new(FieldReason::Required, at, "Required value")),
            Some(value @ Value::Str(text)) if text.is_empty() => invalid(value, "must not be empty"),
            Some(value @ Value::Str(text)) if key == "kind" => {
                for why in names::dns1035_label(&text.to_lowercase()) {
                    invalid(value, &format!("may have mixed case, but should otherwise match: {why}"));
                }
            }
            Some(value @ Value::Str(text)) if text.matches('/').count() > 1 => {
                invalid(value, &format!("unexpected GroupVersion string: {text}"));
            }
            Some(Value::Str(_)) => {}
            Some(other) => invalid(other, "must be a string"),
        }
    }
    if let Some(meta) = map.get("metadata") {
        crate::kinds::embedded_metadata(meta, &child(path, "metadata"), out);
    }
}
