//! Responses: objects, lists, errors, compression.

use crate::negotiate::{Accept, Encoding};
use crate::server::Body;
use api::codec::{json, yaml};
use api::{Status, Value};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{HeaderValue, Response, StatusCode, header};
use std::convert::Infallible;
use std::io::Write;

/// Responses from this size on are compressed where the client accepts it; smaller ones are not worth the time.
const GZIP_FROM: usize = 128 << 10;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const YAML: HeaderValue = HeaderValue::from_static("application/yaml");

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

/// An object or a list as JSON that is ready, in the encoding that was asked for.
pub(crate) fn encoded(code: u16, accept: &Accept, body: Vec<u8>) -> Response<Body> {
    match accept.encoding {
        Encoding::Yaml => match json::decode(&body) {
            Ok(decoded) => with(code, YAML, yaml::encode(&decoded.value)),
            Err(e) => error(&Status::internal(e), accept),
        },
        Encoding::Json if accept.gzip && body.len() >= GZIP_FROM => match gzip(&body) {
            Ok(small) => {
                let mut response = with(code, JSON, small);
                response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
                response
            }
            Err(e) => error(&Status::internal(e), accept),
        },
        Encoding::Json if accept.pretty => with(code, JSON, pretty(&body)),
        Encoding::Json => with(code, JSON, body),
    }
}

fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 8), flate2::Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

/// JSON on many lines, two spaces deep each.
fn pretty(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() * 2);
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    let newline = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', depth * 2));
    };
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
    out.push(b'\n');
    out
}

pub(crate) fn value(code: u16, accept: &Accept, value: &Value) -> Response<Body> {
    encoded(code, accept, json::encode(value))
}

/// The Status of a failure.
pub(crate) fn error(status: &Status, accept: &Accept) -> Response<Body> {
    let plain = Accept { shape: crate::negotiate::Shape::Whole, gzip: false, ..accept.clone() };
    let mut response = value(status.code, &plain, &status.to_value());
    if let Some(details) = status.details.as_ref().filter(|d| d.retry_after_seconds > 0) {
        response.headers_mut().insert(header::RETRY_AFTER, details.retry_after_seconds.into());
    }
    if status.code == 401 {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"kubernetes\""));
    }
    response
}

/// A response that goes on as long as the stream does: a watch.
pub(crate) fn stream(frames: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    with(200, JSON, Body::from_stream(frames.map(Ok::<_, Infallible>)))
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
        let expected = "{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1,\n    {\n      \"d\": \"x,{\\\"}:\"\n    }\n  ],\n  \"e\": \"\\\\\"\n}\n";
        assert_eq!(std::str::from_utf8(&shown).expect("UTF-8"), expected);
    }
}
