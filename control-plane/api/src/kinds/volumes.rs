//! PersistentVolumes and their claims.

use super::{columns, names, subresources};
use crate::kind::{Kind, Scope};
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
    ..Kind::PLAIN
};
