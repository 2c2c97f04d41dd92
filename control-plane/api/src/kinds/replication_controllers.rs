//! ReplicationControllers.

use super::{columns, names, subresources};
use crate::kind::Kind;
use std::borrow::Cow;

pub static REPLICATION_CONTROLLER: Kind = Kind {
    names: names!(
        "",
        "v1",
        "ReplicationController",
        "replicationcontrollers",
        "replicationcontroller",
        ["rc"],
        ["all"]
    ),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.ReplicationController"),
    subresources: subresources![
        ("scale", "autoscaling", "v1", "Scale", ["get", "patch", "update"]),
        ("status", "", "", "ReplicationController", ["get", "patch", "update"]),
    ],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Desired", "integer", "", 0),
        ("Current", "integer", "", 0),
        ("Ready", "integer", "", 0),
        ("Age", "string", "", 0),
        ("Containers", "string", "", 1),
        ("Images", "string", "", 1),
        ("Selector", "string", "", 1),
    ],
    has_status: true,
    has_generation: true,
    ..Kind::PLAIN
};
