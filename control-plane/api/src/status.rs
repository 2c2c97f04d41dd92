//! The error on the wire: `meta/v1.Status`, with one constructor per reason.
//!
//! Messages and reasons are those of Kubernetes, because clients parse them.

use crate::value::{Map, Value};
use regex::Regex;
use std::sync::LazyLock;

/// A failure as a client sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// HTTP code.
    pub code: u16,
    /// `NotFound`, `AlreadyExists`, …; empty for none.
    pub reason: &'static str,
    pub message: String,
    pub details: Option<Details>,
    /// Where a list that cannot go on as it began may go on instead.
    pub continues: String,
    /// What else the client is told, beside the refusal.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Details {
    pub name: String,
    pub group: String,
    /// The resource (`pods`) or, for invalid objects, the kind (`Pod`), as upstream has it.
    pub kind: String,
    pub uid: String,
    pub causes: Vec<Cause>,
    pub retry_after_seconds: u32,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cause {
    pub reason: String,
    pub message: String,
    pub field: String,
}

/// What is wrong with one field (`k8s.io/apimachinery/pkg/util/validation/field`).
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    pub reason: FieldReason,
    /// `spec.containers[0].name`.
    pub path: String,
    /// The text after the path and the colon.
    pub message: String,
}

/// The reason of a [`FieldError`], as it stands in a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldReason {
    Required,
    Invalid,
    NotSupported,
    Duplicate,
    Forbidden,
    NotFound,
    TooLong,
    TooMany,
    TypeInvalid,
    Internal,
}

impl FieldReason {
    pub fn cause(self) -> &'static str {
        match self {
            FieldReason::Required => "FieldValueRequired",
            FieldReason::Invalid => "FieldValueInvalid",
            FieldReason::NotSupported => "FieldValueNotSupported",
            FieldReason::Duplicate => "FieldValueDuplicate",
            FieldReason::Forbidden => "FieldValueForbidden",
            FieldReason::NotFound => "FieldValueNotFound",
            FieldReason::TooLong => "FieldValueTooLong",
            FieldReason::TooMany => "FieldValueTooMany",
            FieldReason::TypeInvalid => "FieldValueTypeInvalid",
            FieldReason::Internal => "InternalError",
        }
    }
}

impl FieldError {
    pub fn new(reason: FieldReason, path: impl Into<String>, message: impl Into<String>) -> FieldError {
        FieldError { reason, path: path.into(), message: message.into() }
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// A value as messages show it: texts quoted, lists and maps as JSON.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Str(text) => quoted(text),
        Value::Float(number) => go_float(*number),
        other => String::from_utf8_lossy(&crate::codec::json::encode(other)).into_owned(),
    }
}

/// A text as Go's `%q` writes it.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            ' '..='~' => out.push(c),
            c if c.is_ascii() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if PRINTABLE.is_match(c.encode_utf8(&mut [0; 4])) => out.push(c),
            c if u32::from(c) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// What Go takes for printable beyond ASCII.
static PRINTABLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^[\p{L}\p{M}\p{N}\p{P}\p{S}]$").expect("a pattern of our own"));

/// A float as Go's `%v` writes it: shortest, with an exponent from 1e+06 on and below 1e-04.
pub fn go_float(number: f64) -> String {
    let shown = format!("{number:e}");
    let Some((digits, exponent)) = shown.split_once('e') else { return shown };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    match (-4..6).contains(&exponent) {
        true => format!("{number}"),
        false => format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()),
    }
}

fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

