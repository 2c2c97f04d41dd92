//! Resources that are served in two versions and stored in one: Events (stored as core/v1) and
//! HorizontalPodAutoscalers (stored as autoscaling/v2).

mod autoscalers;

use crate::kind::Kind;
use crate::kinds::EVENT_NAMES;
use crate::object::Object;
use crate::schema;
use crate::value::Map;
use std::borrow::Cow;

/// Whether objects of this kind may look other than they are stored: they are stored in another version, or by an older
/// definition of their kind.
pub fn is_view(kind: &Kind) -> bool {
    is_event(kind) || is_autoscaler(kind) || kind.custom.as_ref().is_some_and(|c| !c.stored_as_shown)
}

/// What tells the objects of a kind from those of its other versions, and from what it was defined as before.
pub fn type_of(kind: &Kind) -> Cow<'static, str> {
    match &kind.custom {
        None => kind.type_name.clone(),
        Some(custom) => format!("{} {}", kind.names.version, custom.fingerprint).into(),
    }
}

/// The group and version that objects of this kind are stored in.
pub fn stored_as(kind: &Kind) -> (&str, &str) {
    match kind {
        _ if is_event(kind) => ("", "v1"),
        _ if is_autoscaler(kind) => ("autoscaling", "v2"),
        _ => (&kind.names.group, &kind.names.version),
    }
}

/// The kind whose rows are shown, where another version of it says more than this one.
pub fn tells_more(kind: &Kind) -> Option<&'static Kind> {
    let (group, version) = stored_as(kind);
    is_autoscaler(kind).then(|| crate::kinds::find(group, version, &kind.names.plural)).flatten()
}

fn is_event(kind: &Kind) -> bool {
    kind.names.plural == "events" && kind.names.group == "events.k8s.io"
}

fn is_autoscaler(kind: &Kind) -> bool {
    kind.names.plural == "horizontalpodautoscalers" && kind.names.version == "v1"
}

/// From the stored version into the kind's. Always-shown fields of the other version are the schema pass's to add.
pub fn to_view(kind: &Kind, map: &mut Map) {
    if is_event(kind) {
        rename(map, EVENT_NAMES.iter().map(|(view, stored)| (*stored, *view)));
    } else if is_autoscaler(kind) {
        autoscalers::to_v1(map);
    }
}

/// From the kind's version into the stored one.
pub fn from_view(kind: &Kind, map: &mut Map) {
    if is_event(kind) {
        rename(map, EVENT_NAMES.iter().copied());
    } else if is_autoscaler(kind) {
        autoscalers::from_v1(map);
    }
}

/// What an object is in another version of its kind. A kind that is defined at run time shows all that its objects say.
pub fn convert(from: &Kind, to: &Kind, map: &Map) -> Map {
    let mut object = Object(map.clone());
    from_view(from, &mut object.0);
    to_view(to, &mut object.0);
    object.set_type(&to.api_version(), &to.names.kind);
    schema::check(&to.type_name, &mut object);
    object.0
}

fn rename(map: &mut Map, names: impl Iterator<Item = (&'static str, &'static str)>) {
    for (from, to) in names {
        if let Some(value) = map.remove(from) {
            map.insert(to, value);
        }
    }
}
