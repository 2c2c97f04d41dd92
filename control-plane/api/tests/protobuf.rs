//! What our codec writes, read by prost: minimal objects, zero values, absent ones. The descriptors are made out of the
//! tables; the twins in `protobuf/` are JSON with the same object's bytes in hexadecimal digits.
//!
//! `UPDATE=1` writes the bytes anew; what prost reads in them is compared all the same.

use api::codec::{json, protobuf};
use api::schema::{self, Field, Presence, Schema, Type};
use api::{Map, Value};
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type as Proto};
use prost_reflect::prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, ReflectMessage, Value as Read};
use std::collections::BTreeMap;

const INLINED: &str = include_str!("../tables/inlined.txt");

/// A message's name, and number, name and type of each field.
type Fields = (&'static str, &'static [(i32, &'static str, Proto)]);

/// The messages that stand for what JSON writes as one value.
const SPECIAL: &[Fields] = &[
    ("Time", &[(1, "seconds", Proto::Int64), (2, "nanos", Proto::Int32)]),
    ("Quantity", &[(1, "string", Proto::String)]),
    ("IntOrString", &[(1, "type", Proto::Int64), (2, "intVal", Proto::Int32), (3, "strVal", Proto::String)]),
    ("Raw", &[(1, "raw", Proto::Bytes)]),
];

fn message_name(full: &str) -> String {
    full.replace(['.', '-'], "_")
}

fn proto_field(number: i32, name: &str, label: Label, ty: Proto, of: Option<String>) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.replace(['-', '$'], "_")),
        number: Some(number),
        label: Some(label.into()),
        r#type: Some(ty.into()),
        type_name: of.map(|of| format!(".t.{of}")),
        ..FieldDescriptorProto::default()
    }
}

/// The messages of a set of types.
#[derive(Default)]
struct Messages(BTreeMap<String, DescriptorProto>);

impl Messages {
    fn add(&mut self, schema: &'static Schema) -> String {
        let name = message_name(&schema.full_name());
        if self.0.contains_key(&name) {
            return name;
        }
        self.0.insert(name.clone(), DescriptorProto::default());
        let mut fields = Vec::new();
        for field in schema.fields.iter().filter(|f| f.proto_number > 0) {
            match field.hidden {
                false => fields.push(self.field(&name, field, field.proto_number)),
                true => fields.extend(self.inline(&name, schema, field)),
            }
        }
        self.0.insert(name.clone(), DescriptorProto { name: Some(name.clone()), field: fields, ..Default::default() });
        name
    }

    /// A message whose fields JSON shows among those of the outer one.
    fn inline(&mut self, outer_name: &str, outer: &'static Schema, field: &Field) -> Option<FieldDescriptorProto> {
        let full = format!("{}.{}", outer.package, field.proto_type);
        let name = match schema::find(&full) {
            Some(inner) => self.add(inner),
            None => {
                let of_type = INLINED.lines().skip_while(|l| l.strip_prefix(':') != Some(&full)).skip(1);
                let mut fields = Vec::new();
                for (number, name) in of_type.take_while(|l| !l.starts_with(':')).filter_map(|l| l.split_once('\t')) {
                    let shown = outer.field(name).filter(|f| f.proto_number == 0)?;
                    fields.push(self.field(outer_name, shown, number.parse().expect("a number")));
                }
                let name = format!("{outer_name}_{}", field.proto_type);
                let made = DescriptorProto { name: Some(name.clone()), field: fields, ..Default::default() };
                self.0.insert(name.clone(), made);
                name
            }
        };
        let number = i32::try_from(field.proto_number).expect("a small number");
        Some(proto_field(number, field.name, Label::Optional, Proto::Message, Some(name)))
    }

