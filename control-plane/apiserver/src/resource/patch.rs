//! Patch: JSON, merge and strategic merge patches, applied to the newest object until no other write comes between.

use super::{Call, body, write};
use crate::negotiate;
use crate::registry::options::{self, WriteOptions};
use crate::registry::{modified, not_found};
use crate::server::Body;
use api::codec::json;
use api::patch::{self, PatchError};
use api::status::{Details, FieldReason};
use api::{FieldError, Kind, Object, Status, Value};
use http::{HeaderMap, Response};

/// How often a patch is applied again when another write came between; upstream's 5 give up too soon under load.
const ROUNDS: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Merge,
    Strategic,
}

pub(super) async fn patch(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    if negotiate::content_type(&call.parts.headers) == APPLY {
        return super::apply::apply(call, body).await;
    }
    let form = form(&call.kind, &call.parts.headers)?;
    let options = options::patch(&call.info.query)?;
    let bytes = body::read(body).await?;
    let decoded = json::decode(&bytes).map_err(|e| {
        let what = if form == Form::Strategic { "" } else { "error decoding patch: " };
        Status::bad_request(format!("{what}{}", e.message))
    })?;
    let doubled = duplicates(form, decoded.duplicates);
    let change = decoded.value;
    if form != Form::Json {
        patch::merge::check(&change).map_err(|e| e.status())?;
    }
    for _ in 0..ROUNDS {
        let old = write::current(call).await?.ok_or_else(|| not_found(&call.kind, &call.info.name))?;
        let mut warnings = Vec::new();
        let new = apply(call, form, &old, &change, &doubled, options, &mut warnings)?;
        write::check_version(call, &new, &old)?;
        if let Some(stored) = write::change(call, new, &old, options, write::By::Patch, &mut warnings).await? {
            return call.show(200, &stored, &warnings);
        }
    }
    Err(modified(&call.kind, &call.info.name))
}

const APPLY: &str = "application/apply-patch+yaml";

/// Refuses patches of a type that nobody applies, before anything else is looked at.
pub(super) fn takes(kind: &Kind, headers: &HeaderMap) -> Result<(), Status> {
    match negotiate::content_type(headers) {
        APPLY => Ok(()),
        _ => form(kind, headers).map(drop),
    }
}

fn form(kind: &Kind, headers: &HeaderMap) -> Result<Form, Status> {
    match negotiate::content_type(headers) {
        "application/json-patch+json" => Ok(Form::Json),
        "application/merge-patch+json" => Ok(Form::Merge),
        // What a strategic merge needs to know of lists, schemas of custom kinds do not say.
        _ if kind.custom.is_some() => Err(Status::unsupported_media_type(
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        )),
        "application/strategic-merge-patch+json" => Ok(Form::Strategic),
        _ => Err(Status {
            details: Some(Details::default()),
            ..Status::new(415, "UnsupportedMediaType", "415: Unsupported Media Type")
        }),
    }
}

/// What is said of members that the patch has twice.
fn duplicates(form: Form, found: Vec<String>) -> Vec<String> {
    let of = if form == Form::Json { "json patch " } else { "" };
    found.into_iter().map(|path| format!("{of}duplicate field {path:?}")).collect()
}

/// The patched object, in its schema, with the identity it may have.
fn apply(
    call: &Call<'_>,
    form: Form,
    old: &Object,
    change: &Value,
    doubled: &[String],
    options: WriteOptions,
    warnings: &mut Vec<String>,
) -> Result<Object, Status> {
    let target = Value::Map(old.0.clone());
    let patched = match form {
        Form::Json => patch::json::apply(&target, change),
        Form::Merge => Ok(patch::merge::apply(&target, change)),
        Form::Strategic => patch::strategic::apply(&call.kind.type_name, &target, change),
    };
    let patched = patched.map_err(|e: PatchError| match e {
        PatchError::Rejected(_) => Status { details: Some(Details::default()), ..e.status() },
        _ => e.status(),
    })?;
    let shown = match form {
        Form::Strategic => patch::shown(change),
        Form::Json | Form::Merge => api::schema::patched(&patched, &target, api::schema::find(&call.kind.type_name)),
    };
    let Value::Map(map) = patched else {
        return Err(invalid(&shown, "the patch does not leave an object"));
    };
    let mut new = Object(map);
    if form == Form::Strategic {
        api::schema::convert(&call.kind.type_name, &mut new).map_err(|why| invalid(&shown, &why))?;
    }
    if new.kind() != call.kind.names.kind || new.api_version() != call.kind.api_version() {
        return Err(invalid(&shown, &body::other_type(&call.kind, new.api_version(), new.kind())));
    }
    let doubled = doubled.to_vec();
    let checked = body::check_fields(&call.kind, &mut new, doubled, None, options.field_validation, warnings);
    checked.map_err(|status| {
        let why = status.message.split_once(&format!(" cannot be handled as a {}: ", call.kind.names.kind));
        invalid(&shown, why.map_or(status.message.as_str(), |(_, why)| why))
    })?;
    body::place(call, &mut new, true)?;
    Ok(new)
}

fn invalid(shown: &str, why: &str) -> Status {
    let error = FieldError::new(FieldReason::Invalid, "patch", format!("Invalid value: {shown:?}: {why}"));
    let mut status = Status::invalid("", "", "", &[error]);
    if let Some(details) = &mut status.details {
        (details.name, details.kind) = (String::new(), String::new());
    }
    status
}
