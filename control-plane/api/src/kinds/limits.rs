//! LimitRanges and ResourceQuotas.

use super::{columns, names, subresources};
use crate::kind::Kind;
use std::borrow::Cow;

pub static LIMIT_RANGE: Kind = Kind {
    names: names!("", "v1", "LimitRange", "limitranges", "limitrange", ["limits"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.LimitRange"),
    columns: columns![("Name", "string", "name", 0), ("Created At", "date", "", 0),],
    create_on_update: true,
    ..Kind::PLAIN
};

pub static RESOURCE_QUOTA: Kind = Kind {
    names: names!("", "v1", "ResourceQuota", "resourcequotas", "resourcequota", ["quota"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.ResourceQuota"),
    subresources: subresources![("status", "", "", "ResourceQuota", ["get", "patch", "update"]),],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Request", "string", "", 0),
        ("Limit", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    has_status: true,
    ..Kind::PLAIN
};
