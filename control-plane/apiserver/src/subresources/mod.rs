//! The requests that are more than reading and writing one object: binding, eviction, scale, token, access and token
//! reviews, and the streams to kubelets (log, exec, attach, portforward, proxy).
//!
//! `status`, `finalize`, `approval`, `resize` and `ephemeralcontainers` are the registry's own.

mod binding;
mod eviction;
mod log;
pub(crate) mod proxy;
mod reviews;
mod scale;
mod streams;
mod token;

use crate::admission::{self, Admission, Operation};
use crate::authn::Identity;
use crate::authz::{self, Decision};
use crate::ctx::Ctx;
use crate::lookup::{self, Resource};
use crate::negotiate::{self, Offer, Sent};
use crate::registry::options;
use crate::request::RequestInfo;
use crate::server::Body;
use crate::{resource, respond};
use api::codec::json;
use api::managed::Writer;
use api::{Kind, Map, Object, Status, Value};
use http::request::Parts;
use http::{Method, Request, Response};
use parking_lot::Mutex;
use std::sync::Arc;

/// How often a write is planned again when another one came between; each round sees a newer object.
const ROUNDS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Binding,
    Eviction,
    Token,
    Scale,
    Log,
    Stream,
    Proxy,
    Review,
    Issuer,
}

fn route(info: &RequestInfo) -> Option<Route> {
    if !info.is_resource {
        let issuer = matches!(info.path.as_str(), "/openid/v1/jwks" | "/.well-known/openid-configuration");
        return issuer.then_some(Route::Issuer);
    }
    let create = info.verb == "create" && info.rest.is_empty();
    let route = match (info.group.as_str(), info.resource.as_str(), info.subresource.as_str()) {
        ("", "bindings", "") | ("", "pods", "binding") if create => Route::Binding,
        ("", "pods", "eviction") if create => Route::Eviction,
        ("", "serviceaccounts", "token") if create => Route::Token,
        ("", "pods", "log") if info.verb == "get" => Route::Log,
        ("", "pods", "exec" | "attach" | "portforward") if matches!(info.verb.as_str(), "get" | "create") => {
            Route::Stream
        }
        ("", "pods" | "services" | "nodes", "proxy") => Route::Proxy,
        ("authentication.k8s.io" | "authorization.k8s.io", _, "") if create => Route::Review,
        (group, plural, "scale") if info.rest.is_empty() && scale::target(group, plural).is_some() => {
            return matches!(info.verb.as_str(), "get" | "update" | "patch").then_some(Route::Scale);
        }
        _ => return None,
    };
    Some(route)
}

/// Whether [`handle`] answers this request.
pub(crate) fn serves(info: &RequestInfo) -> bool {
    route(info).is_some()
}

/// A request on its way through one of the files here.
struct Call<'a> {
    ctx: &'a Arc<Ctx>,
    identity: &'a Identity,
    info: &'a RequestInfo,
    parts: &'a Parts,
    /// What the client is warned of.
    warnings: Mutex<Vec<String>>,
}

/// Answers a request that authn and authz have let through.
pub(crate) async fn handle(
    ctx: &Arc<Ctx>,
    identity: &Identity,
    info: &RequestInfo,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let route = route(info).ok_or_else(resource::no_route)?;
    let (method, headers) = (request.method(), request.headers());
    let lone = route != Route::Proxy && method == Method::HEAD;
    if lone || (route == Route::Issuer && method != Method::GET) {
        return Err(resource::no_method());
    }
    match route {
        Route::Stream | Route::Proxy => {}
        Route::Log => {
            negotiate::routed(headers, negotiate::Route::Logs)?;
            negotiate::accept(headers, &info.query, Offer::Whole)?;
        }
        Route::Issuer if info.path.starts_with("/openid/") => negotiate::routed(headers, negotiate::Route::Keys)?,
        Route::Issuer => negotiate::routed(headers, negotiate::Route::Json)?,
        Route::Binding | Route::Eviction | Route::Token | Route::Scale | Route::Review => {
            negotiate::routed(headers, negotiate::Route::Objects)?;
        }
    }
    if matches!(route, Route::Log | Route::Stream | Route::Proxy) {
        if route == Route::Stream {
            may_create(ctx, identity, info).await?;
        }
        if route != Route::Log {
            connect(ctx, identity, info).await?;
        }
        return match route {
            Route::Log => log::handle(ctx, info, request).await,
            Route::Stream => streams::handle(ctx, info, request).await,
            _ => proxy::handle(ctx, info, request).await,
        };
    }
    let (parts, body) = request.into_parts();
    let call = Call { ctx, identity, info, parts: &parts, warnings: Mutex::default() };
    let answered = match route {
        Route::Binding => binding::create(&call, body).await,
        Route::Eviction => eviction::create(&call, body).await,
        Route::Token => token::create(&call, body).await,
        Route::Scale => scale::handle(&call, body).await,
        Route::Review => reviews::create(&call, body).await,
        _ => Ok(token::issuer(&call)),
    };
    let refused = |status: Status| respond::error(&status, &negotiate::of_errors(&parts.headers, &info.query));
    let mut response = answered.unwrap_or_else(refused);
    respond::warn(&mut response, &call.warnings.lock());
    Ok(response)
}

