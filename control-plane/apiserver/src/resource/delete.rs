//! Delete of one object and of a collection.

use super::selection;
use super::{Call, body, read};
use crate::admission::{self, Admission, Operation};
use crate::allocators;
use crate::cache::Entry;
use crate::ctx::Ctx;
use crate::lookup;
use crate::registry::deletion::{self, DeleteOptions};
use crate::registry::{Deleted, encode, not_found};
use crate::server::Body;
use crate::{negotiate, respond};
use api::{Kind, Object, Status, Value};
use bytes::Bytes;
use http::Response;
use std::sync::Arc;

pub(super) async fn delete(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    let (asked, options) = options(call, body).await?;
    let mut warnings = Vec::new();
    if options.propagation.is_none() && call.kind.names.plural == "jobs" && call.kind.names.group == "batch" {
        warnings.push(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them \
             or set propagationPolicy=Orphan to suppress this warning"
                .to_owned(),
        );
    }
    let done = match one(call, &call.info.name, &options, &asked, &mut warnings).await {
        Ok(done) => done,
        Err(status) => {
            let mut response = respond::error(&status, &negotiate::of_errors(&call.parts.headers, &call.info.query));
            respond::warn(&mut response, &warnings);
            return Ok(response);
        }
    };
    if done.gone && !deletion::shows_object(&call.kind) {
        let mut response = respond::value(200, &call.accept, &deletion::success(&call.kind, &done.object));
        respond::warn(&mut response, &warnings);
        return Ok(response);
    }
    let code = if options.cascades && !done.gone { 202 } else { 200 };
    call.show(code, &done.object, &warnings)
}

async fn one(
    call: &Call<'_>,
    name: &str,
    options: &DeleteOptions,
    asked: &Value,
    warnings: &mut Vec<String>,
) -> Result<Deleted, Status> {
    let (ctx, kind) = (call.ctx, &*call.kind);
    let old = ctx.registry.storage().get_object(kind, call.namespace(), name).await?;
    let old = match old {
        Some(stored) => Some(crate::registry::decode(kind, &stored.value, stored.revision)?),
        None => None,
    };
    let mut admission = Admission {
        kind,
        info: call.info,
        operation: Operation::Delete,
        user: call.identity.user(),
        old: old.as_ref(),
        object: None,
        dry_run: options.dry_run,
        options: asked,
        warnings: Vec::new(),
        charge: None,
    };
    admission::mutate(ctx, &mut admission).await?;
    admission::validate(ctx, &mut admission).await?;
    warnings.append(&mut admission.warnings);
    if old.is_none() {
        return Err(not_found(kind, name));
    }
    let done = ctx.registry.delete_with(kind, call.namespace(), name, options, |_| Ok(())).await?;
    if done.gone && !options.dry_run {
        gone(ctx, kind, &done.object).await;
    }
    Ok(done)
}

/// The object is gone from the store: gives back what it held. The Endpoints of a Service go with it, as upstream,
/// whoever wrote them.
pub(super) async fn gone(ctx: &Ctx, kind: &Kind, object: &Object) {
    allocators::release(ctx, kind, object).await;
    if !lookup::SERVICES.is(kind) {
        return;
    }
    let (namespace, name) = (object.namespace(), object.name());
    let deleted = match ctx.registry.known(lookup::ENDPOINTS) {
        Ok(endpoints) => ctx.registry.delete(&endpoints, namespace, name).await,
        Err(status) => Err(status),
    };
    if let Err(status) = deleted
        && status.code != 404
    {
        tracing::warn!(namespace, name, error = %status.message, "the endpoints of a Service that is gone stay");
    }
}

/// The options as they were sent, and parsed.
async fn options(call: &Call<'_>, body: Body) -> Result<(Value, DeleteOptions), Status> {
    let bytes = body::read(body).await?;
    let asked = match bytes.is_empty() {
        true => Value::Null,
        false => parse(call, &bytes)?,
    };
    let options = deletion::options(&asked, &call.info.query)?;
    Ok((asked, options))
}

const OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

fn parse(call: &Call<'_>, bytes: &[u8]) -> Result<Value, Status> {
    let sent = negotiate::body(&call.parts.headers)?;
    let decoded =
        body::decode(OPTIONS, sent, bytes).map_err(|e| Status::bad_request(body::no_type(sent, &e.message)))?;
    let mut value = decoded.value;
    if !matches!(value, Value::Map(_) | Value::Null) {
        return Err(Status::bad_request(body::no_object(&value)));
    }
    let text = |key: &str, default: &str| value.get(key).and_then(Value::as_str).unwrap_or(default).to_owned();
    let (version, kind) = (text("apiVersion", "v1"), text("kind", "DeleteOptions"));
    if kind != "DeleteOptions" {
        return Err(Status::bad_request(format!(
            "no kind {kind:?} is registered for version {version:?} in scheme \
             \"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27\""
        )));
    }
    // What it asks for must never be read as less than it says.
    match api::schema::normalize(OPTIONS, &mut value).error {
        // Upstream names the type of this text.
        Some(why) => Err(Status::bad_request(
            why.replace("preconditions.uid of type string", "preconditions.uid of type types.UID"),
        )),
        None => Ok(value),
    }
}

/// Deletes what a list with the same selectors and limit shows; an object that is gone by itself is no failure.
pub(super) async fn collection(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    let (listed, selection) = selection::asked(&call.kind, call.info, false)?;
    let (asked, options) = options(call, body).await?;
    let (entries, meta) = read::page(call, &listed, &selection).await?;
    let mut deleted: Vec<Object> = Vec::new();
    let mut warnings = Vec::new();
    for entry in entries {
        let object = entry.decode(&call.kind)?;
        match one(call, object.name(), &options, &asked, &mut warnings).await {
            Ok(_) => deleted.push(object),
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    let shown = deleted
        .iter()
        .map(|o| Entry::new(Bytes::new(), encode(&call.kind, o), o.resource_version().parse().unwrap_or(0)))
        .map(Arc::new)
        .collect();
    let mut response = respond::chunks(200, &call.accept, call.shown().list(shown, &meta)?);
    respond::warn(&mut response, &warnings);
    Ok(response)
}
