//! The verbs that defaulting is written in.

use crate::value::{Map, Value};

/// Sets a field that is absent.
pub(super) fn put(map: &mut Map, key: &'static str, value: impl Into<Value>) {
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key, value);
    }
}

/// Sets fields of which zero means absent.
pub(super) fn put_text(map: &mut Map, key: &'static str, text: &str) {
    if map.get(key).and_then(Value::as_str).unwrap_or("").is_empty() {
        map.insert(key, text);
    }
}

pub(super) fn put_int(map: &mut Map, key: &'static str, int: i64) {
    if map.get(key).and_then(Value::as_i64).unwrap_or(0) == 0 {
        map.insert(key, int);
    }
}

/// A map below, if it is there.
pub(super) fn sub<'a>(map: &'a mut Map, key: &str) -> Option<&'a mut Map> {
    map.get_mut(key)?.as_map_mut()
}

/// A map below, made where it is absent.
pub(super) fn made<'a>(map: &'a mut Map, key: &str) -> &'a mut Map {
    map.entry(key).make_map()
}

/// Every map of a list below.
pub(super) fn each(map: &mut Map, key: &str, mut f: impl FnMut(&mut Map)) {
    if let Some(Value::List(items)) = map.get_mut(key) {
        items.iter_mut().filter_map(Value::as_map_mut).for_each(&mut f);
    }
}

pub(super) fn text<'a>(map: &'a Map, key: &str) -> &'a str {
    map.get(key).and_then(Value::as_str).unwrap_or("")
}

pub(super) fn has(map: &Map, key: &str) -> bool {
    map.get(key).is_some_and(|v| !v.is_null())
}

pub(super) fn is_true(map: &Map, key: &str) -> bool {
    map.get(key).and_then(Value::as_bool).unwrap_or(false)
}

pub(super) fn map<const N: usize>(pairs: [(&'static str, Value); N]) -> Value {
    Value::Map(pairs.into_iter().collect())
}

pub(super) fn list<const N: usize>(items: [Value; N]) -> Value {
    Value::List(items.into())
}
