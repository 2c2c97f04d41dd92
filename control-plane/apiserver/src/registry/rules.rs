//! What every write does to an object, whatever its kind: pure, no IO and no clock.

use api::kind::Context;
use api::status::FieldReason;
use api::{FieldError, Kind, Map, Object, Status, Value};

/// The letters of generated suffixes: no vowels and no look-alikes, as upstream's.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Names are cut so that the generated one fits a DNS label.
const MAX_GENERATED: usize = 63;
const SUFFIX_LENGTH: usize = 5;

/// What a write brings from outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outside<'a> {
    pub now: &'a str,
    pub uid: &'a str,
    /// At least [`SUFFIX_LENGTH`] random bytes.
    pub random: &'a [u8],
    /// The object came without labels: those that it has by now are defaults.
    pub unlabelled: bool,
}

/// Gives a new object its identity, and its kind's first shape. Whether it may ask for a version, its request decides.
pub(crate) fn create(kind: &Kind, object: &mut Object, outside: Outside<'_>) -> Result<(), Status> {
    let meta = object.meta_mut();
    for key in ["resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        meta.remove(key);
    }
    meta.insert("uid", outside.uid);
    meta.insert("creationTimestamp", outside.now);
    if kind.has_generation {
        meta.insert("generation", 1i64);
    }
    name(object, outside.random);
    kind.default(object);
    if outside.unlabelled && kind.names.group == "batch" && kind.names.plural == "jobs" {
        // They are its template's, with those that are generated next.
        object.meta_mut().remove("labels");
    }
    kind.prepare_create(object, Context { now: outside.now, subresource: "" });
    let mut errors = kind.validate_create(object);
    let generation = object.generation();
    if generation < 0 {
        let why = format!("Invalid value: {generation}: must be greater than or equal to 0");
        errors.insert(0, FieldError::new(FieldReason::Invalid, "metadata.generation", why));
    }
    refuse(kind, object, errors)
}

/// Names an object after its generateName, where it has no name.
pub(crate) fn name(object: &mut Object, random: &[u8]) {
    let base = object.meta_text("generateName");
    if object.name().is_empty() && !base.is_empty() {
        let name = generated(base, random);
        object.meta_mut().insert("name", name);
    }
}

/// `base` with a random suffix.
pub(crate) fn generated(base: &str, random: &[u8]) -> String {
    let mut name: String = base.chars().take(MAX_GENERATED - SUFFIX_LENGTH).collect();
    name.extend(
        random.iter().take(SUFFIX_LENGTH).map(|b| char::from(SUFFIX_LETTERS[usize::from(*b) % SUFFIX_LETTERS.len()])),
    );
    name
}

/// Brings a changed object into the shape it may be stored in. `old` is as it is stored.
pub(crate) fn update(kind: &Kind, new: &mut Object, old: &Object, subresource: &str, now: &str) -> Result<(), Status> {
    keep(kind, new, old, subresource);
    let context = Context { now, subresource };
    kind.default(new);
    kind.prepare_update(new, old, context);
    let errors = kind.validate_update(new, old, context);
    if kind.has_generation && grows(kind, new, old, subresource) {
        new.meta_mut().insert("generation", old.generation() + 1);
    }
    refuse(kind, new, errors)
}

/// Takes over from `old` what the write may not touch.
pub(crate) fn keep(kind: &Kind, new: &mut Object, old: &Object, subresource: &str) {
    keep_identity(new, old);
    keep_other_parts(kind, new, old, subresource);
}

fn keep_identity(new: &mut Object, old: &Object) {
    let empty = Map::new();
    let from = old.meta().unwrap_or(&empty);
    let meta = new.meta_mut();
    for key in ["creationTimestamp", "generation", "resourceVersion"] {
        copy(meta, from, key);
    }
    // A deletion cannot be taken back or put off. Setting one by an update, or another identity, is for the kind's
    // validation to refuse.
    for key in ["uid", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let given = meta.get(key).is_some_and(|v| !v.is_null() && v.as_str() != Some(""));
        if from.contains_key(key) && (!given || key == "deletionTimestamp") {
            copy(meta, from, key);
        }
    }
}

fn copy(to: &mut Map, from: &Map, key: &str) {
    match from.get(key) {
        Some(value) => drop(to.insert(key, value.clone())),
        None => drop(to.remove(key)),
    }
}

