//! Nodes and component statuses.

use super::{columns, names, subresources, texts};
use crate::kind::{Kind, Scope};
use std::borrow::Cow;

pub static COMPONENT_STATUS: Kind = Kind {
    names: names!("", "v1", "ComponentStatus", "componentstatuses", "componentstatus", ["cs"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.ComponentStatus"),
    scope: Scope::Cluster,
    verbs: texts!["get", "list"],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Status", "string", "", 0),
        ("Message", "string", "", 0),
        ("Error", "string", "", 0),
    ],
    ..Kind::PLAIN
};

pub static NODE: Kind = Kind {
    names: names!("", "v1", "Node", "nodes", "node", ["no"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.Node"),
    scope: Scope::Cluster,
    subresources: subresources![
        ("proxy", "", "", "NodeProxyOptions", ["create", "delete", "get", "patch", "update"]),
        ("status", "", "", "Node", ["get", "patch", "update"]),
    ],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Status", "string", "", 0),
        ("Roles", "string", "", 0),
        ("Age", "string", "", 0),
        ("Version", "string", "", 0),
        ("Internal-IP", "string", "", 1),
        ("External-IP", "string", "", 1),
        ("OS-Image", "string", "", 1),
        ("Kernel-Version", "string", "", 1),
        ("Container-Runtime", "string", "", 1),
    ],
    has_status: true,
    ..Kind::PLAIN
};
