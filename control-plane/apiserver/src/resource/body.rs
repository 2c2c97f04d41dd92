//! The body of a request, read and decoded into an object of a kind.

use super::Call;
use crate::negotiate::{self, Sent};
use crate::registry::options::FieldValidation;
use crate::server::Body;
use api::codec::{DecodeError, Decoded, json, protobuf, yaml};
use api::kind::Scope;
use api::status::{FieldReason, quoted};
use api::{FieldError, Kind, Map, Object, Status, Value};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// The largest body, as upstream's: an object of it still fits the store's transactions.
const MAX_BODY: usize = 3 << 20;
/// How much of a body that cannot be read is shown in the error.
const MAX_SHOWN: usize = 30;
/// How much of a body without a kind is shown: more than anybody reads.
const MAX_WHOLE: usize = 4 << 10;

/// The whole body.
pub(crate) async fn read(body: Body) -> Result<Bytes, Status> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            Err(Status::too_large(format!("Request entity too large: limit is {MAX_BODY}")))
        }
        Err(error) => Err(Status::bad_request(format!("reading the request's body: {error}"))),
    }
}

/// Decodes the body of a create or an update, and checks it against the kind's schema. What is only warned of is pushed
/// to `warnings`.
pub(super) fn object(
    call: &Call<'_>,
    body: &[u8],
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Object, Status> {
    let kind = &call.kind;
    let encoding = negotiate::body(&call.parts.headers)?;
    let (mut object, duplicates) = match encoding {
        Sent::Protobuf => (of_protobuf(kind, body)?, Vec::new()),
        Sent::Json | Sent::Yaml => of_text(kind, encoding, body)?,
    };
    if kind.custom.is_some() {
        check_custom_type(kind, &object, body)?;
    }
    check_type(kind, &mut object)?;
    let doubled = doubled(encoding, &duplicates);
    check_fields(kind, &mut object, doubled, Some((encoding, body)), validation, warnings)?;
    kind.drop_nulls(&mut object);
    Ok(object)
}

/// An object of JSON or YAML, and the keys that it has twice.
fn of_text(kind: &Kind, encoding: Sent, body: &[u8]) -> Result<(Object, Vec<String>), Status> {
    of_type(&kind.names.kind, &kind.type_name, encoding, body)
}

/// The same of a type by its short name and its whole one.
pub(crate) fn of_type(
    name: &str,
    type_name: &str,
    encoding: Sent,
    body: &[u8],
) -> Result<(Object, Vec<String>), Status> {
    let decoded =
        decode(type_name, encoding, body).map_err(|e| unreadable(name, body, &no_type(encoding, &e.message)))?;
    match decoded.value {
        // Null leaves an object as it is: without anything.
        Value::Null => Ok((Object::default(), decoded.duplicates)),
        Value::Map(map) => match untyped(encoding, &map) {
            Some(why) => Err(unreadable(name, body, &why)),
            None => Ok((Object(map), decoded.duplicates)),
        },
        other => Err(unreadable(name, body, &no_object(&other))),
    }
}

/// Why an object does not say what it is.
fn untyped(encoding: Sent, map: &Map) -> Option<String> {
    let wrong = |key: &str| map.get(key).is_some_and(|v| !v.is_null() && v.as_str().is_none());
    if let Some(key) = ["apiVersion", "kind"].iter().find(|key| wrong(key)).filter(|_| encoding == Sent::Json) {
        let found = map.get(key).map_or("", Value::json_type);
        let why = format!("json: cannot unmarshal {found} into Go struct field .{key} of type string");
        return Some(no_type(encoding, &why));
    }
    let version = map.get("apiVersion").and_then(Value::as_str).unwrap_or("");
    (version.matches('/').count() > 1).then(|| format!("unexpected GroupVersion string: {version}"))
}

/// A body that is malformed before it says what it is.
pub(super) fn no_type(encoding: Sent, why: &str) -> String {
    let what = if encoding == Sent::Json { "couldn't get version/kind; json parse error: " } else { "" };
    format!("{what}{why}")
}

/// A body that is a text, a number or a list.
pub(super) fn no_object(body: &Value) -> String {
    format!(
        "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}",
        body.json_type()
    )
}

/// An object of protobuf. Its envelope says the type, so that another one is told before its bytes are read as this one.
fn of_protobuf(kind: &Kind, body: &[u8]) -> Result<Object, Status> {
    let envelope = protobuf::envelope(body).map_err(|e| unreadable(&kind.names.kind, body, &e.message))?;
    if kind.custom.is_some() {
        let why = "object *unstructured.Unstructured does not implement the protobuf marshalling interface and cannot \
                   be encoded to a protobuf message";
        return Err(unhandled(kind, why));
    }
    let mut typed = Object::default();
    typed.set_type(&envelope.api_version, &envelope.kind);
    check_type(kind, &mut typed)?;
    let mut object = Object(protobuf::message(&kind.type_name, envelope.raw).map_err(|e| unhandled(kind, &e.message))?);
    object.set_type(typed.api_version(), typed.kind());
    Ok(object)
}

/// Decodes a body; `type_name` is the type of it (`io.k8s.api.core.v1.Pod`).
pub(crate) fn decode(type_name: &str, sent: Sent, body: &[u8]) -> Result<Decoded, DecodeError> {
    match sent {
        Sent::Json => json::decode(body),
        Sent::Yaml => yaml::decode(body),
        Sent::Protobuf => Ok(Decoded { value: protobuf::decode(type_name, body)?, duplicates: Vec::new() }),
    }
}

fn unreadable(name: &str, body: &[u8], why: &str) -> Status {
    let shown = summary(body);
    Status::bad_request(format!("the object provided is unrecognized (must be of type {name}): {why} ({shown})"))
}

/// What has the right type and yet is no object of it.
fn unhandled(kind: &Kind, why: &str) -> Status {
    let (version, name) = (&kind.names.version, &kind.names.kind);
    Status::bad_request(format!("{name} in version \"{version}\" cannot be handled as a {name}: {why}"))
}

/// The beginning of a body: what may be an object as text, all else in hexadecimal.
fn summary(body: &[u8]) -> String {
    let head = &body[..body.len().min(MAX_SHOWN)];
    let more = if body.len() > MAX_SHOWN { " ..." } else { "" };
    match head.first() {
        None => "<empty>".into(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(head)),
        Some(_) => format!("{}{more}", head.iter().map(|b| format!("{b:02x}")).collect::<String>()),
    }
}

/// Objects of kinds that were defined at run time say what they are.
fn check_custom_type(kind: &Kind, object: &Object, body: &[u8]) -> Result<(), Status> {
    for key in ["apiVersion", "kind"] {
        if let Some(odd) = object.0.get(key).filter(|v| !v.is_null() && v.as_str().is_none()) {
            let what = odd.json_type();
            let why = format!(
                "couldn't get version/kind; json parse error: json: cannot unmarshal {what} into Go struct field .{key} of type string"
            );
            return Err(unreadable(&kind.names.kind, body, &why));
        }
    }
    if object.kind().is_empty() {
        let whole = String::from_utf8_lossy(&body[..body.len().min(MAX_WHOLE)]);
        return Err(unreadable(&kind.names.kind, body, &format!("Object 'Kind' is missing in '{whole}'")));
    }
    let version = kind.api_version();
    if object.api_version() != version {
        return Err(Status::bad_request(other_type(kind, object.api_version(), object.kind())));
    }
    match other_names(kind, object) {
        errors if errors.is_empty() => Ok(()),
        errors => Err(Status::invalid(&kind.names.group, object.kind(), object.name(), &errors)),
    }
}

/// What an object of a kind that was defined at run time says wrongly of its type.
pub(super) fn other_names(kind: &Kind, object: &Object) -> Vec<FieldError> {
    let version = kind.api_version();
    let told = [("kind", object.kind(), &*kind.names.kind), ("apiVersion", object.api_version(), &*version)];
    let wrong = told.into_iter().filter(|(_, given, wanted)| given != wanted);
    let error = |(path, given, wanted): (&str, &str, &str)| {
        FieldError::new(FieldReason::Invalid, path, format!("Invalid value: {}: must be {wanted}", quoted(given)))
    };
    wrong.map(error).collect()
}

/// Fills in the type from the path where it is missing; refuses another one.
fn check_type(kind: &Kind, object: &mut Object) -> Result<(), Status> {
    let (version, name) = (kind.api_version(), &kind.names.kind);
    let (given_version, given_name) = (object.api_version().to_owned(), object.kind().to_owned());
    let given_version = if given_version.is_empty() { version.clone() } else { given_version };
    let given_name = if given_name.is_empty() { name.to_string() } else { given_name };
    if given_version == version && given_name == *name {
        object.set_type(&version, name);
        return Ok(());
    }
    let why = other_type(kind, &given_version, &given_name);
    Err(Status::bad_request(match kind.custom {
        Some(_) => why,
        None => format!("{given_name} in version {:?} cannot be handled as a {name}: {why}", short(&given_version)),
    }))
}

/// A version without its group.
pub(crate) fn short(version: &str) -> &str {
    version.rsplit('/').next().unwrap_or("")
}

/// Why an object of a type cannot be one of a kind.
pub(crate) fn other_type(kind: &Kind, given_version: &str, given_name: &str) -> String {
    let (version, name) = (kind.api_version(), &kind.names.kind);
    if kind.custom.is_some() {
        return match given_version == version {
            true => format!("the kind in the data ({given_name}) does not match the expected kind ({name})"),
            false => format!(
                "the API version in the data ({given_version}) does not match the expected API version ({version})"
            ),
        };
    }
    unconvertible(&kind.names.group, name, given_version, given_name)
}

/// Where upstream registers the types of a group: two of its servers have types of their own.
fn scheme(group: &str) -> &'static str {
    match group {
        "apiextensions.k8s.io" => "k8s.io/apiextensions-apiserver/pkg/apiserver/apiserver.go:55",
        "apiregistration.k8s.io" => "k8s.io/kube-aggregator/pkg/apiserver/scheme/scheme.go:28",
        _ => "pkg/api/legacyscheme/scheme.go:30",
    }
}