/// The `scale` of a custom kind that has one.
pub(crate) async fn custom_scale(
    ctx: &Arc<Ctx>,
    identity: &Identity,
    info: &RequestInfo,
    parts: &Parts,
    body: Body,
) -> Result<Response<Body>, Status> {
    let call = Call { ctx, identity, info, parts, warnings: Mutex::default() };
    let mut response = scale::handle(&call, body).await?;
    respond::warn(&mut response, &call.warnings.lock());
    Ok(response)
}

/// Whoever may only read must not run commands: a WebSocket is asked for by GET, and is judged as a POST as well (as
/// upstream since 1.35).
async fn may_create(ctx: &Ctx, identity: &Identity, info: &RequestInfo) -> Result<(), Status> {
    if info.verb == "create" {
        return Ok(());
    }
    let create = RequestInfo { verb: "create".to_owned(), ..info.clone() };
    match authz::authorize(ctx, identity, &create).await {
        Decision::Deny(reason) => Err(Status::forbidden(&info.group, &info.resource, &info.name, &reason)),
        _ => Ok(()),
    }
}

/// Asks admission whether a stream may be opened.
async fn connect(ctx: &Ctx, identity: &Identity, info: &RequestInfo) -> Result<(), Status> {
    let kind = ctx.registry.kind(&info.group, &info.version, &info.resource).ok_or_else(resource::no_route)?;
    let mut admission = Admission {
        kind: &kind,
        info,
        operation: Operation::Connect,
        user: identity.user(),
        old: None,
        object: None,
        dry_run: false,
        options: &Value::Null,
        warnings: Vec::new(),
        charge: None,
    };
    admission::mutate(ctx, &mut admission).await?;
    admission::validate(ctx, &mut admission).await
}

