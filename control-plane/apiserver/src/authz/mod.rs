//! Who may do what: `system:masters`, the Node authoriser and RBAC, in this order.

pub(crate) mod escalation;
pub(crate) mod node;
pub(crate) mod rbac;

use crate::authn::{Identity, User};
use crate::ctx::Ctx;
use crate::lookup;
use crate::request::RequestInfo;
use api::Status;
use arc_swap::ArcSwapOption;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    Allow,
    /// The reason as it stands in the Status' message, after `cannot … : `; often empty.
    Deny(String),
}

/// A decision with what an access review tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub allowed: bool,
    pub reason: String,
}

/// What the authorisers keep: the last policy and graph, and the revisions that they were made of.
#[derive(Default)]
pub(crate) struct Authz {
    policy: ArcSwapOption<([u64; 4], rbac::Policy)>,
    graph: ArcSwapOption<([u64; 2], node::Graph)>,
}

impl Authz {
    pub(crate) fn new() -> Authz {
        Authz::default()
    }
}

pub(crate) async fn authorize(ctx: &Ctx, identity: &Identity, request: &RequestInfo) -> Decision {
    match decide(ctx, identity.user(), request).await {
        Ok(Verdict { allowed: true, .. }) => Decision::Allow,
        Ok(Verdict { allowed: false, reason }) => Decision::Deny(reason),
        Err(status) => Decision::Deny(status.message),
    }
}

pub(crate) async fn decide(ctx: &Ctx, user: &User, request: &RequestInfo) -> Result<Verdict, Status> {
    if user.groups.iter().any(|g| g == "system:masters") {
        return Ok(Verdict { allowed: true, reason: String::new() });
    }
    let policy = policy(ctx).await?;
    let mut reason = String::new();
    if let Some(node) = node::node_of(user) {
        match node::decide(&graph(ctx).await?.1, &policy.1, node, request) {
            Ok(()) => return Ok(Verdict { allowed: true, reason }),
            Err(why) => reason = why,
        }
    }
    match policy.1.allows(user, request) {
        Some(reason) => Ok(Verdict { allowed: true, reason }),
        None => Ok(Verdict { allowed: false, reason }),
    }
}

/// Every rule that a user has in a namespace; `system:masters` is not a rule.
pub(crate) async fn rules_for(ctx: &Ctx, user: &User, namespace: &str) -> Result<Vec<rbac::Rule>, Status> {
    Ok(policy(ctx).await?.1.rules_for(user, namespace))
}

/// The rules of a role, for who is about to be bound to it.
pub(crate) async fn role_rules(ctx: &Ctx, namespace: &str, name: &str) -> Result<Option<rbac::Rules>, Status> {
    Ok(policy(ctx).await?.1.role(namespace, name))
}

/// The policy of now: made anew only when a role or a binding has changed since the last request.
async fn policy(ctx: &Ctx) -> Result<Arc<([u64; 4], rbac::Policy)>, Status> {
    let sources = [lookup::ROLES, lookup::CLUSTER_ROLES, lookup::ROLE_BINDINGS, lookup::CLUSTER_ROLE_BINDINGS];
    let mut at = [0; 4];
    for (revision, source) in at.iter_mut().zip(sources) {
        *revision = ctx.registry.revision_of(source).await?;
    }
    if let Some(policy) = ctx.authz.policy.load_full().filter(|p| p.0 == at) {
        return Ok(policy);
    }
    let objects = rbac::Objects {
        roles: ctx.registry.all(lookup::ROLES, None).await?,
        cluster_roles: ctx.registry.all(lookup::CLUSTER_ROLES, None).await?,
        role_bindings: ctx.registry.all(lookup::ROLE_BINDINGS, None).await?,
        cluster_role_bindings: ctx.registry.all(lookup::CLUSTER_ROLE_BINDINGS, None).await?,
    };
    let policy = Arc::new((at, rbac::Policy::new(&objects)));
    ctx.authz.policy.store(Some(policy.clone()));
    Ok(policy)
}

async fn graph(ctx: &Ctx) -> Result<Arc<([u64; 2], node::Graph)>, Status> {
    let (pods, claims) = (lookup::PODS, lookup::PERSISTENT_VOLUME_CLAIMS);
    let at = [ctx.registry.revision_of(pods).await?, ctx.registry.revision_of(claims).await?];
    if let Some(graph) = ctx.authz.graph.load_full().filter(|g| g.0 == at) {
        return Ok(graph);
    }
    let objects = [ctx.registry.all(pods, None).await?, ctx.registry.all(claims, None).await?];
    let graph = Arc::new((at, node::Graph::new(&objects[0], &objects[1])));
    ctx.authz.graph.store(Some(graph.clone()));
    Ok(graph)
}

/// The answer to a request that is not allowed, in upstream's words.
pub(crate) fn forbidden(user: &User, request: &RequestInfo, reason: &str) -> Status {
    let mut why = format!("User {:?} cannot {}", user.name, request.verb);
    if request.is_resource {
        let resource = match request.subresource.as_str() {
            "" => request.resource.clone(),
            sub => format!("{}/{sub}", request.resource),
        };
        why += &format!(" resource {resource:?} in API group {:?}", request.group);
        why += &match request.namespace.as_str() {
            "" => " at the cluster scope".to_owned(),
            namespace => format!(" in the namespace {namespace:?}"),
        };
    } else {
        why += &format!(" path {:?}", request.path);
    }
    if !reason.is_empty() {
        why = format!("{why}: {reason}");
    }
    Status::forbidden(&request.group, &request.resource, &request.name, &why)
}

#[cfg(test)]
mod tests;
