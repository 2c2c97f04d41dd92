//! `/openapi/v2`: one document with all types, as kubectl reads it up to 1.27 and wherever version 3 fails it: version
//! 3's documents said in older words, as JSON or as the protobuf that kubectl asks for.

use crate::ctx::Ctx;
use crate::discovery::digest;
use crate::negotiate;
use crate::openapi_gnostic;
use crate::respond;
use crate::server::Body;
use api::codec::json;
use api::{Kind, Map, Status, Value};
use bytes::Bytes;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::request::Parts;
use http::{HeaderValue, Response, header};
use parking_lot::Mutex;
use std::io::{Read, Write};
use std::sync::Arc;

/// How kubectl asks for protobuf: the first is no valid media type, so that the answer has the second.
const ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const JSON: &str = "application/json";

/// The document in the encoding that was asked for last, compressed: a tenth of its four megabytes.
#[derive(Default)]
pub(crate) struct Document(Mutex<Option<Made>>);

#[derive(Clone)]
struct Made {
    /// Of which kinds, and in which encoding.
    of: (Vec<u64>, bool),
    tag: String,
    gzip: Bytes,
}

pub(crate) fn handle(ctx: &Arc<Ctx>, parts: &Parts) -> Result<Response<Body>, Status> {
    let protobuf = encoding(parts)?;
    let made = made(ctx, protobuf)?;
    let content_type = HeaderValue::from_static(if protobuf { PROTOBUF } else { JSON });
    let tag = format!("\"{}\"", made.tag);
    let same = parts.headers.get(header::IF_NONE_MATCH).is_some_and(|t| t.as_bytes() == tag.as_bytes());
    let mut response = match (same, negotiate::takes_gzip(&parts.headers)) {
        (true, _) => respond::with(304, content_type, Body::empty()),
        (false, true) => {
            let mut response = respond::with(200, content_type, made.gzip);
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        }
        (false, false) => respond::with(200, content_type, unpacked(&made.gzip)?),
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding, Accept"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}

/// Whether the client wants protobuf.
fn encoding(parts: &Parts) -> Result<bool, Status> {
    for clause in negotiate::clauses(&parts.headers) {
        match clause.media {
            ASKED | PROTOBUF => return Ok(true),
            JSON | "application/*" | "*/*" => return Ok(false),
            _ => {}
        }
    }
    Err(Status::not_acceptable(&format!("{JSON}, {PROTOBUF}")))
}

fn made(ctx: &Ctx, protobuf: bool) -> Result<Made, Status> {
    let kinds: Vec<Arc<Kind>> = ctx.registry.kinds().iter().cloned().collect();
    let of = (super::openapi::stamp(&kinds), protobuf);
    if let Some(made) = ctx.openapi_v2.0.lock().as_ref().filter(|m| m.of == of) {
        return Ok(made.clone());
    }
    let document = document(&kinds);
    let body = match protobuf {
        true => openapi_gnostic::encode(&document),
        false => json::encode(&Value::Map(document)),
    };
    let mut gzip = GzEncoder::new(Vec::with_capacity(body.len() / 8), flate2::Compression::fast());
    let packed = gzip.write_all(&body).and_then(|()| gzip.finish());
    let gzip = packed.map_err(|e| Status::internal(format!("compressing the OpenAPI document: {e}")))?.into();
    let made = Made { of, tag: digest(&body), gzip };
    *ctx.openapi_v2.0.lock() = Some(made.clone());
    Ok(made)
}

fn unpacked(gzip: &[u8]) -> Result<Vec<u8>, Status> {
    let mut out = Vec::with_capacity(gzip.len() * 10);
    let done = GzDecoder::new(gzip).read_to_end(&mut out);
    done.map_err(|e| Status::internal(format!("unpacking the OpenAPI document: {e}")))?;
    Ok(out)
}

fn document(kinds: &[Arc<Kind>]) -> Map {
    let mut of = super::openapi::described(kinds, true);
    let mut definitions = match of.get_mut("components").and_then(|c| c.as_map_mut()?.remove("schemas")) {
        Some(Value::Map(schemas)) => schemas,
        _ => Map::new(),
    };
    definitions.iter_mut().for_each(|(_, schema)| older(schema));
    for kind in kinds.iter().filter(|k| k.custom.is_none()) {
        let list = definitions.get_mut(&format!("{}List", kind.type_name));
        if let Some(list) = list.and_then(Value::as_map_mut) {
            list.insert("x-kubernetes-group-version-kind", vec![list_kind(kind)]);
        }
    }
    let mut paths = of.remove("paths").unwrap_or_default();
    for (_, item) in paths.as_map_mut().into_iter().flat_map(Map::iter_mut) {
        item.as_map_mut().into_iter().flat_map(Map::iter_mut).for_each(|(_, operation)| older_operation(operation));
    }
    let mut out = Map::new();
    out.insert("swagger", "2.0");
    out.insert("info", of.remove("info").unwrap_or_default());
    out.insert("paths", paths);
    out.insert("definitions", definitions);
    out
}

fn list_kind(kind: &Kind) -> Map {
    let mut of = Map::new();
    of.insert("group", &*kind.names.group);
    of.insert("version", &*kind.names.version);
    of.insert("kind", &*kind.list_kind());
    of
}

/// What version 2 has no words for: clients would take it for a mistake.
const NEWER: &[&str] = &["allOf", "anyOf", "default", "not", "nullable", "oneOf", "x-kubernetes-validations"];

/// A schema of version 3 in the words of version 2, which says less.
fn older(schema: &mut Value) {
    let Some(map) = schema.as_map_mut() else { return };
    let to = map.get("allOf").and_then(Value::as_list).and_then(<[Value]>::first).and_then(|v| v.get("$ref"));
    if let Some(name) = to.and_then(Value::as_str).and_then(|r| r.strip_prefix("#/components/schemas/")) {
        let reference = format!("#/definitions/{name}");
        map.insert("$ref", reference);
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

/// Parameters say their type themselves.
fn older_operation(operation: &mut Value) {
    let Some(map) = operation.as_map_mut() else { return };
    for parameter in map.get_mut("parameters").and_then(Value::as_list_mut).into_iter().flatten() {
        if let Some(parameter) = parameter.as_map_mut() {
            parameter.remove("schema");
            parameter.insert("type", "string");
            parameter.insert("uniqueItems", true);
        }
    }
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
        for part in text.split("#/definitions/").skip(1) {
            let name = &part[..part.find('"').expect("an end")];
            assert!(definitions.contains_key(name), "{name}");
        }
        assert!(!text.contains("#/components/"));
        let pods = definitions.get("io.k8s.api.core.v1.PodList").and_then(|l| l.get("x-kubernetes-group-version-kind"));
        assert_eq!(pods, Some(&value(r#"[{"group":"","kind":"PodList","version":"v1"}]"#)));
        let encoded = openapi_gnostic::encode(&document);
        assert!(encoded.len() > text.len() / 4);
    }
}
