//! PriorityClasses.

use super::fill::put;
use super::rules;
use super::{columns, names};
use crate::kind::{Kind, Scope};
use crate::table;
use std::borrow::Cow;

pub static PRIORITY_CLASS: Kind = Kind {
    names: names!("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", "priorityclass", ["pc"], []),
    type_name: Cow::Borrowed("io.k8s.api.scheduling.v1.PriorityClass"),
    scope: Scope::Cluster,
    columns: columns![
        ("Name", "string", "name", 0),
        ("Value", "integer", "", 0),
        ("Global-Default", "boolean", "", 0),
        ("Age", "string", "", 0),
        ("PreemptionPolicy", "string", "", 0),
    ],
    has_generation: true,
    default: |o| put(&mut o.0, "preemptionPolicy", "PreemptLowerPriority"),
    cells: table::priority_classes,
    validate: rules::priority_class,
    validate_update: rules::priority_class_update,
    ..Kind::PLAIN
};
