//! Admission: the plugins in upstream's order, mutating ones first.

mod admin_access;
pub(crate) mod certificates;
mod default_ingress_class;
mod default_toleration_seconds;
mod fields;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod pod_security;
mod priority;
mod rbac_escalation;
pub(crate) mod resource_quota;
mod runtime_class;
mod service_account;
mod storage;
mod taint_nodes_by_condition;

use crate::allocators;
use crate::authn::User;
use crate::ctx::Ctx;
use crate::lookup::Resource;
use crate::request::RequestInfo;
use api::{Kind, Object, Status, Value};
use std::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// One write on its way to the registry.
pub(crate) struct Admission<'a> {
    pub kind: &'a Kind,
    pub info: &'a RequestInfo,
    pub operation: Operation,
    pub user: &'a User,
    /// The object as it is stored: Update and Delete.
    pub old: Option<&'a Object>,
    /// The object as it will be: Create and Update; the options object of a Connect.
    pub object: Option<Object>,
    pub dry_run: bool,
    /// The CreateOptions, UpdateOptions, PatchOptions or DeleteOptions of the request.
    #[expect(dead_code, reason = "sent to webhooks, which come later")]
    pub options: &'a Value,
    /// For `Warning` headers.
    pub warnings: Vec<String>,
    /// What the write uses of quotas, to be written together with it.
    pub charge: Option<resource_quota::Charge>,
}

impl Admission<'_> {
    /// Whether this is one of these operations on a resource and its subresource (empty: the object itself).
    fn writes(&self, at: Resource, subresource: &str, operations: &[Operation]) -> bool {
        let info = self.info;
        operations.contains(&self.operation)
            && (info.group == at.group && info.resource == at.plural && info.subresource == subresource)
    }

    /// The answer of a plugin that says no.
    fn forbid(&self, why: &str) -> Status {
        let object = self.object.as_ref();
        let generated = object.map_or("", |o| o.meta_text("generateName"));
        let names = [self.info.name.as_str(), object.map_or("", Object::name), generated, "Unknown"];
        let name = names.into_iter().find(|n| !n.is_empty()).unwrap_or_default();
        Status::forbidden(&self.info.group, &self.info.resource, name, why)
    }
}

/// Runs before validation; may change `object`.
pub(crate) async fn mutate(ctx: &Ctx, admission: &mut Admission<'_>) -> Result<(), Status> {
    let since = Instant::now();
    let result = mutating(ctx, admission).await;
    ctx.metrics.admission("admit", admission.operation, result.is_err(), since.elapsed());
    result
}

/// Runs after validation; may only add warnings.
pub(crate) async fn validate(ctx: &Ctx, admission: &mut Admission<'_>) -> Result<(), Status> {
    let since = Instant::now();
    let result = validating(ctx, admission).await;
    ctx.metrics.admission("validate", admission.operation, result.is_err(), since.elapsed());
    result
}

async fn mutating(ctx: &Ctx, admission: &mut Admission<'_>) -> Result<(), Status> {
    let step = Step { ctx, kind: "admit", operation: admission.operation };
    step.run("NamespaceLifecycle", namespace_lifecycle::mutate(ctx, admission)).await?;
    step.run("LimitRanger", limit_ranger::mutate(ctx, admission)).await?;
    step.run("ServiceAccount", service_account::mutate(ctx, admission)).await?;
    step.run("NodeRestriction", node_restriction::mutate(ctx, admission)).await?;
    step.run("TaintNodesByCondition", done(taint_nodes_by_condition::mutate, admission)).await?;
    step.run("Priority", priority::mutate(ctx, admission)).await?;
    step.run("DefaultTolerationSeconds", done(default_toleration_seconds::mutate, admission)).await?;
    step.run("DefaultStorageClass", storage::set_default_class(ctx, admission)).await?;
    step.run("StorageObjectInUseProtection", done(storage::protect, admission)).await?;
    step.run("RuntimeClass", runtime_class::mutate(ctx, admission)).await?;
    certificates::set_requester(admission);
    step.run("DefaultIngressClass", default_ingress_class::mutate(ctx, admission)).await?;
    if let Some(new) = admission.object.as_mut().filter(|_| admission.info.subresource.is_empty()) {
        allocators::prepare(ctx, admission.kind, new, admission.old)?;
    }
    rbac_escalation::check(ctx, admission).await
}

async fn validating(ctx: &Ctx, admission: &mut Admission<'_>) -> Result<(), Status> {
    let step = Step { ctx, kind: "validate", operation: admission.operation };
    admin_access::validate(ctx, admission).await?;
    step.run("LimitRanger", limit_ranger::validate(ctx, admission)).await?;
    step.run("PodSecurity", pod_security::validate(ctx, admission)).await?;
    step.run("Priority", priority::validate(ctx, admission)).await?;
    step.run("RuntimeClass", runtime_class::validate(ctx, admission)).await?;
    step.run("PersistentVolumeClaimResize", storage::validate_resize(ctx, admission)).await?;
    step.run("CertificateApproval", certificates::validate(ctx, admission)).await?;
    step.run("ResourceQuota", resource_quota::validate(ctx, admission)).await
}

/// A plugin that neither waits nor refuses.
async fn done(plugin: fn(&mut Admission<'_>), admission: &mut Admission<'_>) -> Result<(), Status> {
    plugin(admission);
    Ok(())
}

/// Measures the plugins of one phase.
struct Step<'a> {
    ctx: &'a Ctx,
    kind: &'static str,
    operation: Operation,
}

impl Step<'_> {
    async fn run(&self, plugin: &'static str, work: impl Future<Output = Result<(), Status>>) -> Result<(), Status> {
        let since = Instant::now();
        let result = work.await;
        self.ctx.metrics.plugin(plugin, self.kind, self.operation, result.is_err(), since.elapsed());
        result
    }
}

#[cfg(test)]
mod tests;
