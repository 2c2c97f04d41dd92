//! Patch: JSON, merge and strategic merge patches, applied to the newest object until no other write comes between.

use super::{Call, body, write};
use crate::negotiate;
use crate::registry::options::{self, FieldValidation};
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
pub(crate) enum Form {
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
    let (bytes, mut read) = (body::read(body).await?, None);
    for _ in 0..ROUNDS {
        // What is not there is told before what the patch is.
        let old = write::current(call).await?.ok_or_else(|| not_found(&call.kind, &call.info.name))?;
        let patch = match &read {
            Some(patch) => patch,
            None => &*read.insert(Patch::read(form, &bytes, options.field_validation)?),
        };
        let mut warnings = Vec::new();
        let mut new = patch.apply(&call.kind, &old, options.field_validation, &mut warnings)?;
        body::place(call, &mut new, true)?;
        write::asks_for(call, &new, &old)?;
        if let Some(stored) = write::change(call, new, &old, options, write::By::Patch, &mut warnings).await? {
            return call.show(200, &stored, &warnings);
        }
    }
    Err(modified(&call.kind, &call.info.name))
}

pub(crate) const APPLY: &str = "application/apply-patch+yaml";

/// Refuses patches of a type that nobody applies, before anything else is looked at.
pub(super) fn takes(kind: &Kind, headers: &HeaderMap) -> Result<(), Status> {
    match negotiate::content_type(headers) {
        APPLY => Ok(()),
        _ => form(kind, headers).map(drop),
    }
}