/// Restricts a write to the part of the object that its path is for.
fn keep_other_parts(kind: &Kind, new: &mut Object, old: &Object, subresource: &str) {
    let taken: &[&str] = match subresource {
        "" if kind.has_status => return copy(&mut new.0, &old.0, "status"),
        "" => return,
        "status" | "approval" => &["status"],
        "finalize" | "resize" | "ephemeralcontainers" => &["spec"],
        _ => &[],
    };
    let mut kept = old.0.clone();
    for key in taken.iter().chain(&["metadata"]) {
        copy(&mut kept, &new.0, key);
    }
    if subresource == "status"
        && let (Some(Value::Map(to)), Some(from)) = (kept.get_mut("metadata"), old.meta())
    {
        metadata_of_status(kind).iter().for_each(|key| copy(to, from, key));
    }
    let part: Option<&[&str]> = match subresource {
        "finalize" => Some(&["spec", "finalizers"]),
        "ephemeralcontainers" => Some(&["spec", "ephemeralContainers"]),
        _ => None,
    };
    new.0 = kept;
    if let Some(path) = part {
        let value = new.unset(path);
        copy(&mut new.0, &old.0, "spec");
        match value {
            Some(value) => new.set(path, value),
            None => drop(new.unset(path)),
        }
    }
}

/// The metadata that a write of the status leaves alone.
fn metadata_of_status(kind: &Kind) -> &'static [&'static str] {
    const ALL: [&str; 7] =
        ["ownerReferences", "deletionTimestamp", "labels", "annotations", "finalizers", "generateName", "uid"];
    match &*kind.names.kind {
        _ if kind.custom.is_some() => &[],
        "FlowSchema" | "PriorityLevelConfiguration" => &ALL,
        "APIService" => &["labels", "annotations", "finalizers", "ownerReferences"],
        "ResourceClaim" | "ServiceCIDR" | "ValidatingAdmissionPolicy" | "VolumeAttachment" => &ALL[..5],
        "Pod" => &ALL[..2],
        _ => &[],
    }
}

/// Whether the generation grows. A Deployment's does with its annotations too, which its controller copies, an
/// EndpointSlice's with its labels; a PriorityClass's never does.
fn grows(kind: &Kind, new: &Object, old: &Object, subresource: &str) -> bool {
    let differs = |key: &str| {
        let held = |o: &Object| o.meta().and_then(|m| m.get(key)).cloned();
        held(new) != held(old)
    };
    match &*kind.names.plural {
        "priorityclasses" => false,
        "deployments" if subresource.is_empty() && differs("annotations") => true,
        "endpointslices" if differs("labels") => true,
        _ => desired(kind, new) != desired(kind, old),
    }
}

/// What a change of makes the generation grow: all but the metadata and the status. The status of a custom kind without
/// that subresource is a field like any other.
fn desired(kind: &Kind, object: &Object) -> Map {
    let mut map = object.0.clone();
    let plain_status = kind.custom.is_some() && !kind.has_status;
    map.retain(|key, _| match key.as_str() {
        "metadata" | "apiVersion" | "kind" => false,
        "status" => plain_status,
        _ => true,
    });
    map
}

fn refuse(kind: &Kind, object: &Object, errors: Vec<FieldError>) -> Result<(), Status> {
    match errors.is_empty() {
        true => Ok(()),
        // Events are one kind, whatever group they come through.
        false if kind.names.plural == "events" => Err(Status::invalid("", &kind.names.kind, object.name(), &errors)),
        false => Err(Status::invalid(&kind.names.group, &kind.names.kind, object.name(), &errors)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_brings_only_the_metadata_that_it_may() {
        let (labels, owners) = ("labels", "ownerReferences");
        for (group, plural, key, kept) in [
            ("", "pods", labels, false),
            ("", "pods", owners, true),
            ("", "nodes", owners, false),
            ("resource.k8s.io", "resourceclaims", labels, true),
            ("flowcontrol.apiserver.k8s.io", "flowschemas", "uid", true),
            ("apiregistration.k8s.io", "apiservices", owners, true),
            ("apiregistration.k8s.io", "apiservices", "deletionTimestamp", false),
        ] {
            let kind = api::kinds::find(group, "v1", plural).expect("a built-in kind");
            let mut old = Object::default();
            old.set(&["metadata", "name"], "x");
            let mut new = old.clone();
            new.set(&["metadata", key], "new");
            keep(kind, &mut new, &old, "status");
            assert_eq!(new.meta_text(key).is_empty(), kept, "{plural}: {key}");
        }
    }
}
