//! Flow schemas and priority levels of requests.

use super::fill::{has, put, put_int, sub, text};
use super::rules;
use super::shape::{keep_other_half, reset_status};
use super::{columns, names, subresources};
use crate::kind::{Kind, Scope};
use crate::object::Object;
use crate::table;
use crate::value::Map;
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
    default: flow_schema,
    prepare_create: reset_status,
    prepare_update: keep_other_half,
    cells: table::flow_schemas,
    validate: rules::flow_schema,
    validate_update: rules::flow_update,
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
    default: priority_level,
    prepare_create: reset_status,
    prepare_update: keep_other_half,
    cells: table::priority_levels,
    validate: rules::priority_level,
    validate_update: rules::flow_update,
    ..Kind::PLAIN
};

fn flow_schema(object: &mut Object) {
    if let Some(spec) = sub(&mut object.0, "spec") {
        put_int(spec, "matchingPrecedence", 1000);
    }
}

/// The shares and queues of upstream.
fn priority_level(object: &mut Object) {
    let Some(spec) = sub(&mut object.0, "spec") else { return };
    if text(spec, "type") == "Exempt" && !has(spec, "exempt") {
        spec.insert("exempt", Map::new());
    }
    if let Some(exempt) = sub(spec, "exempt") {
        put(exempt, "nominalConcurrencyShares", 0);
        put(exempt, "lendablePercent", 0);
    }
    if let Some(limited) = sub(spec, "limited") {
        put(limited, "nominalConcurrencyShares", 30);
        put(limited, "lendablePercent", 0);
        if let Some(queuing) = sub(limited, "limitResponse").and_then(|r| sub(r, "queuing")) {
            put_int(queuing, "queues", 64);
            put_int(queuing, "handSize", 8);
            put_int(queuing, "queueLengthLimit", 50);
        }
    }
}
