//! What annotations of pods mean: older names of fields, and pods that a kubelet made from files.

use super::at::At;
use super::{placement, words};
use crate::codec::json;
use crate::object::Object;
use crate::value::Value;

/// On a pod that a kubelet made from a file.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP_OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// The annotations of a pod or a template with this spec.
pub(super) fn of_pod(at: &At<'_>, spec: &At<'_>) {
    let one = |key: &str| at.pairs().find(|(k, _)| *k == key).map(|(_, value)| value);
    if let Some(mirror) = one(MIRROR).filter(|_| spec.get("nodeName").is_empty()) {
        mirror.invalid_text(mirror.text(), "must set spec.nodeName if mirror pod annotation is set");
    }
    if let Some(text) = one(TOLERATIONS).map(|t| t.text()).filter(|t| !t.is_empty())
        && let Ok(list) = json::decode(text.as_bytes())
    {
        placement::tolerations(&at.other(Some(&list.value)).named(at.field(TOLERATIONS).path));
    }
    if let Some(cost) = one(DELETION_COST).filter(|c| !is_cost(c.text())) {
        cost.invalid_text(cost.text(), "must be a 32bit integer");
    }
    for (key, value) in at.pairs().filter(|(key, _)| *key == SECCOMP_OF_POD || key.starts_with(SECCOMP)) {
        seccomp(&value.named(at.field(key).path));
    }
    let containers = || ["initContainers", "containers", "ephemeralContainers"].map(|l| spec.field(l));
    for (key, value) in at.pairs() {
        let Some(name) = key.strip_prefix(APP_ARMOR) else { continue };
        if !containers().iter().any(|list| list.items().any(|c| c.get("name") == name)) {
            value.invalid_text(name, "container not found");
        }
        let profile = value.text();
        if !matches!(profile, "" | "runtime/default" | "unconfined") && !profile.starts_with("localhost/") {
            value.invalid_text(profile, &format!("invalid AppArmor profile name: {profile:?}"));
        }
    }
}

/// A number of 32 bits as it would be written back, with a sign only if it is below nothing.
fn is_cost(text: &str) -> bool {
    let plain = !text.starts_with('+') && (text.len() < 2 || !text.starts_with('0'));
    plain && text.parse::<i32>().is_ok()
}

fn seccomp(at: &At<'_>) {
    match at.text() {
        "runtime/default" | "docker/default" | "unconfined" => {}
        text => match text.strip_prefix("localhost/") {
            Some(path) => words::local_path(&at.other(Some(&Value::from(path)))),
            None => at.invalid_text(text, "must be a valid seccomp profile"),
        },
    }
}

/// Fields and the older annotations must say the same; only what is new is asked.
pub(super) fn match_fields(at: &At<'_>, spec: &At<'_>) {
    let lists = ["initContainers", "containers", "ephemeralContainers"].map(|l| spec.field(l));
    let containers = || lists.iter().flat_map(|l| l.items().collect::<Vec<_>>());
    let note = |key: &str| at.pairs().find(|(k, _)| *k == key).map(|(_, value)| value.text());
    const PROFILE: &[&str] = &["securityContext", "seccompProfile"];
    if let Some(text) = note(SECCOMP_OF_POD) {
        same(&spec.fields(PROFILE), text, "seccomp", &["runtime/default", "docker/default"]);
    }
    for container in containers() {
        if let Some(text) = note(&format!("{SECCOMP}{}", container.get("name"))) {
            same(&container.fields(PROFILE), text, "seccomp", &["runtime/default", "docker/default"]);
        }
    }
    if spec.fields(&["os", "name"]).text() == "windows" {
        return;
    }
    let of_pod = spec.fields(&["securityContext", "appArmorProfile"]);
    for container in containers() {
        let own = container.fields(&["securityContext", "appArmorProfile"]);
        let profile = if own.is() { own.clone() } else { of_pod.named(own.path.as_str()) };
        if let Some(text) = note(&format!("{APP_ARMOR}{}", container.get("name"))) {
            same(&profile, text, "apparmor", &["runtime/default"]);
        }
    }
}

fn same(profile: &At<'_>, note: &str, what: &str, defaults: &[&str]) {
    let local = note.strip_prefix("localhost/");
    let same_type = match profile.get("type") {
        "Unconfined" => note == "unconfined",
        "RuntimeDefault" => defaults.contains(&note),
        "Localhost" => local.is_some(),
        _ => return,
    };
    if !same_type {
        return profile.field("type").forbidden(&format!("{what} type in annotation and field must match"));
    }
    let path = profile.field("localhostProfile");
    if profile.get("type") == "Localhost" && (!path.is() || local != Some(path.text())) {
        path.forbidden(&format!("{what} profile in annotation and field must match"));
    }
}

/// Annotations that no update may touch, and then all of them.
pub(super) fn changes(at: &At<'_>, old: &Object, spec: &At<'_>) {
    let now = |key: &str| at.pairs().find(|(k, _)| *k == key).map(|(_, value)| value.text());
    let say = |key: &str, verb: &str| {
        if key.starts_with(APP_ARMOR) {
            at.key(key).forbidden(&format!("may not {verb} AppArmor annotations"));
        }
        if key == MIRROR {
            at.key(key).forbidden(&format!("may not {verb} mirror pod annotation"));
        }
    };
    for (key, _) in old.meta_pairs("annotations").filter(|(key, was)| now(key) != Some(*was)) {
        say(key, "remove or update");
    }
    for (key, _) in at.pairs().filter(|(key, _)| old.annotation(key).is_none()) {
        say(key, "add");
    }
    of_pod(at, spec);
}
