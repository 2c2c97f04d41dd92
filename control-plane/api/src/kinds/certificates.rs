//! CertificateSigningRequests.

use super::fill::made;
use super::rules;
use super::shape::{keep_other_half, reset_status};
use super::{columns, names, subresources};
use crate::kind::{Context, Kind, Scope};
use crate::object::Object;
use crate::table;
use crate::value::Value;
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
    prepare_update: update_request,
    selectable: |o| vec![("spec.signerName", o.str_at(&["spec", "signerName"]).to_owned())],
    selectable_fields: &["spec.signerName"],
    cells: table::certificate_requests,
    validate: rules::certificate_request,
    validate_update: rules::certificate_update,
    ..Kind::PLAIN
};

/// Approval writes the conditions and nothing else; a write of the status may not.
fn update_request(new: &mut Object, old: &Object, context: Context<'_>) {
    let conditions = |o: &Object| o.at(&["status", "conditions"]).cloned();
    match context.subresource {
        "approval" => {
            let (given, meta) = (conditions(new), new.0.remove("metadata"));
            new.0 = old.0.clone();
            if let Some(meta) = meta {
                new.0.insert("metadata", meta);
            }
            put_conditions(new, given);
            date_conditions(new, old, context.now);
        }
        _ => {
            keep_other_half(new, old, context);
            if context.subresource == "status" {
                date_conditions(new, old, context.now);
            }
            // The request itself never changes.
            if let Some(spec) = old.0.get("spec") {
                new.0.insert("spec", spec.clone());
            }
        }
    }
}

/// Gives times to the conditions that lack them: that of the transition stays while the status does.
fn date_conditions(new: &mut Object, old: &Object, now: &str) {
    let before: &[Value] = old.at(&["status", "conditions"]).and_then(Value::as_list).unwrap_or(&[]);
    let Some(Value::List(conditions)) = new.at_mut(&["status", "conditions"]) else { return };
    for condition in conditions {
        let lacks = |key: &str| condition.get(key).and_then(Value::as_str).is_none();
        let same = |o: &&Value| ["type", "status"].iter().all(|key| o.get(key) == condition.get(key));
        let kept = before.iter().find(same).and_then(|o| o.get("lastTransitionTime")).filter(|t| !t.is_null());
        let transition = lacks("lastTransitionTime").then(|| kept.cloned().unwrap_or_else(|| now.into()));
        let update = lacks("lastUpdateTime").then(|| Value::from(now));
        let Value::Map(condition) = condition else { continue };
        transition.into_iter().for_each(|time| drop(condition.insert("lastTransitionTime", time)));
        update.into_iter().for_each(|time| drop(condition.insert("lastUpdateTime", time)));
    }
}

fn put_conditions(object: &mut Object, conditions: Option<Value>) {
    let status = made(&mut object.0, "status");
    match conditions {
        Some(list) => drop(status.insert("conditions", list)),
        None => drop(status.remove("conditions")),
    }
}
