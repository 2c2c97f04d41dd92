//! Device classes, claims and slices.

use super::{columns, names, subresources};
use crate::kind::{Kind, Scope};
use std::borrow::Cow;

pub static DEVICE_CLASS: Kind = Kind {
    names: names!("resource.k8s.io", "v1", "DeviceClass", "deviceclasses", "deviceclass", [], []),
    type_name: Cow::Borrowed("io.k8s.api.resource.v1.DeviceClass"),
    scope: Scope::Cluster,
    columns: columns![("Name", "string", "name", 0), ("Age", "string", "", 0),],
    has_generation: true,
    ..Kind::PLAIN
};

pub static RESOURCE_CLAIM: Kind = Kind {
    names: names!("resource.k8s.io", "v1", "ResourceClaim", "resourceclaims", "resourceclaim", [], []),
    type_name: Cow::Borrowed("io.k8s.api.resource.v1.ResourceClaim"),
    subresources: subresources![("status", "", "", "ResourceClaim", ["get", "patch", "update"]),],
    columns: columns![("Name", "string", "name", 0), ("State", "string", "", 0), ("Age", "string", "", 0),],
    has_status: true,
    ..Kind::PLAIN
};

pub static RESOURCE_CLAIM_TEMPLATE: Kind = Kind {
    names: names!(
        "resource.k8s.io",
        "v1",
        "ResourceClaimTemplate",
        "resourceclaimtemplates",
        "resourceclaimtemplate",
        [],
        []
    ),
    type_name: Cow::Borrowed("io.k8s.api.resource.v1.ResourceClaimTemplate"),
    columns: columns![("Name", "string", "name", 0), ("Age", "string", "", 0),],
    ..Kind::PLAIN
};

pub static RESOURCE_SLICE: Kind = Kind {
    names: names!("resource.k8s.io", "v1", "ResourceSlice", "resourceslices", "resourceslice", [], []),
    type_name: Cow::Borrowed("io.k8s.api.resource.v1.ResourceSlice"),
    scope: Scope::Cluster,
    columns: columns![
        ("Name", "string", "name", 0),
        ("Node", "string", "", 0),
        ("Driver", "string", "", 0),
        ("Pool", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    has_generation: true,
    ..Kind::PLAIN
};
