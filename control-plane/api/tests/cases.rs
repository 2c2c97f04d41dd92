//! The recorded answers of the real apiserver, where they are there: what a creation makes of an object, and the words
//! in which an ill-typed one is refused.

use api::codec::json;
use api::kind::Context;
use api::{Object, Value, kinds, schema};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The lines of one file of cases; none, loudly, where the recordings are absent.
fn cases(file: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/api-cases").join(file);
    match std::fs::read(&path) {
        Ok(text) => text
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
            .map(|l| json::decode(l).expect("a case").value)
            .collect(),
        Err(e) => {
            eprintln!("SKIPPED: no recorded cases at {}: {e}", path.display());
            Vec::new()
        }
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}

/// What admission and the registry set, which this crate does not.
const SERVER_SET: &[&str] = &[
    "metadata.uid",
    "metadata.resourceVersion",
    "metadata.creationTimestamp",
    "metadata.generation",
    "metadata.managedFields",
    "metadata.namespace",
    "metadata.name",
    "metadata.generateName",
];

/// The same, of single kinds: what other steps of the server add.
fn other_steps(kind: &str) -> &'static [&'static str] {
    match kind {
        "Pod" => &[
            "spec.volumes",
            "spec.containers",
            "spec.initContainers",
            "spec.ephemeralContainers",
            "spec.serviceAccountName",
            "spec.serviceAccount",
            "spec.tolerations",
            "spec.priority",
            "spec.preemptionPolicy",
            "spec.imagePullSecrets",
        ],
        "Service" => &["spec.clusterIP", "spec.clusterIPs", "spec.ports", "spec.healthCheckNodePort"],
        "Namespace" => &["metadata.labels"],
        "CertificateSigningRequest" => &["spec.username", "spec.groups", "spec.extra", "spec.uid"],
        "PersistentVolume" | "PersistentVolumeClaim" => &["metadata.finalizers"],
        "APIService" => &["status"],
        "Node" => &["spec.taints"],
        "VolumeAttributesClass" => &["metadata.finalizers"],
        "ResourceClaim" => &["metadata.finalizers"],
        "TokenReview"
        | "SubjectAccessReview"
        | "SelfSubjectAccessReview"
        | "LocalSubjectAccessReview"
        | "SelfSubjectRulesReview"
        | "SelfSubjectReview" => &["status"],
        _ => &[],
    }
}

/// Service-account tokens are mounted by admission: those volumes and mounts are left out on both sides.
fn without_tokens(kind: &str, path: &str, value: &Value) -> Option<Value> {
    if kind != "Pod" && kind != "Service" {
        return None;
    }
    let items = value.as_list().unwrap_or(&[]);
    let token = |v: &Value| text(v, "name").starts_with("kube-api-access");
    let mut kept: Vec<Value> = items.iter().filter(|v| !token(v)).cloned().collect();
    for item in &mut kept {
        if let Some(map) = item.as_map_mut() {
            if let Some(mounts) = map.get_mut("volumeMounts").and_then(Value::as_list_mut) {
                mounts.retain(|v| !token(v));
                if mounts.is_empty() {
                    map.remove("volumeMounts");
                }
            }
            if path == "spec.ports" {
                map.remove("nodePort");
            }
        }
    }
    Some(Value::List(kept))
}

fn differences(kind: &str, path: &str, ours: &Value, theirs: &Value, out: &mut Vec<String>) {
    if SERVER_SET.contains(&path) || theirs.as_str().is_some_and(|t| t.starts_with('<')) {
        return;
    }
    if other_steps(kind).contains(&path) {
        let (Some(a), Some(b)) = (without_tokens(kind, path, ours), without_tokens(kind, path, theirs)) else { return };
        if matches!(path.rsplit('.').next(), Some("volumes" | "containers" | "initContainers" | "ports")) {
            lists(kind, path, &a, &b, out);
        }
        return;
    }
    match (ours, theirs) {
        (Value::Map(a), Value::Map(b)) => {
            let keys: std::collections::BTreeSet<&str> = a.keys().chain(b.keys()).map(|k| k.as_str()).collect();
            for key in keys {
                let below = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                let missing = Value::from("\0absent");
                differences(kind, &below, a.get(key).unwrap_or(&missing), b.get(key).unwrap_or(&missing), out);
            }
        }
        (Value::List(_), Value::List(_)) => lists(kind, path, ours, theirs, out),
        (a, b) if a == b => {}
        (a, b) => out.push(format!(
            "{path}: {} instead of {}",
            String::from_utf8_lossy(&json::encode(a)),
            String::from_utf8_lossy(&json::encode(b))
        )),
    }
}

