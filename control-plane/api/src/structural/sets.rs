//! Lists that are sets or maps hold nothing twice.

use super::{List, Structural, child};
use crate::status::{FieldError, FieldReason, shown};
use crate::value::{Map, Value};
use std::collections::HashMap;

/// Says what stands twice in lists that are sets or maps.
pub fn duplicates(schema: &Structural, object: &Map, out: &mut Vec<FieldError>) {
    in_map(schema, object, "", out);
}

fn in_map(schema: &Structural, map: &Map, path: &str, out: &mut Vec<FieldError>) {
    for (key, value) in map.iter() {
        let at = match schema.properties.contains_key(key) {
            true => child(path, key),
            false => format!("{path}[{key}]"),
        };
        if let Some(below) = schema.below(key) {
            in_value(below, value, &at, out);
        }
    }
}

fn in_value(schema: &Structural, value: &Value, path: &str, out: &mut Vec<FieldError>) {
    match value {
        Value::Map(map) => in_map(schema, map, path, out),
        Value::List(items) => {
            match &schema.list {
                List::Atomic => {}
                List::Set => once(items.iter().cloned(), path, out),
                List::Map(keys) => keyed(keys, items, path, out),
            }
            if let Some(of) = &schema.items {
                items.iter().enumerate().for_each(|(i, item)| in_value(of, item, &format!("{path}[{i}]"), out));
            }
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => {}
    }
}

fn keyed(keys: &[crate::value::Key], items: &[Value], path: &str, out: &mut Vec<FieldError>) {
    if let Some((i, odd)) = items.iter().enumerate().find(|(_, v)| !v.is_null() && v.as_map().is_none()) {
        let why = format!("Invalid value: {}: must be an object for an array of list-type map", shown(odd));
        out.push(FieldError::new(FieldReason::Invalid, format!("{path}[{i}]"), why));
        return;
    }
    let id = |item: &Value| {
        let pairs = keys.iter().filter_map(|k| Some((k.clone(), item.get(k)?.clone())));
        Value::Map(pairs.collect())
    };
    once(items.iter().map(id), path, out);
}

/// The second appearance of each value.
fn once(items: impl Iterator<Item = Value>, path: &str, out: &mut Vec<FieldError>) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (i, item) in items.enumerate() {
        let text = shown(&item);
        let times = seen.entry(text.clone()).or_default();
        *times += 1;
        if *times == 2 {
            let why = format!("Duplicate value: {text}");
            out.push(FieldError::new(FieldReason::Duplicate, format!("{path}[{i}]"), why));
        }
    }
}
