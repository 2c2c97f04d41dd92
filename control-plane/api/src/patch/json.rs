//! JSON patch, RFC 6902, with the liberties that upstream's library takes: negative indexes count from the end,
//! `replace` sets what is absent, `test` takes absent as null, and the first part of a path is not looked at.

use super::PatchError;
use crate::codec::json::encode;
use crate::value::{Map, Value};

/// As many operations as upstream allows: each walks the object.
const MAX_OPERATIONS: usize = 10_000;
/// How many bytes `copy` may add, as upstream: copies of copies grow exponentially.
const MAX_COPIED: usize = 3 * 1024 * 1024;

/// The target with all operations applied, or none.
///
/// # Errors
/// The patch is malformed, too large, or does not fit the target.
pub fn apply(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let operations = operations(patch)?;
    if operations.len() > MAX_OPERATIONS {
        let message =
            format!("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}", operations.len());
        return Err(PatchError::TooLarge(message));
    }
    let mut out = target.clone();
    let mut copied = 0;
    let nothing = Map::new();
    for operation in operations {
        step(&mut out, operation.as_map().unwrap_or(&nothing), &mut copied)?;
    }
    Ok(out)
}

/// Null is a patch without operations.
fn operations(patch: &Value) -> Result<&[Value], PatchError> {
    match patch {
        Value::Null => Ok(&[]),
        Value::List(operations) => Ok(operations),
        other => Err(wrong_type(other, "[]handlers.jsonPatchOp")),
    }
}

/// Whether a patch is of the form that a client that wants to know of unknown fields must send.
///
/// # Errors
/// It is not.
pub fn check(patch: &Value) -> Result<(), PatchError> {
    operations(patch)?.iter().try_for_each(well_formed)
}

/// The members of operations that are none, as `[0].name`.
pub fn unknown(patch: &Value) -> Vec<String> {
    let members = |(i, operation): (usize, &Value)| -> Vec<String> {
        let known = |k: &str| matches!(k, "op" | "path" | "from" | "value");
        let map = operation.as_map();
        map.into_iter().flat_map(|m| m.keys()).filter(|k| !known(k)).map(|k| format!("[{i}].{k}")).collect()
    };
    patch.as_list().unwrap_or(&[]).iter().enumerate().flat_map(members).collect()
}

/// Whether an operation has the types that its members need; nothing at all is an operation without members.
fn well_formed(operation: &Value) -> Result<(), PatchError> {
    let members = match operation {
        Value::Null => return Ok(()),
        Value::Map(members) => members,
        other => return Err(wrong_type(other, "handlers.jsonPatchOp")),
    };
    for key in ["from", "op", "path"] {
        if let Some(other) = members.get(key).filter(|v| !matches!(v, Value::Str(_) | Value::Null)) {
            return Err(PatchError::Malformed(format!(
                "json: cannot unmarshal {} into Go struct field jsonPatchOp.{key} of type string",
                other.json_type()
            )));
        }
    }
    Ok(())
}

fn wrong_type(value: &Value, go_type: &str) -> PatchError {
    PatchError::Malformed(format!("json: cannot unmarshal {} into Go value of type {go_type}", value.json_type()))
}

fn reject(message: impl Into<String>) -> PatchError {
    PatchError::Rejected(message.into())
}

fn text<'a>(operation: &'a Map, key: &str) -> Result<&'a str, PatchError> {
    operation.get(key).and_then(Value::as_str).ok_or_else(|| reject(format!("operation without {key:?}")))
}

