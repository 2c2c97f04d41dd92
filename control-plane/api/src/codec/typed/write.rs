//! A value built out of what a type serializes.

use super::{TypedError, int_or_float};
use crate::value::{Key, Map, Value};
use serde::ser::{self, Serialize, SerializeMap, SerializeSeq};

/// Builds a value out of what a type serializes.
pub(super) struct ToValue;

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

pub(super) struct ListBuilder {
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

/// The other shapes that are lists.
macro_rules! as_list {
    ($($shape:ident $add:ident),*) => {$(
        impl ser::$shape for ListBuilder {
            type Ok = Value;
            type Error = TypedError;
            fn $add<T: Serialize + ?Sized>(&mut self, v: &T) -> Result<(), TypedError> {
                SerializeSeq::serialize_element(self, v)
            }
            fn end(self) -> Made {
                SerializeSeq::end(self)
            }
        }
    )*};
}

as_list!(SerializeTuple serialize_element, SerializeTupleStruct serialize_field, SerializeTupleVariant serialize_field);

pub(super) struct MapBuilder {
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

/// The other shapes that are maps.
macro_rules! as_map {
    ($($shape:ident),*) => {$(
        impl ser::$shape for MapBuilder {
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
    )*};
}

as_map!(SerializeStruct, SerializeStructVariant);
