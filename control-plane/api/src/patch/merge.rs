//! JSON merge patch, RFC 7386.

use super::{PatchError, json_type};
use crate::value::{Map, Value};

/// Whether a value can patch an object: it must be a map.
///
/// # Errors
/// It is something else.
pub fn check(patch: &Value) -> Result<(), PatchError> {
    match patch {
        Value::Map(_) => Ok(()),
        other => Err(PatchError::Malformed(format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            json_type(other)
        ))),
    }
}

/// The target with the patch applied: nulls remove, maps merge, all else replaces.
pub fn apply(target: &Value, patch: &Value) -> Value {
    let Value::Map(changes) = patch else { return patch.clone() };
    let mut out = target.as_map().cloned().unwrap_or_else(Map::new);
    for (key, change) in changes.iter() {
        if change.is_null() {
            out.remove(key);
        } else {
            let merged = apply(out.get(key).unwrap_or(&Value::Null), change);
            out.insert(key.clone(), merged);
        }
    }
    Value::Map(out)
}
