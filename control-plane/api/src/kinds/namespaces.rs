//! Namespaces.

use super::{columns, names, subresources, texts};
use crate::kind::{Kind, Scope};
use std::borrow::Cow;

pub static NAMESPACE: Kind = Kind {
    names: names!("", "v1", "Namespace", "namespaces", "namespace", ["ns"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.Namespace"),
    scope: Scope::Cluster,
    verbs: texts!["create", "delete", "get", "list", "patch", "update", "watch"],
    subresources: subresources![
        ("finalize", "", "", "Namespace", ["update"]),
        ("status", "", "", "Namespace", ["get", "patch", "update"]),
    ],
    columns: columns![("Name", "string", "name", 0), ("Status", "string", "", 0), ("Age", "string", "", 0),],
    has_status: true,
    ..Kind::PLAIN
};
