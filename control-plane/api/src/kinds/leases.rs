//! Leases.

use super::{columns, names};
use crate::kind::Kind;
use std::borrow::Cow;

pub static LEASE: Kind = Kind {
    names: names!("coordination.k8s.io", "v1", "Lease", "leases", "lease", [], []),
    type_name: Cow::Borrowed("io.k8s.api.coordination.v1.Lease"),
    columns: columns![("Name", "string", "name", 0), ("Holder", "string", "", 0), ("Age", "string", "", 0),],
    create_on_update: true,
    unconditional_update: false,
    ..Kind::PLAIN
};