/// The same for a type by its group and name.
pub(crate) fn unconvertible(wanted_group: &str, name: &str, given_version: &str, given_name: &str) -> String {
    let (group, of) = given_version.rsplit_once('/').unwrap_or(("", given_version));
    let scheme_wanted = scheme(wanted_group);
    let known = api::kinds::by_kind(group, of, given_name).is_some()
        || given_name == "List"
        || given_name.strip_suffix("List").is_some_and(|n| api::kinds::by_kind(group, of, n).is_some());
    match known && scheme(group) == scheme_wanted {
        true => {
            let internal = match wanted_group.split('.').next().unwrap_or("") {
                "" => "core",
                first => first,
            };
            format!("converting ({}.{given_name}) to ({internal}.{name}): unknown conversion", short(given_version))
        }
        false => {
            format!("no kind {given_name:?} is registered for version {given_version:?} in scheme {scheme_wanted:?}")
        }
    }
}

const YAML_ERRORS: &str = "yaml: unmarshal errors:\n  ";
const YAML_NEXT: &str = "\n  ";

/// What was found as warnings, one of each line of YAML.
pub(crate) fn warned(found: Vec<String>) -> impl Iterator<Item = String> {
    found.into_iter().flat_map(|one| match one.strip_prefix(YAML_ERRORS) {
        Some(lines) => lines.split(YAML_NEXT).map(str::to_owned).collect(),
        None => vec![one],
    })
}

