//! The recorded answers of the real apiserver: what creations, updates and patches make of an object, the rows of
//! tables, and the words in which an ill-typed object is refused.

mod recorded;
mod refusals;

use api::codec::json;
use api::kind::Context;
use api::{Object, Value, kinds, schema};
use recorded::{body_from, cases, differences, served_at, text};
use std::collections::BTreeMap;

#[test]
fn creations_make_what_upstream_makes() {
    let mut failures: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut tried, mut right) = (0, 0);
    for case in cases("defaults.jsonl") {
        for step in case.get("steps").and_then(Value::as_list).unwrap_or(&[]) {
            let (Some(Value::Map(body)), Some(expect)) = (step.get("body"), step.get("expect")) else { continue };
            let created = text(step, "method") == "POST" && expect.get("code") == Some(&Value::Int(201));
            let Some(kind) = served_at(text(step, "path")).filter(|_| created && step.get("pick").is_none()) else {
                continue;
            };
            tried += 1;
            let mut object = Object(body.clone());
            let checked = schema::check(&kind.type_name, &mut object);
            let context = Context { now: "2026-01-01T00:00:00Z", subresource: "" };
            object.set(&["metadata", "uid"], "<uid-1>");
            (kind.default)(&mut object);
            (kind.prepare_create)(&mut object, context);
            let mut found = Vec::new();
            if let Some(error) = checked.error {
                found.push(format!("refused: {error}"));
            }
            let nothing = Value::Null;
            differences(
                &kind.names.kind,
                "",
                &Value::Map(object.0),
                expect.get("body").unwrap_or(&nothing),
                &mut found,
            );
            if found.is_empty() {
                right += 1;
            } else {
                failures.entry(text(&case, "name").to_owned()).or_default().extend(found);
            }
        }
    }
    eprintln!("{right} of {tried} creations are right");
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn wrong_types_are_refused_in_upstreams_words() {
    let mut failures = Vec::new();
    for case in cases("validation.jsonl") {
        for step in case.get("steps").and_then(Value::as_list).unwrap_or(&[]) {
            let (Some(Value::Map(body)), Some(expect)) = (step.get("body"), step.get("expect")) else { continue };
            let Some(kind) = served_at(text(step, "path")) else { continue };
            let message = expect.get("body").map_or("", |b| text(b, "message"));
            let decoded = message.split_once("cannot be handled as a ").and_then(|(_, m)| m.split_once(": "));
            let expected = decoded.map(|(_, m)| m).filter(|m| !m.contains("unknown") && !m.starts_with("no kind"));
            let mut object = Object(body.clone());
            let error = schema::check(&kind.type_name, &mut object).error;
            if error.as_deref() != expected && !message.contains("unknown conversion") {
                failures.push(format!("{}: {error:?} instead of {expected:?}", text(&case, "name")));
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn every_kind_has_its_schema_and_table() {
    for kind in kinds::all() {
        assert!(schema::find(&kind.type_name).is_some(), "{}", kind.type_name);
        let row = (kind.cells)(kind, &Object::default(), 0);
        assert_eq!(row.len(), kind.columns.len() + usize::from(kind.names.kind == "IPAddress"), "{}", kind.names.kind);
    }
    for name in schema::names() {
        let schema = schema::find(&name).expect("a listed type");
        for field in &schema.fields {
            if let Some(inner) = field.ty.schema() {
                assert!(!inner.name.is_empty(), "{name}.{} refers to a type that is not there", field.name);
            }
        }
    }
}

/// What a patched object goes through before it is compared.
fn settled(kind: &api::Kind, old: &Value, patched: Value, subresource: &str) -> Value {
    let mut object = match patched {
        Value::Map(map) => Object(map),
        other => return other,
    };
    schema::check(&kind.type_name, &mut object);
    (kind.default)(&mut object);
    if let Value::Map(old) = old {
        let context = Context { now: "2026-01-01T00:00:00Z", subresource };
        (kind.prepare_update)(&mut object, &Object(old.clone()), context);
    }
    Value::Map(object.0)
}

#[test]
fn patches_make_what_upstream_makes() {
    use api::patch::{json as json_patch, merge, strategic};
    let mut failures: Vec<String> = Vec::new();
    let (mut tried, mut right) = (0, 0);
    for case in cases("patches.jsonl") {
        let mut current: Option<Value> = None;
        for step in case.get("steps").and_then(Value::as_list).unwrap_or(&[]) {
            let nothing = Value::Null;
            let expect = step.get("expect").unwrap_or(&nothing);
            let body = expect.get("body").unwrap_or(&nothing);
            let content = step.at(&["headers", "Content-Type"]).and_then(Value::as_str).unwrap_or("");
            let path = text(step, "path").split('?').next().unwrap_or("");
            let (path, subresource) = match path.strip_suffix("/status") {
                Some(p) => (p, "status"),
                None => (path, ""),
            };
            let kind = path.rsplit_once('/').and_then(|(p, _)| served_at(p));
            let before = std::mem::replace(&mut current, Some(body.clone()).filter(|b| text(b, "kind") != "Status"));
            let (Some(old), Some(kind), Some(patch)) = (before, kind, step.get("body")) else { continue };
            let result = match content {
                "application/json-patch+json" => json_patch::apply(&old, patch),
                "application/merge-patch+json" => merge::check(patch).map(|()| merge::apply(&old, patch)),
                "application/strategic-merge-patch+json" => strategic::apply(&kind.type_name, &old, patch),
                _ => continue,
            };
            if patch.is_null() || step.get("pick").is_some() {
                continue;
            }
            tried += 1;
            let mut found = Vec::new();
            match (result, expect.get("code")) {
                (Ok(value), Some(Value::Int(200))) => {
                    differences(&kind.names.kind, "", &settled(kind, &old, value, subresource), body, &mut found);
                }
                (Err(error), Some(Value::Int(code))) => {
                    let status = error.status();
                    let same = |a: &str, b: &str| a == b || (a.len() > 200 && b.contains("uid") && a[..60] == b[..60]);
                    if i64::from(status.code) != *code || !same(&status.message, text(body, "message")) {
                        found.push(format!("{} {status}", status.code));
                        found.push(format!("instead of {code} {}", text(body, "message")));
                    }
                }
                // Refused by what comes after the patch: validation, names, conflicts.
                (Ok(_), _) => {}
                (Err(error), _) => found.push(error.to_string()),
            }
            right += usize::from(found.is_empty());
            failures.extend(found.into_iter().map(|f| format!("{}: {f}", text(&case, "name"))));
            if current.is_none() {
                current = Some(old);
            }
        }
    }
    eprintln!("{right} of {tried} patches are right");
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn rows_are_upstreams() {
    let mut failures = Vec::new();
    let mut tried = 0;
    for case in cases("lists.jsonl") {
        let mut objects: BTreeMap<String, Value> = BTreeMap::new();
        for step in case.get("steps").and_then(Value::as_list).unwrap_or(&[]) {
            let Some(body) = step.at(&["expect", "body"]) else { continue };
            if text(step, "method") == "PATCH"
                && let (Some(patch), Some(object)) = (step.get("body"), objects.values_mut().next())
            {
                *object = api::patch::merge::apply(object, patch);
                continue;
            }
            let name = body.at(&["metadata", "name"]).and_then(Value::as_str).unwrap_or("");
            let path = text(step, "path").split('?').next().unwrap_or("");
            if text(body, "kind") == "PartialObjectMetadata" {
                continue;
            }
            if text(body, "kind") != "Table" {
                objects.insert(name.to_owned(), body.clone());
                continue;
            }
            let kind = served_at(path).or_else(|| served_at(path.rsplit_once('/')?.0));
            let rows = body.get("rows").and_then(Value::as_list).unwrap_or(&[]);
            let Some(kind) = kind.filter(|_| step.get("pick").is_none() && !rows.is_empty()) else { continue };
            for row in rows {
                let expected = row.get("cells").and_then(Value::as_list).unwrap_or(&[]).to_vec();
                let name_cell = expected.iter().find_map(|c| c.as_str().filter(|t| objects.contains_key(*t)));
                let Some(object) = name_cell.and_then(|n| objects.get(n)) else { continue };
                tried += 1;
                let plain = String::from_utf8_lossy(&json::encode(object)).replace("<uid-1>", "uid-1");
                let object: Object = json::decode(plain.as_bytes()).expect("json").value.to_typed().expect("an object");
                let mut ours = (kind.cells)(kind, &object, 0);
                let expected: Vec<Value> = expected
                    .into_iter()
                    .map(|c| c.as_str().map_or(c.clone(), |t| Value::from(t.replace("<uid-1>", "uid-1"))))
                    .collect();
                for (a, b) in ours.iter_mut().zip(&expected) {
                    if matches!(b.as_str(), Some("<age>" | "<time>")) {
                        *a = b.clone();
                    }
                }
                if ours != expected {
                    failures.push(format!("{}: {ours:?} instead of {expected:?}", text(&case, "name")));
                }
            }
        }
    }
    eprintln!("{tried} rows");
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn updates_make_what_upstream_makes() {
    use api::patch::{merge, strategic};
    let mut failures: Vec<String> = Vec::new();
    let mut tried = 0;
    for case in cases("updates.jsonl") {
        let steps = case.get("steps").and_then(Value::as_list).unwrap_or(&[]);
        let answer = |s: &Value| s.at(&["expect", "body"]).cloned().unwrap_or_default();
        let answers: Vec<Value> = steps.iter().map(answer).collect();
        let mut current: BTreeMap<String, Value> = BTreeMap::new();
        for (step, body) in steps.iter().zip(&answers) {
            let path = text(step, "path").split('?').next().unwrap_or("");
            let good = matches!(step.at(&["expect", "code"]), Some(Value::Int(200 | 201)));
            if !good || step.get("pick").is_some() || text(step, "path").contains("dryRun") {
                continue;
            }
            let name = body.at(&["metadata", "name"]).and_then(Value::as_str).unwrap_or("");
            let (place, subresource) = match path.rsplit_once('/') {
                Some((place, last)) if last == name => (place, ""),
                Some((place, last)) => (place.strip_suffix(name).unwrap_or(place).trim_end_matches('/'), last),
                None => continue,
            };
            let Some(kind) = served_at(place).or_else(|| served_at(path)) else { continue };
            let old = current.insert(kind.names.kind.to_string(), body.clone());
            let Some(old) = old.filter(|_| kind.names.kind == text(body, "kind")) else { continue };
            let content = step.at(&["headers", "Content-Type"]).and_then(Value::as_str).unwrap_or("");
            let given = step.get("body").cloned().filter(|b| !b.is_null());
            let new = match (text(step, "method"), given, step.get("bodyFrom")) {
                ("PUT", Some(body), _) => body,
                ("PUT", None, Some(from)) => match body_from(from, &answers) {
                    Some(body) => body,
                    None => continue,
                },
                ("PATCH", Some(patch), _) if content.contains("strategic") => {
                    strategic::apply(&kind.type_name, &old, &patch).expect("a patch")
                }
                ("PATCH", Some(patch), _) if content.contains("merge-patch") => merge::apply(&old, &patch),
                _ => continue,
            };
            tried += 1;
            let mut found = Vec::new();
            differences(&kind.names.kind, "", &settled(kind, &old, new, subresource), body, &mut found);
            failures.extend(found.into_iter().map(|f| format!("{}: {f}", text(&case, "name"))));
        }
    }
    eprintln!("{tried} updates");
    assert!(failures.is_empty(), "{failures:#?}");
}

/// No recorded answer has such a set, and every database is one.
#[test]
fn a_stateful_set_mounts_what_it_claims() {
    let kind = served_at("/apis/apps/v1/namespaces/a/statefulsets").expect("StatefulSets");
    for (mounted, wrong) in [("data", None), ("other", Some("spec.template.spec.containers[0].volumeMounts[0].name"))] {
        let text = format!(
            r#"{{"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {{"name": "db", "namespace": "a"}}, "spec": {{
                "serviceName": "db", "selector": {{"matchLabels": {{"app": "db"}}}},
                "template": {{"metadata": {{"labels": {{"app": "db"}}}}, "spec": {{"containers": [
                    {{"name": "db", "image": "db", "volumeMounts": [{{"name": "{mounted}", "mountPath": "/data"}}]}}]}}}},
                "volumeClaimTemplates": [{{"metadata": {{"name": "data"}}, "spec": {{
                    "accessModes": ["ReadWriteOnce"], "resources": {{"requests": {{"storage": "1Mi"}}}}}}}}]}}}}"#
        );
        let mut object: Object = json::decode(text.as_bytes()).expect("json").value.to_typed().expect("an object");
        (kind.default)(&mut object);
        let mut errors = Vec::new();
        (kind.validate)(&object, &mut errors);
        let found: Vec<String> = errors.iter().map(|error| error.path.clone()).collect();
        assert_eq!(found, Vec::from_iter(wrong.map(str::to_owned)), "mounting {mounted}");
    }
}
