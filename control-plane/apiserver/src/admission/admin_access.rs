//! Access to devices that are others' already is for namespaces that a label allows it.

use super::{Admission, Operation};
use crate::ctx::Ctx;
use crate::lookup;
use api::status::{FieldError, FieldReason};
use api::{Object, Status, Value};

const LABEL: &str = "resource.kubernetes.io/admin-access";

pub(super) async fn validate(ctx: &Ctx, admission: &Admission<'_>) -> Result<(), Status> {
    let Some(path) = asked(admission) else { return Ok(()) };
    let found = ctx.registry.find(lookup::NAMESPACES, "", &admission.info.namespace).await?;
    if found.is_some_and(|namespace| namespace.meta_pairs("labels").any(|pair| pair == (LABEL, "true"))) {
        return Ok(());
    }
    let why =
        format!("Forbidden: admin access to devices requires the `{LABEL}: true` label on the containing namespace");
    let names = &admission.kind.names;
    let name = admission.object.as_ref().map_or("", Object::name);
    Err(Status::invalid(&names.group, &names.kind, name, &[FieldError::new(FieldReason::Forbidden, path, why)]))
}

/// Where a write asks for such access for the first time.
fn asked(admission: &Admission<'_>) -> Option<String> {
    let info = admission.info;
    let new = admission.object.as_ref().filter(|_| info.group == "resource.k8s.io")?;
    const RESULTS: &[&str] = &["status", "allocation", "devices", "results"];
    match (info.resource.as_str(), info.subresource.as_str(), admission.operation) {
        ("resourceclaims", "", Operation::Create) => requested(new, &["spec", "devices", "requests"]),
        ("resourceclaimtemplates", "", Operation::Create) => requested(new, &["spec", "spec", "devices", "requests"]),
        ("resourceclaims", "status", Operation::Update) => {
            let granted = admission.old.is_some_and(|old| first(old, RESULTS, &["adminAccess"]).is_some());
            let at = first(new, RESULTS, &["adminAccess"]).filter(|_| !granted)?;
            Some(format!("{}[{at}].adminAccess", RESULTS.join(".")))
        }
        _ => None,
    }
}

/// Upstream's path of a template's request is that of a claim's.
fn requested(object: &Object, list: &[&str]) -> Option<String> {
    first(object, list, &["exactly", "adminAccess"]).map(|at| format!("spec.devices.requests[{at}].adminAccess"))
}

/// The first entry of a list in which something is true.
fn first(object: &Object, list: &[&str], path: &[&str]) -> Option<usize> {
    let list = object.at(list).and_then(Value::as_list).unwrap_or(&[]);
    list.iter().position(|one| one.at(path).and_then(Value::as_bool).unwrap_or(false))
}
