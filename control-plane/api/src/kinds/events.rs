//! Events, in the core group and in their own.

use super::rules;
use super::{columns, names};
use crate::kind::{Column, Kind};
use crate::object::Object;
use crate::table;
use std::borrow::Cow;

/// How a field is called in `events.k8s.io/v1`, and in the core group; all others have one name.
pub const EVENT_NAMES: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reportingController", "reportingComponent"),
];

const COLUMNS: Cow<'static, [Column]> = columns![
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
];

pub static EVENT: Kind = Kind {
    names: names!("", "v1", "Event", "events", "event", ["ev"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.Event"),
    columns: COLUMNS,
    create_on_update: true,
    selectable: |o| selectable(CORE_FIELDS, o),
    selectable_fields: CORE_FIELDS,
    cells: table::events,
    validate: rules::event,
    validate_update: rules::event_update,
    ..Kind::PLAIN
};

pub static EVENT_V1: Kind = Kind {
    names: names!("events.k8s.io", "v1", "Event", "events", "event", ["ev"], []),
    type_name: Cow::Borrowed("io.k8s.api.events.v1.Event"),
    columns: COLUMNS,
    create_on_update: true,
    selectable: |o| selectable(EVENT_FIELDS, o),
    selectable_fields: EVENT_FIELDS,
    cells: table::events,
    validate: rules::event,
    validate_update: rules::event_update,
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

fn selectable(fields: &'static [&'static str], object: &Object) -> Vec<(&'static str, String)> {
    let value = |name: &'static str| match name.split_once('.') {
        Some((part, field)) => object.str_at(&[part, field]),
        None if name == "source" => source(object),
        None => object.str_at(&[name]),
    };
    fields.iter().map(|name| (*name, value(name).to_owned())).collect()
}

fn source(object: &Object) -> &str {
    match object.str_at(&["source", "component"]) {
        "" => object.str_at(&["reportingComponent"]),
        component => component,
    }
}
