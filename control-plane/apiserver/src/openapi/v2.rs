//! `/openapi/v2`: one document with all types, as kubectl reads it up to 1.27 and wherever version 3 fails it: version
//! 3's documents said in older words, as JSON or as the protobuf that kubectl asks for.

use super::document::Plan;
use super::gnostic;
use super::operations::REFERENCE;
use super::packed::Packed;
use crate::ctx::Ctx;
use crate::discovery::digest;
use crate::negotiate;
use crate::respond;
use crate::server::Body;
use api::codec::json;
use api::{Kind, Map, Status, Value};
use http::request::Parts;
use http::{HeaderValue, Response, header};
use parking_lot::Mutex;
use std::sync::Arc;

/// How kubectl asks for protobuf: the first is no valid media type, so that the answer has the second.
const ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const JSON: &str = "application/json";
const VARY: HeaderValue = HeaderValue::from_static("Accept-Encoding, Accept");

/// The document in the encoding that was asked for last.
#[derive(Default)]
pub(crate) struct Document(Mutex<Option<Made>>);

struct Made {
    /// Of which kinds, and in which encoding.
    of: (Vec<u64>, bool),
    packed: Packed,
}

pub(super) fn handle(ctx: &Arc<Ctx>, parts: &Parts) -> Result<Response<Body>, Status> {
    let Some(protobuf) = encoding(parts) else {
        let mut response = super::unacceptable();
        response.headers_mut().insert(header::VARY, VARY);
        return Ok(response);
    };
    let packed = packed(ctx, protobuf)?;
    let content_type = HeaderValue::from_static(if protobuf { PROTOBUF } else { JSON });
    let tag = format!("\"{}\"", packed.tag);
    let same = parts.headers.get(header::IF_NONE_MATCH).is_some_and(|t| t.as_bytes() == tag.as_bytes());
    let mut response = match same {
        true => respond::with(304, content_type, Body::empty()),
        false => packed.answer(content_type, &parts.headers)?,
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, VARY);
    headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
    Ok(response)
}

/// Whether the client wants protobuf; nothing where it takes neither encoding.
fn encoding(parts: &Parts) -> Option<bool> {
    for clause in negotiate::clauses(&parts.headers) {
        match clause.media {
            ASKED | PROTOBUF => return Some(true),
            JSON | "application/*" | "*/*" => return Some(false),
            _ => {}
        }
    }
    None
}

fn packed(ctx: &Ctx, protobuf: bool) -> Result<Packed, Status> {
    let kinds = super::kinds(ctx);
    let of = (super::stamp(&kinds), protobuf);
    if let Some(made) = ctx.openapi_v2.0.lock().as_ref().filter(|m| m.of == of) {
        return Ok(made.packed.clone());
    }
    let document = document(&kinds);
    let packed = Packed::new(&match protobuf {
        true => gnostic::encode(&document),
        false => json::encode(&Value::Map(document)),
    })?;
    *ctx.openapi_v2.0.lock() = Some(Made { of, packed: packed.clone() });
    Ok(packed)
}

fn document(kinds: &[Arc<Kind>]) -> Map {
    let plan = Plan::whole(kinds);
    let texts = plan.texts();
    let mut of = plan.describe(&texts);
    let mut taken = |key: &str| match of.get_mut("components").and_then(|c| c.as_map_mut()?.remove(key)) {
        Some(Value::Map(map)) => map,
        _ => Map::new(),
    };
    let mut definitions = taken("schemas");
    definitions.iter_mut().for_each(|(_, schema)| older(schema));
    let schemes = taken("securitySchemes");
    let mut shared = Map::new();
    let paths = match of.remove("paths") {
        Some(Value::Map(paths)) => paths,
        _ => Map::new(),
    };
    let paths: Map = paths.into_iter().map(|(path, item)| (path, older_item(item, &mut shared))).collect();
    let mut out = Map::new();
    out.insert("swagger", "2.0");
    out.insert("info", of.remove("info").unwrap_or_default());
    out.insert("paths", paths);
    out.insert("definitions", definitions);
    out.insert("parameters", shared);
    out.insert("security", vec![schemes.keys().map(|name| (name.clone(), Vec::<Value>::new())).collect::<Map>()]);
    out.insert("securityDefinitions", schemes);
    out
}

