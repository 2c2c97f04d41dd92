//! Events, in the core group and in their own.

use super::{columns, names};
use crate::kind::Kind;
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
    ..Kind::PLAIN
};
