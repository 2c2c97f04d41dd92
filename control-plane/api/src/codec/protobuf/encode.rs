//! Objects written as protobuf.

use super::layout::{Inline, Layout, Of};
use super::wire::Backward;
use crate::codec::json;
use crate::schema::{self, Field, Presence, Schema, Type};
use crate::value::{Map, Value};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// An object that does not fit its type: the schema pass has not seen it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at} cannot be written as protobuf: {why}")]
pub struct EncodeError {
    /// The type and the field.
    pub at: String,
    pub why: String,
}

type Done = Result<(), EncodeError>;

/// Writes an object of a built-in type (`io.k8s.api.core.v1.Pod`), without an envelope.
///
/// # Errors
/// A type without a table, or a value of another shape than the table's.
pub fn encode(type_name: &str, object: &Map) -> Result<Vec<u8>, EncodeError> {
    let schema = schema::find(type_name)
        .ok_or_else(|| EncodeError { at: type_name.to_owned(), why: "the type has no table".into() })?;
    let mut out = Backward::with_capacity(1024);
    message(schema, object, &mut out)?;
    Ok(out.finish())
}

fn message(schema: &Schema, map: &Map, out: &mut Backward) -> Done {
    slots(schema, schema.layout(), map, out)
}

fn slots(schema: &Schema, layout: &Layout, map: &Map, out: &mut Backward) -> Done {
    for slot in layout.slots().iter().rev() {
        match &slot.of {
            Of::Field(i) => {
                let field = &schema.fields[*i];
                write_field(field, slot.number, map.get(field.name), out)
                    .map_err(|why| EncodeError { at: format!("{}.{}", schema.full_name(), field.name), why })?;
            }
            Of::Inline(Inline::Known(inner)) => out.message(slot.number, |out| message(inner, map, out))?,
            Of::Inline(Inline::Fields(inner)) => out.message(slot.number, |out| slots(schema, inner, map, out))?,
        }
    }
    Ok(())
}

/// Why a value cannot be written; the caller knows where it stands, except for what comes from deeper down.
type Written = Result<(), String>;

fn write_field(field: &Field, number: u32, value: Option<&Value>, out: &mut Backward) -> Written {
    match (field.presence, value) {
        (_, Some(value)) if !value.is_null() => occurrences(field, number, value, out),
        (Presence::Value | Presence::ValueAlways, _) => zero(&field.ty, number, out),
        (Presence::Pointer | Presence::PointerAlways | Presence::Collection | Presence::CollectionAlways, _) => Ok(()),
    }
}

/// A field once, or once for each of its elements.
fn occurrences(field: &Field, number: u32, value: &Value, out: &mut Backward) -> Written {
    match (&field.ty, value) {
        (Type::List(item), Value::List(items)) if field.proto_type == "Verbs" => {
            out.message(number, |out| elements(item, "", 1, items, out))
        }
        (Type::List(item), Value::List(items)) => elements(item, field.proto_type, number, items, out),
        (Type::Map(item), Value::Map(map)) => {
            for (key, value) in map.iter().rev() {
                out.message(number, |out| {
                    entry(item, field.proto_type, value, out)?;
                    out.bytes(1, key.as_bytes());
                    Ok::<_, String>(())
                })?;
            }
            Ok(())
        }
        (ty, value) => one(ty, field.proto_type, number, value, out),
    }
}

fn elements(item: &Type, proto: &str, number: u32, items: &[Value], out: &mut Backward) -> Written {
    items.iter().rev().try_for_each(|value| one(item, proto, number, value, out))
}

/// The value of a map's entry.
fn entry(item: &Type, proto: &str, value: &Value, out: &mut Backward) -> Written {
    match (item, value) {
        // A list as the value of a map is a message of its own (`ExtraValue`).
        (Type::List(inner), Value::List(items)) => out.message(2, |out| elements(inner, "", 1, items, out)),
        (Type::List(_), Value::Null) => {
            out.bytes(2, b"");
            Ok(())
        }
        (item, value) => one(item, proto, 2, value, out),
    }
}

/// One value; null is the type's zero.
fn one(ty: &Type, proto: &str, number: u32, value: &Value, out: &mut Backward) -> Written {
    match (ty, value) {
        (ty, Value::Null) => return zero(ty, number, out),
        (Type::String, Value::Str(text)) => out.bytes(number, text.as_bytes()),
        (Type::Bool, Value::Bool(b)) => out.number(number, u64::from(*b)),
        (Type::Int32 | Type::Int64, Value::Int(i)) => out.number(number, i.cast_unsigned()),
        (Type::Double, Value::Float(f)) => out.double(number, *f),
        (Type::Double, Value::Int(i)) => out.double(number, *i as f64),
        (Type::Bytes, Value::Str(text)) => out.bytes(number, &base64(text)?),
        (Type::Time, Value::Str(text)) => time(number, text, false, out)?,
        (Type::MicroTime, Value::Str(text)) => time(number, text, true, out)?,
        (Type::Quantity, Value::Str(text)) => out.message(number, |out| out.bytes(1, text.as_bytes())),
        (Type::IntOrString, Value::Int(i)) => int_or_string(number, Some(*i), "", out),
        (Type::IntOrString, Value::Str(text)) => int_or_string(number, None, text, out),
        (Type::Object | Type::Raw, value) => out.message(number, |out| out.bytes(1, &json::encode(value))),
        (Type::Any, value) => any(proto, number, value, out)?,
        (Type::Struct(to), Value::Map(map)) => {
            out.message(number, |out| message(to.get(), map, out)).map_err(|e| e.to_string())?;
        }
        (ty, _) => return Err(format!("it is no {}", ty.go_name())),
    }
    Ok(())
}