/// What version 2 has no words for: clients would take it for a mistake.
const NEWER: &[&str] = &["allOf", "anyOf", "default", "not", "nullable", "oneOf", "x-kubernetes-validations"];

/// A schema of version 3 in the words of version 2, which says less.
fn older(schema: &mut Value) {
    let Some(map) = schema.as_map_mut() else { return };
    let first = map.get("allOf").and_then(Value::as_list).and_then(<[Value]>::first);
    let to = map.get("$ref").or_else(|| first?.get("$ref"));
    if let Some(name) = to.and_then(Value::as_str).and_then(|r| r.strip_prefix(REFERENCE)) {
        let reference = format!("#/definitions/{name}");
        map.insert("$ref", reference);
    }
    // Quantities are numbers as well, and said to be strings.
    let only_type = |of: &Value| of.as_map().is_some_and(|of| of.len() == 1 && of.contains_key("type"));
    if !map.contains_key("type")
        && map.get("oneOf").and_then(Value::as_list).is_some_and(|all| all.iter().all(only_type))
    {
        map.insert("type", "string");
    }
    // A client would refuse what may also be null, or of more than one type.
    let loose = ["nullable", "x-kubernetes-int-or-string"].iter().any(|k| map.get(k) == Some(&Value::Bool(true)));
    let open = map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    if loose {
        ["type", "items", "additionalProperties"].iter().for_each(|key| drop(map.remove(key)));
    }
    if loose || open {
        map.remove("properties");
        map.remove("required");
    }
    map.retain(|key, _| !NEWER.contains(&key.as_str()));
    for key in ["items", "additionalProperties"] {
        map.get_mut(key).into_iter().for_each(older);
    }
    let properties = map.get_mut("properties").and_then(Value::as_map_mut);
    properties.into_iter().flat_map(Map::iter_mut).for_each(|(_, property)| older(property));
}

/// A path; its parameters go to `shared`, where most paths find theirs.
fn older_item(item: Value, shared: &mut Map) -> Value {
    let Value::Map(item) = item else { return item };
    let older = |(key, value): (api::value::Key, Value)| {
        let value = match (key.as_str(), value) {
            ("parameters", Value::List(list)) => older_parameters(list, shared).into(),
            (_, value) => older_operation(value, shared),
        };
        (key, value)
    };
    Value::Map(item.into_iter().map(older).collect())
}

/// Bodies are parameters, and encodings those of the operation.
fn older_operation(operation: Value, shared: &mut Map) -> Value {
    let Value::Map(mut out) = operation else { return operation };
    let mut parameters = match out.remove("parameters") {
        Some(Value::List(list)) => older_parameters(list, shared),
        _ => Vec::new(),
    };
    let mut consumes = None;
    if let Some(mut body) = out.remove("requestBody") {
        let mut parameter = Map::from_iter([("name", "body"), ("in", "body")]);
        if let Some((media, schema)) = body.at_mut(&["content"]).and_then(unpacked) {
            consumes = Some(media);
            parameter.insert("schema", schema);
        }
        if let Some(required) = body.as_map_mut().and_then(|body| body.remove("required")) {
            parameter.insert("required", required);
        }
        parameters.insert(0, parameter.into());
    }
    if !parameters.is_empty() {
        out.insert("parameters", parameters);
    }
    let mut produces = Vec::new();
    let responses = out.get_mut("responses").and_then(Value::as_map_mut);
    for (_, response) in responses.into_iter().flat_map(Map::iter_mut) {
        let Some(response) = response.as_map_mut() else { continue };
        if let Some((media, schema)) = response.remove("content").as_mut().and_then(unpacked) {
            produces = media;
            response.insert("schema", schema);
        }
    }
    // What is no resource is said to take what it gives.
    let lone = !out.contains_key("x-kubernetes-action") && !produces.is_empty();
    let whatever = || if lone { produces.clone() } else { vec!["*/*".into()] };
    out.insert("consumes", consumes.unwrap_or_else(whatever));
    out.insert("produces", produces);
    out.insert("schemes", vec!["https"]);
    Value::Map(out)
}

