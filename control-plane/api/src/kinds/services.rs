//! Services and Endpoints.

use super::{columns, names, subresources};
use crate::kind::Kind;
use std::borrow::Cow;

pub static ENDPOINTS: Kind = Kind {
    names: names!("", "v1", "Endpoints", "endpoints", "endpoints", ["ep"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.Endpoints"),
    columns: columns![("Name", "string", "name", 0), ("Endpoints", "string", "", 0), ("Age", "string", "", 0),],
    create_on_update: true,
    ..Kind::PLAIN
};

pub static SERVICE: Kind = Kind {
    names: names!("", "v1", "Service", "services", "service", ["svc"], ["all"]),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.Service"),
    subresources: subresources![
        ("proxy", "", "", "ServiceProxyOptions", ["create", "delete", "get", "patch", "update"]),
        ("status", "", "", "Service", ["get", "patch", "update"]),
    ],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Type", "string", "", 0),
        ("Cluster-IP", "string", "", 0),
        ("External-IP", "string", "", 0),
        ("Port(s)", "string", "", 0),
        ("Age", "string", "", 0),
        ("Selector", "string", "", 1),
    ],
    has_status: true,
    create_on_update: true,
    ..Kind::PLAIN
};