    fn field(&mut self, outer: &str, field: &Field, number: u32) -> FieldDescriptorProto {
        let number = i32::try_from(number).expect("a small number");
        let (label, (ty, of)) = match &field.ty {
            Type::List(item) => (Label::Repeated, self.ty(outer, field.name, item)),
            Type::Map(item) => {
                let name = format!("{outer}_{}_Entry", message_name(field.name));
                let (ty, of) = self.ty(outer, field.name, item);
                let pair = vec![
                    proto_field(1, "key", Label::Optional, Proto::String, None),
                    proto_field(2, "value", Label::Optional, ty, of),
                ];
                let entry = DescriptorProto { name: Some(name.clone()), field: pair, ..Default::default() };
                self.0.insert(name.clone(), entry);
                (Label::Repeated, (Proto::Message, Some(name)))
            }
            ty => (Label::Optional, self.ty(outer, field.name, ty)),
        };
        proto_field(number, field.name, label, ty, of)
    }

    fn ty(&mut self, outer: &str, field: &str, ty: &Type) -> (Proto, Option<String>) {
        let special = |name: &str| (Proto::Message, Some(name.to_owned()));
        match ty {
            Type::String => (Proto::String, None),
            Type::Bool => (Proto::Bool, None),
            Type::Int32 => (Proto::Int32, None),
            Type::Int64 => (Proto::Int64, None),
            Type::Double => (Proto::Double, None),
            Type::Bytes => (Proto::Bytes, None),
            Type::Time | Type::MicroTime => special("Time"),
            Type::Quantity => special("Quantity"),
            Type::IntOrString => special("IntOrString"),
            Type::Object | Type::Raw | Type::Any => special("Raw"),
            Type::Struct(to) => (Proto::Message, Some(self.add(to.get()))),
            Type::List(item) => {
                let name = format!("{outer}_{}_Items", message_name(field));
                let (ty, of) = self.ty(outer, field, item);
                let items = vec![proto_field(1, "items", Label::Repeated, ty, of)];
                let message = DescriptorProto { name: Some(name.clone()), field: items, ..Default::default() };
                self.0.insert(name.clone(), message);
                (Proto::Message, Some(name))
            }
            Type::Map(_) => panic!("{outer}.{field}: a map in a map or a list"),
        }
    }
}