impl Status {
    /// A status without details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Status {
        Status { code, reason, message: message.into(), details: None, continues: String::new(), warnings: Vec::new() }
    }

    /// The same with what was to be warned of.
    #[must_use]
    pub fn warned(mut self, warnings: &[String]) -> Status {
        self.warnings.extend_from_slice(warnings);
        self
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> Status {
        self.details =
            Some(Details { name: name.into(), group: group.into(), kind: kind.into(), ..Details::default() });
        self
    }

    pub fn not_found(group: &str, resource: &str, name: &str) -> Status {
        let message = format!("{} {name:?} not found", qualified(group, resource));
        Status::new(404, "NotFound", message).about(group, resource, name)
    }

    /// No such path.
    pub fn no_route() -> Status {
        Status::new(404, "NotFound", "the server could not find the requested resource")
    }

    pub fn already_exists(group: &str, resource: &str, name: &str) -> Status {
        let message = format!("{} {name:?} already exists", qualified(group, resource));
        Status::new(409, "AlreadyExists", message).about(group, resource, name)
    }

    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Status {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", qualified(group, resource));
        Status::new(409, "Conflict", message).about(group, resource, name)
    }

    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Status {
        let what = qualified(group, resource);
        let message = match (what.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (false, true) => format!("{what} is forbidden: {why}"),
            (false, false) => format!("{what} {name:?} is forbidden: {why}"),
        };
        Status::new(403, "Forbidden", message).about(group, resource, name)
    }

    /// An object with errors in its fields. `kind` is the kind's name (`Pod`).
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Status {
        // The message says the same only once, the causes as often as it was found.
        let mut said: Vec<String> = Vec::new();
        for text in errors.iter().map(FieldError::to_string) {
            if !said.contains(&text) {
                said.push(text);
            }
        }
        let list = match said.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let what = qualified(group, kind);
        let mut status =
            Status::new(422, "Invalid", format!("{what} {name:?} is invalid: {list}")).about(group, kind, name);
        let causes = errors.iter().map(|e| Cause {
            reason: e.reason.cause().into(),
            message: e.message.clone(),
            field: e.path.clone(),
        });
        status.details.get_or_insert_default().causes = causes.collect();
        status
    }

    pub fn bad_request(message: impl Into<String>) -> Status {
        Status::new(400, "BadRequest", message)
    }

    pub fn unauthorized() -> Status {
        Status::new(401, "Unauthorized", "Unauthorized")
    }

    pub fn method_not_supported(group: &str, resource: &str, verb: &str) -> Status {
        let message = format!("{verb} is not supported on resources of kind {:?}", qualified(group, resource));
        Status::new(405, "MethodNotAllowed", message).about(group, resource, "")
    }

    pub fn not_acceptable(accepted: &str) -> Status {
        let message = format!("only the following media types are accepted: {accepted}");
        Status::new(406, "NotAcceptable", message)
    }

    pub fn unsupported_media_type(accepted: &str) -> Status {
        let message =
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        Status::new(415, "UnsupportedMediaType", message)
    }

    pub fn expired(message: impl Into<String>) -> Status {
        Status::new(410, "Expired", message)
    }

    pub fn gone(message: impl Into<String>) -> Status {
        Status::new(410, "Gone", message)
    }

    pub fn too_large(message: impl Into<String>) -> Status {
        Status::new(413, "RequestEntityTooLarge", message)
    }

    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Status {
        let mut status = Status::new(429, "TooManyRequests", message);
        status.details = Some(Details { retry_after_seconds, ..Details::default() });
        status
    }

    pub fn internal(message: impl std::fmt::Display) -> Status {
        let mut status = Status::new(500, "InternalError", format!("Internal error occurred: {message}"));
        let cause = Cause { message: message.to_string(), ..Cause::default() };
        status.details = Some(Details { causes: vec![cause], ..Details::default() });
        status
    }

    pub fn unavailable(message: impl Into<String>) -> Status {
        Status::new(503, "ServiceUnavailable", message)
    }

    pub fn timeout(message: impl Into<String>) -> Status {
        Status::new(504, "Timeout", message)
    }

    /// The object that goes over the wire.
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        map.insert("kind", "Status");
        map.insert("apiVersion", "v1");
        let mut meta = Map::new();
        put_text(&mut meta, "continue", &self.continues);
        map.insert("metadata", meta);
        map.insert("status", "Failure");
        put_text(&mut map, "message", &self.message);
        put_text(&mut map, "reason", self.reason);
        map.insert("code", i64::from(self.code));
        if let Some(details) = &self.details {
            map.insert("details", details.to_value());
        }
        Value::Map(map)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

impl Details {
    fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (key, text) in [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)] {
            put_text(&mut map, key, text);
        }
        if !self.causes.is_empty() {
            map.insert("causes", self.causes.iter().map(Cause::to_value).collect::<Vec<Value>>());
        }
        if self.retry_after_seconds > 0 {
            map.insert("retryAfterSeconds", i64::from(self.retry_after_seconds));
        }
        Value::Map(map)
    }
}

impl Cause {
    fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (key, text) in [("reason", &self.reason), ("message", &self.message), ("field", &self.field)] {
            put_text(&mut map, key, text);
        }
        Value::Map(map)
    }
}

fn put_text(map: &mut Map, key: &'static str, text: &str) {
    if !text.is_empty() {
        map.insert(key, text);
    }
}
