//! The schema pass: what upstream's decoder and encoder do to an object on its way in and out.

use super::{Field, Presence, Schema, Type, find, go_types, time};
use crate::codec::{Step, path_text};
use crate::object::Object;
use crate::quantity::Quantity;
use crate::value::{Key, Map, Value};
use std::cell::RefCell;

/// What the schema pass found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// The paths of the fields that were dropped because the type does not have them (`spec.containers[0].foo`),
    /// sorted by key; `codec::json::sort_paths` puts them into the document's order.
    pub unknown: Vec<String>,
    /// The first wrong type, in the words of upstream's decoder. The object is then half done: do not store it.
    pub error: Option<String>,
}

/// How many unknown fields are reported, as many as upstream's strict decoder.
const MAX_UNKNOWN: usize = 100;

/// Brings an object into the form in which upstream stores and shows it: unknown fields and nulls dropped, zero values
/// dropped or shown as the type's presence says, quantities and times in their canonical form, fields behind gates gone.
///
/// A type that is not built in passes as it is.
pub fn check(type_name: &str, object: &mut Object) -> Checked {
    match find(type_name) {
        None => Checked::default(),
        Some(schema) => Pass::default().whole(schema, object),
    }
}

/// The same for an object as a client sent it: empty lists and maps stay, because defaults and owners of fields tell
/// them from absent ones. [`check`] drops them before the object is stored.
pub fn read(type_name: &str, object: &mut Object) -> Checked {
    match find(type_name) {
        None => Checked::default(),
        Some(schema) => Pass { keeps_empty: true, keeps_gated: true, ..Pass::default() }.whole(schema, object),
    }
}

/// The same for an object whose rules are asked next: what is behind gates is gone, and empty lists and maps stay,
/// because complaints show them.
pub fn judged(type_name: &str, object: &mut Object) {
    if let Some(schema) = find(type_name) {
        Pass { keeps_empty: true, ..Pass::default() }.whole(schema, object);
    }
}

/// The same for a part of an object, by its type (`io.k8s.api.core.v1.PodSpec`).
pub fn normalize(type_name: &str, value: &mut Value) -> Checked {
    let mut pass = Pass { root: find(type_name), ..Pass::default() };
    if let (Some(schema), Value::Map(map)) = (pass.root, value) {
        pass.fields(schema, map, false);
    }
    pass.found
}

/// A type's zero as it is shown: `{"replicas": 0}` for a status whose replicas always show.
pub fn empty(type_name: &str) -> Map {
    find(type_name).map(empty_of).unwrap_or_default()
}

fn empty_of(schema: &Schema) -> Map {
    let mut map = Map::new();
    fill(schema, &mut map);
    map
}

/// Adds what is always shown.
fn fill(schema: &Schema, map: &mut Map) {
    for field in &schema.fields {
        let always =
            matches!(field.presence, Presence::ValueAlways | Presence::CollectionAlways | Presence::PointerAlways);
        if always && !field.hidden && !map.contains_key(field.name) {
            map.insert(Key::new_static(field.name), zero(field));
        }
    }
}

fn zero(field: &Field) -> Value {
    match field.presence {
        Presence::PointerAlways | Presence::CollectionAlways => Value::Null,
        Presence::Pointer | Presence::Value | Presence::ValueAlways | Presence::Collection => zero_of(&field.ty),
    }
}

fn zero_of(ty: &Type) -> Value {
    match ty {
        Type::String | Type::Bytes => Value::from(""),
        Type::Bool => Value::Bool(false),
        Type::Int32 | Type::Int64 | Type::Double | Type::IntOrString => Value::Int(0),
        Type::Quantity => Value::from("0"),
        Type::Time | Type::MicroTime | Type::Raw | Type::Any | Type::List(_) | Type::Map(_) | Type::Object => {
            Value::Null
        }
        Type::Struct(s) => Value::Map(empty_of(s.get())),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Int(i) => *i == 0,
        Value::Float(f) => *f == 0.0,
        Value::Str(s) => s.is_empty(),
        Value::List(l) => l.is_empty(),
        // A struct is shown even when empty: Go's omitempty does not know an empty one.
        Value::Map(_) => false,
    }
}

#[derive(Default)]
struct Pass {
    /// The type that the path begins in.
    root: Option<&'static Schema>,
    path: Vec<Step>,
    found: Checked,
    keeps_empty: bool,
    keeps_gated: bool,
}

/// Where a value stands, for the message about a wrong type.
#[derive(Clone, Copy)]
struct At<'a> {
    schema: &'a Schema,
}

impl Pass {
    fn whole(mut self, schema: &'static Schema, object: &mut Object) -> Checked {
        self.root = Some(schema);
        self.fields(schema, &mut object.0, true);
        self.found
    }

    fn fail(&mut self, message: String) {
        self.found.error.get_or_insert(message);
    }

