//! What creation and update do to the two halves of an object: the status belongs to its subresource, the rest does not.

use super::by_kind;
use crate::kind::Context;
use crate::object::Object;
use crate::schema::{self, Type};
use crate::value::{Map, Value};

/// Replaces the status with an empty one, as it is shown.
pub(super) fn reset_status(object: &mut Object, _: Context<'_>) {
    match empty_status(object) {
        Some(status) => {
            object.0.insert("status", status);
        }
        None => {
            object.0.remove("status");
        }
    }
}

/// The status of a new object of the same kind; none where it is shown only when set.
pub(super) fn empty_status(object: &Object) -> Option<Map> {
    let (group, version) = object.api_version().split_once('/').unwrap_or(("", object.api_version()));
    let field = schema::find(&by_kind(group, version, object.kind())?.type_name)?.field("status")?;
    match (&field.ty, field.presence) {
        (Type::Struct(s), schema::Presence::ValueAlways) => Some(schema::empty(&s.get().full_name())),
        _ => None,
    }
}

/// A write of the object keeps the old status; a write of a subresource keeps all but the status and the metadata.
pub(super) fn keep_other_half(new: &mut Object, old: &Object, context: Context<'_>) {
    if context.subresource.is_empty() {
        put_or_remove(&mut new.0, "status", old.0.get("status"));
        return;
    }
    let ours = |key: &str| matches!(key, "apiVersion" | "kind" | "metadata" | "status");
    new.0.retain(|key, _| ours(key) || old.0.contains_key(key));
    for (key, value) in old.0.iter().filter(|(key, _)| !ours(key)) {
        new.0.insert(key.clone(), value.clone());
    }
}

fn put_or_remove(map: &mut Map, key: &'static str, value: Option<&Value>) {
    match value {
        Some(v) => {
            map.insert(key, v.clone());
        }
        None => {
            map.remove(key);
        }
    }
}
