//! The recorded owners of fields, after writes of every kind and after server-side apply.

mod recorded;

use api::codec::json;
use api::kind::Context;
use api::{Object, Value, schema};
use recorded::{body_from, cases, differences, served_at, text};
use std::collections::BTreeMap;

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
