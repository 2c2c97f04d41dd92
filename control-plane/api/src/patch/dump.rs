//! A patched object as messages show it: what the patch went through has its keys sorted, as what Go's maps are encoded
//! to; what it left alone is as the encoder of the object's type wrote it.

use super::json;
use crate::codec;
use crate::schema::{Schema, ordered};
use crate::value::{Key, Value};

fn sorted(value: &Value) -> String {
    String::from_utf8_lossy(&codec::json::encode(value)).into_owned()
}

fn below(schema: Option<&'static Schema>, key: &str) -> Option<&'static Schema> {
    schema.and_then(|s| s.field(key)).and_then(|f| f.ty.schema())
}

fn map<'a>(entries: impl Iterator<Item = (&'a Key, String)>) -> String {
    let pairs: Vec<String> = entries.map(|(k, text)| format!("{}:{text}", sorted(&k.as_str().into()))).collect();
    format!("{{{}}}", pairs.join(","))
}

/// What a merge patch left of `before`.
pub fn merged(before: &Value, patch: &Value, after: &Value, schema: Option<&'static Schema>) -> String {
    let (Value::Map(_), Value::Map(changes), Value::Map(fields)) = (before, patch, after) else {
        return sorted(after);
    };
    map(fields.iter().map(|(key, value)| {
        let text = match (changes.get(key), before.get(key)) {
            (None, _) => ordered(Some(value), below(schema, key)),
            (Some(change), Some(was)) => merged(was, change, value, below(schema, key)),
            (Some(_), None) => sorted(value),
        };
        (key, text)
    }))
}

/// What the operations of a JSON patch left of `before`.
pub fn stepped(before: &Value, operations: &Value, after: &Value, schema: Option<&'static Schema>) -> String {
    let mut walked: Vec<Vec<String>> = Vec::new();
    for operation in operations.as_list().unwrap_or(&[]) {
        for pointer in ["path", "from"].into_iter().filter_map(|key| operation.get(key)?.as_str()) {
            walked.push(json::parts(pointer));
        }
    }
    let walked: Vec<&[String]> = walked.iter().map(Vec::as_slice).collect();
    step(Some(before), &walked, after, schema)
}

fn step(before: Option<&Value>, walked: &[&[String]], after: &Value, schema: Option<&'static Schema>) -> String {
    if walked.iter().all(|path| path.is_empty()) {
        return match before {
            Some(before) if before == after => ordered(Some(after), schema),
            _ => sorted(after),
        };
    }
    let into = |part: &str| -> Vec<&[String]> {
        walked
            .iter()
            .filter_map(|path| path.split_first().filter(|(first, _)| *first == part).map(|(_, r)| r))
            .collect()
    };
    match after {
        Value::Map(fields) => map(fields.iter().map(|(key, value)| {
            let was = before.and_then(|b| b.get(key));
            (key, step(was, &into(key), value, below(schema, key)))
        })),
        Value::List(items) => {
            let was = before.and_then(Value::as_list).unwrap_or(&[]);
            // Items that moved are those that were there.
            let old = |i: usize, item: &Value| was.iter().find(|w| *w == item).or_else(|| was.get(i));
            let texts: Vec<String> = items
                .iter()
                .enumerate()
                .map(|(i, item)| step(old(i, item), &into(&i.to_string()), item, schema))
                .collect();
            format!("[{}]", texts.join(","))
        }
        other => sorted(other),
    }
}
