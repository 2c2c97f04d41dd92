//! Leases.

use super::fill::sub;
use super::rules;
use super::{columns, names};
use crate::kind::Kind;
use crate::object::Object;
use crate::table;
use std::borrow::Cow;

pub static LEASE: Kind = Kind {
    names: names!("coordination.k8s.io", "v1", "Lease", "leases", "lease", [], []),
    type_name: Cow::Borrowed("io.k8s.api.coordination.v1.Lease"),
    columns: columns![("Name", "string", "name", 0), ("Holder", "string", "", 0), ("Age", "string", "", 0),],
    create_on_update: true,
    unconditional_update: false,
    prepare_create: |o, _| drop_gated(o),
    prepare_update: |o, _, _| drop_gated(o),
    cells: table::leases,
    validate: rules::lease,
    validate_update: rules::metadata_update,
    ..Kind::PLAIN
};

/// Coordinated election is behind a gate that is off.
fn drop_gated(object: &mut Object) {
    if let Some(spec) = sub(&mut object.0, "spec") {
        spec.remove("strategy");
        spec.remove("preferredHolder");
    }
}
