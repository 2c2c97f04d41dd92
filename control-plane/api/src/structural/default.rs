//! Defaults of schemas, and the nulls that stand where none may.

use super::{Additional, Structural};
use crate::object::Object;
use crate::value::{Map, Value};

/// Sets what is absent, or null where null may not be, to its default.
pub fn fill(schema: &Structural, value: &mut Value) {
    if !schema.has_defaults {
        return;
    }
    match value {
        Value::Map(map) => fill_map(schema, map),
        Value::List(items) => {
            if let Some(of) = &schema.items {
                items.iter_mut().for_each(|item| one(of, item));
            }
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => {}
    }
}

/// The same for a whole object.
pub fn fill_object(schema: &Structural, object: &mut Object) {
    fill_map(schema, &mut object.0);
}

fn fill_map(schema: &Structural, map: &mut Map) {
    if !schema.has_defaults {
        return;
    }
    for (key, property) in &schema.properties {
        if let Some(default) = &property.default
            && !map.contains_key(key)
        {
            map.insert(key.clone(), default.clone());
        }
    }
    for (key, value) in map.iter_mut() {
        if let Some(below) = schema.below(key) {
            one(below, value);
        }
    }
}

fn one(schema: &Structural, value: &mut Value) {
    if value.is_null()
        && !schema.nullable
        && let Some(default) = &schema.default
    {
        *value = default.clone();
    }
    fill(schema, value);
}

/// Removes the nulls of fields that may not be null and have no default.
pub fn drop_nulls(schema: &Structural, map: &mut Map) {
    map.retain(|key, value| match schema.below(key) {
        Some(below) if value.is_null() => below.nullable || below.default.is_some(),
        Some(below) => {
            descend(below, value);
            true
        }
        None => true,
    });
}

fn descend(schema: &Structural, value: &mut Value) {
    match value {
        Value::Map(map) => {
            let says_nothing = schema.properties.is_empty() && !matches!(schema.additional, Additional::Schema(_));
            if !says_nothing {
                drop_nulls(schema, map);
            }
        }
        Value::List(items) => {
            if let Some(of) = &schema.items {
                items.iter_mut().for_each(|item| descend(of, item));
            }
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => {}
    }
}
