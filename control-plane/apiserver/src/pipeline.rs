//! A request from its arrival to its answer: authn → authz → flow → the handler of its path.
//!
//! Nothing here panics a connection: a handler's panic becomes a 500.

use crate::authn::{self, Identity};
use crate::authz::{self, Decision};
use crate::ctx::Ctx;
use crate::metrics::Begun;
use crate::negotiate;
use crate::request::RequestInfo;
use crate::server::Body;
use crate::{discovery, health, metrics, openapi, resource, respond, subresources};
use api::Status;
use futures::FutureExt;
use http::request::Parts;
use http::{HeaderValue, Request, Response, header};
use rustls_pki_types::CertificateDer;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

/// Who sent a request.
///
/// INVARIANT: `Inside` is made only by [`crate::InProcess`]; the listener always passes `Network`.
pub(crate) enum Caller {
    Inside(Identity),
    Network(Option<Arc<Vec<CertificateDer<'static>>>>),
}

/// Answers one request.
pub(crate) async fn serve(ctx: Arc<Ctx>, caller: Caller, request: Request<Body>) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let info = RequestInfo::parse(&parts.method, parts.uri.path(), parts.uri.query().unwrap_or(""));
    let started = Instant::now();
    let known = ctx.registry.kind(&info.group, &info.version, &info.resource).is_some();
    let begun = ctx.metrics.begin(&info, &parts.headers, known);
    if let Some(lasts) = begun.lasts() {
        parts.extensions.insert(lasts);
    }
    let accept = negotiate::of_errors(&parts.headers, &info.query);
    let spaced = authn::is_spaced(&parts.headers);
    let handled = AssertUnwindSafe(handle(&ctx, caller, &info, parts, body, &begun)).catch_unwind().await;
    let mut response = match handled {
        Ok(Ok(response)) => response,
        Ok(Err(status)) => respond::error(&status, &accept),
        Err(_) => {
            tracing::error!(verb = info.verb, path = info.path, "a handler panicked");
            let why = format!("this request caused apiserver to panic. Look in the logs for details: {}", info.path);
            respond::error(&Status::internal(why), &accept)
        }
    };
    warn_of_deprecated(&ctx, &info, &mut response);
    if spaced {
        let why = "the provided Authorization header contains extra space before the bearer token, and is ignored";
        respond::warn(&mut response, &[why.to_owned()]);
    }
    let mut response = ctx.metrics.end(begun, response, started.elapsed());
    let id = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string());
    response.headers_mut().insert("audit-id", id.unwrap_or(HeaderValue::from_static("")));
    response
}

async fn handle(
    ctx: &Arc<Ctx>,
    caller: Caller,
    info: &RequestInfo,
    parts: Parts,
    body: Body,
    begun: &Begun<'_>,
) -> Result<Response<Body>, Status> {
    let refuse = |status: Status| {
        let mut response = respond::error(&status, &negotiate::of_errors(&parts.headers, &info.query));
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Ok(response)
    };
    let identity = identify(ctx, caller, &parts).await?;
    let identity = match authn::impersonate(ctx, &parts, identity).await {
        Ok(identity) => identity,
        Err(status) => return refuse(status),
    };
    let asked = Instant::now();
    let decision = authz::authorize(ctx, &identity, info).await;
    ctx.metrics.door.authorized(decision == Decision::Allow, asked.elapsed());
    if let Decision::Deny(reason) = decision {
        return refuse(authz::forbidden(identity.user(), info, &reason));
    }
    begun.admitted();
    let came = Instant::now();
    let place = ctx.flow.enter(info).await;
    begun.waited(came.elapsed());
    let _place = place.inspect_err(|status| ctx.metrics.ended(info, &parts.headers, "apiserver", status.code))?;
    if let Some(response) = ctx.aggregation.answer(info) {
        ctx.metrics.ended(info, &parts.headers, "aggregator", response.status().as_u16());
        return Ok(response);
    }
    if subresources::serves(info) {
        return subresources::handle(ctx, &identity, info, Request::from_parts(parts, body)).await;
    }
    if info.is_resource {
        return resource::handle(ctx, &identity, info, &parts, body).await;
    }
    other(ctx, info, &parts).await
}

/// Who asks, for whomever.
async fn identify(ctx: &Ctx, caller: Caller, parts: &Parts) -> Result<Identity, Status> {
    match caller {
        Caller::Inside(identity) => Ok(identity),
        Caller::Network(peer) => {
            let came = Instant::now();
            let found = authn::authenticate(ctx, parts, peer.as_ref().map(|p| p.as_slice())).await;
            ctx.metrics.door.authenticated(found.as_ref().ok().map(|i| i.user().name.as_str()), came.elapsed());
            found
        }
    }
}

async fn other(ctx: &Arc<Ctx>, info: &RequestInfo, parts: &Parts) -> Result<Response<Body>, Status> {
    if let Some(response) = health::handle(ctx, info).await {
        return Ok(response);
    }
    let path = info.path.trim_end_matches('/');
    match path {
        "/metrics" | "/metrics/slis" => Ok(metrics::handle(ctx, path, &parts.headers).await),
        p if p == "/openapi" || p.starts_with("/openapi/") => openapi::handle(ctx, info, parts),
        _ => discovery::handle(ctx, info, parts).await,
    }
}

/// Resources whose every use is answered with a warning.
fn warn_of_deprecated(ctx: &Ctx, info: &RequestInfo, response: &mut Response<Body>) {
    let (resource, warning) = match (info.group.as_str(), info.version.as_str(), info.resource.as_str()) {
        ("", "v1", "endpoints") => {
            ("endpoints", "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
        }
        ("", "v1", "componentstatuses") => ("componentstatuses", "v1 ComponentStatus is deprecated in v1.19+"),
        _ => return,
    };
    // What has no route is no use of the resource.
    let code = response.status().as_u16();
    if code == 405 || (code == 404 && !info.subresource.is_empty()) {
        return;
    }
    ctx.metrics.deprecated("", "v1", resource);
    // It is said before anything else.
    let others: Vec<_> = response.headers().get_all(http::header::WARNING).iter().cloned().collect();
    response.headers_mut().remove(http::header::WARNING);
    respond::warn(response, &[warning.to_owned()]);
    response.headers_mut().extend(others.into_iter().map(|other| (http::header::WARNING, other)));
}