fn pool(types: &[&'static Schema]) -> DescriptorPool {
    let mut messages = Messages::default();
    for (name, fields) in SPECIAL {
        let field = fields.iter().map(|(n, f, ty)| proto_field(*n, f, Label::Optional, *ty, None)).collect();
        let made = DescriptorProto { name: Some((*name).to_owned()), field, ..Default::default() };
        messages.0.insert((*name).to_owned(), made);
    }
    types.iter().for_each(|schema| drop(messages.add(schema)));
    let file = FileDescriptorProto {
        name: Some("t.proto".into()),
        package: Some("t".into()),
        syntax: Some("proto2".into()),
        message_type: messages.0.into_values().collect(),
        ..Default::default()
    };
    DescriptorPool::from_file_descriptor_set(FileDescriptorSet { file: vec![file] }).expect("descriptors that fit")
}

/// Compares what prost read with an object.
fn compare(at: &str, read: &DynamicMessage, schema: &'static Schema, object: &Map) {
    for field in schema.fields.iter().filter(|f| f.proto_number > 0 && !f.hidden) {
        compare_field(&format!("{at}.{}", field.name), read, field, field.proto_number, object);
    }
    assert_eq!(read.unknown_fields().count(), 0, "{at} has fields that the table does not know");
}

fn compare_field(at: &str, read: &DynamicMessage, field: &Field, number: u32, object: &Map) {
    let value = object.get(field.name).filter(|v| !v.is_null());
    let descriptor = read.descriptor().get_field(number).expect("a field of the table");
    match (&field.ty, value) {
        (Type::List(_) | Type::Map(_), value) => {
            let count = |v: &Value| v.as_list().map_or(v.as_map().map_or(0, Map::len), <[Value]>::len);
            let got = read.get_field(&descriptor);
            let items = got.as_list().expect("a list");
            assert_eq!(items.len(), value.map_or(0, count), "{at}");
            for (i, item) in items.iter().enumerate() {
                compare_item(&format!("{at}[{i}]"), item, field, value.expect("it has items"), i);
            }
        }
        (Type::Bytes | Type::Any, None) => assert!(!read.has_field(&descriptor), "{at} is there"),
        (ty, None) => {
            let always = matches!(field.presence, Presence::Value | Presence::ValueAlways);
            assert_eq!(read.has_field(&descriptor), always, "{at}: zero is written, absent is not");
            if let (true, Type::Struct(to)) = (always, ty) {
                compare(at, read.get_field(&descriptor).as_message().expect("a message"), to.get(), &Map::new());
            }
        }
        (ty, Some(value)) => {
            assert!(read.has_field(&descriptor), "{at} is missing");
            compare_one(at, &read.get_field(&descriptor), ty, value);
        }
    }
}

fn compare_item(at: &str, item: &Read, field: &Field, value: &Value, i: usize) {
    match (&field.ty, value) {
        (Type::List(ty), Value::List(values)) => compare_one(at, item, ty, &values[i]),
        (Type::Map(ty), Value::Map(map)) => {
            let (key, value) = map.iter().nth(i).expect("as many");
            let entry = item.as_message().expect("an entry");
            let part =
                |number| entry.get_field(&entry.descriptor().get_field(number).expect("key and value")).into_owned();
            assert_eq!(part(1).as_str(), Some(key.as_str()), "{at}");
            match (&**ty, value) {
                (Type::List(inner), Value::List(values)) => {
                    let list = part(2);
                    let list = list.as_message().expect("a list in a message");
                    let items = list.get_field(&list.descriptor().get_field(1).expect("items")).into_owned();
                    let items = items.as_list().expect("a list");
                    assert_eq!(items.len(), values.len(), "{at}");
                    items.iter().zip(values).for_each(|(item, value)| compare_one(at, item, inner, value));
                }
                (ty, value) => compare_one(at, &part(2), ty, value),
            }
        }
        _ => panic!("{at}: {value:?} is no list and no map"),
    }
}

fn compare_one(at: &str, read: &Read, ty: &Type, value: &Value) {
    let part = |number| {
        let message = read.as_message().expect("a message");
        let descriptor = message.descriptor().get_field(number).expect("a field");
        assert!(message.has_field(&descriptor), "{at}: {} is not written", descriptor.name());
        message.get_field(&descriptor).into_owned()
    };
    match (ty, value) {
        (Type::Struct(to), Value::Map(map)) => compare(at, read.as_message().expect("a message"), to.get(), map),
        (Type::String, Value::Str(text)) => assert_eq!(read.as_str(), Some(text.as_str()), "{at}"),
        (Type::Bool, Value::Bool(b)) => assert_eq!(read.as_bool(), Some(*b), "{at}"),
        (Type::Int32, Value::Int(i)) => assert_eq!(read.as_i32().map(i64::from), Some(*i), "{at}"),
        (Type::Int64, Value::Int(i)) => assert_eq!(read.as_i64(), Some(*i), "{at}"),
        (Type::Bytes, Value::Str(text)) => {
            use base64::Engine;
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
            assert_eq!(read.as_bytes().map(|b| b.to_vec()), Some(bytes), "{at}");
        }
        (Type::Time | Type::MicroTime, Value::Str(text)) => {
            let time: jiff::Timestamp = text.parse().expect("a time");
            assert_eq!(part(1).as_i64(), Some(time.as_second()), "{at}");
            assert_eq!(part(2).as_i32(), Some(time.subsec_nanosecond()), "{at}");
        }
        (Type::Quantity, Value::Str(text)) => assert_eq!(part(1).as_str(), Some(text.as_str()), "{at}"),
        (Type::IntOrString, Value::Int(i)) => {
            assert_eq!((part(1).as_i64(), part(2).as_i32().map(i64::from)), (Some(0), Some(*i)), "{at}");
        }
        (Type::IntOrString, Value::Str(text)) => {
            assert_eq!((part(1).as_i64(), part(3).as_str()), (Some(1), Some(text.as_str())), "{at}");
        }
        (Type::Object | Type::Raw, value) => {
            let raw = part(1);
            let raw = json::decode(raw.as_bytes().expect("bytes")).expect("JSON").value;
            assert_eq!(&raw, value, "{at}");
        }
        (ty, value) => panic!("{at}: {value:?} is no {}", ty.go_name()),
    }
}

/// The types of all kinds but definitions, which hold messages that the table has no fields for.
fn types() -> Vec<&'static Schema> {
    let kinds = api::kinds::all().iter().filter(|k| k.names.kind != "CustomResourceDefinition");
    kinds.filter_map(|k| schema::find(&k.type_name)).collect()
}