fn zero(ty: &Type, number: u32, out: &mut Backward) -> Written {
    match ty {
        Type::String => out.bytes(number, b""),
        Type::Bool | Type::Int32 | Type::Int64 => out.number(number, 0),
        Type::Double => out.double(number, 0.0),
        Type::Time | Type::MicroTime | Type::Raw | Type::Object => out.bytes(number, b""),
        Type::Quantity => out.message(number, |out| out.bytes(1, b"0")),
        Type::IntOrString => int_or_string(number, Some(0), "", out),
        Type::Struct(to) => {
            out.message(number, |out| message(to.get(), &Map::new(), out)).map_err(|e| e.to_string())?;
        }
        Type::Bytes | Type::Any | Type::List(_) | Type::Map(_) => {}
    }
    Ok(())
}

fn base64(text: &str) -> Result<Vec<u8>, String> {
    let decoded = match text.contains(['\r', '\n']) {
        false => STANDARD.decode(text),
        true => STANDARD.decode(text.replace(['\r', '\n'], "")),
    };
    decoded.map_err(|e| e.to_string())
}

/// Seconds and, for those that have them, nanoseconds.
fn time(number: u32, text: &str, micro: bool, out: &mut Backward) -> Written {
    let at: jiff::Timestamp = text.parse().map_err(|e: jiff::Error| e.to_string())?;
    // Before 1970 jiff counts the fraction backwards.
    let borrow = i64::from(at.subsec_nanosecond() < 0);
    let nanos = i64::from(at.subsec_nanosecond()) + borrow * 1_000_000_000;
    out.message(number, |out| {
        out.number(2, if micro { nanos.cast_unsigned() } else { 0 });
        out.number(1, (at.as_second() - borrow).cast_unsigned());
    });
    Ok(())
}

fn int_or_string(number: u32, int: Option<i64>, text: &str, out: &mut Backward) {
    out.message(number, |out| {
        out.bytes(3, text.as_bytes());
        out.number(2, int.unwrap_or(0).cast_unsigned());
        out.number(1, u64::from(int.is_none()));
    });
}

/// Values that JSON writes in more than one way have messages that tell the ways apart.
fn any(proto: &str, number: u32, value: &Value, out: &mut Backward) -> Written {
    let props = |value: &Value, number, out: &mut Backward| match (schema::find(PROPS), value) {
        (Some(schema), Value::Map(map)) => {
            out.message(number, |out| message(schema, map, out)).map_err(|e| e.to_string())
        }
        _ => Err("it is no JSONSchemaProps".to_owned()),
    };
    let inner = alternative(proto);
    out.message(number, |out| match (inner, value) {
        (Alternative::Json, value) => {
            out.bytes(1, &json::encode(value));
            Ok(())
        }
        (Alternative::Empty, _) => Ok(()),
        (Alternative::OrBool, Value::Bool(allows)) => {
            out.number(1, u64::from(*allows));
            Ok(())
        }
        (Alternative::OrBool, value) => {
            props(value, 2, out)?;
            out.number(1, 1);
            Ok(())
        }
        (Alternative::OrArray, Value::List(items)) => items.iter().rev().try_for_each(|v| props(v, 2, out)),
        (Alternative::OrStrings, Value::List(items)) => elements(&Type::String, "", 2, items, out),
        (Alternative::OrArray | Alternative::OrStrings, value) => props(value, 1, out),
    })
}

pub(super) const PROPS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// The messages of apiextensions that are more than one thing in JSON.
#[derive(Debug, Clone, Copy)]
pub(super) enum Alternative {
    /// Text of JSON.
    Json,
    /// A message without fields.
    Empty,
    OrBool,
    OrArray,
    OrStrings,
}

pub(super) fn alternative(proto: &str) -> Alternative {
    let name = proto.trim_start_matches("repeated ").trim_start_matches("map<string,").trim_end_matches('>');
    match name {
        "JSONSchemaPropsOrBool" => Alternative::OrBool,
        "JSONSchemaPropsOrArray" => Alternative::OrArray,
        "JSONSchemaPropsOrStringArray" => Alternative::OrStrings,
        "CustomResourceSubresourceStatus" => Alternative::Empty,
        _ => Alternative::Json,
    }
}
