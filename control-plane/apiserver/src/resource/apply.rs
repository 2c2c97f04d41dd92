//! Server-side apply: the configuration becomes the object's, its fields the applier's; an absent object is created.

use super::{Call, body, write};
use crate::negotiate::Sent;
use crate::registry::options::{self, FieldValidation};
use crate::registry::{modified, not_found, now_text};
use crate::server::Body;
use api::{Kind, Object, Status, Value, managed};
use http::Response;

/// How often an apply is done again when another write came between.
const ROUNDS: usize = 32;

pub(super) async fn apply(call: &Call<'_>, body: Body) -> Result<Response<Body>, Status> {
    let options = options::write(&call.info.query, "PatchOptions")?;
    let manager = call.info.query.get("fieldManager");
    if manager.is_empty() {
        return Err(options::needs_manager());
    }
    let bytes = body::read(body).await?;
    let force = call.info.query.is("force");
    let mut read = None;
    for _ in 0..ROUNDS {
        let old = write::current(call).await?;
        if old.is_none() && !call.info.subresource.is_empty() {
            return Err(not_found(&call.kind, &call.info.name));
        }
        let (configuration, warnings) = match &read {
            Some(read) => read,
            None => read.insert(configuration(&call.kind, &bytes, options.field_validation)?),
        };
        let now = now_text();
        let writer = managed::Writer { manager, now: &now, subresource: &call.info.subresource };
        let mut object = managed::apply(&call.kind, old.as_ref(), configuration, writer, force)?;
        managed::converts(&call.kind, configuration, &mut object)?;
        let unidentified = old.is_none() && !configuration.uid().is_empty();
        if !unidentified {
            body::place(call, &mut object, true)?;
        }
        object.set_type(&call.kind.api_version(), &call.kind.names.kind);
        let mut found = warnings.clone();
        body::check_fields(&call.kind, &mut object, Vec::new(), None, options.field_validation, &mut Vec::new())?;
        match old {
            Some(old) => {
                write::check_version(call, configuration, &old)?;
                let written = write::change(call, object, &old, options, write::By::Apply, &mut found).await?;
                if let Some(stored) = written {
                    return call.show(200, &stored, &found);
                }
            }
            None if unidentified => {
                let why = format!(
                    "uid mismatch: the provided object specified uid {}, and no existing object was found",
                    configuration.uid()
                );
                let (group, plural) = (&call.kind.names.group, &call.kind.names.plural);
                return Err(Status::conflict(group, plural, &call.info.name, &why));
            }
            None => {
                write::version(configuration)?;
                match write::new(call, object, options, write::By::Apply, &mut found).await {
                    Ok(stored) => return call.show(201, &stored, &found),
                    Err(status) if status.reason == "AlreadyExists" && !options.dry_run => {}
                    Err(status) => return Err(status),
                }
            }
        }
    }
    Err(modified(&call.kind, &call.info.name))
}

/// The configuration, and what is warned of in it.
pub(crate) fn configuration(
    kind: &Kind,
    bytes: &[u8],
    validation: FieldValidation,
) -> Result<(Object, Vec<String>), Status> {
    // JSON is YAML.
    let decoded = body::decode(&kind.type_name, Sent::Yaml, bytes);
    let decoded = decoded.map_err(|e| {
        Status::bad_request(format!("error decoding YAML: error converting YAML to JSON: {}", e.message))
    })?;
    let Value::Map(map) = decoded.value else {
        return Err(Status::bad_request(format!(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            decoded.value.json_type()
        )));
    };
    let doubled = body::doubled(Sent::Yaml, &decoded.duplicates);
    if let ([first, ..], FieldValidation::Strict) = (doubled.as_slice(), validation) {
        return Err(Status::bad_request(format!("error strict decoding YAML: error converting YAML to JSON: {first}")));
    }
    let object = Object(map);
    if object.kind() != kind.names.kind || object.api_version() != kind.api_version() {
        // As Go prints a type: `GROUP/VERSION, Kind=KIND`.
        let (given, name) = match object.api_version() {
            odd if odd.matches('/').count() > 1 => ("", ""),
            given => (given, object.kind()),
        };
        let slash = if given.contains('/') { "" } else { "/" };
        return Err(Status::bad_request(format!("invalid object type: {slash}{given}, Kind={name}")));
    }
    if object.meta().and_then(|m| m.get("managedFields")).is_some_and(|given| !given.is_null()) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    managed::fits(kind, &object)?;
    // Only what was said is applied: the schema pass here finds mistakes, and its other effects are thrown away. Of
    // built-in types all but the doubled keys is found by what comes before and after.
    let mut copy = if kind.custom.is_some() { object.clone() } else { Object::default() };
    let mut warnings = Vec::new();
    body::check_fields(kind, &mut copy, doubled, None, validation, &mut warnings)?;
    Ok((object, warnings))
}
