//! Steps in a value tree that several plugins take.

use api::Value;

/// The list under a key, made where it is absent.
pub(super) fn list_mut<'a>(value: &'a mut Value, key: &'static str) -> &'a mut Vec<Value> {
    let list = value.make_map().entry(key);
    if !matches!(list, Value::List(_)) {
        *list = Value::List(Vec::new());
    }
    match list {
        Value::List(list) => list,
        _ => unreachable!("made a list above"),
    }
}

/// A value as it is written in the source. JSON holds nothing that a value cannot.
pub(super) fn value(json: &serde_json::Value) -> Value {
    Value::from_typed(json).unwrap_or_default()
}

/// The text at a path, empty where absent.
pub(super) fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    value.at(path).and_then(Value::as_str).unwrap_or("")
}

/// The list at a path, empty where absent.
pub(super) fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    value.at(path).and_then(Value::as_list).unwrap_or(&[])
}
