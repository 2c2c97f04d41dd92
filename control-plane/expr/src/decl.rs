//! What a variable may hold, as a schema tells it: shapes, the sizes that costs are estimated from, and how scalars
//! with a format are read.

use crate::escape::{escape, is_reserved};
use crate::limits::REQUEST_BYTES;
use crate::types::{self, Type};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The declared shape of a value, and how large it can get.
#[derive(Debug)]
pub struct Decl {
    pub shape: Shape,
    /// The most items, entries or bytes that it can have; 0 where the notion does not apply.
    pub max_elements: u64,
    /// The fewest bytes that it takes in JSON.
    pub min_size: u64,
}

#[derive(Debug)]
pub enum Shape {
    /// Anything; what it is shows at run time.
    Any,
    /// A value of a library, by its name.
    Opaque(&'static str),
    Bool,
    Int,
    Double,
    String,
    Bytes,
    Duration,
    Date,
    DateTime,
    List {
        items: Arc<Decl>,
        identity: Identity,
    },
    Map {
        values: Arc<Decl>,
    },
    Object(Arc<Object>),
}

/// What makes two items of a list the same item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Their place.
    Place,
    /// Their value: the list is a set.
    Value,
    /// The values of these members: the list is a map.
    Keys(Vec<String>),
}

/// An object with declared fields.
#[derive(Debug, Default)]
pub struct Object {
    pub name: String,
    /// By the identifier that expressions use.
    pub fields: BTreeMap<String, Field>,
    /// It has any other field as well, of any type.
    pub open: bool,
}

impl Object {
    /// A field by its identifier. Words that were reserved once may be spelled as they are.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.get(name).or_else(|| self.fields.get(&escape(name).filter(|_| is_reserved(name))?))
    }
}

#[derive(Debug)]
pub struct Field {
    /// The name in JSON.
    pub json: String,
    pub decl: Arc<Decl>,
}

/// The length of a date in JSON, quotes included.
const DATE_BYTES: u64 = 12;
/// The longest moment or duration in JSON.
const TIME_BYTES: u64 = 32;
/// A character can take so many bytes.
const BYTES_PER_CHAR: u64 = 4;
/// What an entry of a map takes beside its value: a key, quotes, colon and comma.
const ENTRY_BYTES: u64 = 6;

impl Decl {
    fn new(shape: Shape, max_elements: u64, min_size: u64) -> Arc<Decl> {
        Arc::new(Decl { shape, max_elements, min_size })
    }

    /// Anything at all, without a known size.
    pub fn any() -> Arc<Decl> {
        Decl::new(Shape::Any, 0, 1)
    }

    /// What answers questions about permissions.
    pub fn authorizer() -> Arc<Decl> {
        Decl::new(Shape::Opaque(types::AUTHORIZER), 0, 1)
    }

    /// Such a question about a resource.
    pub fn resource_check() -> Arc<Decl> {
        Decl::new(Shape::Opaque(types::RESOURCE_CHECK), 0, 1)
    }

    /// Values of a type, as far as a declaration can tell it.
    pub fn of(t: &Type) -> Arc<Decl> {
        match t {
            Type::Bool => Decl::bool(),
            Type::Int => Decl::int(),
            Type::Double => Decl::double(),
            Type::String => Decl::string(None, None),
            Type::Bytes => Decl::bytes(None),
            Type::Duration => Decl::duration(),
            Type::Timestamp => Decl::date_time(),
            Type::List(items) => Decl::list(Decl::of(items), None, Identity::Place),
            Type::Map(of) if of.0 == Type::String => Decl::map(Decl::of(&of.1), None),
            Type::Object(object) => Decl::new(Shape::Object(object.clone()), 0, 2),
            Type::Opaque(name) => Decl::new(Shape::Opaque(name), 0, 1),
            _ => Decl::any(),
        }
    }

    /// A whole number or a text of at most so many characters.
    pub fn int_or_string(max_length: Option<u64>) -> Arc<Decl> {
        Decl::new(Shape::Any, text_bytes(max_length), 1)
    }

    pub fn bool() -> Arc<Decl> {
        Decl::new(Shape::Bool, 0, 4)
    }

    pub fn int() -> Arc<Decl> {
        Decl::new(Shape::Int, 0, 1)
    }

    pub fn double() -> Arc<Decl> {
        Decl::new(Shape::Double, 0, 1)
    }

    /// A text of at most so many characters, or of one of the values of an enumeration (the longest has so many bytes).
    pub fn string(max_length: Option<u64>, longest_value: Option<u64>) -> Arc<Decl> {
        let max = match (max_length, longest_value) {
            (None, Some(bytes)) => bytes,
            (length, _) => text_bytes(length),
        };
        Decl::new(Shape::String, max, 2)
    }

    pub fn bytes(max_length: Option<u64>) -> Arc<Decl> {
        Decl::new(Shape::Bytes, max_length.unwrap_or(REQUEST_BYTES - 2), 2)
    }

    pub fn duration() -> Arc<Decl> {
        Decl::new(Shape::Duration, TIME_BYTES, 3)
    }

    pub fn date() -> Arc<Decl> {
        Decl::new(Shape::Date, DATE_BYTES, DATE_BYTES)
    }

    pub fn date_time() -> Arc<Decl> {
        Decl::new(Shape::DateTime, TIME_BYTES, 21)
    }

    pub fn list(items: Arc<Decl>, max_items: Option<u64>, identity: Identity) -> Arc<Decl> {
        let max = max_items.unwrap_or((REQUEST_BYTES - 2) / (items.min_size + 1));
        Decl::new(Shape::List { items, identity }, max, 2)
    }

    pub fn map(values: Arc<Decl>, max_properties: Option<u64>) -> Arc<Decl> {
        let max = max_properties.unwrap_or((REQUEST_BYTES - 2) / (values.min_size + ENTRY_BYTES));
        Decl::new(Shape::Map { values }, max, 2)
    }

    /// An object. Each property with its declaration, and whether a client must send it (required, without a default).
    /// Properties that no identifier can name are left out.
    pub fn object(name: &str, properties: impl IntoIterator<Item = (String, Arc<Decl>, bool)>) -> Arc<Decl> {
        let mut fields = BTreeMap::new();
        let mut min_size = 2;
        for (json, decl, must) in properties {
            if must {
                min_size += json.len() as u64 + decl.min_size + 4;
            }
            if let Some(identifier) = escape(&json) {
                fields.insert(identifier, Field { json, decl });
            }
        }
        let object = Object { name: name.to_owned(), fields, open: false };
        Decl::new(Shape::Object(Arc::new(object)), 0, min_size)
    }

    /// An object with whatever fields.
    pub fn open_object(name: &str) -> Arc<Decl> {
        let object = Object { name: name.to_owned(), open: true, ..Object::default() };
        Decl::new(Shape::Object(Arc::new(object)), 0, 2)
    }

    /// How often a value of this shape can stand in one request.
    pub fn max_cardinality(&self) -> u64 {
        REQUEST_BYTES / (self.min_size + 1)
    }
}

fn text_bytes(max_length: Option<u64>) -> u64 {
    match max_length {
        Some(chars) => chars.saturating_mul(BYTES_PER_CHAR),
        None => REQUEST_BYTES - 2,
    }
}
