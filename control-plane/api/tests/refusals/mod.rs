//! The recorded answers of the real apiserver to what breaks a kind's rules: paths, reasons, words and order.

use crate::recorded::{body_from, cases, served_at, text};
use api::codec::json;
use api::kind::Context;
use api::{Kind, Object, Status, Value, schema};
use std::collections::BTreeMap;

const NOW: &str = "2026-01-01T00:00:00Z";

/// How many of the recorded answers are ours, by kind.
#[derive(Default)]
struct Tally {
    right: BTreeMap<String, (usize, usize)>,
    wrong: Vec<String>,
}

impl Tally {
    fn count(&mut self, case: &str, kind: &str, expected: &Value, found: Option<&Status>) {
        let nothing = Value::Null;
        let shown = found.map_or(Value::Null, Status::to_value);
        let ours = shown.at(&["details", "causes"]).unwrap_or(&nothing);
        let theirs = expected.at(&["details", "causes"]).unwrap_or(&nothing);
        let same = ours == theirs && text(&shown, "message") == text(expected, "message");
        let entry = self.right.entry(kind.to_owned()).or_default();
        entry.1 += 1;
        entry.0 += usize::from(same);
        if !same {
            let list = |v: &Value| match v.at(&["details", "causes"]).and_then(Value::as_list) {
                Some(causes) => causes
                    .iter()
                    .map(|c| format!("\n    {} {}: {}", text(c, "reason"), text(c, "field"), text(c, "message")))
                    .collect::<String>(),
                None => "\n    nothing".into(),
            };
            self.wrong.push(format!("{case}\n  ours:{}\n  theirs:{}", list(&shown), list(expected)));
        }
    }

    fn report(&self) {
        for (kind, (right, all)) in &self.right {
            eprintln!("{kind}: {right} of {all}");
        }
        let (right, all) = self.right.values().fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
        eprintln!("{right} of {all} refusals are right");
        self.wrong.iter().for_each(|w| eprintln!("{w}"));
    }
}

/// The cases with plain values instead of the recordings' placeholders.
fn plain_cases(file: &str) -> Vec<Value> {
    let places = [
        ("${id}", "id"),
        ("${ns}", "ns"),
        ("<rand>", "rand"),
        ("<time>", NOW),
        ("<uid-1>", "uid-1"),
        ("<rv-1>", "1"),
        ("<rv-2>", "2"),
        ("<clusterIP-1>", "10.96.0.1"),
        ("<clusterIP-2>", "10.96.0.2"),
    ];
    let plain = |case: &Value| {
        let text = String::from_utf8_lossy(&json::encode(case)).into_owned();
        let text = places.iter().fold(text, |t, (from, to)| t.replace(from, to));
        json::decode(text.as_bytes()).expect("a case").value
    };
    cases(file).iter().map(plain).collect()
}

fn refused(kind: &Kind, object: &Object, errors: &[api::FieldError]) -> Option<Status> {
    (!errors.is_empty()).then(|| Status::invalid(&kind.names.group, &kind.names.kind, object.name(), errors))
}

/// What a creation goes through.
fn create(kind: &Kind, mut object: Object) -> Option<Status> {
    kind.read(&mut object);
    object.meta_mut().insert("uid", "uid-1");
    if object.name().is_empty() && !object.meta_text("generateName").is_empty() {
        let name = format!("{}abcde", object.meta_text("generateName"));
        object.meta_mut().insert("name", name);
    }
    (kind.default)(&mut object);
    (kind.prepare_create)(&mut object, Context { now: NOW, subresource: "" });
    let errors = kind.validate_create(&mut object);
    refused(kind, &object, &errors)
}

/// What an update goes through.
fn update(kind: &Kind, mut new: Object, old: &Object, subresource: &str) -> Option<Status> {
    let context = Context { now: NOW, subresource };
    kind.read(&mut new);
    (kind.default)(&mut new);
    (kind.prepare_update)(&mut new, old, context);
    let errors = kind.validate_update(&mut new, old, context);
    refused(kind, &new, &errors)
}

