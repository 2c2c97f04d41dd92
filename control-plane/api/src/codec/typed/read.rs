//! A type read out of a value.

use super::TypedError;
use crate::value::{Key, Map, Value};
use serde::de::{self, IntoDeserializer, Visitor};

macro_rules! forward_to_any {
    () => {
        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
            unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
        }
    };
}

impl<'de> de::Deserializer<'de> for &'de Value {
    type Error = TypedError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypedError> {
        match self {
            Value::Null => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(*b),
            Value::Int(i) => visitor.visit_i64(*i),
            Value::Float(f) => visitor.visit_f64(*f),
            Value::Str(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => de::value::SeqDeserializer::new(items.iter()).deserialize_any(visitor),
            Value::Map(map) => visitor.visit_map(MapDeserializer::whole(map)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypedError> {
        match self {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, TypedError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypedError> {
        match self {
            Value::Str(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Map(map) if map.len() == 1 => {
                visitor.visit_enum(de::value::MapAccessDeserializer::new(MapDeserializer::whole(map)))
            }
            _ => Err(TypedError("expected the name of a variant".into())),
        }
    }

    forward_to_any!();
}

impl<'de> IntoDeserializer<'de, TypedError> for &'de Value {
    type Deserializer = &'de Value;
    fn into_deserializer(self) -> &'de Value {
        self
    }
}

pub(super) struct MapDeserializer<'de> {
    entries: Box<dyn Iterator<Item = (&'de Key, &'de Value)> + 'de>,
    value: Option<&'de Value>,
}

impl<'de> MapDeserializer<'de> {
    pub(super) fn whole(map: &'de Map) -> MapDeserializer<'de> {
        MapDeserializer { entries: Box::new(map.iter()), value: None }
    }
}

impl<'de> de::MapAccess<'de> for MapDeserializer<'de> {
    type Error = TypedError;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, TypedError> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(de::value::BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<S: de::DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, TypedError> {
        let value = self.value.take().ok_or_else(|| TypedError("a value was asked for before its key".into()))?;
        seed.deserialize(value)
    }
}

impl<'de> de::Deserializer<'de> for MapDeserializer<'de> {
    type Error = TypedError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypedError> {
        visitor.visit_map(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypedError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, TypedError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypedError> {
        visitor.visit_enum(de::value::MapAccessDeserializer::new(self))
    }

    forward_to_any!();
}
