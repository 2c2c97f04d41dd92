//! Whether a configuration that is applied fits the schema of a kind that was defined at run time, in the words of
//! upstream's typed values; of built-in kinds their types say so.

use super::declared;
use super::walk::keys_of;
use crate::codec::json;
use crate::kind::Kind;
use crate::object::Object;
use crate::patch::{self, go_text};
use crate::schema;
use crate::status::Status;
use crate::structural::{Additional, List, Structural, Ty};
use crate::value::{Map, Value};
use std::collections::HashSet;
use std::sync::LazyLock;

/// As many complaints as anybody reads.
const MAX_FOUND: usize = 100;

/// Checks a configuration as it was sent.
///
/// # Errors
/// It does not fit.
#[expect(
    clippy::result_large_err,
    reason = "a refusal is answered once per request, and Status is its type everywhere"
)]
pub fn fits(kind: &Kind, configuration: &Object) -> Result<(), Status> {
    let mut found = Vec::new();
    match (&kind.custom, schema::find(&kind.type_name)) {
        (Some(custom), _) => map(&custom.schema, &configuration.0, "", &mut found),
        (None, Some(schema)) => found = declared::mistakes(schema, configuration),
        (None, None) => {}
    }
    let Some(why) = told(&found) else { return Ok(()) };
    let (of, ty) = (configuration, go_type(kind));
    let what = format!("{}/{}; {ty}", of.namespace(), of.name());
    Err(Status::new(500, "", format!("failed to create typed patch object ({what}): {why}")))
}

/// Why an object that is there is none of a version of its kind. What it has twice is no reason.
pub(super) fn misfit(schema: &Structural, object: &Map) -> Option<String> {
    let mut found = Vec::new();
    map(schema, object, "", &mut found);
    found.retain(|why| !why.contains(TWICE));
    told(&found)
}

/// All complaints as one.
fn told(found: &[String]) -> Option<String> {
    match found {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(format!("errors:\n{}", many.iter().map(|e| format!("  {e}")).collect::<Vec<_>>().join("\n"))),
    }
}

/// What is said of items with the keys of others.
const TWICE: &str = ": duplicate entries for key ";

/// A type as Go prints it: `apps/v1, Kind=Deployment`.
fn go_type(kind: &Kind) -> String {
    let version = kind.api_version();
    let slash = if version.contains('/') { "" } else { "/" };
    format!("{slash}{version}, Kind={}", kind.names.kind)
}

/// Makes an object of a built-in type of what applying `configuration` left.
///
/// # Errors
/// It is none.
#[expect(clippy::result_large_err, reason = "as fits")]
pub fn converts(kind: &Kind, configuration: &Object, merged: &mut Object) -> Result<(), Status> {
    schema::convert(&kind.type_name, merged).map_err(|why| {
        let (of, ty) = (configuration, go_type(kind));
        let what = format!("{}/{}; {ty}", of.namespace(), of.name());
        let why = format!("unable to convert unstructured object to {ty}: {why}");
        Status::new(500, "", format!("failed to convert new object ({what}) to proper version: {why}"))
    })
}

fn value(schema: &Structural, value: &Value, path: &str, found: &mut Vec<String>) {
    if value.is_null() || schema.int_or_string || found.len() >= MAX_FOUND {
        return;
    }
    let mut say = |what: &str| {
        let got = match what {
            "string" => format!("&value.valueUnstructured{{Value:{}}}", declared::quoted(value)),
            _ => format!("&{{{}}}", go_text(value)),
        };
        found.push(format!("{path}: expected {what}, got {got}"));
    };
    match (schema.ty, value) {
        (None, _)
        | (Some(Ty::String), Value::Str(_))
        | (Some(Ty::Integer | Ty::Number), Value::Int(_) | Value::Float(_))
        | (Some(Ty::Boolean), Value::Bool(_)) => {}
        (Some(Ty::Object), Value::Map(of)) => map(schema, of, path, found),
        (Some(Ty::Array), Value::List(items)) => list(schema, items, path, found),
        (Some(Ty::Object), _) => say("map"),
        (Some(Ty::Array), _) => say("list"),
        (Some(Ty::String), _) => say("string"),
        (Some(Ty::Boolean), _) => say("boolean"),
        (Some(Ty::Integer | Ty::Number), other) => {
            found.push(format!("{path}: expected numeric (int or float), got {}", patch::go_type(other, "<nil>")));
        }
    }
}

/// What every whole object says of itself.
static TEXT: LazyLock<Structural> = LazyLock::new(|| Structural { ty: Some(Ty::String), ..Structural::default() });

fn map(schema: &Structural, of: &Map, path: &str, found: &mut Vec<String>) {
    for (key, below) in of.iter() {
        let at = format!("{path}.{key}");
        match key.as_str() {
            "metadata" if schema.embedded => continue,
            "apiVersion" | "kind" if schema.embedded => {
                value(&TEXT, below, &at, found);
                continue;
            }
            _ => {}
        }
        match (schema.below(key), &schema.additional) {
            (Some(of), _) => value(of, below, &at, found),
            (None, Additional::Any(true)) => {}
            (None, _) if schema.preserve || (schema.properties.is_empty() && !path.is_empty()) => {}
            (None, _) => found.push(format!("{at}: field not declared in schema")),
        }
    }
}

fn list(schema: &Structural, items: &[Value], path: &str, found: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for (i, item) in items.iter().enumerate() {
        let (id, at) = match &schema.list {
            List::Atomic => (None, format!("{path}[{i}]")),
            List::Set => {
                let text = text(item);
                (Some(text.clone()), format!("{path}[={text}]"))
            }
            List::Map(keys) => {
                let given = keys_of(schema, item);
                if given.is_empty() {
                    found.push(format!(
                        "{path}: element {i}: associative list with keys has an element that omits all key fields {} \
                         (and doesn't have default values for any key fields)",
                        declared::go_strings(keys)
                    ));
                    continue;
                }
                let pairs: Vec<String> = given.iter().map(|(k, v)| format!("{k}={}", text(v))).collect();
                let id = format!("[{}]", pairs.join(","));
                (Some(id.clone()), format!("{path}{id}"))
            }
        };
        if let Some(id) = id.filter(|id| !seen.insert(id.clone())) {
            found.push(format!("{path}{TWICE}{id}"));
            continue;
        }
        if let Some(of) = &schema.items {
            value(of, item, &at, found);
        }
    }
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(&json::encode(value)).into_owned()
}
