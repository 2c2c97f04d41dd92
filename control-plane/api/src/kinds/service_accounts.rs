//! ServiceAccounts.

use super::rules;
use super::{columns, names, subresources};
use crate::kind::Kind;
use std::borrow::Cow;

pub static SERVICE_ACCOUNT: Kind = Kind {
    names: names!("", "v1", "ServiceAccount", "serviceaccounts", "serviceaccount", ["sa"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.ServiceAccount"),
    subresources: subresources![("token", "authentication.k8s.io", "v1", "TokenRequest", ["create"]),],
    columns: columns![("Name", "string", "name", 0), ("Age", "string", "", 0),],
    validate: rules::named,
    validate_update: rules::metadata_update,
    ..Kind::PLAIN
};
