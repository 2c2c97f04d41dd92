//! Pods, pod templates and bindings.

use super::{columns, names, subresources, texts};
use crate::kind::Kind;
use std::borrow::Cow;

pub static BINDING: Kind = Kind {
    names: names!("", "v1", "Binding", "bindings", "binding", [], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.Binding"),
    verbs: texts!["create"],
    ..Kind::PLAIN
};

pub static POD: Kind = Kind {
    names: names!("", "v1", "Pod", "pods", "pod", ["po"], ["all"]),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.Pod"),
    subresources: subresources![
        ("attach", "", "", "PodAttachOptions", ["create", "get"]),
        ("binding", "", "", "Binding", ["create"]),
        ("ephemeralcontainers", "", "", "Pod", ["get", "patch", "update"]),
        ("eviction", "policy", "v1", "Eviction", ["create"]),
        ("exec", "", "", "PodExecOptions", ["create", "get"]),
        ("log", "", "", "Pod", ["get"]),
        ("portforward", "", "", "PodPortForwardOptions", ["create", "get"]),
        ("proxy", "", "", "PodProxyOptions", ["create", "delete", "get", "patch", "update"]),
        ("resize", "", "", "Pod", ["get", "patch", "update"]),
        ("status", "", "", "Pod", ["get", "patch", "update"]),
    ],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Ready", "string", "", 0),
        ("Status", "string", "", 0),
        ("Restarts", "string", "", 0),
        ("Age", "string", "", 0),
        ("IP", "string", "", 1),
        ("Node", "string", "", 1),
        ("Nominated Node", "string", "", 1),
        ("Readiness Gates", "string", "", 1),
    ],
    has_status: true,
    has_generation: true,
    ..Kind::PLAIN
};

pub static POD_TEMPLATE: Kind = Kind {
    names: names!("", "v1", "PodTemplate", "podtemplates", "podtemplate", [], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.PodTemplate"),
    columns: columns![
        ("Name", "string", "name", 0),
        ("Containers", "string", "", 0),
        ("Images", "string", "", 0),
        ("Pod Labels", "string", "", 0),
    ],
    has_generation: true,
    ..Kind::PLAIN
};
