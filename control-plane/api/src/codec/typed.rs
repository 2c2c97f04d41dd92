//! Values to and from typed views (`k8s_openapi` types) by serde, without going through text.

use crate::value::{Key, Map, Value};
use serde::de::{self, DeserializeOwned, IntoDeserializer, Visitor};
use serde::ser::{self, Serialize, SerializeMap, SerializeSeq};
use std::fmt;

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

struct MapDeserializer<'de> {
    entries: Box<dyn Iterator<Item = (&'de Key, &'de Value)> + 'de>,
    value: Option<&'de Value>,
}

impl<'de> MapDeserializer<'de> {
    fn whole(map: &'de Map) -> MapDeserializer<'de> {
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

/// Builds a value out of what a type serializes.
struct ToValue;

type Made = Result<Value, TypedError>;

impl ser::Serializer for ToValue {
    type Ok = Value;
    type Error = TypedError;
    type SerializeSeq = ListBuilder;
    type SerializeTuple = ListBuilder;
    type SerializeTupleStruct = ListBuilder;
    type SerializeTupleVariant = ListBuilder;
    type SerializeMap = MapBuilder;
    type SerializeStruct = MapBuilder;
    type SerializeStructVariant = MapBuilder;

    fn serialize_bool(self, v: bool) -> Made {
        Ok(Value::Bool(v))
    }
    fn serialize_i8(self, v: i8) -> Made {
        Ok(Value::Int(v.into()))
    }
    fn serialize_i16(self, v: i16) -> Made {
        Ok(Value::Int(v.into()))
    }
    fn serialize_i32(self, v: i32) -> Made {
        Ok(Value::Int(v.into()))
    }
    fn serialize_i64(self, v: i64) -> Made {
        Ok(Value::Int(v))
    }
    fn serialize_u8(self, v: u8) -> Made {
        Ok(Value::Int(v.into()))
    }
    fn serialize_u16(self, v: u16) -> Made {
        Ok(Value::Int(v.into()))
    }
    fn serialize_u32(self, v: u32) -> Made {
        Ok(Value::Int(v.into()))
    }
    fn serialize_u64(self, v: u64) -> Made {
        Ok(int_or_float(v))
    }
    fn serialize_f32(self, v: f32) -> Made {
        Ok(Value::Float(v.into()))
    }
    fn serialize_f64(self, v: f64) -> Made {
        Ok(Value::Float(v))
    }
    fn serialize_char(self, v: char) -> Made {
        Ok(Value::from(v.to_string()))
    }
    fn serialize_str(self, v: &str) -> Made {
        Ok(Value::from(v))
    }
    fn serialize_bytes(self, v: &[u8]) -> Made {
        Ok(Value::List(v.iter().map(|b| Value::Int(i64::from(*b))).collect()))
    }
    fn serialize_none(self) -> Made {
        Ok(Value::Null)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, v: &T) -> Made {
        v.serialize(self)
    }
    fn serialize_unit(self) -> Made {
        Ok(Value::Null)
    }
    fn serialize_unit_struct(self, _: &'static str) -> Made {
        Ok(Value::Null)
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Made {
        Ok(Value::from(variant))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, v: &T) -> Made {
        v.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        v: &T,
    ) -> Made {
        Ok(Value::Map([(variant, v.serialize(ToValue)?)].into_iter().collect()))
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<ListBuilder, TypedError> {
        Ok(ListBuilder { variant: None, items: Vec::new() })
    }
    fn serialize_tuple(self, _: usize) -> Result<ListBuilder, TypedError> {
        self.serialize_seq(None)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<ListBuilder, TypedError> {
        self.serialize_seq(None)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<ListBuilder, TypedError> {
        Ok(ListBuilder { variant: Some(variant), items: Vec::new() })
    }
    fn serialize_map(self, _: Option<usize>) -> Result<MapBuilder, TypedError> {
        Ok(MapBuilder { variant: None, pairs: Vec::new(), key: None })
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<MapBuilder, TypedError> {
        self.serialize_map(None)
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<MapBuilder, TypedError> {
        Ok(MapBuilder { variant: Some(variant), pairs: Vec::new(), key: None })
    }
}

fn wrapped(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        None => value,
        Some(name) => Value::Map([(name, value)].into_iter().collect()),
    }
}

struct ListBuilder {
    variant: Option<&'static str>,
    items: Vec<Value>,
}

impl SerializeSeq for ListBuilder {
    type Ok = Value;
    type Error = TypedError;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, v: &T) -> Result<(), TypedError> {
        self.items.push(v.serialize(ToValue)?);
        Ok(())
    }
    fn end(self) -> Made {
        Ok(wrapped(self.variant, Value::List(self.items)))
    }
}

impl ser::SerializeTuple for ListBuilder {
    type Ok = Value;
    type Error = TypedError;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, v: &T) -> Result<(), TypedError> {
        SerializeSeq::serialize_element(self, v)
    }
    fn end(self) -> Made {
        SerializeSeq::end(self)
    }
}

impl ser::SerializeTupleStruct for ListBuilder {
    type Ok = Value;
    type Error = TypedError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, v: &T) -> Result<(), TypedError> {
        SerializeSeq::serialize_element(self, v)
    }
    fn end(self) -> Made {
        SerializeSeq::end(self)
    }
}

impl ser::SerializeTupleVariant for ListBuilder {
    type Ok = Value;
    type Error = TypedError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, v: &T) -> Result<(), TypedError> {
        SerializeSeq::serialize_element(self, v)
    }
    fn end(self) -> Made {
        SerializeSeq::end(self)
    }
}

struct MapBuilder {
    variant: Option<&'static str>,
    pairs: Vec<(Key, Value)>,
    key: Option<Key>,
}

impl SerializeMap for MapBuilder {
    type Ok = Value;
    type Error = TypedError;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), TypedError> {
        self.key = Some(match key.serialize(ToValue)? {
            Value::Str(text) => text,
            Value::Int(i) => Key::from(i.to_string()),
            Value::Bool(b) => Key::from(b.to_string()),
            _ => return Err(TypedError("a map's key must be text".into())),
        });
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, v: &T) -> Result<(), TypedError> {
        let key = self.key.take().ok_or_else(|| TypedError("a value was given before its key".into()))?;
        self.pairs.push((key, v.serialize(ToValue)?));
        Ok(())
    }
    fn end(self) -> Made {
        Ok(wrapped(self.variant, Value::Map(Map::from_pairs(self.pairs, |_| {}))))
    }
}

impl ser::SerializeStruct for MapBuilder {
    type Ok = Value;
    type Error = TypedError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, v: &T) -> Result<(), TypedError> {
        self.pairs.push((Key::new_static(name), v.serialize(ToValue)?));
        Ok(())
    }
    fn end(self) -> Made {
        SerializeMap::end(self)
    }
}

impl ser::SerializeStructVariant for MapBuilder {
    type Ok = Value;
    type Error = TypedError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, v: &T) -> Result<(), TypedError> {
        ser::SerializeStruct::serialize_field(self, name, v)
    }
    fn end(self) -> Made {
        SerializeMap::end(self)
    }
}
