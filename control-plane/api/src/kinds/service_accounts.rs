//! ServiceAccounts.

use super::fill::each;
use super::rules;
use super::{columns, names, subresources};
use crate::kind::Kind;
use crate::object::Object;
use std::borrow::Cow;

pub static SERVICE_ACCOUNT: Kind = Kind {
    names: names!("", "v1", "ServiceAccount", "serviceaccounts", "serviceaccount", ["sa"], []),
    type_name: Cow::Borrowed("io.k8s.api.core.v1.ServiceAccount"),
    subresources: subresources![("token", "authentication.k8s.io", "v1", "TokenRequest", ["create"]),],
    columns: columns![("Name", "string", "name", 0), ("Age", "string", "", 0),],
    prepare_create: |o, _| names_of_secrets(o),
    prepare_update: |new, _, _| names_of_secrets(new),
    validate: rules::named,
    validate_update: rules::metadata_update,
    ..Kind::PLAIN
};

/// Secrets are of the account's namespace: nothing but their names counts.
fn names_of_secrets(account: &mut Object) {
    each(&mut account.0, "secrets", |secret| secret.retain(|key, _| key == "name"));
}
