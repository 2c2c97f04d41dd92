//! Rows of tables as a kube-apiserver 1.36.2 gave them: `tables/rows.yaml`, each with its object and when it was asked.

use api::codec::yaml;
use api::{Object, Value, kinds};

#[test]
fn rows_are_upstreams() {
    let cases = yaml::decode(include_bytes!("tables/rows.yaml")).expect("YAML").value;
    let mut wrong = Vec::new();
    for case in cases.as_list().expect("a list of cases") {
        let object = Object(case.get("object").and_then(Value::as_map).cloned().expect("an object"));
        let (group, version) = object.api_version().rsplit_once('/').unwrap_or(("", object.api_version()));
        let kind = kinds::by_kind(group, version, object.kind()).expect("a kind that there is");
        let now = case.get("now").and_then(Value::as_i64).expect("a time");
        let found = Value::List((kind.cells)(kind, &object, now));
        if case.get("cells") != Some(&found) {
            wrong.push(format!("{} {}:\n  {found:?}\n  instead of {case:?}", object.kind(), object.name()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
