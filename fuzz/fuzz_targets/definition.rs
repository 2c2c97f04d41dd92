//! Schemas of custom resources, and objects that are defaulted, pruned and checked by them.
#![no_main]

use api::codec::json;
use api::kind::Context;
use api::{Map, Object, Value, kinds};

/// The definition whose one version has a schema.
fn definition(schema: Value) -> Object {
    const TEXT: &str = r#"{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"as.b.c","uid":"u"},
        "spec":{"group":"b.c","scope":"Namespaced","names":{"plural":"as","singular":"a","kind":"A","listKind":"AList"}},
        "status":{"acceptedNames":{"plural":"as","singular":"a","kind":"A","listKind":"AList"},
            "conditions":[{"type":"NamesAccepted","status":"True"},{"type":"Established","status":"True"}]}}"#;
    let Ok(Value::Map(map)) = json::decode(TEXT.as_bytes()).map(|decoded| decoded.value) else {
        unreachable!("it is an object")
    };
    let mut out = Object(map);
    let mut version = Map::new();
    version.insert("name", "v1");
    version.insert("served", true);
    version.insert("storage", true);
    version.insert("schema", Map::from_iter([("openAPIV3Schema", schema)]));
    out.set(&["spec", "versions"], vec![version]);
    out
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |b| *b == 0);
    let mut next = || parts.next().and_then(|part| json::decode(part).ok()).map(|decoded| decoded.value);
    let Some(schema) = next() else { return };
    let spec = next().unwrap_or_default();
    let own = kinds::find("apiextensions.k8s.io", "v1", "customresourcedefinitions").expect("a built-in kind");
    let mut object = definition(schema);
    drop(own.read(&mut object));
    own.default(&mut object);
    // What the checks let pass must be usable as a kind.
    let accepted = own.validate_create(&mut object).is_empty();
    let made = api::kind::custom::kinds(&object);
    assert!(!accepted || made.is_ok(), "a schema that was accepted and is none: {made:?}");
    for kind in made.unwrap_or_default() {
        let mut given = Object::default();
        given.set_type("b.c/v1", "A");
        given.set(&["metadata", "name"], "a");
        given.0.insert("spec", spec.clone());
        drop(kind.check(&mut given));
        kind.default(&mut given);
        kind.prepare_create(&mut given, Context { now: "2026-01-01T00:00:00Z", subresource: "" });
        drop(kind.validate_create(&mut given));
    }
});
