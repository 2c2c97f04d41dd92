//! The way from kubectl's client-side apply to server-side apply: its annotation says what it last applied.

use super::never_owned;
use super::set::Set;
use super::walk::{Shape, compare, fields};
use crate::codec::json;
use crate::object::Object;
use crate::value::Value;

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The only manager that takes over from client-side apply.
pub(super) const KUBECTL: &str = "kubectl";
/// As much as annotations may hold in all.
const MAX_SIZE: usize = 256 * 1024;

/// What kubectl may take without a conflict: the fields that it applied on the client and that are still as it said.
pub(super) fn takeable(shape: Shape<'_>, live: &Object) -> Set {
    let decoded = live.annotation(ANNOTATION).and_then(|text| json::decode(text.as_bytes()).ok());
    let Some(Value::Map(said)) = decoded.map(|d| d.value) else { return Set::default() };
    let mut set = fields(shape, &said);
    let changes = compare(shape, &said, &live.0);
    for changed in [&changes.modified, &changes.added, &changes.removed, &never_owned()] {
        set.difference(changed);
    }
    set
}

/// Keeps the annotation of an object that has one, so that client-side apply still works after server-side apply.
pub(super) fn keep_annotation(live: &Object, configuration: &Object, object: &mut Object) {
    if live.annotation(ANNOTATION).is_none() {
        return;
    }
    let mut said = configuration.clone();
    if let Some(Value::Map(annotations)) = said.at_mut(&["metadata", "annotations"]) {
        annotations.remove(ANNOTATION);
    }
    let mut text = Vec::new();
    json::encode_map_into(&said.0, &mut text);
    text.push(b'\n');
    if text.len() <= MAX_SIZE {
        object.set(&["metadata", "annotations", ANNOTATION], String::from_utf8_lossy(&text).into_owned());
    }
}