impl Call<'_> {
    /// The body as an object; what the type of the path fixes may be left out.
    async fn object(&self, body: Body, api_version: &str, kind: &str, type_name: &str) -> Result<Object, Status> {
        let of = if self.info.verb == "create" { "CreateOptions" } else { "UpdateOptions" };
        options::write(&self.info.query, of)?;
        let bytes = resource::body::read(body).await?;
        let sent = negotiate::body(&self.parts.headers)?;
        let (object, twice) = resource::body::of_type(kind, type_name, sent, &bytes)?;
        let doubled = resource::body::doubled(sent, &twice);
        let object = self.typed(object, api_version, kind, type_name, doubled, (sent, &bytes))?;
        let (namespace, given) = (self.info.namespace.as_str(), object.namespace());
        if !namespace.is_empty() && !given.is_empty() && given != namespace {
            let why = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Status::bad_request(why));
        }
        Ok(object)
    }

    /// Checks the type and the fields of an object, of which something may have been `found` before; what it has and its
    /// type has not is told in the order of its `source`.
    fn typed(
        &self,
        mut object: Object,
        api_version: &str,
        kind: &str,
        type_name: &str,
        mut found: Vec<String>,
        (sent, body): (Sent, &[u8]),
    ) -> Result<Object, Status> {
        let (given_version, given_kind) = (object.api_version(), object.kind());
        // The one older version that is still taken.
        let older = kind == "Eviction" && given_version == "policy/v1beta1";
        let other = !given_version.is_empty() && given_version != api_version && !older;
        if other || (!given_kind.is_empty() && given_kind != kind) {
            let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
            let why = resource::body::unconvertible(group, kind, given_version, given_kind);
            let version = resource::body::short(given_version);
            return Err(Status::bad_request(format!(
                "{given_kind} in version {version:?} cannot be handled as a {kind}: {why}"
            )));
        }
        object.set_type(api_version, kind);
        let unhandled = |error: &str| {
            let version = resource::body::short(api_version);
            Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {error}"))
        };
        let checked = api::schema::read(type_name, &mut object);
        if let Some(error) = checked.error {
            return Err(unhandled(&error));
        }
        let mut unknown = checked.unknown;
        if sent == Sent::Json {
            json::sort_paths(body, &mut unknown);
        }
        found.extend(unknown.iter().map(|path| format!("unknown field {path:?}")));
        match self.info.query.get("fieldValidation") {
            "Ignore" => {}
            "Strict" if !found.is_empty() => {
                return Err(unhandled(&format!("strict decoding error: {}", found.join(", "))));
            }
            _ => self.warnings.lock().extend(resource::body::warned(found)),
        }
        Ok(object)
    }

    /// What nobody but the server says of an object that is answered and not stored; its namespace is the path's.
    fn place(&self, object: &mut Object) {
        let namespace = self.info.namespace.as_str();
        let meta = object.meta_mut();
        for key in
            ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "uid", "selfLink", "namespace"]
        {
            meta.remove(key);
        }
        if !namespace.is_empty() {
            meta.insert("namespace", namespace);
        }
    }

    /// Writes down who set the fields of an object that is answered and not stored.
    fn own(&self, kind: &Kind, object: &mut Object) {
        let (manager, now) = (options::manager(&self.info.query, &self.parts.headers), now());
        let writer = Writer { manager: &manager, now: &now, subresource: &self.info.subresource };
        api::managed::update(kind, None, object, writer);
    }

    fn reply(&self, code: u16, object: Object) -> Result<Response<Body>, Status> {
        let accept = negotiate::accept(&self.parts.headers, &self.info.query, Offer::Types)?;
        Ok(respond::value(code, &accept, &Value::Map(object.0)))
    }

    /// The Status of something that was done.
    fn done(&self) -> Result<Response<Body>, Status> {
        let mut done = Object::default();
        done.set_type("v1", "Status");
        done.0.insert("metadata", api::Map::new());
        done.0.insert("status", "Success");
        done.0.insert("code", 201);
        self.reply(201, done)
    }

    fn dry_run(&self) -> bool {
        self.info.query.all("dryRun").any(|v| v == "All")
    }
}

/// Changes an object in place, again and again until no other write comes between. `None` from `change` leaves it.
async fn change(
    ctx: &Ctx,
    at: Resource,
    namespace: &str,
    name: &str,
    mut change: impl FnMut(&Object) -> Result<Option<Object>, Status>,
) -> Result<Object, Status> {
    let kind = ctx.registry.known(at)?;
    for _ in 0..ROUNDS {
        let old = ctx.registry.get(&kind, namespace, name).await?;
        let Some(new) = change(&old)? else { return Ok(old) };
        if let Some(stored) = ctx.registry.replace(&kind, new, &old).await? {
            return Ok(stored);
        }
    }
    Err(crate::registry::modified(&kind, name))
}

/// A precondition that an object does not meet, in the words of upstream's store.
fn unmet(kind: &Kind, object: &Object, what: &str, asked: &str, has: &str) -> Status {
    let (plural, namespace, name) = (&kind.names.plural, object.namespace(), object.name());
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: /{plural}/{namespace}/{name}, ResourceVersion: 0, AdditionalErrorMsg: \
         Precondition failed: {what} in precondition: {asked}, {what} in object meta: {has}"
    );
    Status::conflict(&kind.names.group, plural, name, &why)
}

/// Puts a condition in the place of the one of its type.
fn put_condition(object: &mut Object, condition: Map) {
    let kind = condition.get("type").cloned();
    let mut conditions = object.at(&["status", "conditions"]).and_then(Value::as_list).unwrap_or(&[]).to_vec();
    match conditions.iter_mut().find(|known| known.get("type") == kind.as_ref()) {
        Some(there) => *there = Value::Map(condition),
        None => conditions.push(Value::Map(condition)),
    }
    object.set(&["status", "conditions"], Value::List(conditions));
}

/// The pod of the path.
async fn pod(ctx: &Ctx, info: &RequestInfo) -> Result<Object, Status> {
    ctx.registry.fetch(lookup::PODS, &info.namespace, &info.name).await
}

/// The time of now, as objects hold it.
fn now() -> String {
    crate::registry::now_text()
}

#[cfg(test)]
mod tests;
