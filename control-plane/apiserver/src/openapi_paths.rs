//! The paths of an OpenAPI document: which verbs a resource has, and the kind of its bodies.

use api::kind::Scope;
use api::{Kind, Map, Value};

/// A method with the verbs, of which one is served at a path of a collection or of an object.
const COLLECTION: &[(&str, &str, &str)] =
    &[("get", "list", "list"), ("post", "create", "post"), ("delete", "deletecollection", "deletecollection")];
const OBJECT: &[(&str, &str, &str)] =
    &[("get", "get", "get"), ("put", "update", "put"), ("patch", "patch", "patch"), ("delete", "delete", "delete")];

/// Adds the paths of a kind.
pub(crate) fn add(kind: &Kind, paths: &mut Map) {
    let root = match kind.names.group.is_empty() {
        true => format!("/api/{}", kind.names.version),
        false => format!("/apis/{}/{}", kind.names.group, kind.names.version),
    };
    let below = match kind.scope {
        Scope::Namespaced => format!("{root}/namespaces/{{namespace}}/{}", kind.names.plural),
        Scope::Cluster => format!("{root}/{}", kind.names.plural),
    };
    add_path(kind, below.clone(), COLLECTION, paths);
    add_path(kind, format!("{below}/{{name}}"), OBJECT, paths);
}

fn add_path(kind: &Kind, path: String, methods: &[(&str, &str, &str)], paths: &mut Map) {
    let mut item = Map::new();
    for (method, verb, action) in methods {
        if kind.verbs.iter().any(|v| v == verb) {
            item.insert(*method, operation(kind, method, action));
        }
    }
    if !item.is_empty() {
        paths.insert(path, item);
    }
}

fn operation(kind: &Kind, method: &str, action: &str) -> Map {
    let mut of = Map::new();
    of.insert("group", &*kind.names.group);
    of.insert("version", &*kind.names.version);
    of.insert("kind", &*kind.names.kind);
    let mut out = Map::new();
    out.insert("x-kubernetes-action", action);
    out.insert("x-kubernetes-group-version-kind", of);
    if matches!(method, "post" | "put" | "patch" | "delete") {
        // kubectl looks here for what a server can do with a write.
        let parameters = ["dryRun", "fieldManager", "fieldValidation"].iter().map(|name| parameter(name));
        out.insert("parameters", Value::List(parameters.collect()));
    }
    let mut ok = Map::new();
    ok.insert("description", "OK");
    let mut responses = Map::new();
    responses.insert("200", ok);
    out.insert("responses", responses);
    out
}

fn parameter(name: &str) -> Value {
    let mut schema = Map::new();
    schema.insert("type", "string");
    let mut out = Map::new();
    out.insert("name", name);
    out.insert("in", "query");
    out.insert("schema", schema);
    Value::Map(out)
}
