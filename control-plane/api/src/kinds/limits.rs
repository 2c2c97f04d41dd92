//! LimitRanges and ResourceQuotas.

use super::fill::{each, made, sub, text};
use super::rules;
use super::shape::{keep_other_half, reset_status};
use super::{columns, names, subresources};
use crate::kind::{Context, Kind};
use crate::object::Object;
use crate::table;
use crate::value::Value;
use std::borrow::Cow;

pub static LIMIT_RANGE: Kind = Kind {
    names: names!("", "v1", "LimitRange", "limitranges", "limitrange", ["limits"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.LimitRange"),
    columns: columns![("Name", "string", "name", 0), ("Created At", "date", "", 0),],
    create_on_update: true,
    default: limit_range,
    prepare_create: named_after_its_uid,
    validate: rules::limit_range,
    validate_update: rules::metadata_update,
    ..Kind::PLAIN
};

/// The one kind whose objects get a name when nobody gives them one.
fn named_after_its_uid(object: &mut Object, _: Context<'_>) {
    if object.name().is_empty() {
        let uid = object.uid().to_owned();
        object.meta_mut().insert("name", uid);
    }
}

pub static RESOURCE_QUOTA: Kind = Kind {
    names: names!("", "v1", "ResourceQuota", "resourcequotas", "resourcequota", ["quota"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.ResourceQuota"),
    subresources: subresources![("status", "", "", "ResourceQuota", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Request", "string", "", 0),
        ("Limit", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    has_status: true,
    prepare_create: reset_status,
    prepare_update: keep_other_half,
    cells: table::quotas,
    validate: rules::resource_quota,
    validate_update: rules::resource_quota_update,
    ..Kind::PLAIN
};

/// A container's default limit follows from the maximum, its default request from that, and else from the minimum.
fn limit_range(object: &mut Object) {
    let Some(spec) = sub(&mut object.0, "spec") else { return };
    each(spec, "limits", |item| {
        if text(item, "type") != "Container" {
            return;
        }
        for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
            let Some(Value::Map(amounts)) = item.get(from).cloned() else { continue };
            let target = made(item, to);
            for (name, amount) in amounts {
                if !target.contains_key(&name) {
                    target.insert(name, amount);
                }
            }
        }
    });
}
