//! Events, in the core group and in their own.

use super::{columns, names};
use crate::kind::Kind;
use crate::object::Object;
use crate::table;
use std::borrow::Cow;

pub static EVENT: Kind = Kind {
    names: names!("", "v1", "Event", "events", "event", ["ev"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.Event"),
    columns: columns![
        ("Last Seen", "string", "", 0),
        ("Type", "string", "", 0),
        ("Reason", "string", "", 0),
        ("Object", "string", "", 0),
        ("Subobject", "string", "", 1),
        ("Source", "string", "", 1),
        ("Message", "string", "", 0),
        ("First Seen", "string", "", 1),
        ("Count", "string", "", 1),
        ("Name", "string", "name", 1),
    ],
    create_on_update: true,
    selectable: core_fields,
    selectable_fields: CORE_FIELDS,
    cells: table::events,
    ..Kind::PLAIN
};

pub static EVENT_V1: Kind = Kind {
    names: names!("events.k8s.io", "v1", "Event", "events", "event", ["ev"], []),
    type_name: Cow::Borrowed("io.k8s.api.events.v1.Event"),
    columns: columns![
        ("Last Seen", "string", "", 0),
        ("Type", "string", "", 0),
        ("Reason", "string", "", 0),
        ("Object", "string", "", 0),
        ("Subobject", "string", "", 1),
        ("Source", "string", "", 1),
        ("Message", "string", "", 0),
        ("First Seen", "string", "", 1),
        ("Count", "string", "", 1),
        ("Name", "string", "name", 1),
    ],
    create_on_update: true,
    selectable: event_fields,
    selectable_fields: EVENT_FIELDS,
    cells: table::events,
    ..Kind::PLAIN
};

const CORE_FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

fn core_fields(object: &Object) -> Vec<(&'static str, String)> {
    let value = |name: &'static str| match (name, name.split_once('.')) {
        ("source", _) => {
            let source = object.str_at(&["source", "component"]);
            if source.is_empty() { object.str_at(&["reportingComponent"]) } else { source }
        }
        (_, Some((part, field))) => object.str_at(&[part, field]),
        _ => object.str_at(&[name]),
    };
    CORE_FIELDS.iter().map(|name| (*name, value(name).to_owned())).collect()
}

const EVENT_FIELDS: &[&str] = &[
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "regarding.apiVersion",
    "regarding.resourceVersion",
    "regarding.fieldPath",
    "reason",
    "reportingController",
    "type",
];

fn event_fields(object: &Object) -> Vec<(&'static str, String)> {
    let value = |name: &'static str| match name.split_once('.') {
        Some((part, field)) => object.str_at(&[part, field]),
        None => object.str_at(&[name]),
    };
    EVENT_FIELDS.iter().map(|name| (*name, value(name).to_owned())).collect()
}
