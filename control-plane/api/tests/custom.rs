//! Kinds that are defined at run time: what their schemas make of objects, and which schemas are refused.
//!
//! `custom/objects.json`: a schema, an object, perhaps the object before; then what is stored, what was unknown, what is
//! wrong. `custom/schemas.json`: a schema, and what is wrong with it. `custom/paths.json`: a JSONPath and what it finds.

use api::codec::json;
use api::kind::{Context, Kind, custom};
use api::structural::path::JsonPath;
use api::{FieldError, Map, Object, Value, kinds};

fn file(name: &str) -> Vec<Value> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/custom").join(name);
    let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let decoded = json::decode(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    decoded.value.as_list().expect("a list of cases").to_vec()
}

fn object(text: &str) -> Object {
    match json::decode(text.as_bytes()).expect("JSON").value {
        Value::Map(map) => Object(map),
        _ => panic!("not an object: {text}"),
    }
}

/// A definition of `foos.a.test` with a schema for `spec`, and more for its version.
fn definition(schema: &Value, version: Option<&Value>) -> Object {
    let mut crd = object(
        r#"{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition",
            "metadata":{"name":"foos.a.test","uid":"u","generation":1},
            "spec":{"group":"a.test","scope":"Namespaced","conversion":{"strategy":"None"},
                    "names":{"plural":"foos","singular":"foo","kind":"Foo","listKind":"FooList"}},
            "status":{"storedVersions":["v1"],"conditions":[{"type":"Established","status":"True"}],
                      "acceptedNames":{"plural":"foos","singular":"foo","kind":"Foo","listKind":"FooList"}}}"#,
    );
    let mut one = version.and_then(Value::as_map).cloned().unwrap_or_default();
    one.insert("name", "v1");
    one.insert("served", true);
    one.insert("storage", true);
    let mut holder = Map::new();
    holder.insert("openAPIV3Schema", schema.clone());
    one.insert("schema", holder);
    crd.set(&["spec", "versions"], Value::List(vec![Value::Map(one)]));
    crd
}

/// The kind of objects whose `spec` has a schema.
fn kind(spec: &Value, version: Option<&Value>) -> Kind {
    let schema = format!(r#"{{"type":"object","properties":{{"spec":{}}}}}"#, text(spec));
    let schema = json::decode(schema.as_bytes()).expect("JSON").value;
    custom::kinds(&definition(&schema, version)).expect("a usable schema").remove(0)
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(&json::encode(value)).into_owned()
}

fn named(spec: &Value) -> Object {
    let mut object =
        object(r#"{"apiVersion":"a.test/v1","kind":"Foo","metadata":{"name":"x","namespace":"n","uid":"u"}}"#);
    object.0.insert("spec", spec.clone());
    object
}

fn said(errors: &[FieldError]) -> Value {
    Value::List(errors.iter().map(|e| Value::from(e.to_string())).collect())
}

fn or_empty(value: Option<&Value>) -> Value {
    value.cloned().unwrap_or(Value::List(Vec::new()))
}

#[test]
fn schemas_shape_and_check_objects() {
    for case in file("objects.json") {
        let at = |key: &str| case.get(key);
        let kind = kind(at("schema").expect("a schema"), at("version"));
        let mut object = named(at("spec").expect("a spec"));
        let checked = kind.check(&mut object);
        assert_eq!(checked.error, None, "{}", text(&case));
        kind.drop_nulls(&mut object);
        kind.default(&mut object);
        let unknown: Vec<Value> = checked.unknown.iter().map(|u| Value::from(u.as_str())).collect();
        assert_eq!(Value::List(unknown), or_empty(at("unknown")), "unknown of {}", text(&case));
        let stored = object.at(&["spec"]).cloned().unwrap_or(Value::Null);
        assert_eq!(text(&stored), text(at("stored").unwrap_or(at("spec").unwrap())), "stored of {}", text(&case));
        let context = Context { now: "2026-01-01T00:00:00Z", subresource: "" };
        let errors = match at("before") {
            Some(before) => kind.validate_update(&mut object, &named(before), context),
            None => kind.validate_create(&mut object),
        };
        assert_eq!(said(&errors), or_empty(at("wrong")), "wrong of {}", text(&case));
        // Nothing changes when it is read again.
        let mut again = object.clone();
        kind.default(&mut again);
        assert!(kind.check(&mut again).unknown.is_empty());
        assert_eq!(again, object);
        if let Some(cells) = at("cells") {
            assert_eq!(Value::List(kind.cells(&object, 0)), *cells, "cells of {}", text(&case));
        }
    }
}

#[test]
fn schemas_that_are_not_structural_are_refused() {
    let crd = kinds::by_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition").expect("a built-in kind");
    for case in file("schemas.json") {
        let mut definition = definition(case.get("schema").expect("a schema"), case.get("version"));
        let errors = crd.validate_create(&mut definition);
        assert_eq!(said(&errors), or_empty(case.get("wrong")), "{}", text(&case));
    }
}

#[test]
fn paths_lead_to_values() {
    for case in file("paths.json") {
        let path = case.get("path").and_then(Value::as_str).expect("a path");
        let found =
            JsonPath::parse(path).map(|p| p.find(case.get("in").expect("a value")).into_iter().cloned().collect());
        assert_eq!(found.map(Value::List), case.get("finds").cloned().filter(|f| !f.is_null()), "{path}");
    }
}

#[test]
fn any_text_is_a_path_or_none() {
    for text in ["", ".", "..", "[", "]", "[?(", "[?(@", ".a[", ".a[0", ".a[:::]", "{.a", "$", "@", "\\", ".a\\", "[''"]
    {
        if let Some(path) = JsonPath::parse(text) {
            path.find(&Value::Null);
        }
    }
}

#[test]
fn a_definition_serves_nothing_before_it_is_established() {
    let schema = json::decode(br#"{"type":"object"}"#).expect("JSON").value;
    let mut crd = definition(&schema, None);
    assert_eq!(custom::kinds(&crd).expect("usable").len(), 1);
    crd.unset(&["status", "conditions"]);
    assert!(custom::kinds(&crd).expect("usable").is_empty());
}
