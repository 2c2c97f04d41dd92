//! Objects read from protobuf.

use super::MAGIC;
use super::encode::{Alternative, PROPS, alternative};
use super::layout::{Inline, Layout, Of};
use super::wire::{Parts, Wire, varint};
use crate::codec::{DecodeError, MAX_DEPTH, json};
use crate::schema::{self, Field, Schema, Type};
use crate::value::{Key, Map, Value};

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
    let body = match input.strip_prefix(MAGIC) {
        Some([]) => return Err(DecodeError::new(0, "empty body")),
        Some(body) => body,
        None if input.is_empty() => return Err(DecodeError::new(0, "empty data")),
        None => {
            let why = "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]";
            return Err(DecodeError::new(0, why));
        }
    };
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
    let mut map = message(type_name, envelope.raw)?;
    for (key, text) in [("apiVersion", envelope.api_version), ("kind", envelope.kind)] {
        if !text.is_empty() {
            map.insert(key, text);
        }
    }
    Ok(Value::Map(map))
}

/// Reads an object of a built-in type without an envelope.
///
/// # Errors
/// As [`decode`].
pub fn message(type_name: &str, input: &[u8]) -> Result<Map, DecodeError> {
    let schema = schema::find(type_name).ok_or_else(|| DecodeError::new(0, format!("{type_name} is not known")))?;
    let mut map = Map::new();
    slots(schema, schema.layout(), input, &mut map, 0)?;
    Ok(map)
}

fn fields(schema: &Schema, input: &[u8], depth: usize) -> Result<Map, DecodeError> {
    let mut map = Map::new();
    slots(schema, schema.layout(), input, &mut map, depth)?;
    Ok(map)
}

fn slots(schema: &Schema, layout: &Layout, input: &[u8], map: &mut Map, depth: usize) -> Result<(), DecodeError> {
    if depth > MAX_DEPTH {
        return Err(DecodeError::new(0, "exceeded max depth"));
    }
    for part in Parts::of(input) {
        let (number, wire) = part?;
        match (layout.find(number), wire) {
            (Some(Of::Field(i)), wire) => add(&schema.fields[*i], wire, map, depth)?,
            (Some(Of::Inline(Inline::Known(inner))), Wire::Bytes(bytes)) => {
                slots(inner, inner.layout(), bytes, map, depth + 1)?;
            }
            (Some(Of::Inline(Inline::Fields(inner))), Wire::Bytes(bytes)) => {
                slots(schema, inner, bytes, map, depth + 1)?;
            }
            (Some(Of::Inline(_)) | None, _) => {}
        }
    }
    Ok(())
}

/// Adds one occurrence of a field: lists and maps grow with each.
fn add(field: &Field, wire: Wire<'_>, map: &mut Map, depth: usize) -> Result<(), DecodeError> {
    let (name, proto) = (field.name, field.proto_type);
    match (&field.ty, wire) {
        (Type::List(item), wire) => {
            let list = map.entry(name);
            if !matches!(list, Value::List(_)) {
                *list = Value::List(Vec::new());
            }
            let Value::List(list) = list else { return Ok(()) };
            match wire {
                // A list alone in its message.
                Wire::Bytes(bytes) if proto == "Verbs" => inner_list(item, bytes, list, depth)?,
                wire => items(item, proto, wire, list, depth)?,
            }
        }
        (Type::Map(item), Wire::Bytes(entry)) => {
            let (key, value) = map_entry(item, proto, entry, depth)?;
            map.entry(name).make_map().insert(key, value);
        }
        (Type::Map(_), _) => {}
        (ty, wire) => {
            let value = single(ty, proto, wire, depth)?;
            map.insert(name, value);
        }
    }
    Ok(())
}

/// A message whose one field is a list.
fn inner_list(item: &Type, bytes: &[u8], list: &mut Vec<Value>, depth: usize) -> Result<(), DecodeError> {
    for part in Parts::of(bytes) {
        if let (1, wire) = part? {
            items(item, "", wire, list, depth + 1)?;
        }
    }
    Ok(())
}

fn items(item: &Type, proto: &str, wire: Wire<'_>, list: &mut Vec<Value>, depth: usize) -> Result<(), DecodeError> {
    match (item, wire) {
        (Type::Int32 | Type::Int64 | Type::Bool, Wire::Bytes(mut packed)) => {
            while !packed.is_empty() {
                list.push(single(item, proto, Wire::Number(varint(&mut packed)?), depth)?);
            }
        }
        (_, wire) => list.push(single(item, proto, wire, depth)?),
    }
    Ok(())
}

fn map_entry(item: &Type, proto: &str, entry: &[u8], depth: usize) -> Result<(Key, Value), DecodeError> {
    let (mut key, mut value) = (Key::default(), zero(item));
    for part in Parts::of(entry) {
        match part? {
            (1, Wire::Bytes(text)) => key = Key::new(utf8(text)?),
            (2, wire) => {
                value = match (item, wire) {
                    // A list as the value of a map is a message of its own (`ExtraValue`).
                    (Type::List(inner), Wire::Bytes(list)) => {
                        let mut out = Vec::new();
                        inner_list(inner, list, &mut out, depth)?;
                        Value::List(out)
                    }
                    (item, wire) => single(item, proto, wire, depth)?,
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

fn single(ty: &Type, proto: &str, wire: Wire<'_>, depth: usize) -> Result<Value, DecodeError> {
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
        (Type::Any, Wire::Bytes(bytes)) => any(proto, bytes, depth)?,
        (Type::Object | Type::Raw, Wire::Bytes(bytes)) => match first(bytes, 1)? {
            Some(Wire::Bytes(raw)) if !raw.is_empty() => json::decode(raw)?.value,
            _ => Value::Null,
        },
        (Type::Struct(to), Wire::Bytes(bytes)) => Value::Map(fields(to.get(), bytes, depth + 1)?),
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

/// A value that JSON writes in more than one way.
fn any(proto: &str, bytes: &[u8], depth: usize) -> Result<Value, DecodeError> {
    let props = |bytes: &[u8]| match schema::find(PROPS) {
        Some(schema) => fields(schema, bytes, depth + 1).map(Value::Map),
        None => Ok(Value::Null),
    };
    let kind = alternative(proto);
    let (mut found, mut list) = (Value::Null, Vec::new());
    for part in Parts::of(bytes) {
        match (kind, part?) {
            (Alternative::Json, (1, Wire::Bytes(text))) if !text.is_empty() => found = json::decode(text)?.value,
            (Alternative::OrBool, (1, Wire::Number(allows))) if !matches!(found, Value::Map(_)) => {
                found = Value::Bool(allows != 0);
            }
            (Alternative::OrBool, (2, Wire::Bytes(inner)))
            | (Alternative::OrArray | Alternative::OrStrings, (1, Wire::Bytes(inner))) => found = props(inner)?,
            (Alternative::OrArray, (2, Wire::Bytes(inner))) => list.push(props(inner)?),
            (Alternative::OrStrings, (2, Wire::Bytes(text))) => list.push(Value::from(utf8(text)?)),
            _ => {}
        }
    }
    Ok(match kind {
        Alternative::Empty => Value::Map(Map::new()),
        _ if !list.is_empty() => Value::List(list),
        Alternative::OrBool if found.is_null() => Value::Bool(false),
        _ => found,
    })
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
