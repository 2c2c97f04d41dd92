//! Patches and owners of fields as a kube-apiserver 1.36.2 answered them: `writes/patches.yaml` has single patches,
//! `writes/owners.yaml` writes in a row with the owners after the last one.

use api::codec::{json, yaml};
use api::managed::{self, Writer};
use api::patch::{self, PatchError};
use api::{Kind, Object, Value, kinds, schema, versions};

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}

fn cases(file: &str) -> Vec<Value> {
    let path = format!("{}/tests/writes/{file}", env!("CARGO_MANIFEST_DIR"));
    let decoded = yaml::decode(&std::fs::read(path).expect("the cases")).expect("YAML").value;
    decoded.as_list().expect("a list of cases").to_vec()
}

fn kind_of(object: &Value) -> &'static Kind {
    let version = text(object, "apiVersion");
    let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
    kinds::by_kind(group, version, text(object, "kind")).expect("a kind that there is")
}

fn shown(value: &Value) -> String {
    String::from_utf8_lossy(&json::encode(value)).into_owned()
}

/// What a patch makes: the object, the refusal, or the object as messages show it where the case has that.
fn patched(case: &Value) -> String {
    let (old, change) = (case.get("object").expect("an object"), case.get("patch").expect("a patch"));
    let kind = kind_of(old);
    let (of, shows) = (schema::find(&kind.type_name), case.get("shown").is_some());
    let made: Result<String, PatchError> = match text(case, "form") {
        "json" => patch::json::check(change).and_then(|()| patch::json::apply(old, change)).map(|after| match shows {
            true => patch::stepped(old, change, &after, of),
            false => shown(&after),
        }),
        "merge" => patch::merge::check(change).map(|()| {
            let after = patch::merge::apply(old, change);
            if shows { patch::merged(old, change, &after, of) } else { shown(&after) }
        }),
        _ => {
            let mut change = change.as_map().cloned().expect("a map");
            patch::strategic::merge(&kind.type_name, old.as_map().cloned().expect("a map"), &mut change)
                .map(|after| if shows { patch::shown(&Value::Map(change)) } else { shown(&Value::Map(after)) })
        }
    };
    made.unwrap_or_else(|error| {
        let status = error.status();
        format!("{} {}", status.code, status.message)
    })
}

#[test]
fn patches_are_upstreams() {
    let mut wrong = Vec::new();
    for case in cases("patches.yaml") {
        let expected = match (case.get("shown"), case.get("refusal"), case.get("result")) {
            (Some(Value::Str(text)), ..) | (_, Some(Value::Str(text)), _) => text.to_string(),
            (.., Some(object)) => shown(object),
            _ => panic!("{}: nothing is expected", text(&case, "what")),
        };
        let found = patched(&case);
        if found != expected {
            wrong.push(format!("{}:\n  found {found}\n  instead of {expected}", text(&case, "what")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One write over the object that is there.
fn written(kind: &Kind, live: Option<&Object>, step: &Value, now: &str) -> Result<Object, String> {
    let given = Object(step.get("object").and_then(Value::as_map).cloned().expect("an object"));
    let writer = Writer { manager: text(step, "manager"), now, subresource: text(step, "subresource") };
    if text(step, "verb") == "apply" {
        managed::fits(kind, &given).map_err(|status| format!("{} {}", status.code, status.message))?;
        let force = step.get("force").is_some();
        let applied = managed::apply(kind, live, &given, writer, force);
        let mut object = applied.map_err(|status| format!("{} {}", status.code, status.message))?;
        schema::check(&kind.type_name, &mut object);
        kind.default(&mut object);
        return Ok(object);
    }
    if text(step, "verb") == "scale" {
        return Ok(scaled(kind, live.expect("an object that is there"), &given, writer));
    }
    let mut object = given;
    kind.read(&mut object);
    kind.default(&mut object);
    managed::update(kind, live, &mut object, writer);
    if let Some(live) = live {
        managed::keep_times(live, &mut object);
    }
    Ok(object)
}

/// The object after a write of its Scale, of which `given` has the replicas.
fn scaled(kind: &Kind, live: &Object, given: &Object, writer: Writer<'_>) -> Object {
    let (mut old, mut new) = (live.clone(), live.clone());
    managed::scale::show(kind, live, &mut old);
    let mut wanted = old.clone();
    let replicas = given.i64_at(&["spec", "replicas"]).expect("replicas");
    wanted.set(&["spec", "replicas"], replicas);
    managed::update(&managed::scale::SCALE, Some(&old), &mut wanted, Writer { subresource: "scale", ..writer });
    new.set(&["spec", "replicas"], replicas);
    managed::scale::take_back(kind, &mut new, &wanted);
    new
}

#[test]
fn owners_are_upstreams() {
    let mut wrong = Vec::new();
    for case in cases("owners.yaml") {
        let steps = case.get("steps").and_then(Value::as_list).expect("steps");
        let mut kind = kind_of(steps[0].get("object").expect("an object"));
        let (mut live, mut refusal): (Option<Object>, Option<String>) = (None, None);
        for (minute, step) in steps.iter().enumerate() {
            let stored_as = std::mem::replace(&mut kind, kind_of(step.get("object").expect("an object")));
            if stored_as.names.version != kind.names.version {
                live = live.map(|live| Object(versions::convert(stored_as, kind, &live.0)));
            }
            match written(kind, live.as_ref(), step, &format!("2026-01-01T00:{minute:02}:00Z")) {
                Ok(object) => live = Some(object),
                Err(why) => refusal = Some(why),
            }
        }
        let object = Value::Map(live.unwrap_or_default().0);
        let entries = object.at(&["metadata", "managedFields"]).and_then(Value::as_list).unwrap_or(&[]);
        let owners: Vec<String> = entries
            .iter()
            .map(|e| {
                let minute = text(e, "time").get(14..16).unwrap_or("-");
                format!(
                    "{} {} {minute} {}",
                    text(e, "manager"),
                    text(e, "operation"),
                    shown(&e.get("fieldsV1").cloned().unwrap_or_default())
                )
            })
            .collect();
        let listed = case.get("owners").and_then(Value::as_list).unwrap_or(&[]);
        let expected: Vec<&str> = listed.iter().filter_map(Value::as_str).collect();
        if owners != expected {
            wrong.push(format!("{}:\n  owners {owners:#?}\n  instead of {expected:#?}", text(&case, "what")));
        }
        if refusal.as_deref().unwrap_or("") != text(&case, "refusal") {
            wrong.push(format!("{}: {refusal:?} instead of {:?}", text(&case, "what"), text(&case, "refusal")));
        }
        let name = |object: &Value| object.at(&["metadata", "name"]).cloned();
        let asked = steps.iter().find_map(|step| name(step.get("object")?));
        if object.as_map().is_some_and(|map| !map.is_empty()) && name(&object) != asked {
            wrong.push(format!("{}: the name is {:?}, not {asked:?}", text(&case, "what"), name(&object)));
        }
        for (key, wanted) in case.get("part").and_then(Value::as_map).into_iter().flat_map(api::Map::iter) {
            let found = object.at(&["spec", key]).unwrap_or(&Value::Null);
            if found != wanted {
                wrong.push(format!("{}: {key} {found:?} instead of {wanted:?}", text(&case, "what")));
            }
        }
        for key in ["data", "spec", "secrets"] {
            if let Some(wanted) = case.get(key)
                && object.get(key) != Some(wanted)
            {
                wrong.push(format!("{}: {key} {:?} instead of {wanted:?}", text(&case, "what"), object.get(key)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
