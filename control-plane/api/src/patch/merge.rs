//! JSON merge patch, RFC 7386.

use super::PatchError;
use crate::value::Value;

/// Whether a value can patch an object: it must be a map.
///
/// # Errors
/// It is something else.
pub fn check(patch: &Value) -> Result<(), PatchError> {
    match patch {
        Value::Map(_) => Ok(()),
        other => Err(PatchError::Malformed(format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            other.json_type()
        ))),
    }
}

/// The target with the patch applied: nulls remove, maps merge, all else replaces.
pub fn apply(target: &Value, patch: &Value) -> Value {
    let (Value::Map(target), Value::Map(changes)) = (target, patch) else {
        let mut out = patch.clone();
        // A map's place is taken by what the patch says as it stands, as upstream.
        if target.as_map().is_none() {
            prune(&mut out);
        }
        return out;
    };
    let mut out = target.clone();
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

/// Takes the nulls out of the maps of what is added.
fn prune(value: &mut Value) {
    match value {
        Value::Map(map) => {
            map.retain(|_, v| !v.is_null());
            map.iter_mut().for_each(|(_, v)| prune(v));
        }
        Value::List(items) => items.iter_mut().for_each(prune),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => {}
    }
}
