//! The recorded answers of the real apiserver, where they are there, and how ours are compared with them.

use api::codec::json;
use api::{Value, kinds};
use std::path::PathBuf;

/// The lines of one file of cases; none, loudly, where the recordings are absent.
pub fn cases(file: &str) -> Vec<Value> {
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

pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
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

pub fn differences(kind: &str, path: &str, ours: &Value, theirs: &Value, out: &mut Vec<String>) {
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
pub fn served_at(path: &str) -> Option<&'static api::Kind> {
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

/// The body of an update that is made from an earlier answer: `{step, set: {pointer: value}, remove: [pointer]}`.
pub fn body_from(from: &Value, answers: &[Value]) -> Option<Value> {
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