    /// `Container.spec.containers.image`: the innermost struct, and the fields on the way.
    fn wrong(&mut self, at: At<'_>, value: &Value, ty: &Type) {
        let field = self.path.iter().rev().find_map(|s| match s {
            Step::Key(k) if !k.starts_with('\0') => at.schema.field(k),
            _ => None,
        });
        let of = field.and_then(|f| go_types::named(at.schema, f, ty)).unwrap_or_else(|| ty.go_name());
        self.mistyped(at, value, &of);
    }

    fn mistyped(&mut self, at: At<'_>, value: &Value, of: &str) {
        let mut what = shape(value);
        // Which number it is matters only where one is wanted.
        if what.starts_with("number") && !of.starts_with("int") && !of.starts_with("float") {
            what = "number".into();
        }
        let fields = go_types::path(self.root, &self.path);
        self.fail(format!(
            "json: cannot unmarshal {what} into Go struct field {}.{fields} of type {of}",
            at.schema.name
        ));
    }

    fn unknown(&mut self) {
        if self.found.unknown.len() < MAX_UNKNOWN {
            let text = path_text(&self.path).replace('\0', "");
            self.found.unknown.push(text);
        }
    }

    fn fields(&mut self, schema: &'static Schema, map: &mut Map, root: bool) {
        let this = RefCell::new(&mut *self);
        map.retain(|key, value| {
            let mut pass = this.borrow_mut();
            if root && (key == "apiVersion" || key == "kind") && schema.field(key).is_none() {
                return true;
            }
            pass.path.push(Step::Key(key.clone()));
            let keep = match schema.field(key) {
                None => {
                    pass.unknown();
                    false
                }
                // They are only dropped at the end: whoever set them owns them.
                Some(field) if field.gated && !pass.keeps_gated => false,
                Some(field) => pass.field(schema, field, value),
            };
            pass.path.pop();
            keep
        });
        fill(schema, map);
    }

    /// Whether the field stays.
    fn field(&mut self, schema: &'static Schema, field: &'static Field, value: &mut Value) -> bool {
        self.value(At { schema }, &field.ty, value);
        if matches!(field.ty, Type::Any) {
            self.schema_within(field.proto_type, value);
        }
        match field.presence {
            Presence::Pointer => !value.is_null(),
            Presence::PointerAlways => true,
            Presence::Value => match (&field.ty, &*value) {
                (Type::Struct(_), Value::Map(_)) => true,
                (Type::Quantity, _) => true,
                (Type::Int32 | Type::Int64 | Type::Double, v) => !is_zero(v),
                (_, v) => !is_zero(v),
            },
            Presence::Collection if self.keeps_empty && matches!(value, Value::List(_) | Value::Map(_)) => true,
            Presence::Collection => !is_zero(value) && value.as_map().is_none_or(|m| !m.is_empty()),
            Presence::ValueAlways => {
                if value.is_null() {
                    *value = zero(field);
                }
                true
            }
            Presence::CollectionAlways if self.keeps_empty && matches!(value, Value::List(_) | Value::Map(_)) => true,
            Presence::CollectionAlways => {
                // What is stored as protobuf comes back without telling empty from absent.
                if is_zero(value) || value.as_map().is_some_and(Map::is_empty) {
                    *value = Value::Null;
                }
                true
            }
        }
    }

    /// A schema within that of a custom resource reads itself: its unknown fields are nobody's news.
    fn schema_within(&mut self, of: &str, value: &mut Value) {
        const SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
        let mut read = |value: &mut Value| {
            if let Some(error) = normalize(SCHEMA, value).error {
                self.fail(error);
            }
        };
        match (of, &mut *value) {
            ("JSONSchemaPropsOrBool", Value::Bool(_) | Value::Null) => {}
            ("JSONSchemaPropsOrBool" | "JSONSchemaPropsOrArray", Value::Map(_)) => read(value),
            ("JSONSchemaPropsOrBool", _) => self.fail("boolean or JSON schema expected".into()),
            ("JSONSchemaPropsOrArray", Value::List(items)) if !items.is_empty() => items.iter_mut().for_each(read),
            ("JSONSchemaPropsOrArray", other) => *other = Value::Null,
            _ => {}
        }
    }

    fn value(&mut self, at: At<'_>, ty: &'static Type, value: &mut Value) {
        if value.is_null() {
            return;
        }
        match ty {
            Type::String => self.expect(at, ty, value, |v| matches!(v, Value::Str(_))),
            Type::Bool => self.expect(at, ty, value, |v| matches!(v, Value::Bool(_))),
            Type::Int32 => self.expect(at, ty, value, |v| matches!(v, Value::Int(i) if i32::try_from(*i).is_ok())),
            Type::Int64 => self.expect(at, ty, value, |v| matches!(v, Value::Int(_))),
            Type::Double => self.expect(at, ty, value, |v| matches!(v, Value::Int(_) | Value::Float(_))),
            Type::Bytes => self.bytes(at, ty, value),
            Type::Time => self.time(at, value, false),
            Type::MicroTime => self.time(at, value, true),
            Type::Quantity => self.quantity(value, false),
            Type::IntOrString => self.int_or_string(at, value),
            // Owned fields are read by who uses them, as upstream's decoder leaves them.
            Type::Object | Type::Raw | Type::Any => {}
            Type::List(item) => self.list(at, ty, item, value),
            Type::Map(item) => self.map(at, ty, item, value),
            Type::Struct(inner) => match value {
                Value::Map(map) => self.fields(inner.get(), map, false),
                _ => self.wrong(at, value, ty),
            },
        }
    }

