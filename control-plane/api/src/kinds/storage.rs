//! Storage classes, CSI and attachments.

use super::fill::{put, sub};
use super::rules;
use super::shape::{keep_other_half, reset_status};
use super::{columns, names, subresources, volume_sources};
use crate::kind::{Context, Kind, Scope};
use crate::object::Object;
use crate::table;
use crate::value::Value;
use std::borrow::Cow;

pub static CSI_DRIVER: Kind = Kind {
    names: names!("storage.k8s.io", "v1", "CSIDriver", "csidrivers", "csidriver", [], []),
    type_name: Cow::Borrowed("io.k8s.api.storage.v1.CSIDriver"),
    scope: Scope::Cluster,
    columns: columns![
        ("Name", "string", "name", 0),
        ("AttachRequired", "boolean", "", 0),
        ("PodInfoOnMount", "boolean", "", 0),
        ("StorageCapacity", "boolean", "", 0),
        ("TokenRequests", "string", "", 0),
        ("RequiresRepublish", "boolean", "", 0),
        ("Modes", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    unconditional_update: false,
    default: driver,
    warnings: rules::csi_driver_warnings,
    cells: table::csi_drivers,
    prepare_update: driver_changed,
    validate: rules::csi_driver,
    validate_update: rules::csi_driver_update,
    ..Kind::PLAIN
};

pub static CSI_NODE: Kind = Kind {
    names: names!("storage.k8s.io", "v1", "CSINode", "csinodes", "csinode", [], []),
    type_name: Cow::Borrowed("io.k8s.api.storage.v1.CSINode"),
    scope: Scope::Cluster,
    columns: columns![("Name", "string", "name", 0), ("Drivers", "integer", "", 0), ("Age", "string", "", 0),],
    unconditional_update: false,
    cells: table::csi_nodes,
    validate: rules::csi_node,
    validate_update: rules::csi_node_update,
    ..Kind::PLAIN
};

pub static CSI_STORAGE_CAPACITY: Kind = Kind {
    names: names!("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities", "csistoragecapacity", [], []),
    type_name: Cow::Borrowed("io.k8s.api.storage.v1.CSIStorageCapacity"),
    columns: columns![("Name", "string", "name", 0), ("Created At", "date", "", 0),],
    validate: rules::csi_capacity,
    validate_update: rules::csi_capacity_update,
    ..Kind::PLAIN
};

pub static STORAGE_CLASS: Kind = Kind {
    names: names!("storage.k8s.io", "v1", "StorageClass", "storageclasses", "storageclass", ["sc"], []),
    type_name: Cow::Borrowed("io.k8s.api.storage.v1.StorageClass"),
    scope: Scope::Cluster,
    columns: columns![
        ("Name", "string", "name", 0),
        ("Provisioner", "string", "", 0),
        ("ReclaimPolicy", "string", "", 0),
        ("VolumeBindingMode", "string", "", 0),
        ("AllowVolumeExpansion", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    default: storage_class,
    cells: table::storage_classes,
    validate: rules::storage_class,
    validate_update: rules::storage_class_update,
    ..Kind::PLAIN
};

pub static VOLUME_ATTACHMENT: Kind = Kind {
    names: names!("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", "volumeattachment", [], []),
    type_name: Cow::Borrowed("io.k8s.api.storage.v1.VolumeAttachment"),
    scope: Scope::Cluster,
    subresources: subresources![("status", "", "", "VolumeAttachment", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Attacher", "string", "name", 0),
        ("PV", "string", "", 0),
        ("Node", "string", "", 0),
        ("Attached", "boolean", "", 0),
        ("Age", "string", "", 0),
    ],
    has_status: true,
    unconditional_update: false,
    default: attachment,
    prepare_create: reset_status,
    prepare_update: keep_other_half,
    cells: table::volume_attachments,
    validate: rules::volume_attachment,
    validate_update: rules::volume_attachment_update,
    ..Kind::PLAIN
};

pub static VOLUME_ATTRIBUTES_CLASS: Kind = Kind {
    names: names!(
        "storage.k8s.io",
        "v1",
        "VolumeAttributesClass",
        "volumeattributesclasses",
        "volumeattributesclass",
        ["vac"],
        []
    ),
    type_name: Cow::Borrowed("io.k8s.api.storage.v1.VolumeAttributesClass"),
    scope: Scope::Cluster,
    columns: columns![("Name", "string", "name", 0), ("DriverName", "string", "", 0), ("Age", "string", "", 0),],
    cells: table::attributes_classes,
    validate: rules::attributes_class,
    validate_update: rules::attributes_class_update,
    ..Kind::PLAIN
};

fn storage_class(object: &mut Object) {
    put(&mut object.0, "reclaimPolicy", "Delete");
    put(&mut object.0, "volumeBindingMode", "Immediate");
}

fn driver(object: &mut Object) {
    let Some(spec) = sub(&mut object.0, "spec") else { return };
    put(spec, "attachRequired", true);
    for off in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
        put(spec, off, false);
    }
    put(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    if spec.get("volumeLifecycleModes").and_then(Value::as_list).is_none_or(<[Value]>::is_empty) {
        spec.insert("volumeLifecycleModes", vec!["Persistent"]);
    }
}

/// A driver gets its first generation with its first change.
fn driver_changed(new: &mut Object, old: &Object, _: Context<'_>) {
    if new.at(&["spec"]) != old.at(&["spec"]) {
        new.meta_mut().insert("generation", old.generation() + 1);
    }
}

fn attachment(object: &mut Object) {
    let source = sub(&mut object.0, "spec").and_then(|s| sub(s, "source"));
    if let Some(volume) = source.and_then(|s| sub(s, "inlineVolumeSpec")) {
        volume_sources::source(volume);
    }
}
