//! ConfigMaps and Secrets.

use super::{columns, names};
use crate::kind::Kind;
use std::borrow::Cow;

pub static CONFIG_MAP: Kind = Kind {
    names: names!("", "v1", "ConfigMap", "configmaps", "configmap", ["cm"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.ConfigMap"),
    columns: columns![("Name", "string", "name", 0), ("Data", "string", "", 0), ("Age", "string", "", 0),],
    ..Kind::PLAIN
};

pub static SECRET: Kind = Kind {
    names: names!("", "v1", "Secret", "secrets", "secret", [], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.Secret"),
    columns: columns![
        ("Name", "string", "name", 0),
        ("Type", "string", "", 0),
        ("Data", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    ..Kind::PLAIN
};