    fn expect(&mut self, at: At<'_>, ty: &Type, value: &Value, good: impl Fn(&Value) -> bool) {
        if !good(value) {
            self.wrong(at, value, ty);
        }
    }

    fn list(&mut self, at: At<'_>, ty: &Type, item: &'static Type, value: &mut Value) {
        let Value::List(items) = value else { return self.wrong(at, value, ty) };
        for (i, v) in items.iter_mut().enumerate() {
            self.path.push(Step::Index(i));
            self.value(at, item, v);
            if v.is_null() {
                *v = zero_of(item);
            }
            self.path.pop();
        }
    }

    fn map(&mut self, at: At<'_>, ty: &Type, item: &'static Type, value: &mut Value) {
        let Value::Map(map) = value else { return self.wrong(at, value, ty) };
        for (key, v) in map.iter_mut() {
            // Marked, because the decoder's messages do not name the keys of maps.
            self.path.push(Step::Key(Key::from(format!("\0{key}"))));
            match item {
                // Lists of resources are kept to the thousandth.
                Type::Quantity if !v.is_null() => self.quantity(v, true),
                _ => self.value(at, item, v),
            }
            if v.is_null() && !matches!(item, Type::List(_)) {
                *v = zero_of(item);
            }
            self.path.pop();
        }
    }

    fn bytes(&mut self, at: At<'_>, ty: &Type, value: &mut Value) {
        match value {
            Value::Str(text) => {
                if let Some(offset) = bad_base64(text) {
                    self.fail(format!("illegal base64 data at input byte {offset}"));
                } else if text.contains(['\r', '\n']) {
                    *value = Value::from(text.replace(['\r', '\n'], ""));
                }
            }
            _ => self.wrong(at, value, ty),
        }
    }

    fn time(&mut self, at: At<'_>, value: &mut Value, micro: bool) {
        match value {
            Value::Str(text) => match time::normalize(text, micro) {
                Ok(normal) => *value = Value::from(normal),
                Err(message) => self.fail(message),
            },
            // A time reads itself, out of a text.
            other => self.mistyped(at, other, "string"),
        }
    }

    fn quantity(&mut self, value: &mut Value, milli: bool) {
        let text = match value {
            Value::Str(text) => text.to_string(),
            Value::Int(i) => i.to_string(),
            Value::Float(f) => crate::codec::json::float_text(*f),
            _ => String::new(),
        };
        match Quantity::parse(&text) {
            Ok(quantity) if milli => *value = Value::from(quantity.rounded_to_milli().to_string()),
            Ok(quantity) => *value = Value::from(quantity.to_string()),
            Err(error) => self.fail(error.to_string()),
        }
    }

    fn int_or_string(&mut self, at: At<'_>, value: &Value) {
        let fits = match value {
            Value::Int(i) => i32::try_from(*i).is_ok(),
            Value::Str(_) => true,
            _ => false,
        };
        if !fits {
            self.mistyped(at, value, "int32");
        }
    }
}

/// A JSON value as the decoder names it.
fn shape(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Int(i) if i32::try_from(*i).is_ok() => "number".into(),
        Value::Int(i) => format!("number {i}"),
        Value::Float(f) => format!("number {}", crate::codec::json::float_text(*f)),
        Value::Str(_) => "string".into(),
        Value::List(_) => "array".into(),
        Value::Map(_) => "object".into(),
    }
}

/// Where standard base64 (line breaks allowed) goes wrong, as Go counts it.
pub(super) fn bad_base64(text: &str) -> Option<usize> {
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    let mut count = 0;
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        match bytes[i] {
            b'\r' | b'\n' => {}
            b if alphabet(b) => count += 1,
            b'=' if count % 4 >= 2 => return bad_padding(bytes, i, count % 4),
            _ => return Some(i),
        }
        i += 1;
    }
    // What is not whole is told where it begins.
    (count % 4 != 0).then_some(bytes.len() - count % 4)
}

fn bad_padding(bytes: &[u8], at: usize, have: usize) -> Option<usize> {
    let mut missing = 4 - have;
    for (i, b) in bytes.iter().enumerate().skip(at) {
        match b {
            b'\r' | b'\n' => {}
            b'=' if missing > 0 => missing -= 1,
            _ => return Some(i),
        }
    }
    (missing > 0).then_some(bytes.len())
}
