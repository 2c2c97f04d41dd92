//! EndpointSlices.

use super::fill::{each, put};
use super::rules;
use super::{columns, names};
use crate::kind::Kind;
use crate::object::Object;
use crate::table;
use std::borrow::Cow;

pub static ENDPOINT_SLICE: Kind = Kind {
    names: names!("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", "endpointslice", [], []),
    type_name: Cow::Borrowed("io.k8s.api.discovery.v1.EndpointSlice"),
    columns: columns![
        ("Name", "string", "name", 0),
        ("AddressType", "string", "", 0),
        ("Ports", "string", "", 0),
        ("Endpoints", "string", "", 0),
        ("Age", "string", "", 0),
    ],
    has_generation: true,
    default: slice,
    prepare_create: |o, _| without_topology(o),
    prepare_update: |new, old, _| {
        if new.at(&["endpoints"]) != old.at(&["endpoints"]) {
            without_topology(new);
        }
    },
    cells: table::endpoint_slices,
    validate: rules::endpoint_slice,
    validate_update: rules::endpoint_slice_update,
    warnings: rules::endpoint_slice_warnings,
    ..Kind::PLAIN
};

fn slice(object: &mut Object) {
    each(&mut object.0, "ports", |port| {
        put(port, "name", "");
        put(port, "protocol", "TCP");
    });
}

/// What an older version knew of where an endpoint is: kept as long as nobody writes endpoints.
fn without_topology(object: &mut Object) {
    each(&mut object.0, "endpoints", |endpoint| drop(endpoint.remove("deprecatedTopology")));
}