/// What is said of the keys that a document gives more than once.
pub(crate) fn doubled(sent: Sent, duplicates: &[String]) -> Vec<String> {
    match (sent, duplicates) {
        (_, []) => Vec::new(),
        (Sent::Yaml, lines) => vec![format!("{YAML_ERRORS}{}", lines.join(YAML_NEXT))],
        (Sent::Json | Sent::Protobuf, paths) => paths.iter().map(|path| format!("duplicate field {path:?}")).collect(),
    }
}

/// The schema pass. Unknown fields and what was `found` before are refused, warned of or dropped, as `validation` says.
pub(super) fn check_fields(
    kind: &Kind,
    object: &mut Object,
    mut found: Vec<String>,
    source: Option<(Sent, &[u8])>,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    let checked = kind.read(object);
    if let Some(error) = checked.error {
        return Err(unhandled(kind, &error));
    }
    if validation == FieldValidation::Ignore {
        return Ok(());
    }
    let mut unknown = checked.unknown;
    match source {
        _ if kind.custom.is_some() => unknown.sort(),
        Some((Sent::Json, body)) => json::sort_paths(body, &mut unknown),
        _ => {}
    }
    found.extend(unknown.iter().map(|path| format!("unknown field {path:?}")));
    if found.is_empty() {
        return Ok(());
    }
    match validation {
        FieldValidation::Strict => Err(unhandled(kind, &format!("strict decoding error: {}", found.join(", ")))),
        FieldValidation::Warn | FieldValidation::Ignore => {
            warnings.extend(warned(found));
            Ok(())
        }
    }
}

/// Sets or compares the namespace and, for an update, the name of the path.
pub(super) fn place(call: &Call<'_>, object: &mut Object, named: bool) -> Result<(), Status> {
    placed(call.kind.scope, call.namespace(), named.then_some(call.info.name.as_str()), object)
}

/// The same for an object of another kind than the path's.
pub(crate) fn placed(scope: Scope, namespace: &str, name: Option<&str>, object: &mut Object) -> Result<(), Status> {
    match (scope, object.namespace()) {
        (_, given) if given == namespace => {}
        (Scope::Namespaced, "") => drop(object.meta_mut().insert("namespace", namespace)),
        (Scope::Cluster, _) => drop(object.meta_mut().remove("namespace")),
        (Scope::Namespaced, _) => {
            let why = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Status::bad_request(why));
        }
    }
    match (name, object.name()) {
        (Some(name), "") => Err(Status::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        ))),
        (Some(name), given) if given != name => Err(Status::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        ))),
        _ => Ok(()),
    }
}
