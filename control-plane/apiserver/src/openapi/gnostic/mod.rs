//! OpenAPI version 2 as protobuf: messages of `openapi.v2` (gnostic), which kubectl asks for. Version 3 stands below.

pub(in crate::openapi) mod v3;

use api::codec::json;
use api::codec::protobuf::Backward;
use api::{Map, Value};

/// Writes a whole document.
pub(in crate::openapi) fn encode(document: &Map) -> Vec<u8> {
    let mut out = Backward::with_capacity(1 << 20);
    let at = |key: &str| document.get(key);
    named(&mut out, 13, 1, at("securityDefinitions"), |out, scheme| out.message(2, |out| key_in_header(out, scheme)));
    for item in at("security").and_then(Value::as_list).unwrap_or_default().iter().rev() {
        named(&mut out, 12, 1, Some(item), |_, _| {});
    }
    named(&mut out, 10, 1, at("parameters"), parameter);
    named(&mut out, 9, 1, at("definitions"), schema);
    named(&mut out, 8, 2, at("paths"), path_item);
    out.message(2, |out| {
        let info = at("info");
        text(out, 2, info.and_then(|i| i.get("version")));
        text(out, 1, info.and_then(|i| i.get("title")));
    });
    text(&mut out, 1, at("swagger"));
    out.finish()
}

fn key_in_header(out: &mut Backward, of: &Value) {
    for (field, key) in [(4, "description"), (3, "in"), (2, "name"), (1, "type")] {
        text(out, field, of.get(key));
    }
}

fn text(out: &mut Backward, field: u32, value: Option<&Value>) {
    if let Some(text) = value.and_then(Value::as_str) {
        out.bytes(field, text.as_bytes());
    }
}

fn texts(out: &mut Backward, field: u32, value: Option<&Value>) {
    for item in value.and_then(Value::as_list).unwrap_or_default().iter().rev() {
        text(out, field, Some(item));
    }
}

fn flag(out: &mut Backward, field: u32, value: Option<&Value>) {
    if value.and_then(Value::as_bool) == Some(true) {
        out.number(field, 1);
    }
}

fn integer(out: &mut Backward, field: u32, value: Option<&Value>) {
    if let Some(number) = value.and_then(Value::as_i64) {
        out.number(field, number.cast_unsigned());
    }
}

fn number(out: &mut Backward, field: u32, value: Option<&Value>) {
    match value {
        Some(Value::Int(i)) => out.double(field, *i as f64),
        Some(Value::Float(f)) => out.double(field, *f),
        _ => {}
    }
}

/// A map as a message whose field `entry` repeats pairs of a name and a value.
fn named(out: &mut Backward, field: u32, entry: u32, value: Option<&Value>, write: fn(&mut Backward, &Value)) {
    let Some(map) = value.and_then(Value::as_map) else { return };
    out.message(field, |out| {
        for (name, value) in map.iter().rev() {
            out.message(entry, |out| {
                out.message(2, |out| write(out, value));
                out.bytes(1, name.as_bytes());
            });
        }
    });
}

/// `Any`: YAML, of which JSON is a part.
fn any(out: &mut Backward, field: u32, value: &Value) {
    out.message(field, |out| {
        let mut yaml = json::encode(value);
        yaml.push(b'\n');
        out.bytes(2, &yaml);
    });
}

fn extensions(out: &mut Backward, field: u32, of: &Value) {
    let Some(map) = of.as_map() else { return };
    for (name, value) in map.iter().rev().filter(|(name, _)| name.starts_with("x-")) {
        out.message(field, |out| {
            any(out, 2, value);
            out.bytes(1, name.as_bytes());
        });
    }
}

fn schema(out: &mut Backward, of: &Value) {
    let at = |key: &str| of.get(key);
    extensions(out, 31, of);
    named(out, 25, 1, at("properties"), schema);
    if let Some(items) = at("items") {
        out.message(23, |out| out.message(1, |out| schema(out, items)));
    }
    if at("type").is_some() {
        out.message(22, |out| text(out, 1, at("type")));
    }
    match at("additionalProperties") {
        None => {}
        Some(Value::Bool(any)) => out.message(21, |out| out.number(2, u64::from(*any))),
        Some(values) => out.message(21, |out| out.message(1, |out| schema(out, values))),
    }
    for value in at("enum").and_then(Value::as_list).unwrap_or_default().iter().rev() {
        any(out, 20, value);
    }
    texts(out, 19, at("required"));
    integer(out, 18, at("minProperties"));
    integer(out, 17, at("maxProperties"));
    flag(out, 16, at("uniqueItems"));
    integer(out, 15, at("minItems"));
    integer(out, 14, at("maxItems"));
    text(out, 13, at("pattern"));
    integer(out, 12, at("minLength"));
    integer(out, 11, at("maxLength"));
    flag(out, 10, at("exclusiveMinimum"));
    number(out, 9, at("minimum"));
    flag(out, 8, at("exclusiveMaximum"));
    number(out, 7, at("maximum"));
    number(out, 6, at("multipleOf"));
    text(out, 4, at("description"));
    text(out, 3, at("title"));
    text(out, 2, at("format"));
    text(out, 1, at("$ref"));
}

