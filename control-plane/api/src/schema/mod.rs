//! What the types of Kubernetes look like: one description for decoding, pruning, patching, applying and protobuf.
//!
//! Refuses to know rules between fields: those are the kinds'.

mod check;
mod convert;
mod go_types;
mod order;
mod table;
mod time;

pub use check::{Checked, check, empty, judged, normalize, read};
pub use convert::convert;
pub use order::{ordered, position};

use crate::codec::protobuf::Layout;
use std::sync::OnceLock;

/// A type with named fields.
#[derive(Debug)]
pub struct Schema {
    /// `io.k8s.api.core.v1`.
    pub package: &'static str,
    /// `PodSpec`.
    pub name: &'static str,
    /// Sorted by name; those of protobuf alone are among them.
    pub fields: Vec<Field>,
    /// Where they stand in protobuf, made on first use.
    layout: OnceLock<Layout>,
}

#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    /// Known to protobuf alone: JSON never names it.
    pub hidden: bool,
    /// Behind a feature gate that is off: taken and not kept.
    pub gated: bool,
    pub ty: Type,
    pub required: bool,
    pub presence: Presence,
    pub list: ListType,
    pub patch: Patch,
    /// 0 for none.
    pub proto_number: u32,
    /// The protobuf type where it does not follow from `ty`, else empty.
    pub proto_type: &'static str,
}

#[derive(Debug)]
pub enum Type {
    String,
    Bool,
    Int32,
    Int64,
    Double,
    /// Base64 text.
    Bytes,
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    /// Any JSON object, kept as it is (`FieldsV1`).
    Object,
    /// An object of any kind (`RawExtension`).
    Raw,
    Any,
    List(Box<Type>),
    Map(Box<Type>),
    Struct(StructRef),
}

/// A type named in a table, looked up on first use.
#[derive(Debug)]
pub struct StructRef {
    package: &'static str,
    name: &'static str,
    found: OnceLock<&'static Schema>,
}

/// How zero and absent differ in Go, which decides what is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Shown when set.
    Pointer,
    /// Shown always, as null when not set.
    PointerAlways,
    /// Shown unless it is the type's zero.
    Value,
    /// Shown always, as the zero when not set.
    ValueAlways,
    /// A list or map, shown unless empty.
    Collection,
    /// A list or map, shown as null when not set.
    CollectionAlways,
}

/// `x-kubernetes-list-type` or `-map-type`, with the keys of a list that is a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListType {
    Unset,
    Atomic,
    Set,
    Map(Vec<&'static str>),
    Granular,
}

/// `x-kubernetes-patch-strategy` and `-patch-merge-key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Patch {
    pub merge: bool,
    pub replace: bool,
    pub retain_keys: bool,
    pub merge_key: Option<&'static str>,
}

impl Schema {
    fn new(package: &'static str, name: &'static str, mut fields: Vec<Field>) -> Schema {
        fields.sort_by(|a, b| (a.name, a.hidden).cmp(&(b.name, b.hidden)));
        Schema { package, name, fields, layout: OnceLock::new() }
    }

    pub(crate) fn layout(&self) -> &Layout {
        self.layout.get_or_init(|| Layout::of(self))
    }

    /// A field that JSON may name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let i = self.fields.partition_point(|f| f.name < name);
        self.fields[i..].iter().take_while(|f| f.name == name).find(|f| !f.hidden)
    }

    /// The type as Go's error messages write it: `v1.PodSpec`.
    pub fn go_name(&self) -> String {
        format!("{}.{}", self.package.rsplit('.').next().unwrap_or(""), self.name)
    }

    /// `io.k8s.api.core.v1.PodSpec`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.package, self.name)
    }
}

impl StructRef {
    fn new(package: &'static str, name: &'static str) -> StructRef {
        StructRef { package, name, found: OnceLock::new() }
    }

    pub fn get(&self) -> &'static Schema {
        static NOTHING: Schema = Schema { package: "", name: "", fields: Vec::new(), layout: OnceLock::new() };
        self.found.get_or_init(|| {
            let full =
                if self.name.contains('.') { self.name.to_owned() } else { format!("{}.{}", self.package, self.name) };
            find(&full).unwrap_or(&NOTHING)
        })
    }
}

impl Type {
    /// The type as Go's error messages write it.
    pub fn go_name(&self) -> String {
        match self {
            Type::String => "string".into(),
            Type::Bool => "bool".into(),
            Type::Int32 => "int32".into(),
            Type::Int64 => "int64".into(),
            Type::Double => "float64".into(),
            Type::Bytes => "[]uint8".into(),
            Type::Time => "v1.Time".into(),
            Type::MicroTime => "v1.MicroTime".into(),
            Type::Quantity => "resource.Quantity".into(),
            Type::IntOrString => "intstr.IntOrString".into(),
            Type::Object => "v1.FieldsV1".into(),
            Type::Raw => "runtime.RawExtension".into(),
            Type::Any => "interface {}".into(),
            Type::List(item) => format!("[]{}", item.go_name()),
            Type::Map(item) if matches!(**item, Type::Quantity) => "v1.ResourceList".into(),
            Type::Map(item) => format!("map[string]{}", item.go_name()),
            Type::Struct(s) => s.get().go_name(),
        }
    }

    /// The type with fields that this is, or is a list or a map of.
    pub fn schema(&self) -> Option<&'static Schema> {
        match self {
            Type::Struct(s) => Some(s.get()),
            Type::List(item) | Type::Map(item) => item.schema(),
            Type::String
            | Type::Bool
            | Type::Int32
            | Type::Int64
            | Type::Double
            | Type::Bytes
            | Type::Time
            | Type::MicroTime
            | Type::Quantity
            | Type::IntOrString
            | Type::Object
            | Type::Raw
            | Type::Any => None,
        }
    }
}

/// The schema of a built-in type by its full name (`io.k8s.api.core.v1.Pod`).
pub fn find(type_name: &str) -> Option<&'static Schema> {
    table::find(type_name)
}

/// The values of an enumerated string type (`io.k8s.api.core.v1.DNSPolicy`).
pub fn enum_values(type_name: &str) -> Option<Vec<&'static str>> {
    table::enum_values(type_name)
}

/// The values that a field of a type may have, or the elements of its list, where they are enumerated.
pub fn enum_of(schema: &Schema, field: &Field) -> Option<Vec<&'static str>> {
    go_types::values(schema, field)
}

/// The full names of all built-in types.
pub fn names() -> Vec<String> {
    table::names()
}
