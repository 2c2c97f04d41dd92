//! The pass of upstream's converter, which makes typed objects out of what patches and applies leave: it goes through the
//! fields in the type's order, stops at the first that does not fit, in words of its own, and cuts numbers to their size.

use super::{Field, Schema, Type, find, go_types, position, time};
use crate::codec::json;
use crate::object::Object;
use crate::quantity::Quantity;
use crate::value::{Map, Value};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Converts an object of a built-in type; of others nothing is known.
///
/// # Errors
/// What does not fit, as upstream says it.
pub fn convert(type_name: &str, object: &mut Object) -> Result<(), String> {
    find(type_name).map_or(Ok(()), |schema| fields(schema, &mut object.0))
}

fn fields(schema: &'static Schema, map: &mut Map) -> Result<(), String> {
    let mut order: BinaryHeap<Reverse<(u32, &'static str)>> = BinaryHeap::with_capacity(map.len());
    for (key, _) in map.iter() {
        if let Some(field) = schema.field(key) {
            order.push(Reverse((position(schema, key), field.name)));
        }
    }
    while let Some(Reverse((_, name))) = order.pop() {
        if let (Some(field), Some(value)) = (schema.field(name), map.get_mut(name)) {
            convert_value(schema, field, &field.ty, value)?;
        }
    }
    Ok(())
}

fn convert_value(
    of: &'static Schema,
    field: &'static Field,
    ty: &'static Type,
    value: &mut Value,
) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    match ty {
        Type::String => match value {
            Value::Str(_) => Ok(()),
            Value::Int(_) => {
                let name = go_types::named(of, field, ty).unwrap_or_else(|| "string".into());
                Err(format!("cannot convert int64 to {name}"))
            }
            _ => unrecognized("string"),
        },
        Type::Bool => {
            if matches!(value, Value::Bool(_)) {
                Ok(())
            } else {
                unrecognized("bool")
            }
        }
        Type::Int32 => number(value, "int32", |i| {
            #[expect(clippy::cast_possible_truncation, reason = "the converter keeps the lower half")]
            let cut = i as i32;
            i64::from(cut)
        }),
        Type::Int64 => number(value, "int64", |i| i),
        Type::Double => {
            if matches!(value, Value::Int(_) | Value::Float(_)) {
                Ok(())
            } else {
                unrecognized("float64")
            }
        }
        Type::Bytes => bytes(value),
        Type::Time => at_time(value, false),
        Type::MicroTime => at_time(value, true),
        Type::Quantity => quantity(value),
        Type::IntOrString => int_or_string(value),
        Type::Raw | Type::Any | Type::Object => Ok(()),
        Type::List(item) => match value {
            Value::List(items) => items.iter_mut().try_for_each(|v| convert_value(of, field, item, v)),
            other => Err(format!("cannot restore slice from {}", go_kind(other))),
        },
        Type::Map(item) => match value {
            Value::Map(map) => map.iter_mut().try_for_each(|(_, v)| convert_value(of, field, item, v)),
            other => Err(format!("cannot restore map from {}", go_kind(other))),
        },
        Type::Struct(inner) => match value {
            Value::Map(map) => fields(inner.get(), map),
            other => Err(format!("cannot restore struct from: {}", go_kind(other))),
        },
    }
}

fn unrecognized(ty: &str) -> Result<(), String> {
    Err(format!("unrecognized type: {ty}"))
}

fn number(value: &mut Value, ty: &str, cut: impl Fn(i64) -> i64) -> Result<(), String> {
    match value {
        Value::Int(i) => *value = Value::Int(cut(*i)),
        #[expect(clippy::cast_possible_truncation, reason = "it has no parts, and what is too large is cut")]
        Value::Float(f) if f.trunc() == *f => *value = Value::Int(cut(*f as i64)),
        Value::Float(_) => return Err(format!("cannot convert float64 to {ty}")),
        _ => return unrecognized(ty),
    }
    Ok(())
}

fn bytes(value: &Value) -> Result<(), String> {
    match value {
        Value::Str(text) => match super::check::bad_base64(text) {
            Some(at) => Err(format!("error decoding from json: illegal base64 data at input byte {at}")),
            None => Ok(()),
        },
        other => Err(format!("cannot restore slice from {}", go_kind(other))),
    }
}

/// What reads itself out of JSON says what it says of any JSON.
fn at_time(value: &Value, micro: bool) -> Result<(), String> {
    match value {
        Value::Str(text) => time::normalize(text, micro).map(drop),
        other => Err(format!("json: cannot unmarshal {} into Go value of type string", other.json_type())),
    }
}

fn quantity(value: &Value) -> Result<(), String> {
    let text = match value {
        Value::Str(text) => text.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Float(f) => json::float_text(*f),
        _ => String::new(),
    };
    Quantity::parse(&text).map(drop).map_err(|error| error.to_string())
}

fn int_or_string(value: &Value) -> Result<(), String> {
    match value {
        Value::Str(_) => Ok(()),
        Value::Int(i) if i32::try_from(*i).is_ok() => Ok(()),
        other => {
            let shown = match other {
                Value::Int(i) => format!("number {i}"),
                Value::Float(f) => format!("number {}", json::float_text(*f)),
                other => other.json_type().to_owned(),
            };
            Err(format!("json: cannot unmarshal {shown} into Go value of type int32"))
        }
    }
}

/// A value as the converter names what holds it.
fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "invalid",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int64",
        Value::Float(_) => "float64",
        Value::Str(_) => "string",
        Value::List(_) => "slice",
        Value::Map(_) => "map",
    }
}