fn path_item(out: &mut Backward, of: &Value) {
    parameters(out, 9, of);
    const METHODS: [(u32, &str); 7] =
        [(8, "patch"), (7, "head"), (6, "options"), (5, "delete"), (4, "post"), (3, "put"), (2, "get")];
    for (field, method) in METHODS {
        if let Some(of) = of.get(method) {
            out.message(field, |out| operation(out, of));
        }
    }
}

fn operation(out: &mut Backward, of: &Value) {
    extensions(out, 13, of);
    texts(out, 10, of.get("schemes"));
    named(out, 9, 1, of.get("responses"), |out, response| {
        out.message(1, |out| {
            if let Some(of) = response.get("schema") {
                out.message(2, |out| out.message(1, |out| schema(out, of)));
            }
            text(out, 1, response.get("description"));
        });
    });
    parameters(out, 8, of);
    texts(out, 7, of.get("consumes"));
    texts(out, 6, of.get("produces"));
    text(out, 5, of.get("operationId"));
    text(out, 3, of.get("description"));
    texts(out, 1, of.get("tags"));
}

/// Parameters and references to them.
fn parameters(out: &mut Backward, field: u32, of: &Value) {
    for of in of.get("parameters").and_then(Value::as_list).unwrap_or_default().iter().rev() {
        out.message(field, |out| match of.get("$ref") {
            Some(to) => out.message(2, |out| text(out, 1, Some(to))),
            None => out.message(1, |out| parameter(out, of)),
        });
    }
}

fn parameter(out: &mut Backward, of: &Value) {
    match of.get("in").and_then(Value::as_str) {
        Some("body") => out.message(1, |out| {
            if let Some(of) = of.get("schema") {
                out.message(5, |out| schema(out, of));
            }
            named_parameter(out, of, 4, [(3, "in"), (2, "name"), (1, "description")]);
        }),
        Some("path") => out.message(2, |out| {
            out.message(4, |out| {
                flag(out, 19, of.get("uniqueItems"));
                text(out, 5, of.get("type"));
                named_parameter(out, of, 1, [(4, "name"), (3, "description"), (2, "in")]);
            });
        }),
        _ => out.message(2, |out| {
            out.message(3, |out| {
                flag(out, 20, of.get("uniqueItems"));
                text(out, 6, of.get("type"));
                named_parameter(out, of, 1, [(4, "name"), (3, "description"), (2, "in")]);
            });
        }),
    }
}

/// What parameters of every kind have; a number of 4 for `required` comes before the texts, one of 1 behind them.
fn named_parameter(out: &mut Backward, of: &Value, required: u32, fields: [(u32, &str); 3]) {
    if required > 1 {
        flag(out, required, of.get("required"));
    }
    fields.into_iter().for_each(|(field, key)| text(out, field, of.get(key)));
    if required == 1 {
        flag(out, required, of.get("required"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_written_in_the_order_of_its_fields() {
        let text = r##"{"swagger":"2.0","info":{"title":"T","version":"v"},"definitions":{"A":{"type":"object","$ref":"#/definitions/B","x-k":1}},"paths":{"/p":{"get":{"parameters":[{"name":"n","in":"query","type":"string"}]}}}}"##;
        let Value::Map(document) = json::decode(text.as_bytes()).expect("JSON").value else { panic!("no object") };
        let expected: &[u8] = b"\x0a\x032.0\x12\x06\x0a\x01T\x12\x01v\
            \x42\x24\x12\x22\x0a\x02/p\x12\x1c\x12\x1a\x42\x18\x0a\x16\x12\x14\x1a\x12\x12\x05query\x22\x01n\x32\x06string\
            \x4a\x31\x0a\x2f\x0a\x01A\x12\x2a\x0a\x0f#/definitions/B\xb2\x01\x08\x0a\x06object\xfa\x01\x0b\x0a\x03x-k\x12\x04\x12\x021\n";
        let got = encode(&document);
        assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}