fn step(doc: &mut Value, operation: &Map, copied: &mut usize) -> Result<(), PatchError> {
    let kind = text(operation, "op")?;
    let path = text(operation, "path")?;
    let value = || operation.get("value").cloned().unwrap_or_default();
    match kind {
        "add" => add(doc, path, value()),
        "remove" => remove(doc, path).map(drop),
        "replace" => replace(doc, path, value()),
        "move" => {
            let moved = remove(doc, text(operation, "from")?)?;
            add(doc, path, moved)
        }
        "copy" => {
            let value = get(doc, text(operation, "from")?)?;
            *copied += encode(&value).len();
            if *copied > MAX_COPIED {
                return Err(reject("the copies grow beyond what is allowed"));
            }
            add(doc, path, value)
        }
        "test" => match get(doc, path)? == value() {
            true => Ok(()),
            false => Err(reject(format!("testing value {path} failed"))),
        },
        other => Err(reject(format!("unexpected kind: {other}"))),
    }
}

fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// The parts of a pointer.
pub(super) fn parts(path: &str) -> Vec<String> {
    path.split('/').skip(1).map(unescaped).collect()
}

/// The list or map that holds the path's last part, and that part.
fn holder<'a>(doc: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), PatchError> {
    let absent = || reject(format!("doc is missing path: {path}"));
    let parts = parts(path);
    let (last, before) = parts.split_last().ok_or_else(absent)?;
    let mut at = doc;
    for part in before {
        at = match at {
            Value::Map(map) => map.get_mut(part).ok_or_else(absent)?,
            Value::List(items) => {
                let i = index(part, items.len(), items.len())?;
                items.get_mut(i).ok_or_else(absent)?
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => return Err(absent()),
        };
    }
    match at {
        Value::Map(_) | Value::List(_) => Ok((at, last.clone())),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => Err(absent()),
    }
}

/// A position in a list, negative ones counted from `from`; at most `len`, which is one past the end.
fn index(part: &str, len: usize, from: usize) -> Result<usize, PatchError> {
    let number: i64 = part.parse().map_err(|_| reject(format!("value was not a proper array index: {part:?}")))?;
    let position = if number < 0 { number + from as i64 } else { number };
    usize::try_from(position)
        .ok()
        .filter(|i| *i <= len)
        .ok_or_else(|| reject(format!("Unable to access invalid index: {part}")))
}

fn add(doc: &mut Value, path: &str, value: Value) -> Result<(), PatchError> {
    let (holder, key) = holder(doc, path)?;
    match holder {
        Value::List(items) if key == "-" => items.push(value),
        Value::List(items) => {
            let i = index(&key, items.len(), items.len() + 1)?;
            items.insert(i, value);
        }
        other => {
            other.make_map().insert(key, value);
        }
    }
    Ok(())
}

fn remove(doc: &mut Value, path: &str) -> Result<Value, PatchError> {
    let (holder, key) = holder(doc, path)?;
    match holder {
        Value::List(items) => {
            let i = index(&key, items.len(), items.len())?;
            match i < items.len() {
                true => Ok(items.remove(i)),
                false => Err(reject(format!("Unable to access invalid index: {i}"))),
            }
        }
        other => {
            other.make_map().remove(&key).ok_or_else(|| reject(format!("Unable to remove nonexistent key: {key}")))
        }
    }
}

fn replace(doc: &mut Value, path: &str, value: Value) -> Result<(), PatchError> {
    let (holder, key) = holder(doc, path)?;
    match holder {
        Value::List(items) => {
            let i = index(&key, items.len(), items.len())?;
            *items.get_mut(i).ok_or_else(|| reject(format!("replace operation does not apply: {key}")))? = value;
        }
        other => {
            other.make_map().insert(key, value);
        }
    }
    Ok(())
}

/// Null for an absent key of a map.
fn get(doc: &mut Value, path: &str) -> Result<Value, PatchError> {
    let (holder, key) = holder(doc, path)?;
    match holder {
        Value::List(items) => {
            let i = index(&key, items.len(), items.len())?;
            items.get(i).cloned().ok_or_else(|| reject(format!("Unable to access invalid index: {i}")))
        }
        other => Ok(other.get(&key).cloned().unwrap_or_default()),
    }
}
