//! Values to and from typed views (`k8s_openapi` types) by serde, without going through text.

mod read;
mod write;

use crate::value::{Key, Map, Value};
use read::MapDeserializer;
use serde::de::{self, DeserializeOwned, Visitor};
use serde::ser::{self, Serialize};
use std::fmt;
use write::ToValue;

/// A typed view and a value do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TypedError(String);

impl de::Error for TypedError {
    fn custom<T: fmt::Display>(message: T) -> TypedError {
        TypedError(message.to_string())
    }
}

impl ser::Error for TypedError {
    fn custom<T: fmt::Display>(message: T) -> TypedError {
        TypedError(message.to_string())
    }
}

impl Value {
    /// Reads the value as a typed view.
    ///
    /// # Errors
    /// The value has another shape than the type.
    pub fn to_typed<T: DeserializeOwned>(&self) -> Result<T, TypedError> {
        T::deserialize(self)
    }

    /// The value of a typed view.
    ///
    /// # Errors
    /// The type holds what JSON cannot say (a map with structured keys, an integer beyond 64 bits).
    pub fn from_typed<T: Serialize + ?Sized>(typed: &T) -> Result<Value, TypedError> {
        typed.serialize(ToValue)
    }
}

impl crate::Object {
    /// Reads the object as a typed view.
    ///
    /// # Errors
    /// As [`Value::to_typed`].
    pub fn to_typed<T: DeserializeOwned>(&self) -> Result<T, TypedError> {
        T::deserialize(MapDeserializer::whole(&self.0))
    }

    /// The object of a typed view.
    ///
    /// # Errors
    /// As [`Value::from_typed`], or the view is no map.
    pub fn from_typed<T: Serialize + ?Sized>(typed: &T) -> Result<crate::Object, TypedError> {
        match Value::from_typed(typed)? {
            Value::Map(map) => Ok(crate::Object(map)),
            _ => Err(TypedError("not an object".into())),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: ser::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => s.serialize_unit(),
            Value::Bool(b) => s.serialize_bool(*b),
            Value::Int(i) => s.serialize_i64(*i),
            Value::Float(f) => s.serialize_f64(*f),
            Value::Str(text) => s.serialize_str(text),
            Value::List(items) => s.collect_seq(items),
            Value::Map(map) => map.serialize(s),
        }
    }
}

impl Serialize for Map {
    fn serialize<S: ser::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.iter().map(|(k, v)| (k.as_str(), v)))
    }
}

impl Serialize for crate::Object {
    fn serialize<S: ser::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(s)
    }
}

impl<'de> de::Deserialize<'de> for Value {
    fn deserialize<D: de::Deserializer<'de>>(d: D) -> Result<Value, D::Error> {
        d.deserialize_any(ValueVisitor)
    }
}

impl<'de> de::Deserialize<'de> for Map {
    fn deserialize<D: de::Deserializer<'de>>(d: D) -> Result<Map, D::Error> {
        match Value::deserialize(d)? {
            Value::Map(map) => Ok(map),
            _ => Err(de::Error::custom("expected a map")),
        }
    }
}

impl<'de> de::Deserialize<'de> for crate::Object {
    fn deserialize<D: de::Deserializer<'de>>(d: D) -> Result<crate::Object, D::Error> {
        Map::deserialize(d).map(crate::Object)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: de::Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }

    fn visit_newtype_struct<D: de::Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E>(self, i: i64) -> Result<Value, E> {
        Ok(Value::Int(i))
    }

    fn visit_u64<E>(self, u: u64) -> Result<Value, E> {
        Ok(int_or_float(u))
    }

    fn visit_f64<E>(self, f: f64) -> Result<Value, E> {
        Ok(Value::Float(f))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Str(Key::new(text)))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = items.next_element()? {
            out.push(item);
        }
        Ok(Value::List(out))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut pairs: Vec<(Key, Value)> = Vec::new();
        while let Some(pair) = entries.next_entry()? {
            pairs.push(pair);
        }
        Ok(Value::Map(Map::from_pairs(pairs, |_| {})))
    }
}

fn int_or_float(u: u64) -> Value {
    i64::try_from(u).map_or(Value::Float(u as f64), Value::Int)
}