fn lists(kind: &str, path: &str, ours: &Value, theirs: &Value, out: &mut Vec<String>) {
    let (a, b) = (ours.as_list().unwrap_or(&[]), theirs.as_list().unwrap_or(&[]));
    if a.len() != b.len() {
        let show = |v: &Value| String::from_utf8_lossy(&json::encode(v)).into_owned();
        out.push(format!("{path}: {} instead of {}", show(ours), show(theirs)));
        return;
    }
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        differences(kind, &format!("{path}[{i}]"), x, y, out);
    }
}

/// The kind that a path of a collection serves.
fn served_at(path: &str) -> Option<&'static api::Kind> {
    let parts: Vec<&str> = path.split('?').next()?.trim_matches('/').split('/').collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    match rest {
        ["namespaces", _, plural] | [plural] => kinds::find(group, version, plural),
        _ => None,
    }
}

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
        assert_eq!(row.len(), kind.columns.len(), "{}", kind.names.kind);
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

/// The body of an update that is made from an earlier answer: `{step, set: {pointer: value}, remove: [pointer]}`.
fn body_from(from: &Value, answers: &[Value]) -> Option<Value> {
    use api::patch::{json as json_patch, merge};
    let mut body = answers.get(usize::try_from(from.get("step")?.as_i64()?).ok()?)?.clone();
    for (pointer, value) in from.get("set")?.as_map()?.iter() {
        let mut nested = value.clone();
        let parts: Vec<String> = pointer.split('/').skip(1).map(|p| p.replace("~1", "/").replace("~0", "~")).collect();
        let numbered = parts.iter().any(|p| p.parse::<usize>().is_ok());
        if numbered {
            let op: api::Map =
                [("op", Value::from("replace")), ("path", Value::from(pointer.as_str())), ("value", value.clone())]
                    .into_iter()
                    .collect();
            body = json_patch::apply(&body, &Value::List(vec![Value::Map(op)])).ok()?;
            continue;
        }
        for part in parts.iter().rev() {
            nested = Value::Map([(part.as_str(), nested)].into_iter().collect());
        }
        let cleared = parts.iter().rev().fold(Value::Null, |v, p| Value::Map([(p.as_str(), v)].into_iter().collect()));
        body = merge::apply(&merge::apply(&body, &cleared), &nested);
    }
    for pointer in from.get("remove").and_then(Value::as_list).unwrap_or(&[]).iter().filter_map(Value::as_str) {
        let op: api::Map = [("op", Value::from("remove")), ("path", Value::from(pointer))].into_iter().collect();
        body = json_patch::apply(&body, &Value::List(vec![Value::Map(op)])).ok()?;
    }
    Some(body)
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

/// The entries without their times; sorted, since times decide their order.
fn owners(object: &Value) -> Vec<String> {
    let list = object.at(&["metadata", "managedFields"]).and_then(Value::as_list).unwrap_or(&[]);
    let mut out: Vec<String> = list
        .iter()
        .map(|entry| {
            let mut entry = entry.clone();
            entry.make_map().remove("time");
            String::from_utf8_lossy(&json::encode(&entry)).into_owned()
        })
        .collect();
    out.sort();
    out
}

#[test]
fn fields_have_upstreams_owners() {
    use api::managed::{Writer, update};
    use api::patch::{merge, strategic};
    let mut failures: Vec<String> = Vec::new();
    let mut tried = 0;
    for case in ["defaults.jsonl", "updates.jsonl", "patches.jsonl"].into_iter().flat_map(cases) {
        let steps = case.get("steps").and_then(Value::as_list).unwrap_or(&[]);
        let answers: Vec<Value> =
            steps.iter().map(|s| s.at(&["expect", "body"]).cloned().unwrap_or_default()).collect();
        let ignored = case.get("ignore").and_then(Value::as_list).unwrap_or(&[]);
        // Nothing is recorded of those, or another step of the server took part in it.
        let unclear = |name: &str| {
            matches!(
                name,
                "csinodes-minimal" | "update-csinodes-drivers" | "endpointslices-fqdn" | "endpointslices-noports"
            ) || name.starts_with("update-nodes")
                || name.starts_with("update-certificatesigningrequests")
        };
        if ignored.iter().any(|i| i.as_str().is_some_and(|t| t.contains("managedFields")))
            || unclear(text(&case, "name"))
        {
            continue;
        }
        let mut current: BTreeMap<String, Value> = BTreeMap::new();
        for (minute, (step, body)) in steps.iter().zip(&answers).enumerate() {
            let now = format!("2026-01-01T00:{minute:02}:00Z");
            let query = text(step, "path").split_once('?').map_or("", |(_, q)| q);
            let path = text(step, "path").split('?').next().unwrap_or("");
            let good = matches!(step.at(&["expect", "code"]), Some(Value::Int(200 | 201)));
            if !good
                || step.get("pick").is_some()
                || query.contains("dryRun")
                || body.at(&["metadata", "uid"]).is_none()
            {
                continue;
            }
            let manager = query.split('&').find_map(|p| p.strip_prefix("fieldManager=")).unwrap_or("api-replay");
            let writer = Writer { manager, now: &now, subresource: "" };
            let content = step.at(&["headers", "Content-Type"]).and_then(Value::as_str).unwrap_or("");
            let name = body.at(&["metadata", "name"]).and_then(Value::as_str).unwrap_or("");
            let post = text(step, "method") == "POST";
            let place = match path.rsplit_once('/') {
                Some((place, last)) if last == name && !post => place,
                _ => path,
            };
            let Some(kind) = served_at(place).filter(|k| k.names.kind == text(body, "kind")) else {
                current.insert(text(body, "kind").to_owned(), body.clone());
                continue;
            };
            // The recordings hide times; here they grow, and each answer keeps those of the one before.
            let mut old = current.insert(kind.names.kind.to_string(), body.clone());
            if let Some(Value::List(entries)) = old.as_mut().and_then(|o| o.at_mut(&["metadata", "managedFields"])) {
                for (i, entry) in entries.iter_mut().enumerate() {
                    entry.make_map().insert("time", format!("2025-01-01T00:{i:02}:00Z"));
                }
            }
            let new = match (text(step, "method"), step.get("body"), step.get("bodyFrom"), &old) {
                ("POST", Some(body @ Value::Map(_)), ..) => body.clone(),
                ("PUT", Some(body @ Value::Map(_)), ..) => body.clone(),
                ("PUT", _, Some(from), _) => match body_from(from, &answers) {
                    Some(body) => body,
                    None => continue,
                },
                ("PATCH", Some(patch), _, Some(old)) if content.contains("strategic") => {
                    strategic::apply(&kind.type_name, old, patch).expect("a patch")
                }
                ("PATCH", Some(patch), _, Some(old)) if content.contains("merge-patch") => merge::apply(old, patch),
                _ => continue,
            };
            let mut object = Object(new.as_map().cloned().unwrap_or_default());
            schema::check(&kind.type_name, &mut object);
            (kind.default)(&mut object);
            tried += 1;
            let old = old.filter(|_| !post).map(|v| Object(v.as_map().cloned().unwrap_or_default()));
            update(kind, old.as_ref(), &mut object, writer);
            let (ours, theirs) = (owners(&Value::Map(object.0)), owners(body));
            if ours != theirs {
                failures.push(format!(
                    "{}: {} {ours:?}\n  instead of {theirs:?}",
                    text(&case, "name"),
                    text(step, "method")
                ));
            }
        }
    }
    eprintln!("{} of {tried} writes have the right owners", tried - failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn applies_make_what_upstream_makes() {
    use api::managed::{Writer, apply, update};
    use api::patch::merge;
    let mut failures: Vec<String> = Vec::new();
    let mut tried = 0;
    for case in cases("patches.jsonl") {
        let mut current: BTreeMap<String, Object> = BTreeMap::new();
        for (minute, step) in case.get("steps").and_then(Value::as_list).unwrap_or(&[]).iter().enumerate() {
            let now = format!("2026-01-01T00:{:02}:00Z", minute % 60);
            let nothing = Value::Null;
            let (expect, body) =
                (step.get("expect").unwrap_or(&nothing), step.at(&["expect", "body"]).unwrap_or(&nothing));
            let (path, query) = text(step, "path").split_once('?').unwrap_or((text(step, "path"), ""));
            let content = step.at(&["headers", "Content-Type"]).and_then(Value::as_str).unwrap_or("");
            let (path, subresource) = path.strip_suffix("/status").map_or((path, ""), |p| (p, "status"));
            let place =
                if text(step, "method") == "POST" { path } else { path.rsplit_once('/').map_or("", |(p, _)| p) };
            let Some(kind) = served_at(place) else { continue };
            let manager = query.split('&').find_map(|p| p.strip_prefix("fieldManager=")).unwrap_or("api-replay");
            let writer = Writer { manager, now: &now, subresource };
            let key = kind.names.kind.to_string();
            let Some(given) = step.get("body").and_then(Value::as_map).cloned().map(Object) else { continue };
            let live = current.get(&key).cloned();
            let code = expect.get("code").and_then(Value::as_i64).unwrap_or(0);
            let result = match text(step, "method") {
                "PATCH" if content.contains("apply-patch") => {
                    tried += 1;
                    apply(kind, live.as_ref(), &given, writer, query.contains("force=true"))
                }
                "PATCH" if content.contains("merge-patch") => {
                    let Some(old) = &live else { continue };
                    let patched = merge::apply(&Value::Map(old.0.clone()), &Value::Map(given.0));
                    Ok(Object(patched.as_map().cloned().unwrap_or_default()))
                }
                "POST" => Ok(given),
                _ => continue,
            };
            let applied = content.contains("apply-patch");
            match (result, code) {
                (Ok(mut object), 200 | 201) => {
                    let context = Context { now: &now, subresource };
                    schema::check(&kind.type_name, &mut object);
                    (kind.default)(&mut object);
                    if !applied {
                        update(kind, live.as_ref(), &mut object, writer);
                    }
                    match &live {
                        Some(old) => (kind.prepare_update)(&mut object, old, context),
                        None => (kind.prepare_create)(&mut object, context),
                    }
                    let mut found = Vec::new();
                    let whole = Value::Map(object.0.clone());
                    differences(&kind.names.kind, "", &whole, body, &mut found);
                    let theirs = owners(body);
                    if owners(&whole) != theirs && kind.names.kind != "Node" {
                        found.push(format!("owners {:?}\n  instead of {theirs:?}", owners(&whole)));
                    }
                    failures.extend(
                        found.into_iter().filter(|_| applied).map(|f| format!("{} {minute}: {f}", text(&case, "name"))),
                    );
                    current.insert(key, object);
                }
                (Err(status), 409) if status.message == text(body, "message") => {}
                (Err(status), _) => failures.push(format!(
                    "{} {minute}: {status} instead of {}",
                    text(&case, "name"),
                    text(body, "message")
                )),
                (Ok(_), 409) if text(body, "message").starts_with("Apply failed") => {
                    failures.push(format!(
                        "{} {minute}: nothing instead of {}",
                        text(&case, "name"),
                        text(body, "message")
                    ));
                }
                (Ok(_), _) => {}
            }
        }
    }
    eprintln!("{tried} applies");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
