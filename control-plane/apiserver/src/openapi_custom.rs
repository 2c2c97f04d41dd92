//! What OpenAPI says of kinds that are defined at run time: their own schema, with what every object has.

use api::{Kind, Map, Value};

pub(crate) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// `apiVersion` and `kind` as every type explains them.
const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

/// The name of a kind's type: the parts of its group in reverse, its version, its kind (`com.example.v1.Foo`).
pub(crate) fn name(kind: &Kind) -> String {
    let mut parts: Vec<&str> = kind.names.group.split('.').collect();
    parts.reverse();
    format!("{}.{}.{}", parts.join("."), kind.names.version, kind.names.kind)
}

/// Adds a custom kind's type to the types of a document; nothing for built-in kinds.
pub(crate) fn add(kind: &Kind, schemas: &mut Map) {
    if let Some(custom) = &kind.custom {
        schemas.insert(name(kind), described(kind, &custom.source));
    }
}

fn described(kind: &Kind, source: &Value) -> Map {
    let mut out = source.as_map().cloned().unwrap_or_default();
    out.insert("type", "object");
    let properties = out.entry("properties").make_map();
    for (key, text) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        let property = properties.entry(key).make_map();
        property.insert("type", "string");
        property.insert("description", text);
    }
    let mut to = Map::new();
    to.insert("$ref", format!("#/components/schemas/{OBJECT_META}"));
    let mut metadata = Map::new();
    metadata.insert("allOf", vec![to]);
    metadata.insert("description", "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata");
    properties.insert("metadata", metadata);
    let mut of = Map::new();
    of.insert("group", &*kind.names.group);
    of.insert("kind", &*kind.names.kind);
    of.insert("version", &*kind.names.version);
    out.insert("x-kubernetes-group-version-kind", vec![of]);
    out
}
