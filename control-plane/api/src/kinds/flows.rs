//! Flow schemas and priority levels of requests.

use super::{columns, names, subresources};
use crate::kind::{Kind, Scope};
use std::borrow::Cow;

pub static FLOW_SCHEMA: Kind = Kind {
    names: names!("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "flowschemas", "flowschema", [], []),
    type_name: Cow::Borrowed("io.k8s.api.flowcontrol.v1.FlowSchema"),
    scope: Scope::Cluster,
    subresources: subresources![("status", "", "", "FlowSchema", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("PriorityLevel", "string", "", 0),
        ("MatchingPrecedence", "string", "", 0),
        ("DistinguisherMethod", "string", "", 0),
        ("Age", "string", "", 0),
        ("MissingPL", "string", "", 0),
    ],
    has_status: true,
    has_generation: true,
    unconditional_update: false,
    ..Kind::PLAIN
};

pub static PRIORITY_LEVEL_CONFIGURATION: Kind = Kind {
    names: names!(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "PriorityLevelConfiguration",
        "prioritylevelconfigurations",
        "prioritylevelconfiguration",
        [],
        []
    ),
    type_name: Cow::Borrowed("io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration"),
    scope: Scope::Cluster,
    subresources: subresources![("status", "", "", "PriorityLevelConfiguration", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Type", "string", "", 0),
        ("NominalConcurrencyShares", "string", "", 0),
        ("Queues", "string", "", 0),
        ("HandSize", "string", "", 0),
        ("QueueLengthLimit", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    has_status: true,
    has_generation: true,
    unconditional_update: false,
    ..Kind::PLAIN
};
