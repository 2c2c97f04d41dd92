//! Responses: objects, lists, errors, compression.

use crate::chunks::Chunks;
use crate::negotiate::{self, Accept, Encoding};
use crate::server::Body;
use api::codec::{json, protobuf, yaml};
use api::{Status, Value};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{HeaderValue, Response, StatusCode, header};
use std::convert::Infallible;

/// Larger responses are compressed where the client accepts it, as upstream; smaller ones are not worth the time.
const GZIP_FROM: usize = 128 << 10;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const YAML: HeaderValue = HeaderValue::from_static("application/yaml");
const PROTOBUF: HeaderValue = HeaderValue::from_static(negotiate::PROTOBUF);

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

/// A response with a body of some type.
pub(crate) fn with(code: u16, content_type: HeaderValue, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

pub(crate) fn text(code: u16, body: impl Into<Body>) -> Response<Body> {
    let mut response = with(code, HeaderValue::from_static("text/plain; charset=utf-8"), body);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// An object or a list that is ready in the encoding that was asked for, but for YAML, which is made of JSON here.
pub(crate) fn encoded(code: u16, accept: &Accept, body: Vec<u8>) -> Response<Body> {
    chunks(code, accept, Chunks::whole(body))
}

/// The same in pieces.
pub(crate) fn chunks(code: u16, accept: &Accept, body: Chunks) -> Response<Body> {
    let (content_type, body) = match accept.encoding {
        Encoding::Yaml => match json::decode(&body.body()) {
            Ok(decoded) => (YAML, Chunks::whole(yaml::encode(&decoded.value))),
            Err(e) => return error(&Status::internal(e), accept),
        },
        Encoding::Json if accept.pretty => (JSON, Chunks::whole(pretty(&body.body()))),
        Encoding::Json => (JSON, body),
        Encoding::Protobuf => (PROTOBUF, body),
    };
    let size = crate::metrics::Size(body.size);
    if accept.gzip && body.size > GZIP_FROM {
        let mut response = gzipped(code, content_type, body);
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        response.extensions_mut().insert(size);
        return response;
    }
    match body.is_large() {
        true => {
            let mut response = with(code, content_type, streamed(body));
            response.extensions_mut().insert(size);
            response
        }
        false => with(code, content_type, body.body()),
    }
}

/// A body that is compressed while it is sent.
pub(crate) fn gzipped(code: u16, content_type: HeaderValue, body: Chunks) -> Response<Body> {
    let mut response = with(code, content_type, streamed(body.gzip()));
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response
}

fn streamed(body: Chunks) -> Body {
    Body::from_stream(futures::stream::iter(body).map(Ok::<_, Infallible>))
}

/// JSON on many lines, two spaces deep each.
fn pretty(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() * 2);
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    let newline = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', depth * 2));
    };
    let body = body.trim_ascii_end();
    for (i, byte) in body.iter().enumerate() {
        match byte {
            _ if quoted => {
                out.push(*byte);
                quoted = escaped || *byte != b'"';
                escaped = !escaped && *byte == b'\\';
                continue;
            }
            b'{' | b'[' => {
                out.push(*byte);
                depth += 1;
                if !matches!(body.get(i + 1), Some(b'}' | b']')) {
                    newline(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if !matches!(body.get(i.wrapping_sub(1)), Some(b'{' | b'[')) {
                    newline(&mut out, depth);
                }
                out.push(*byte);
            }
            b',' => {
                out.push(b',');
                newline(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            _ => {
                quoted = *byte == b'"';
                out.push(*byte);
            }
        }
    }
    out
}

/// An object of a type that is not stored.
pub(crate) fn value(code: u16, accept: &Accept, value: &Value) -> Response<Body> {
    match accept.encoding {
        Encoding::Json | Encoding::Yaml => encoded(code, accept, json::encode(value)),
        Encoding::Protobuf => match protobuf_of(value) {
            Ok(body) => with(code, PROTOBUF, body),
            Err(status) => error(&status, accept),
        },
    }
}

/// A value with its type in it as protobuf.
fn protobuf_of(value: &Value) -> Result<Vec<u8>, Status> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or("");
    let (version, kind) = (text("apiVersion"), text("kind"));
    let known = type_of(if version.is_empty() { "v1" } else { version }, kind);
    let encoded = known.zip(value.as_map()).map(|(name, map)| protobuf::encode(&name, map));
    match encoded {
        Some(Ok(object)) => Ok(protobuf::wrap(version, kind, &object)),
        Some(Err(error)) => Err(Status::internal(error)),
        None => Err(Status::new(406, "NotAcceptable", format!("{kind} in {version} has no protobuf"))),
    }
}

/// The name in the tables of a type that is served.
fn type_of(version: &str, kind: &str) -> Option<String> {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    if let Some(kind) = api::kinds::by_kind(group, version, kind) {
        return Some(kind.type_name.to_string());
    }
    let package = group.split('.').next().filter(|g| !g.is_empty()).unwrap_or("core");
    let names = [format!("{META}{kind}"), format!("io.k8s.api.{package}.{version}.{kind}")];
    names.into_iter().find(|name| api::schema::find(name).is_some())
}

/// An error as protobuf.
pub(crate) fn status_protobuf(status: &Status) -> Vec<u8> {
    // What a Status says of itself fits its type.
    protobuf_of(&status.to_value()).unwrap_or_default()
}

/// The Status of a failure.
pub(crate) fn error(status: &Status, accept: &Accept) -> Response<Body> {
    let plain = Accept { shape: crate::negotiate::Shape::Whole, gzip: false, ..accept.clone() };
    let mut response = match plain.encoding {
        Encoding::Protobuf => with(status.code, PROTOBUF, status_protobuf(status)),
        Encoding::Json | Encoding::Yaml => value(status.code, &plain, &status.to_value()),
    };
    if let Some(details) = status.details.as_ref().filter(|d| d.retry_after_seconds > 0) {
        response.headers_mut().insert(header::RETRY_AFTER, details.retry_after_seconds.into());
    }
    warn(&mut response, &status.warnings);
    response
}

/// A response that goes on as long as the stream does: a watch.
pub(crate) fn stream(accept: &Accept, frames: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    let content_type = match accept.encoding {
        Encoding::Protobuf => HeaderValue::from_static("application/vnd.kubernetes.protobuf;stream=watch"),
        Encoding::Json | Encoding::Yaml => JSON,
    };
    with(200, content_type, Body::from_stream(frames.map(Ok::<_, Infallible>)))
}

/// Adds `Warning` headers, as many as fit.
pub(crate) fn warn(response: &mut Response<Body>, warnings: &[String]) {
    const MAX_BYTES: usize = 4096;
    let mut left = MAX_BYTES;
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ");
        let text = format!("299 - \"{quoted}\"");
        if text.len() > left {
            break;
        }
        left -= text.len();
        if let Ok(header) = HeaderValue::from_bytes(text.as_bytes()) {
            response.headers_mut().append(header::WARNING, header);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pretty_json_is_the_same_json() {
        let text = br#"{"a":[],"b":{},"c":[1,{"d":"x,{\"}:"}],"e":"\\"}"#;
        let shown = pretty(text);
        let expected = "{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1,\n    {\n      \"d\": \"x,{\\\"}:\"\n    }\n  ],\n  \"e\": \"\\\\\"\n}";
        assert_eq!(std::str::from_utf8(&shown).expect("UTF-8"), expected);
    }
}
