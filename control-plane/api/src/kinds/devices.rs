//! Device classes, claims and slices.

use super::fill::{each, put_int, put_text, sub, text};
use super::rules;
use super::shape::{keep_other_half, reset_status};
use super::{columns, names, subresources};
use crate::kind::{Kind, Scope};
use crate::object::Object;
use crate::table;
use crate::value::Map;
use std::borrow::Cow;

pub static DEVICE_CLASS: Kind = Kind {
    names: names!("resource.k8s.io", "v1", "DeviceClass", "deviceclasses", "deviceclass", [], []),
    type_name: Cow::Borrowed("io.k8s.api.resource.v1.DeviceClass"),
    scope: Scope::Cluster,
    columns: columns![("Name", "string", "name", 0), ("Age", "string", "", 0),],
    has_generation: true,
    validate: rules::device_class,
    validate_update: rules::metadata_update,
    ..Kind::PLAIN
};

pub static RESOURCE_CLAIM: Kind = Kind {
    names: names!("resource.k8s.io", "v1", "ResourceClaim", "resourceclaims", "resourceclaim", [], []),
    type_name: Cow::Borrowed("io.k8s.api.resource.v1.ResourceClaim"),
    subresources: subresources![("status", "", "", "ResourceClaim", ["get", "patch", "update"]),],
    columns: columns![("Name", "string", "name", 0), ("State", "string", "", 0), ("Age", "string", "", 0),],
    has_status: true,
    default: |o| claim(&mut o.0),
    prepare_create: reset_status,
    prepare_update: keep_other_half,
    cells: table::resource_claims,
    validate: rules::resource_claim,
    validate_update: rules::resource_claim_update,
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
    default: claim_template,
    validate: rules::claim_template,
    validate_update: rules::claim_template_update,
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
    selectable: slice_fields,
    selectable_fields: &["spec.nodeName", "spec.driver"],
    cells: table::resource_slices,
    validate: rules::slice,
    validate_update: rules::slice_update,
    ..Kind::PLAIN
};

fn claim_template(object: &mut Object) {
    if let Some(spec) = sub(&mut object.0, "spec") {
        claim(spec);
    }
}

fn claim(object: &mut Map) {
    let Some(devices) = sub(object, "spec").and_then(|s| sub(s, "devices")) else { return };
    each(devices, "requests", |request| {
        if let Some(exactly) = sub(request, "exactly") {
            count(exactly);
        }
        each(request, "firstAvailable", count);
    });
    allocated(object);
}

fn allocated(object: &mut Map) {
    let allocation = sub(object, "status").and_then(|s| sub(s, "allocation"));
    let Some(devices) = allocation.and_then(|a| sub(a, "devices")) else { return };
    each(devices, "results", tolerated);
}

fn tolerated(map: &mut Map) {
    each(map, "tolerations", |toleration| put_text(toleration, "operator", "Equal"));
}

fn count(request: &mut Map) {
    put_text(request, "allocationMode", "ExactCount");
    if text(request, "allocationMode") == "ExactCount" {
        put_int(request, "count", 1);
    }
    tolerated(request);
}

fn slice_fields(object: &Object) -> Vec<(&'static str, String)> {
    vec![
        ("spec.nodeName", object.str_at(&["spec", "nodeName"]).to_owned()),
        ("spec.driver", object.str_at(&["spec", "driver"]).to_owned()),
    ]
}
