//! Sets of fields in `managedFields`, as a client may send them back.
#![no_main]

use api::codec::json;
use api::kind::Kind;
use api::managed::{self, Writer};
use api::{Object, Value, kinds};

fn pods() -> &'static Kind {
    kinds::find("", "v1", "pods").expect("a built-in kind")
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |b| *b == 0);
    let mut next = || match parts.next().map(json::decode) {
        Some(Ok(decoded)) => decoded.value,
        Some(Err(_)) | None => Value::Null,
    };
    let (fields, spec) = (next(), next());
    let mut live = Object::default();
    live.set_type("v1", "Pod");
    live.set(&["metadata", "name"], "a");
    live.0.insert("spec", spec);
    let mut entry = api::Map::new();
    entry.insert("manager", "a");
    entry.insert("operation", "Apply");
    entry.insert("apiVersion", "v1");
    entry.insert("fieldsType", "FieldsV1");
    entry.insert("fieldsV1", fields);
    live.set(&["metadata", "managedFields"], vec![entry]);
    let writer = Writer { manager: "b", now: "2026-01-01T00:00:00Z", subresource: "" };
    let mut new = live.clone();
    managed::update(pods(), Some(&live), &mut new, writer);
    let mut configuration = live.clone();
    configuration.unset(&["metadata", "managedFields"]);
    drop(managed::apply(pods(), Some(&live), &configuration, writer, true));
});
