//! What OpenAPI says of kinds that are defined at run time: their own schema, with what every object has.

use super::Gvk;
use super::operations::REFERENCE;
use api::{Kind, Map, Value};

pub(super) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
pub(super) const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// `apiVersion` and `kind` as every type explains them.
pub(super) const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
pub(super) const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

const OBJECT_META_TEXT: &str = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
pub(super) const LIST_META_TEXT: &str = "Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

/// The name of a kind's type, or of that of its list: the parts of its group in reverse, its version, the kind
/// (`com.example.v1.Foo`).
pub(super) fn name(of: &Kind, kind: &str) -> String {
    let mut parts: Vec<&str> = of.names.group.split('.').collect();
    parts.reverse();
    format!("{}.{}.{kind}", parts.join("."), of.names.version)
}

/// Adds a custom kind's types to the types of a document; nothing for built-in kinds.
pub(super) fn add(kind: &Kind, schemas: &mut Map) {
    if let Some(custom) = &kind.custom {
        schemas.insert(name(kind, &kind.names.kind), of_object(kind, &custom.source));
        schemas.insert(name(kind, &kind.list_kind()), of_list(kind));
    }
}

fn of_object(kind: &Kind, source: &Value) -> Map {
    let mut out = source.as_map().cloned().unwrap_or_default();
    let properties = out.entry("properties").make_map();
    finish(properties, (OBJECT_META, OBJECT_META_TEXT));
    out.insert("type", "object");
    told(kind, &kind.names.kind, out)
}

fn of_list(kind: &Kind) -> Map {
    let mut item = Map::new();
    item.insert("$ref", reference(&name(kind, &kind.names.kind)));
    let mut items = Map::new();
    items.insert("type", "array");
    items.insert("items", item);
    items.insert("description", format!("List of {}.", kind.names.plural));
    let mut properties = Map::new();
    properties.insert("items", items);
    finish(&mut properties, (LIST_META, LIST_META_TEXT));
    let mut out = Map::new();
    out.insert("description", format!("{} is a list of {}", kind.list_kind(), kind.names.kind));
    out.insert("type", "object");
    out.insert("required", vec!["items"]);
    out.insert("properties", properties);
    told(kind, &kind.list_kind(), out)
}

fn reference(name: &str) -> String {
    format!("{REFERENCE}{name}")
}

/// What every object and every list has.
fn finish(properties: &mut Map, (meta, text): (&str, &str)) {
    for (key, text) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        let property = properties.entry(key).make_map();
        property.insert("type", "string");
        property.insert("description", text);
    }
    let mut to = Map::new();
    to.insert("$ref", reference(meta));
    let mut metadata = Map::new();
    metadata.insert("allOf", vec![to]);
    metadata.insert("description", text);
    properties.insert("metadata", metadata);
}

/// Says of which kind a type is, and which fields selectors may name.
fn told(kind: &Kind, of: &str, mut out: Map) -> Map {
    let gvk = Gvk { kind: of.to_owned(), ..Gvk::of(&kind.names) };
    out.insert("x-kubernetes-group-version-kind", vec![gvk.value()]);
    let fields = kind.custom.iter().flat_map(|custom| &custom.selectable);
    let fields: Vec<Map> = fields.map(|(path, _)| Map::from_iter([("fieldPath", path.as_str())])).collect();
    if !fields.is_empty() {
        out.insert("x-kubernetes-selectable-fields", fields);
    }
    out
}
