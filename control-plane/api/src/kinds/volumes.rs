//! PersistentVolumes and their claims.

use super::fill::{made, map, put, put_text, sub};
use super::rules;
use super::shape::keep_other_half;
use super::volume_sources;
use super::{columns, names, subresources};
use crate::kind::Context;
use crate::kind::{Kind, Scope};
use crate::object::Object;
use crate::table;
use crate::value::{Map, Value};
use std::borrow::Cow;

pub static PERSISTENT_VOLUME_CLAIM: Kind = Kind {
    names: names!("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", "persistentvolumeclaim", ["pvc"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.PersistentVolumeClaim"),
    subresources: subresources![("status", "", "", "PersistentVolumeClaim", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Status", "string", "", 0),
        ("Volume", "string", "", 0),
        ("Capacity", "string", "", 0),
        ("Access Modes", "string", "", 0),
        ("StorageClass", "string", "", 0),
        ("VolumeAttributesClass", "string", "", 0),
        ("Age", "string", "", 0),
        ("VolumeMode", "string", "", 1),
    ],
    has_status: true,
    default: claim,
    prepare_create: new_claim,
    prepare_update: update_claim,
    cells: table::claims,
    validate: rules::claim,
    warnings: rules::claim_warnings,
    validate_update: rules::claim_update,
    ..Kind::PLAIN
};

pub static PERSISTENT_VOLUME: Kind = Kind {
    names: names!("", "v1", "PersistentVolume", "persistentvolumes", "persistentvolume", ["pv"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.PersistentVolume"),
    scope: Scope::Cluster,
    subresources: subresources![("status", "", "", "PersistentVolume", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Capacity", "string", "", 0),
        ("Access Modes", "string", "", 0),
        ("Reclaim Policy", "string", "", 0),
        ("Status", "string", "", 0),
        ("Claim", "string", "", 0),
        ("StorageClass", "string", "", 0),
        ("VolumeAttributesClass", "string", "", 0),
        ("Reason", "string", "", 0),
        ("Age", "string", "", 0),
        ("VolumeMode", "string", "", 1),
    ],
    has_status: true,
    default: volume,
    prepare_create: new_volume,
    prepare_update: update_volume,
    cells: table::volumes,
    validate: rules::volume,
    validate_update: rules::volume_update,
    warnings: rules::volume_warnings,
    ..Kind::PLAIN
};

fn volume(object: &mut Object) {
    put_status(object);
    let Some(spec) = sub(&mut object.0, "spec") else { return };
    put_text(spec, "persistentVolumeReclaimPolicy", "Retain");
    put(spec, "volumeMode", "Filesystem");
    volume_sources::source(spec);
}

fn new_volume(object: &mut Object, context: Context<'_>) {
    object.set(&["status"], map([("phase", "Pending".into()), ("lastPhaseTransitionTime", context.now.into())]));
}

/// The defaults of a claim, also of one in the template of a StatefulSet.
pub(super) fn claim(object: &mut Object) {
    put_status(object);
    if let Some(spec) = sub(&mut object.0, "spec") {
        put(spec, "volumeMode", "Filesystem");
    }
}

fn put_status(object: &mut Object) {
    put_text(made(&mut object.0, "status"), "phase", "Pending");
}

/// `dataSource` is the narrower, older field: each fills the other where that can say the same.
fn new_claim(object: &mut Object, _: Context<'_>) {
    object.set(&["status"], map([("phase", "Pending".into())]));
    let spec = made(&mut object.0, "spec");
    local_source(spec);
    known_source(spec);
    same_sources(spec);
}

/// What the older field never took is dropped, where the newer one does not say it.
fn known_source(spec: &mut Map) {
    let has_reference = spec.get("dataSourceRef").is_some_and(|r| !r.is_null());
    if !has_reference && spec.get("dataSource").is_some_and(|s| !copies(s)) {
        spec.remove("dataSource");
    }
}

/// A source in another namespace is one that the server does not offer.
fn local_source(spec: &mut Map) {
    let elsewhere = |source: &Value| source.get("namespace").and_then(Value::as_str).is_some_and(|n| !n.is_empty());
    if spec.get("dataSourceRef").is_some_and(elsewhere) {
        spec.remove("dataSourceRef");
    }
}

fn update_claim(new: &mut Object, old: &Object, context: Context<'_>) {
    keep_other_half(new, old, context);
    if context.subresource.is_empty() {
        let spec = made(&mut new.0, "spec");
        local_source(spec);
        if old.at(&["spec", "dataSource"]).is_none_or(Value::is_null) {
            known_source(spec);
        }
        same_sources(spec);
    }
}

fn same_sources(spec: &mut Map) {
    match (spec.get("dataSource").cloned(), spec.get("dataSourceRef").cloned()) {
        (Some(source), None) => {
            spec.insert("dataSourceRef", source);
        }
        (None, Some(source)) if source.get("namespace").is_none() => {
            spec.insert("dataSource", source);
        }
        _ => {}
    }
}

/// What `dataSource` may name: another claim or a snapshot. Anything else is dropped; `dataSourceRef` takes it.
fn copies(source: &Value) -> bool {
    let text = |key: &str| source.get(key).and_then(Value::as_str).unwrap_or("");
    matches!(
        (text("apiGroup"), text("kind")),
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    )
}

/// A write of the status that changes the phase says when, unless the writer does.
fn update_volume(new: &mut Object, old: &Object, context: Context<'_>) {
    keep_other_half(new, old, context);
    let phase = |o: &Object| o.str_at(&["status", "phase"]).to_owned();
    let since = |o: &Object| o.at(&["status", "lastPhaseTransitionTime"]).filter(|v| !v.is_null()).cloned();
    if context.subresource != "status" {
        return;
    }
    match (phase(new) == phase(old), since(new), since(old)) {
        (true, None, Some(before)) => new.set(&["status", "lastPhaseTransitionTime"], before),
        (false, now, before) if now.is_none() || now == before => {
            new.set(&["status", "lastPhaseTransitionTime"], context.now);
        }
        _ => {}
    }
}
