//! What breaks the rules of a kind, with the complaints that a kube-apiserver 1.36.2 gave about it: `rules/*.yaml`, one
//! file per group of kinds. Each case is a new object, or a change of `old`, perhaps through a subresource; `warnings` are
//! what a new one is warned of.

use api::codec::yaml;
use api::kind::Context;
use api::{FieldError, Kind, Object, Value, kinds};

const NOW: &str = "2026-01-01T00:00:00Z";

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}

fn kind_of(object: &Object) -> &'static Kind {
    let (group, version) = object.api_version().rsplit_once('/').unwrap_or(("", object.api_version()));
    kinds::by_kind(group, version, object.kind()).expect("a kind that there is")
}

fn object(case: &Value, key: &str) -> Option<Object> {
    case.get(key).and_then(Value::as_map).cloned().map(Object)
}

/// An object on its way in, up to its rules.
fn settled(kind: &Kind, mut object: Object) -> Object {
    assert_eq!(kind.read(&mut object).error, None, "{object:?}");
    object.meta_mut().insert("uid", "uid-1");
    kind.default(&mut object);
    kind.prepare_create(&mut object, Context { now: NOW, subresource: "" });
    object
}

fn texts(case: &Value, key: &str) -> Vec<String> {
    let listed = case.get(key).and_then(Value::as_list).unwrap_or(&[]);
    listed.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What is complained of, and what a new object is warned of.
fn judged(case: &Value) -> (Vec<FieldError>, Vec<String>) {
    let mut new = object(case, "object").expect("an object");
    let kind = kind_of(&new);
    let Some(old) = object(case, "old") else {
        let mut new = settled(kind, new);
        return (kind.validate_create(&mut new), kind.warnings(&new));
    };
    let mut old = settled(kind, old);
    kind.check(&mut old);
    let context = Context { now: NOW, subresource: text(case, "subresource") };
    assert_eq!(kind.read(&mut new).error, None, "{new:?}");
    new.meta_mut().insert("uid", "uid-1");
    kind.default(&mut new);
    kind.prepare_update(&mut new, &old, context);
    (kind.validate_update(&mut new, &old, context), Vec::new())
}

#[test]
fn complaints_are_those_of_upstream() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rules")).expect("the cases") {
        let path = entry.expect("a file").path();
        let decoded = yaml::decode(&std::fs::read(&path).expect("cases")).expect("YAML").value;
        for case in decoded.as_list().expect("a list of cases") {
            count += 1;
            let (errors, warnings) = judged(case);
            let mut found: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.path, e.message)).collect();
            let (mut expected, warned) = (texts(case, "complaints"), texts(case, "warnings"));
            if !warned.is_empty() {
                found.extend(warnings);
                expected.extend(warned);
            }
            // The order is upstream's, and of maps nobody's.
            found.sort();
            expected.sort();
            if found != expected {
                let file = path.file_name().unwrap_or_default().to_string_lossy();
                wrong.push(format!("{file}, {}:\n  found {found:#?}\n  instead of {expected:#?}", text(case, "what")));
            }
        }
    }
    assert!(count > 0, "there are no cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