fn is_invalid(expect: &Value, kind: &Kind) -> bool {
    let body = expect.get("body").unwrap_or(&Value::Null);
    expect.get("code") == Some(&Value::Int(422))
        && text(body, "reason") == "Invalid"
        && body.at(&["details", "kind"]).and_then(Value::as_str) == Some(&*kind.names.kind)
}

#[test]
fn creations_are_refused_as_upstream_refuses_them() {
    let mut tally = Tally::default();
    for file in ["validation.jsonl", "defaults.jsonl", "crds.jsonl"] {
        for case in plain_cases(file) {
            for step in case.get("steps").and_then(Value::as_list).unwrap_or(&[]) {
                let (Some(Value::Map(body)), Some(expect)) = (step.get("body"), step.get("expect")) else { continue };
                let Some(kind) = served_at(text(step, "path")).filter(|_| text(step, "method") == "POST") else {
                    continue;
                };
                let name = text(&case, "name");
                let mut object = Object(body.clone());
                if text(step, "path").contains("/namespaces/") && object.namespace().is_empty() {
                    object.meta_mut().insert("namespace", "ns");
                }
                let good = matches!(expect.get("code"), Some(Value::Int(200 | 201)));
                if good && step.get("pick").is_none() {
                    if let Some(status) = create(kind, object) {
                        tally.wrong.push(format!("{name}: refused, which upstream takes: {status}"));
                    }
                } else if is_invalid(expect, kind) {
                    let found = create(kind, object);
                    tally.count(
                        name,
                        &kind.names.kind,
                        &expect.get("body").cloned().unwrap_or_default(),
                        found.as_ref(),
                    );
                }
            }
        }
    }
    tally.report();
    let (right, _) = tally.right.values().fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    assert!(tally.right.is_empty() || right >= CREATIONS, "{right} refusals are right, {CREATIONS} were");
    assert!(!tally.wrong.iter().any(|w| w.contains("which upstream takes")), "good objects are refused");
}

/// How many of the recorded refusals are ours to the letter: these counts only grow.
const CREATIONS: usize = 329;
const UPDATES: usize = 35;

#[test]
fn updates_are_refused_as_upstream_refuses_them() {
    use api::patch::{json as json_patch, merge, strategic};
    let mut tally = Tally::default();
    for file in ["updates.jsonl", "patches.jsonl", "auth.jsonl"] {
        for case in plain_cases(file) {
            let steps = case.get("steps").and_then(Value::as_list).unwrap_or(&[]);
            let answers: Vec<Value> =
                steps.iter().map(|s| s.at(&["expect", "body"]).cloned().unwrap_or_default()).collect();
            let mut current: BTreeMap<String, Value> = BTreeMap::new();
            for (step, answer) in steps.iter().zip(&answers) {
                let path = text(step, "path").split('?').next().unwrap_or("");
                let parts: Vec<&str> = path.split('/').collect();
                let found = (1..parts.len()).rev().find_map(|n| {
                    let kind = served_at(&parts[..n].join("/"))?;
                    Some((kind, parts.get(n).copied().unwrap_or(""), parts.get(n + 1).copied().unwrap_or("")))
                });
                let expect = step.get("expect").cloned().unwrap_or_default();
                let good = matches!(expect.get("code"), Some(Value::Int(200 | 201)));
                let Some((kind, _, subresource)) = found else {
                    if let Some(kind) = served_at(path).filter(|_| good) {
                        current.insert(kind.names.kind.to_string(), answer.clone());
                    }
                    continue;
                };
                let old = current.get(&*kind.names.kind).cloned();
                if good && text(answer, "kind") == kind.names.kind && !text(step, "path").contains("dryRun") {
                    current.insert(kind.names.kind.to_string(), answer.clone());
                }
                let Some(Value::Map(old)) = old else { continue };
                let old_value = Value::Map(old.clone());
                let content = step.at(&["headers", "Content-Type"]).and_then(Value::as_str).unwrap_or("");
                let patch = step.get("body").filter(|b| !b.is_null());
                let new = match (text(step, "method"), patch, step.get("bodyFrom")) {
                    ("PUT", Some(body), _) => Some(body.clone()),
                    ("PUT", None, Some(from)) => body_from(from, &answers),
                    ("PATCH", Some(p), _) if content.contains("strategic") => {
                        strategic::apply(&kind.type_name, &old_value, p).ok()
                    }
                    ("PATCH", Some(p), _) if content.contains("merge-patch") => Some(merge::apply(&old_value, p)),
                    ("PATCH", Some(p), _) if content.contains("json-patch") => json_patch::apply(&old_value, p).ok(),
                    _ => None,
                };
                let Some(Value::Map(new)) = new else { continue };
                let name = text(&case, "name");
                if is_invalid(&expect, kind) {
                    let found = update(kind, Object(new), &Object(old), subresource);
                    tally.count(name, &kind.names.kind, answer, found.as_ref());
                } else if good
                    && step.get("pick").is_none()
                    && let Some(status) = update(kind, kept(new, &old), &Object(old), subresource)
                {
                    tally.wrong.push(format!("{name}: refused, which upstream takes: {status}"));
                }
            }
        }
    }
    tally.report();
    let (right, _) = tally.right.values().fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    assert!(tally.right.is_empty() || right >= UPDATES, "{right} refusals are right, {UPDATES} were");
    assert!(!tally.wrong.iter().any(|w| w.contains("which upstream takes")), "good updates are refused");
}

