//! The HTTP face of the registry: one function per verb.

pub(crate) mod apply;
pub(crate) mod body;
mod components;
mod custom;
mod delete;
pub(crate) mod patch;
mod read;
mod selection;
mod watch;
mod write;

pub(crate) use write::{other_uid, version};

use crate::authn::Identity;
use crate::ctx::Ctx;
use crate::negotiate::{Accept, Offer, Route};
use crate::request::RequestInfo;
use crate::server::Body;
use crate::shape::Shown;
use crate::{definitions, negotiate, respond};
use api::kind::Scope;
use api::status::Details;
use api::{Kind, Object, Status};
use http::request::Parts;
use http::{Method, Response};
use std::sync::Arc;

/// What every verb works with.
struct Call<'a> {
    ctx: &'a Arc<Ctx>,
    identity: &'a Identity,
    info: &'a RequestInfo,
    parts: &'a Parts,
    kind: Arc<Kind>,
    accept: Accept,
}

/// Answers a request for objects that authn and authz have let through.
pub(crate) async fn handle(
    ctx: &Arc<Ctx>,
    identity: &Identity,
    info: &RequestInfo,
    parts: &Parts,
    body: Body,
) -> Result<Response<Body>, Status> {
    let served = || ctx.registry.kind(&info.group, &info.version, &info.resource);
    let kind = match served() {
        Some(kind) => kind,
        None => {
            definitions::catch_up(ctx).await?;
            let Some(kind) = served() else { return nowhere(ctx, &info.group) };
            kind
        }
    };
    if kind.custom.is_some() && !custom::is_place(&kind, info) {
        return Ok(respond::text(404, "404 page not found\n"));
    }
    match &kind.custom {
        Some(_) => custom::check_path(&kind, info)?,
        None => check_path(&kind, info)?,
    }
    if !kind.verbs.iter().any(|v| v == "get") {
        // Reviews and bindings are answered, never stored.
        return Err(no_route());
    }
    // The paths of watches are read alone, and nobody asks for heads.
    if parts.method == Method::HEAD || (info.verb == "watch" && parts.method != Method::GET) {
        return Err(no_method());
    }
    if info.verb == "patch" {
        patch::takes(&kind, &parts.headers)?;
    }
    let lists = matches!(info.verb.as_str(), "list" | "watch");
    negotiate::routed(&parts.headers, if lists { Route::Lists } else { Route::Objects })?;
    let offer = match api::schema::find(&kind.type_name) {
        Some(_) => Offer::Types,
        None => Offer::Custom,
    };
    let accept = negotiate::accept(&parts.headers, &info.query, offer)?;
    if info.subresource == "scale" {
        return crate::subresources::custom_scale(ctx, identity, info, parts, body).await;
    }
    let call = Call { ctx, identity, info, parts, kind, accept };
    let mut response = answer(&call, body).await?;
    if let Some(warning) = call.kind.custom.as_ref().and_then(|c| c.deprecation.clone()) {
        respond::warn(&mut response, &[warning]);
    }
    Ok(response)
}

async fn answer(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    if call.kind.names.plural == "componentstatuses" && call.kind.names.group.is_empty() {
        return components::answer(call).await;
    }
    match call.info.verb.as_str() {
        "get" => read::get(call).await,
        "list" => read::list(call).await,
        "watch" => watch::watch(call).await,
        "create" => write::create(call, body).await,
        "update" => write::update(call, body).await,
        "patch" => patch::patch(call, body).await,
        "delete" => delete::delete(call, body).await,
        "deletecollection" => delete::collection(call, body).await,
        _ => Err(no_method()),
    }
}

/// A resource that nobody serves: within a group of built-in kinds it is an error of the API, elsewhere there is no API
/// at all.
pub(crate) fn nowhere(ctx: &Ctx, group: &str) -> Result<Response<Body>, Status> {
    let own = |k: &Arc<Kind>| k.custom.is_none() && k.names.group == group;
    match ctx.registry.kinds().iter().any(own) {
        true => Err(no_route()),
        false => Ok(respond::text(404, "404 page not found\n")),
    }
}

/// Whether the path and the verb fit the kind.
fn check_path(kind: &Kind, info: &RequestInfo) -> Result<(), Status> {
    let own_namespace = kind.names.plural == "namespaces" && kind.names.group.is_empty();
    if kind.scope == Scope::Cluster && !info.namespace.is_empty() && !own_namespace {
        return Err(no_route());
    }
    if info.subresource.is_empty() {
        let named =
            info.path.trim_end_matches('/').rsplit('/').next() != Some(&*kind.names.plural) || !info.is_collection();
        let named = named && !info.name.is_empty();
        let single = matches!(info.verb.as_str(), "get" | "update" | "patch" | "delete");
        if kind.scope == Scope::Namespaced && info.namespace.is_empty() && (single || info.verb == "create") {
            return Err(if named && info.verb != "create" { no_route() } else { no_method() });
        }
        if !kind.verbs.iter().any(|v| *v == info.verb.as_str())
            || (info.verb == "create" && named)
            || (info.verb == "deletecollection" && info.namespace.is_empty() && kind.scope == Scope::Namespaced)
            || (single && !named)
        {
            return Err(no_method());
        }
        return Ok(());
    }
    let subresource = kind.subresource(&info.subresource).ok_or_else(no_route)?;
    match info.rest.is_empty() && subresource.verbs.iter().any(|v| *v == info.verb.as_str()) {
        true => Ok(()),
        false => Err(no_method()),
    }
}

impl Call<'_> {
    /// The namespace of the object, empty for cluster-scoped kinds: for a namespace itself the path names one.
    fn namespace(&self) -> &str {
        match self.kind.scope {
            Scope::Namespaced => &self.info.namespace,
            Scope::Cluster => "",
        }
    }

    /// The kind's objects as this client wants them.
    fn shown(&self) -> Shown {
        Shown { kind: self.kind.clone(), accept: self.accept.clone(), caches: self.ctx.registry.caches().clone() }
    }

    /// The answer to a write: the object in the shape that was asked for.
    fn show(&self, code: u16, object: &Object, warnings: &[String]) -> Result<Response<Body>, Status> {
        let mut response = respond::encoded(code, &self.accept, self.shown().written(object)?);
        respond::warn(&mut response, warnings);
        Ok(response)
    }
}

/// No such resource.
pub(crate) fn no_route() -> Status {
    Status { details: Some(Details::default()), ..Status::no_route() }
}

/// The resource is there, but not for this method.
pub(crate) fn no_method() -> Status {
    let message = "the server does not allow this method on the requested resource";
    Status { details: Some(Details::default()), ..Status::new(405, "MethodNotAllowed", message) }
}
