//! ConfigMaps, Secrets, Namespaces, ServiceAccounts.

use super::at::At;
use super::metadata::differs;
use super::words::config_key;
use super::workloads::{checked, immutable, status_updated, updated};
use crate::codec::json;
use crate::kind::Context;
use crate::names;
use crate::object::Object;
use crate::status::FieldError;
use crate::value::Value;
use base64::prelude::{BASE64_STANDARD, Engine};

/// What a ConfigMap or a Secret may hold together, in bytes: what fits into a transaction of etcd.
const MAX_DATA: usize = 1024 * 1024;

pub(in crate::kinds) fn config_map(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let mut size = 0;
        for (key, value) in root.field("data").pairs() {
            config_key(key).iter().for_each(|why| value.invalid_text(key, why));
            if root.field("binaryData").has(key) {
                value.invalid_text(key, "duplicate of key present in binaryData");
            }
            size += value.text().len();
        }
        for (key, value) in root.field("binaryData").pairs() {
            config_key(key).iter().for_each(|why| value.invalid_text(key, why));
            size += decoded_length(value.text());
        }
        if size > MAX_DATA {
            // Upstream's path of the whole is that of an empty name.
            root.named("[]").too_long(MAX_DATA);
        }
    });
}

/// How many bytes a text in base64 stands for.
fn decoded_length(text: &str) -> usize {
    text.bytes().filter(|b| !matches!(b, b'\r' | b'\n' | b'=')).count() * 3 / 4
}

/// Data that was declared immutable stays, and stays so.
fn immutable_stays(root: &At<'_>, old: &Object, parts: &[&str]) {
    if !old.bool_at(&["immutable"]).unwrap_or(false) {
        return;
    }
    if !root.field("immutable").truth() {
        root.field("immutable").forbidden("field is immutable when `immutable` is set");
    }
    for part in parts.iter().map(|p| root.field(p)) {
        if differs(part.value, old.at(&[part.path.as_str()])) {
            part.forbidden("field is immutable when `immutable` is set");
        }
    }
}

pub(in crate::kinds) fn config_map_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    updated(new, old, context, out, |root| immutable_stays(root, old, &["data", "binaryData"]), |_| {});
}

pub(in crate::kinds) fn secret(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let data = root.field("data");
        let mut size = 0;
        for (key, value) in data.pairs() {
            config_key(key).iter().for_each(|why| value.invalid_text(key, why));
            size += decoded_length(value.text());
        }
        if size > MAX_DATA {
            data.too_long(MAX_DATA);
        }
        typed_secret(root, &data);
    });
}

fn typed_secret(root: &At<'_>, data: &At<'_>) {
    let needs = |key: &str| {
        if !data.has(key) {
            data.key(key).required("");
        }
    };
    match root.get("type") {
        "kubernetes.io/service-account-token" => {
            let name = "kubernetes.io/service-account.name";
            let annotations = root.fields(&["metadata", "annotations"]);
            if annotations.get(name).is_empty() {
                annotations.key(name).required("");
            }
        }
        "kubernetes.io/dockercfg" => credentials(data, ".dockercfg"),
        "kubernetes.io/dockerconfigjson" => credentials(data, ".dockerconfigjson"),
        "kubernetes.io/basic-auth" if !data.has("username") && !data.has("password") => {
            data.key("username").required("");
            data.key("password").required("");
        }
        "kubernetes.io/ssh-auth" if data.get("ssh-privatekey").is_empty() => {
            data.key("ssh-privatekey").required("");
        }
        "kubernetes.io/tls" => {
            needs("tls.crt");
            needs("tls.key");
        }
        _ => {}
    }
}

/// What registries are told of their users: an object of JSON.
fn credentials(data: &At<'_>, key: &str) {
    let at = data.key(key);
    let Some((_, held)) = data.pairs().find(|(k, _)| *k == key) else { return at.required("") };
    let bytes = BASE64_STANDARD.decode(held.text()).unwrap_or_default();
    let wrong = match json::decode(&bytes) {
        Err(error) => Some(error.message),
        Ok(read) => match read.value {
            Value::Null | Value::Map(_) => None,
            other => {
                let what = other.json_type();
                Some(format!("json: cannot unmarshal {what} into Go value of type map[string]interface {{}}"))
            }
        },
    };
    if let Some(why) = wrong {
        at.invalid_text("<secret contents redacted>", &why);
    }
}

pub(in crate::kinds) fn secret_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    let rules = |root: &At<'_>| {
        immutable(&root.field("type"), old.at(&["type"]));
        immutable_stays(root, old, &["data"]);
    };
    updated(new, old, context, out, rules, |_| {});
}

pub(in crate::kinds) fn namespace(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_label, out, |root, _| {
        namespace_finalizers(&root.fields(&["spec", "finalizers"]));
    });
}

fn namespace_finalizers(list: &At<'_>) {
    for one in list.items() {
        one.matches(names::qualified_name);
        if !one.text().contains('/') && one.text() != "kubernetes" {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            one.named(list.path.as_str()).invalid(why);
        }
    }
}

pub(in crate::kinds) fn namespace_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    // What finalizes a namespace writes its spec.
    let context = if context.subresource == "finalize" { Context { subresource: "", ..context } } else { context };
    status_updated(new, old, context, out, |status| {
        let phase = status.field("phase").named("status.Phase");
        let (wanted, when) = match new.deletion_timestamp() {
            None => ("Active", "empty"),
            Some(_) => ("Terminating", "not empty"),
        };
        if phase.text() != wanted {
            let why = format!("may only be '{wanted}' if `deletionTimestamp` is {when}");
            phase.invalid_text(phase.text(), &why);
        }
    });
}

pub(in crate::kinds) fn metadata_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    status_updated(new, old, context, out, |_| {});
}

/// Kinds of which only the name and the rest of the metadata have rules.
pub(in crate::kinds) fn named(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |_, _| {});
}