/// The new object with the identity that the server keeps.
fn kept(mut new: api::Map, old: &api::Map) -> Object {
    let from = Object(old.clone());
    let meta = new.entry("metadata").make_map();
    for key in ["uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp", "namespace"] {
        if let Some(value) = from.meta().and_then(|m| m.get(key)) {
            meta.insert(key, value.clone());
        }
    }
    Object(new)
}

/// Warnings that other steps give: what the decoder found, what a whole resource or admission is warned of.
fn given_elsewhere(warning: &str) -> bool {
    ["unknown field", "duplicate field", "v1 Endpoints", "would violate"].iter().any(|w| warning.contains(w))
}

#[test]
fn creations_are_warned_of_as_upstream_warns() {
    let mut wrong = Vec::new();
    let mut right = 0;
    for file in ["validation.jsonl", "defaults.jsonl", "admission.jsonl"] {
        for case in plain_cases(file) {
            for step in case.get("steps").and_then(Value::as_list).unwrap_or(&[]) {
                let Some(Value::Map(body)) = step.get("body") else { continue };
                let good = matches!(step.at(&["expect", "code"]), Some(Value::Int(201)));
                let Some(kind) = served_at(text(step, "path")).filter(|_| good && text(step, "method") == "POST")
                else {
                    continue;
                };
                let header = step.at(&["expect", "headers", "Warning"]).and_then(Value::as_list).unwrap_or(&[]);
                let theirs: Vec<String> = header
                    .iter()
                    .filter_map(|w| w.as_str()?.strip_prefix("299 - \"")?.strip_suffix('"'))
                    .map(|w| w.replace("\\\"", "\""))
                    .filter(|w| !given_elsewhere(w))
                    .collect();
                let mut object = Object(body.clone());
                schema::check(&kind.type_name, &mut object);
                (kind.default)(&mut object);
                (kind.prepare_create)(&mut object, Context { now: NOW, subresource: "" });
                let ours = (kind.warnings)(&object);
                right += usize::from(ours == theirs && !theirs.is_empty());
                if ours != theirs {
                    wrong.push(format!("{}: {ours:?} instead of {theirs:?}", text(&case, "name")));
                }
            }
        }
    }
    eprintln!("{right} warnings are right");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
