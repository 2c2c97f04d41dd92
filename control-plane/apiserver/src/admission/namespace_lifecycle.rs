//! NamespaceLifecycle: nothing is written into a namespace that is absent or ending, and some are never deleted.

use super::{Admission, Operation};
use crate::ctx::Ctx;
use crate::lookup;
use api::kind::Scope;
use api::{Cause, Object, Status};

const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(super) async fn mutate(ctx: &Ctx, admission: &Admission<'_>) -> Result<(), Status> {
    let info = admission.info;
    if lookup::NAMESPACES.is(admission.kind) {
        let immortal = admission.operation == Operation::Delete && IMMORTAL.contains(&info.name.as_str());
        return if immortal { Err(admission.forbid("this namespace may not be deleted")) } else { Ok(()) };
    }
    let review = info.group == "authorization.k8s.io" && info.resource == "localsubjectaccessreviews";
    let writes = matches!(admission.operation, Operation::Create | Operation::Update);
    if admission.kind.scope != Scope::Namespaced || !writes || review || info.namespace.is_empty() {
        return Ok(());
    }
    let namespace = ctx.registry.fetch(lookup::NAMESPACES, "", &info.namespace).await?;
    match admission.operation == Operation::Create && ending(&namespace) {
        true => Err(refused(admission, &info.namespace)),
        false => Ok(()),
    }
}

fn ending(namespace: &Object) -> bool {
    namespace.deletion_timestamp().is_some() || namespace.str_at(&["status", "phase"]) == "Terminating"
}

fn refused(admission: &Admission<'_>, namespace: &str) -> Status {
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut status = admission.forbid(&why);
    status.details.get_or_insert_default().causes = vec![Cause {
        reason: "NamespaceTerminating".into(),
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".into(),
    }];
    status
}
