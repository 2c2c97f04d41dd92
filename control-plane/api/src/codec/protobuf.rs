//! The protobuf of Kubernetes' clients, read by the schema tables: client-go sends the bodies of built-in kinds so.
//!
//! Decoding only: answers are JSON, which every such client takes as well. Unknown fields are dropped, as protobuf wants.

use super::{DecodeError, MAX_DEPTH, json};
use crate::schema::{self, Field, Schema, Type};
use crate::value::{Key, Map, Value};

/// What every message of a client begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Messages whose fields stand in JSON beside those of the message that holds them: `:type`, then `number name`.
const INLINED: &str = include_str!("../../tables/inlined.txt");

/// The type that a body says it has, and the bytes of the object itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    pub api_version: String,
    pub kind: String,
    pub raw: &'a [u8],
}

/// Opens the envelope.
///
/// # Errors
/// The bytes are not what a client of Kubernetes sends.
pub fn envelope(input: &[u8]) -> Result<Envelope<'_>, DecodeError> {
    let body = input.strip_prefix(MAGIC).ok_or_else(|| {
        DecodeError::new(0, "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    })?;
    let mut out = Envelope { api_version: String::new(), kind: String::new(), raw: &[] };
    for part in Parts::of(body) {
        match part? {
            (1, Wire::Bytes(meta)) => {
                for part in Parts::of(meta) {
                    match part? {
                        (1, Wire::Bytes(text)) => out.api_version = utf8(text)?.to_owned(),
                        (2, Wire::Bytes(text)) => out.kind = utf8(text)?.to_owned(),
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(raw)) => out.raw = raw,
            _ => {}
        }
    }
    Ok(out)
}

/// Reads an object of a built-in type (`io.k8s.api.core.v1.Pod`) with its envelope.
///
/// # Errors
/// Malformed bytes, text that is not UTF-8, a type without a table, nesting beyond [`MAX_DEPTH`].
pub fn decode(type_name: &str, input: &[u8]) -> Result<Value, DecodeError> {
    let envelope = envelope(input)?;
    let schema = schema::find(type_name).ok_or_else(|| DecodeError::new(0, format!("{type_name} is not known")))?;
    let mut map = message(schema, envelope.raw, 0)?;
    for (key, text) in [("apiVersion", envelope.api_version), ("kind", envelope.kind)] {
        if !text.is_empty() {
            map.insert(key, text);
        }
    }
    Ok(Value::Map(map))
}

fn message(schema: &Schema, input: &[u8], depth: usize) -> Result<Map, DecodeError> {
    if depth > MAX_DEPTH {
        return Err(DecodeError::new(0, "exceeded max depth"));
    }
    let mut map = Map::new();
    for part in Parts::of(input) {
        let (number, wire) = part?;
        let Some(field) = schema.fields.iter().find(|f| f.proto_number == number) else { continue };
        if field.hidden {
            inline(schema, field, wire, &mut map, depth)?;
        } else {
            add(field.name, &field.ty, wire, &mut map, depth)?;
        }
    }
    Ok(map)
}

/// A message that JSON knows only by its fields.
fn inline(schema: &Schema, field: &Field, wire: Wire<'_>, map: &mut Map, depth: usize) -> Result<(), DecodeError> {
    let Wire::Bytes(bytes) = wire else { return Ok(()) };
    let full = format!("{}.{}", schema.package, field.proto_type);
    if let Some(inner) = schema::find(&full) {
        for (key, value) in message(inner, bytes, depth + 1)? {
            map.insert(key, value);
        }
        return Ok(());
    }
    let fields = inlined(&full);
    for part in Parts::of(bytes) {
        let (number, wire) = part?;
        let name = fields.iter().find(|(n, _)| *n == number).map(|(_, name)| *name);
        if let Some(outer) = name.and_then(|name| schema.field(name)) {
            add(outer.name, &outer.ty, wire, map, depth)?;
        }
    }
    Ok(())
}

fn inlined(full: &str) -> Vec<(u32, &'static str)> {
    let of_type = INLINED.lines().skip_while(|l| l.strip_prefix(':') != Some(full)).skip(1);
    let fields = of_type.take_while(|l| !l.starts_with(':')).filter_map(|l| l.split_once('\t'));
    fields.filter_map(|(number, name)| Some((number.parse().ok()?, name))).collect()
}

/// Adds one occurrence of a field: lists and maps grow with each.
fn add(name: &'static str, ty: &Type, wire: Wire<'_>, map: &mut Map, depth: usize) -> Result<(), DecodeError> {
    match ty {
        Type::List(item) => {
            let list = map.entry(name);
            if !matches!(list, Value::List(_)) {
                *list = Value::List(Vec::new());
            }
            if let Value::List(list) = list {
                items(item, wire, list, depth)?;
            }
        }
        Type::Map(item) => {
            let Wire::Bytes(entry) = wire else { return Ok(()) };
            let (key, value) = map_entry(item, entry, depth)?;
            map.entry(name).make_map().insert(key, value);
        }
        _ => {
            let value = single(ty, wire, depth)?;
            map.insert(name, value);
        }
    }
    Ok(())
}

fn items(item: &Type, wire: Wire<'_>, list: &mut Vec<Value>, depth: usize) -> Result<(), DecodeError> {
    match (item, wire) {
        (Type::Int32 | Type::Int64 | Type::Bool, Wire::Bytes(mut packed)) => {
            while !packed.is_empty() {
                list.push(single(item, Wire::Number(varint(&mut packed)?), depth)?);
            }
        }
        (_, wire) => list.push(single(item, wire, depth)?),
    }
    Ok(())
}

fn map_entry(item: &Type, entry: &[u8], depth: usize) -> Result<(Key, Value), DecodeError> {
    let (mut key, mut value) = (Key::default(), zero(item));
    for part in Parts::of(entry) {
        match part? {
            (1, Wire::Bytes(text)) => key = Key::new(utf8(text)?),
            (2, wire) => {
                value = match (item, wire) {
                    // A list as the value of a map is a message of its own (`ExtraValue`).
                    (Type::List(inner), Wire::Bytes(list)) => {
                        let mut out = Vec::new();
                        for part in Parts::of(list) {
                            if let (1, wire) = part? {
                                items(inner, wire, &mut out, depth + 1)?;
                            }
                        }
                        Value::List(out)
                    }
                    (item, wire) => single(item, wire, depth)?,
                }
            }
            _ => {}
        }
    }
    Ok((key, value))
}

/// What a map's entry without a value holds.
fn zero(ty: &Type) -> Value {
    match ty {
        Type::String | Type::Bytes | Type::Quantity => Value::from(""),
        Type::Bool => Value::Bool(false),
        Type::Int32 | Type::Int64 | Type::IntOrString => Value::Int(0),
        Type::Double => Value::Float(0.0),
        Type::List(_) => Value::List(Vec::new()),
        Type::Time | Type::MicroTime => Value::Null,
        Type::Map(_) | Type::Struct(_) | Type::Object | Type::Raw | Type::Any => Value::Map(Map::new()),
    }
}

fn single(ty: &Type, wire: Wire<'_>, depth: usize) -> Result<Value, DecodeError> {
    Ok(match (ty, wire) {
        (Type::String, Wire::Bytes(text)) => Value::from(utf8(text)?),
        (Type::Bool, Wire::Number(n)) => Value::Bool(n != 0),
        // Protobuf writes a negative int32 as the ten bytes of an int64.
        (Type::Int32 | Type::Int64, Wire::Number(n)) => Value::Int(n.cast_signed()),
        (Type::Double, Wire::Fixed64(bits)) => Value::Float(f64::from_bits(bits)),
        (Type::Bytes, Wire::Bytes(bytes)) => {
            use base64::Engine;
            Value::from(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        (Type::Time, Wire::Bytes(bytes)) => time(bytes, "%Y-%m-%dT%H:%M:%SZ")?,
        (Type::MicroTime, Wire::Bytes(bytes)) => time(bytes, "%Y-%m-%dT%H:%M:%S%.6fZ")?,
        (Type::Quantity, Wire::Bytes(bytes)) => match first(bytes, 1)? {
            Some(Wire::Bytes(text)) => Value::from(utf8(text)?),
            _ => Value::from("0"),
        },
        (Type::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes)?,
        (Type::Object | Type::Raw | Type::Any, Wire::Bytes(bytes)) => match first(bytes, 1)? {
            Some(Wire::Bytes(raw)) if !raw.is_empty() => json::decode(raw)?.value,
            _ => Value::Null,
        },
        (Type::Struct(to), Wire::Bytes(bytes)) => Value::Map(message(to.get(), bytes, depth + 1)?),
        // A list alone in its message (`Verbs`).
        (Type::List(item), Wire::Bytes(bytes)) => {
            let mut out = Vec::new();
            for part in Parts::of(bytes) {
                if let (1, wire) = part? {
                    items(item, wire, &mut out, depth + 1)?;
                }
            }
            Value::List(out)
        }
        (ty, _) => {
            return Err(DecodeError::new(0, format!("proto: wrong wireType for a field of type {}", ty.go_name())));
        }
    })
}

/// The last occurrence of a field.
fn first(bytes: &[u8], number: u32) -> Result<Option<Wire<'_>>, DecodeError> {
    let mut found = None;
    for part in Parts::of(bytes) {
        match part? {
            (n, wire) if n == number => found = Some(wire),
            _ => {}
        }
    }
    Ok(found)
}

fn time(bytes: &[u8], format: &str) -> Result<Value, DecodeError> {
    // An unset time is an empty message.
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let number = |n| match first(bytes, n) {
        Ok(Some(Wire::Number(n))) => Ok(n.cast_signed()),
        Ok(_) => Ok(0),
        Err(e) => Err(e),
    };
    let nanos = i32::try_from(number(2)?).unwrap_or(0);
    let at = jiff::Timestamp::new(number(1)?, nanos).map_err(|e| DecodeError::new(0, e.to_string()))?;
    Ok(Value::from(at.strftime(format).to_string()))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, DecodeError> {
    let text = matches!(first(bytes, 1)?, Some(Wire::Number(1)));
    Ok(match (text, first(bytes, 2)?, first(bytes, 3)?) {
        (true, _, Some(Wire::Bytes(text))) => Value::from(utf8(text)?),
        (true, _, _) => Value::from(""),
        (false, Some(Wire::Number(n)), _) => Value::Int(n.cast_signed()),
        (false, _, _) => Value::Int(0),
    })
}

fn utf8(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|e| DecodeError::new(e.valid_up_to(), "proto: a string is not UTF-8"))
}

/// One value as it stands on the wire.
#[derive(Debug, Clone, Copy)]
enum Wire<'a> {
    Number(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

/// The fields of a message, one after the other.
struct Parts<'a> {
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(rest: &'a [u8]) -> Parts<'a> {
        Parts { rest }
    }

    fn part(&mut self) -> Result<(u32, Wire<'a>), DecodeError> {
        let tag = varint(&mut self.rest)?;
        let number = u32::try_from(tag >> 3).map_err(|_| truncated())?;
        let wire = match tag & 7 {
            0 => Wire::Number(varint(&mut self.rest)?),
            1 => {
                let (bits, rest) = self.rest.split_first_chunk().ok_or_else(truncated)?;
                self.rest = rest;
                Wire::Fixed64(u64::from_le_bytes(*bits))
            }
            2 => {
                let length = usize::try_from(varint(&mut self.rest)?).map_err(|_| truncated())?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or_else(truncated)?;
                self.rest = rest;
                Wire::Bytes(bytes)
            }
            5 => {
                let (_, rest) = self.rest.split_first_chunk::<4>().ok_or_else(truncated)?;
                self.rest = rest;
                Wire::Fixed32
            }
            other => return Err(DecodeError::new(0, format!("proto: illegal wireType {other}"))),
        };
        Ok((number, wire))
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<(u32, Wire<'a>), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let part = self.part();
        if part.is_err() {
            self.rest = &[];
        }
        Some(part)
    }
}

fn truncated() -> DecodeError {
    DecodeError::new(0, "unexpected EOF")
}

fn varint(input: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut out = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first().ok_or_else(truncated)?;
        *input = rest;
        out |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(out);
        }
    }
    Err(DecodeError::new(0, "proto: integer overflow"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Object;

    /// Upstream's own objects with every field set, as JSON and as protobuf.
    #[test]
    fn golden_objects_are_the_same_in_both_encodings() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/golden");
        if !dir.is_dir() {
            eprintln!("SKIPPED: the golden objects are not on this machine");
            return;
        }
        let mut compared = 0;
        for kind in crate::kinds::all() {
            let group = kind.names.group.as_ref();
            let group = if group.is_empty() { "core" } else { group };
            let stem = format!("{group}.{}.{}", kind.names.version, kind.names.kind);
            let Ok(bytes) = std::fs::read(dir.join(format!("{stem}.pb"))) else { continue };
            let text = std::fs::read(dir.join(format!("{stem}.json"))).expect("its JSON");
            let normal = |value: Value| match value {
                Value::Map(map) => {
                    let mut object = Object(map);
                    // An alpha field whose message is not the map that JSON has; no client sets it.
                    object.unset(&["status", "nodeAllocatableResourceClaimStatuses"]);
                    crate::schema::check(&kind.type_name, &mut object);
                    String::from_utf8(json::encode(&Value::Map(object.0))).expect("UTF-8")
                }
                other => panic!("{stem}: {other:?}"),
            };
            let from_proto = normal(decode(&kind.type_name, &bytes).expect(&stem));
            let from_json = normal(json::decode(&text).expect("JSON").value);
            let same = from_proto.bytes().zip(from_json.bytes()).take_while(|(a, b)| a == b).count();
            let around = |t: &str| t.chars().skip(same.saturating_sub(80)).take(240).collect::<String>();
            assert!(from_proto == from_json, "{stem}:\n{}\n{}", around(&from_proto), around(&from_json));
            compared += 1;
        }
        assert!(compared > 20, "only {compared} kinds were compared");
    }

    #[test]
    fn broken_bytes_are_an_error() {
        for bytes in [
            &b"k8s\0\x12\x05ab"[..],
            b"k8s\0\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"{}",
            b"k8s\0\x12\x02\x0a\x09",
        ] {
            assert!(decode("io.k8s.api.core.v1.ConfigMap", bytes).is_err(), "{bytes:?}");
        }
    }
}