pub(crate) fn form(kind: &Kind, headers: &HeaderMap) -> Result<Form, Status> {
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

/// A patch as it was sent.
pub(crate) struct Patch {
    form: Form,
    change: Value,
    /// What is said of members that it has twice.
    doubled: Vec<String>,
}

impl Patch {
    pub(crate) fn read(form: Form, bytes: &[u8], validation: FieldValidation) -> Result<Patch, Status> {
        let ignores = validation == FieldValidation::Ignore;
        let decoded = json::decode(bytes).map_err(|e| match form {
            Form::Merge if ignores => no_merge_patch(),
            Form::Strategic => Status::bad_request(e.message),
            Form::Json if ignores => Status::bad_request(e.message),
            Form::Json | Form::Merge => Status::bad_request(format!("error decoding patch: {}", e.message)),
        })?;
        let mut doubled = duplicates(form, decoded.duplicates);
        match form {
            Form::Json if ignores => loosely(&decoded.value)?,
            Form::Json => {
                patch::json::check(&decoded.value).map_err(|e| e.status())?;
                let unknown = patch::json::unknown(&decoded.value);
                doubled.extend(unknown.into_iter().map(|path| format!("json patch unknown field {path:?}")));
            }
            Form::Merge if ignores && decoded.value.as_map().is_none() => return Err(no_merge_patch()),
            Form::Merge if decoded.value.is_null() => return Err(no_merge_patch()),
            Form::Merge => patch::merge::check(&decoded.value).map_err(|e| e.status())?,
            Form::Strategic if decoded.value.is_null() => {}
            Form::Strategic => patch::merge::check(&decoded.value).map_err(|e| match e {
                PatchError::Malformed(why) => Status::bad_request(why),
                other => other.status(),
            })?,
        }
        Ok(Patch { form, change: decoded.value, doubled })
    }

    /// The patched object, in its schema.
    pub(crate) fn apply(
        &self,
        kind: &Kind,
        old: &Object,
        validation: FieldValidation,
        warnings: &mut Vec<String>,
    ) -> Result<Object, Status> {
        let (patched, shown) = self.patched(kind, old).map_err(|e: PatchError| match e {
            PatchError::Rejected(_) => Status { details: Some(Details::default()), ..e.status() },
            _ => e.status(),
        })?;
        let Value::Map(map) = patched else {
            return Err(invalid(&shown, "the patch does not leave an object"));
        };
        let mut new = Object(map);
        match self.form {
            Form::Strategic => {
                // It makes an object of the type whatever it says of that.
                api::schema::convert(&kind.type_name, &mut new).map_err(|why| invalid(&shown, &why))?;
                new.set_type(&kind.api_version(), &kind.names.kind);
            }
            Form::Json | Form::Merge => typed(kind, &mut new, &shown)?,
        }
        let doubled = self.doubled.clone();
        body::check_fields(kind, &mut new, doubled, None, validation, warnings).map_err(|status| {
            let why = status.message.split_once(&format!(" cannot be handled as a {}: ", kind.names.kind));
            invalid(&shown, why.map_or(status.message.as_str(), |(_, why)| why))
        })?;
        kind.drop_nulls(&mut new);
        Ok(new)
    }

    /// What the patch leaves, and how messages show it.
    fn patched(&self, kind: &Kind, old: &Object) -> Result<(Value, String), PatchError> {
        let (schema, target) = (api::schema::find(&kind.type_name), Value::Map(old.0.clone()));
        match self.form {
            Form::Json => {
                let after = patch::json::apply(&target, &self.change)?;
                let shown = patch::stepped(&target, &self.change, &after, schema);
                Ok((after, shown))
            }
            Form::Merge => {
                let after = patch::merge::apply(&target, &self.change);
                let shown = patch::merged(&target, &self.change, &after, schema);
                Ok((after, shown))
            }
            Form::Strategic => {
                let mut change = self.change.as_map().cloned().unwrap_or_default();
                let after = patch::strategic::merge(&kind.type_name, old.0.clone(), &mut change)?;
                Ok((Value::Map(after), patch::shown(&Value::Map(change))))
            }
        }
    }
}

fn no_merge_patch() -> Status {
    Status::bad_request("Invalid JSON Patch")
}

/// The form of a JSON patch whose client does not want to know of unknown fields: only that of its list.
fn loosely(change: &Value) -> Result<(), Status> {
    let wrong = |value: &Value, place: &str| {
        Status::bad_request(format!("json: cannot unmarshal {} into {place}", value.json_type()))
    };
    let operations = match change {
        Value::Null => return Ok(()),
        Value::List(operations) => operations,
        other => return Err(wrong(other, "Go value of type jsonpatch.Patch")),
    };
    match operations.iter().enumerate().find(|(_, o)| !matches!(o, Value::Map(_) | Value::Null)) {
        None => Ok(()),
        Some((i, other)) => Err(wrong(other, &format!("Patch.{i} of type jsonpatch.Operation"))),
    }
}

/// Settles the type that a patched object says.
fn typed(kind: &Kind, object: &mut Object, shown: &str) -> Result<(), Status> {
    for key in ["apiVersion", "kind"] {
        if let Some(other) = object.0.get(key).filter(|v| !matches!(v, Value::Null | Value::Str(_))) {
            let why = format!(
                "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go struct field .{key} of type string",
                other.json_type()
            );
            return Err(invalid(shown, &why));
        }
    }
    if kind.custom.is_some() {
        return typed_custom(kind, object, shown);
    }
    let (version, name) = (object.api_version().to_owned(), object.kind().to_owned());
    if version.is_empty() && (name.is_empty() || name == kind.names.kind) {
        // Upstream reads it as its internal type, in which nothing has the name that it has here.
        *object = Object::default();
    } else if version != kind.api_version() || (name != kind.names.kind && !name.is_empty()) {
        return Err(invalid(shown, &body::other_type(kind, &version, &name)));
    }
    object.set_type(&kind.api_version(), &kind.names.kind);
    Ok(())
}

/// Objects of kinds that were defined at run time say what they are.
fn typed_custom(kind: &Kind, object: &Object, shown: &str) -> Result<(), Status> {
    if object.kind().is_empty() {
        let whole = json::encode(&Value::Map(object.0.clone()));
        return Err(invalid(shown, &format!("Object 'Kind' is missing in '{}'", String::from_utf8_lossy(&whole))));
    }
    match body::other_names(kind, object) {
        errors if errors.is_empty() => Ok(()),
        errors => Err(Status::invalid(&kind.names.group, object.kind(), object.name(), &errors)),
    }
}

fn invalid(shown: &str, why: &str) -> Status {
    let error = FieldError::new(FieldReason::Invalid, "patch", format!("Invalid value: {shown:?}: {why}"));
    let mut status = Status::invalid("", "", "", &[error]);
    if let Some(details) = &mut status.details {
        (details.name, details.kind) = (String::new(), String::new());
    }
    status
}
