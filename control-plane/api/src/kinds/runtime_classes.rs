//! RuntimeClasses.

use super::rules;
use super::{columns, names};
use crate::kind::{Kind, Scope};
use crate::table;
use std::borrow::Cow;

pub static RUNTIME_CLASS: Kind = Kind {
    names: names!("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", "runtimeclass", [], []),
    type_name: Cow::Borrowed("io.k8s.api.node.v1.RuntimeClass"),
    scope: Scope::Cluster,
    columns: columns![("Name", "string", "name", 0), ("Handler", "string", "", 0), ("Age", "string", "", 0),],
    create_on_update: true,
    unconditional_update: false,
    cells: table::runtime_classes,
    validate: rules::runtime_class,
    validate_update: rules::runtime_class_update,
    ..Kind::PLAIN
};
