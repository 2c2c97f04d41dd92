//! Deployments, ReplicaSets, StatefulSets, DaemonSets and ControllerRevisions.

use super::{columns, names, subresources};
use crate::kind::Kind;
use std::borrow::Cow;

pub static CONTROLLER_REVISION: Kind = Kind {
    names: names!("apps", "v1", "ControllerRevision", "controllerrevisions", "controllerrevision", [], []),
    type_name: Cow::Borrowed("io.k8s.api.apps.v1.ControllerRevision"),
    columns: columns![
        ("Name", "string", "name", 0),
        ("Controller", "string", "", 0),
        ("Revision", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    ..Kind::PLAIN
};

pub static DAEMON_SET: Kind = Kind {
    names: names!("apps", "v1", "DaemonSet", "daemonsets", "daemonset", ["ds"], ["all"]),
    type_name: Cow::Borrowed("io.k8s.api.apps.v1.DaemonSet"),
    subresources: subresources![("status", "", "", "DaemonSet", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Desired", "integer", "", 0),
        ("Current", "integer", "", 0),
        ("Ready", "integer", "", 0),
        ("Up-to-date", "integer", "", 0),
        ("Available", "integer", "", 0),
        ("Node Selector", "string", "", 0),
        ("Age", "string", "", 0),
        ("Containers", "string", "", 1),
        ("Images", "string", "", 1),
        ("Selector", "string", "", 1),
    ],
    has_status: true,
    has_generation: true,
    ..Kind::PLAIN
};

pub static DEPLOYMENT: Kind = Kind {
    names: names!("apps", "v1", "Deployment", "deployments", "deployment", ["deploy"], ["all"]),
    type_name: Cow::Borrowed("io.k8s.api.apps.v1.Deployment"),
    subresources: subresources![
        ("scale", "autoscaling", "v1", "Scale", ["get", "patch", "update"]),
        ("status", "", "", "Deployment", ["get", "patch", "update"]),
    ],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Ready", "string", "", 0),
        ("Up-to-date", "string", "", 0),
        ("Available", "string", "", 0),
        ("Age", "string", "", 0),
        ("Containers", "string", "", 1),
        ("Images", "string", "", 1),
        ("Selector", "string", "", 1),
    ],
    has_status: true,
    has_generation: true,
    ..Kind::PLAIN
};

pub static REPLICA_SET: Kind = Kind {
    names: names!("apps", "v1", "ReplicaSet", "replicasets", "replicaset", ["rs"], ["all"]),
    type_name: Cow::Borrowed("io.k8s.api.apps.v1.ReplicaSet"),
    subresources: subresources![
        ("scale", "autoscaling", "v1", "Scale", ["get", "patch", "update"]),
        ("status", "", "", "ReplicaSet", ["get", "patch", "update"]),
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

pub static STATEFUL_SET: Kind = Kind {
    names: names!("apps", "v1", "StatefulSet", "statefulsets", "statefulset", ["sts"], ["all"]),
    type_name: Cow::Borrowed("io.k8s.api.apps.v1.StatefulSet"),
    subresources: subresources![
        ("scale", "autoscaling", "v1", "Scale", ["get", "patch", "update"]),
        ("status", "", "", "StatefulSet", ["get", "patch", "update"]),
    ],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Ready", "string", "", 0),
        ("Age", "string", "", 0),
        ("Containers", "string", "", 1),
        ("Images", "string", "", 1),
    ],
    has_status: true,
    has_generation: true,
    ..Kind::PLAIN
};