#[test]
fn an_empty_object_of_every_kind_has_its_zeros_and_nothing_else() {
    let types = types();
    let pool = pool(&types);
    assert!(types.len() > 50);
    for schema in types {
        let bytes = protobuf::encode(&schema.full_name(), &Map::new()).expect("a type of the table");
        let descriptor = pool.get_message_by_name(&format!("t.{}", message_name(&schema.full_name())));
        let read = DynamicMessage::decode(descriptor.expect("its message"), &*bytes).expect("protobuf");
        compare(schema.name, &read, schema, &Map::new());
    }
}

/// The bytes are read as the object they stand for, and written again as they were.
fn assert_read_back(kind: &api::Kind, message: &[u8], mut object: api::Object) {
    let mut back = api::Object(protobuf::message(&kind.type_name, message).expect("what was written"));
    assert_eq!(protobuf::encode(&kind.type_name, &back.0).expect("it fits"), message, "{}", object.name());
    back.set_type(&kind.api_version(), &kind.names.kind);
    for object in [&mut back, &mut object] {
        assert!(schema::check(&kind.type_name, object).error.is_none());
    }
    let text = |o: api::Object| String::from_utf8(json::encode(&Value::Map(o.0))).expect("UTF-8");
    assert_eq!(text(back), text(object));
}

#[test]
fn our_twins_are_written_as_they_stand_and_read_by_prost() {
    let pool = pool(&types());
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/protobuf");
    let mut count = 0;
    for file in std::fs::read_dir(&dir).expect("the twins") {
        let path = file.expect("a file").path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let text = std::fs::read(&path).expect("JSON");
        let Value::Map(object) = json::decode(&text).expect("JSON").value else { panic!("{path:?} is no object") };
        let object = api::Object(object);
        let (group, version) = object.api_version().split_once('/').unwrap_or(("", object.api_version()));
        let kind = api::kinds::by_kind(group, version, object.kind()).expect("a built-in kind");
        let schema = schema::find(&kind.type_name).expect("its table");
        let message = protobuf::encode(&kind.type_name, &object.0).expect("it fits");
        let descriptor = pool.get_message_by_name(&format!("t.{}", message_name(&kind.type_name))).expect("a message");
        assert!(descriptor.fields().all(|f| !matches!(f.kind(), Kind::Enum(_))));
        let read = DynamicMessage::decode(descriptor, &*message).expect("protobuf");
        compare(&path.file_stem().expect("a name").to_string_lossy(), &read, schema, &object.0);
        let whole = protobuf::wrap(object.api_version(), object.kind(), &message);
        let digits: String = whole.iter().map(|b| format!("{b:02x}")).collect();
        let twin = path.with_extension("hex");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&twin, format!("{digits}\n")).expect("the folder can be written");
        }
        let expected = std::fs::read_to_string(&twin).unwrap_or_else(|e| panic!("{twin:?}: {e}; UPDATE=1 writes it"));
        assert_eq!(digits, expected.trim(), "{path:?}");
        assert_read_back(kind, &message, object);
        count += 1;
    }
    assert!(count >= 8, "only {count} twins");
}