/// Encodings in the order in which upstream names them.
const ENCODINGS: [&str; 9] = [
    JSON,
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// The encodings of a content, and what it holds in each of them.
fn unpacked(content: &mut Value) -> Option<(Vec<Value>, Value)> {
    let content = content.as_map_mut()?;
    let mut media: Vec<&api::value::Key> = content.keys().collect();
    media.sort_by_key(|name| ENCODINGS.iter().position(|e| *e == name.as_str()).unwrap_or(ENCODINGS.len()));
    let media = media.into_iter().map(|name| Value::from(name.clone())).collect();
    let mut schema = content.iter_mut().next()?.1.as_map_mut()?.remove("schema")?;
    older(&mut schema);
    Some((media, schema))
}

/// What clients look for in each operation; they follow no references there.
const INLINE: &[&str] = &["dryRun", "fieldValidation"];

fn older_parameters(parameters: Vec<Value>, shared: &mut Map) -> Vec<Value> {
    let older = |mut parameter: Value| {
        let Some(map) = parameter.as_map_mut() else { return parameter };
        if let Some(Value::Map(schema)) = map.remove("schema") {
            schema.into_iter().for_each(|(key, value)| drop(map.insert(key, value)));
        }
        let name = map.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if INLINE.contains(&name.as_str()) || (name == "name" && map.get("in") == Some(&"path".into())) {
            return parameter;
        }
        let hash = digest(&json::encode(&parameter));
        let key = format!("{name}-{}", &hash[..8]);
        let reference = Map::from_iter([("$ref", format!("#/parameters/{key}"))]);
        shared.insert(key, parameter);
        reference.into()
    };
    parameters.into_iter().map(older).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        json::decode(text.as_bytes()).expect("JSON").value
    }

    #[test]
    fn schemas_are_said_in_older_words() {
        for (new, old) in [
            (
                r##"{"allOf":[{"$ref":"#/components/schemas/a.B"}],"default":{},"description":"d"}"##,
                r##"{"$ref":"#/definitions/a.B","description":"d"}"##,
            ),
            (
                r#"{"type":"object","properties":{"a":{"type":"string","nullable":true},"b":{"type":"array","items":{"default":1,"type":"integer"}}}}"#,
                r#"{"type":"object","properties":{"a":{},"b":{"type":"array","items":{"type":"integer"}}}}"#,
            ),
            (
                r#"{"anyOf":[{"type":"integer"},{"type":"string"}],"type":"integer","x-kubernetes-int-or-string":true}"#,
                r#"{"x-kubernetes-int-or-string":true}"#,
            ),
        ] {
            let mut schema = value(new);
            older(&mut schema);
            assert_eq!(schema, value(old));
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let kinds: Vec<Arc<Kind>> = api::kinds::all().iter().map(|k| Arc::new((*k).clone())).collect();
        let document = document(&kinds);
        let text = String::from_utf8(json::encode(&Value::Map(document.clone()))).expect("UTF-8");
        let definitions = document.get("definitions").and_then(Value::as_map).expect("definitions");
        let parameters = document.get("parameters").and_then(Value::as_map).expect("parameters");
        for (prefix, there) in [("#/definitions/", definitions), ("#/parameters/", parameters)] {
            for part in text.split(prefix).skip(1) {
                let name = &part[..part.find('"').expect("an end")];
                assert!(there.contains_key(name), "{name}");
            }
        }
        assert!(!text.contains("#/components/"));
        let pods = definitions.get("io.k8s.api.core.v1.PodList").and_then(|l| l.get("x-kubernetes-group-version-kind"));
        assert_eq!(pods, Some(&value(r#"[{"group":"","kind":"PodList","version":"v1"}]"#)));
        let encoded = gnostic::encode(&document);
        assert!(encoded.len() > text.len() / 4);
    }
}
