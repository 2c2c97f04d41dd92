//! OpenAPI version 3 as protobuf: messages of `openapi.v3` (gnostic).

use super::{any, extensions, flag, integer, named, number, text, texts};
use api::codec::protobuf::Backward;
use api::{Map, Value};

/// Writes a whole document.
pub(in crate::openapi) fn encode(document: &Map) -> Vec<u8> {
    let mut out = Backward::with_capacity(1 << 20);
    if let Some(components) = document.get("components") {
        out.message(5, |out| {
            named(out, 7, 1, components.get("securitySchemes"), |out, scheme| {
                out.message(1, |out| {
                    for (field, key) in [(4, "in"), (3, "name"), (2, "description"), (1, "type")] {
                        text(out, field, scheme.get(key));
                    }
                });
            });
            named(out, 1, 1, components.get("schemas"), referable);
        });
    }
    named(&mut out, 4, 1, document.get("paths"), path_item);
    if let Some(info) = document.get("info") {
        out.message(2, |out| {
            text(out, 6, info.get("version"));
            text(out, 1, info.get("title"));
        });
    }
    text(&mut out, 1, document.get("openapi"));
    out.finish()
}

/// `SchemaOrReference`.
fn referable(out: &mut Backward, of: &Value) {
    match of.get("$ref") {
        Some(to) => out.message(2, |out| text(out, 1, Some(to))),
        None => out.message(1, |out| schema(out, of)),
    }
}

fn each(out: &mut Backward, field: u32, list: Option<&Value>, write: fn(&mut Backward, &Value)) {
    for item in list.and_then(Value::as_list).unwrap_or_default().iter().rev() {
        out.message(field, |out| write(out, item));
    }
}

fn schema(out: &mut Backward, of: &Value) {
    let at = |key: &str| of.get(key);
    extensions(out, 36, of);
    text(out, 35, at("format"));
    text(out, 34, at("description"));
    if let Some(value) = at("default") {
        out.message(33, |out| default(out, value));
    }
    match at("additionalProperties") {
        None => {}
        Some(Value::Bool(open)) => out.message(32, |out| out.number(2, u64::from(*open))),
        Some(values) => out.message(32, |out| out.message(1, |out| referable(out, values))),
    }
    named(out, 31, 1, at("properties"), referable);
    if let Some(items) = at("items") {
        out.message(30, |out| out.message(1, |out| referable(out, items)));
    }
    if let Some(not) = at("not") {
        out.message(29, |out| schema(out, not));
    }
    each(out, 28, at("anyOf"), referable);
    each(out, 27, at("oneOf"), referable);
    each(out, 26, at("allOf"), referable);
    text(out, 25, at("type"));
    for value in at("enum").and_then(Value::as_list).unwrap_or_default().iter().rev() {
        any(out, 24, value);
    }
    texts(out, 23, at("required"));
    integer(out, 22, at("minProperties"));
    integer(out, 21, at("maxProperties"));
    flag(out, 20, at("uniqueItems"));
    integer(out, 19, at("minItems"));
    integer(out, 18, at("maxItems"));
    text(out, 17, at("pattern"));
    integer(out, 16, at("minLength"));
    integer(out, 15, at("maxLength"));
    flag(out, 14, at("exclusiveMinimum"));
    number(out, 13, at("minimum"));
    flag(out, 12, at("exclusiveMaximum"));
    number(out, 11, at("maximum"));
    number(out, 10, at("multipleOf"));
    text(out, 9, at("title"));
    flag(out, 1, at("nullable"));
}

/// `DefaultType`, which knows scalars; anything else is there and empty.
fn default(out: &mut Backward, value: &Value) {
    match value {
        Value::Int(_) | Value::Float(_) => number(out, 1, Some(value)),
        Value::Bool(b) => out.number(2, u64::from(*b)),
        Value::Str(_) => text(out, 3, Some(value)),
        Value::Null | Value::List(_) | Value::Map(_) => {}
    }
}

fn path_item(out: &mut Backward, of: &Value) {
    each(out, 13, of.get("parameters"), |out, of| out.message(1, |out| parameter(out, of)));
    const METHODS: [(u32, &str); 7] =
        [(10, "patch"), (9, "head"), (8, "options"), (7, "delete"), (6, "post"), (5, "put"), (4, "get")];
    for (field, method) in METHODS {
        if let Some(of) = of.get(method) {
            out.message(field, |out| operation(out, of));
        }
    }
}

fn operation(out: &mut Backward, of: &Value) {
    extensions(out, 13, of);
    named(out, 8, 2, of.get("responses"), |out, response| {
        out.message(1, |out| {
            content(out, 3, response);
            text(out, 1, response.get("description"));
        });
    });
    if let Some(body) = of.get("requestBody") {
        out.message(7, |out| {
            out.message(1, |out| {
                flag(out, 3, body.get("required"));
                content(out, 2, body);
            });
        });
    }
    each(out, 6, of.get("parameters"), |out, of| out.message(1, |out| parameter(out, of)));
    text(out, 5, of.get("operationId"));
    text(out, 3, of.get("description"));
    texts(out, 1, of.get("tags"));
}

/// The schemas of a body, by media type.
fn content(out: &mut Backward, field: u32, of: &Value) {
    named(out, field, 1, of.get("content"), |out, media| {
        if let Some(schema) = media.get("schema") {
            out.message(1, |out| referable(out, schema));
        }
    });
}

fn parameter(out: &mut Backward, of: &Value) {
    if let Some(schema) = of.get("schema") {
        out.message(10, |out| referable(out, schema));
    }
    flag(out, 4, of.get("required"));
    text(out, 3, of.get("description"));
    text(out, 2, of.get("in"));
    text(out, 1, of.get("name"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::codec::json;

    #[test]
    fn a_document_is_written_in_the_order_of_its_fields() {
        let text = r##"{"openapi":"3.0.0","info":{"title":"T","version":"v"},"paths":{"/p":{"get":{"parameters":[{"name":"n","in":"query","schema":{"type":"string"}}]}}},
            "components":{"schemas":{"A":{"type":"object","properties":{"b":{"allOf":[{"$ref":"#/B"}],"default":{}},"c":{"type":"string","default":"x"}}}}}}"##;
        let Value::Map(document) = json::decode(text.as_bytes()).expect("JSON").value else { panic!("no object") };
        let expected: &[u8] = b"\x0a\x053.0.0\x12\x06\x0a\x01T\x32\x01v\
            \x22\x25\x0a\x23\x0a\x02/p\x12\x1d\x22\x1b\x32\x19\x0a\x17\x0a\x01n\x12\x05query\x52\x0b\x0a\x09\xca\x01\x06string\
            \x2a\x45\x0a\x43\x0a\x41\x0a\x01A\x12\x3c\x0a\x3a\xca\x01\x06object\xfa\x01\x2e\
            \x0a\x14\x0a\x01b\x12\x0f\x0a\x0d\xd2\x01\x07\x12\x05\x0a\x03#/B\x8a\x02\x00\
            \x0a\x16\x0a\x01c\x12\x11\x0a\x0f\xca\x01\x06string\x8a\x02\x03\x1a\x01x";
        let got = encode(&document);
        assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}
