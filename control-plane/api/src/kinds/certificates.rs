//! CertificateSigningRequests.

use super::shape::{keep_other_half, reset_status};
use super::{columns, names, subresources};
use crate::kind::{Kind, Scope};
use crate::table;
use std::borrow::Cow;

pub static CERTIFICATE_SIGNING_REQUEST: Kind = Kind {
    names: names!(
        "certificates.k8s.io",
        "v1",
        "CertificateSigningRequest",
        "certificatesigningrequests",
        "certificatesigningrequest",
        ["csr"],
        []
    ),
    type_name: Cow::Borrowed("io.k8s.api.certificates.v1.CertificateSigningRequest"),
    scope: Scope::Cluster,
    subresources: subresources![
        ("approval", "", "", "CertificateSigningRequest", ["get", "patch", "update"]),
        ("status", "", "", "CertificateSigningRequest", ["get", "patch", "update"]),
    ],
    columns: columns![
        ("Name", "string", "name", 0),
        ("Age", "string", "", 0),
        ("SignerName", "string", "", 0),
        ("Requestor", "string", "", 0),
        ("RequestedDuration", "string", "", 0),
        ("Condition", "string", "", 0),
    ],
    has_status: true,
    prepare_create: reset_status,
    prepare_update: keep_other_half,
    selectable: |o| vec![("spec.signerName", o.str_at(&["spec", "signerName"]).to_owned())],
    selectable_fields: &["spec.signerName"],
    cells: table::certificate_requests,
    ..Kind::PLAIN
};
