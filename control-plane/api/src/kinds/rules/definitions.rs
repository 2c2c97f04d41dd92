//! CustomResourceDefinitions: names, versions and what else needs no look into their schemas.

use super::admission::client;
use super::at::At;
use super::workloads::{checked, immutable, updated};
use crate::kind::Context;
use crate::names;
use crate::object::Object;
use crate::status::FieldError;
use crate::value::Value;

/// Groups whose kinds the Kubernetes project approves of.
const PROTECTED: &[&str] = &["k8s.io", "kubernetes.io"];
const APPROVAL: &str = "api-approved.kubernetes.io";

pub(in crate::kinds) fn definition(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        let name = root.fields(&["metadata", "name"]);
        let wanted = format!("{}.{}", spec.fields(&["names", "plural"]).text(), spec.get("group"));
        if !name.text().is_empty() && name.text() != wanted {
            name.invalid("must be spec.names.plural+\".\"+spec.group");
        }
        group(&spec.field("group"));
        spec.field("scope").one_of(&["Cluster", "Namespaced"]);
        versions(&spec);
        spec_names(&spec.field("names"));
        conversion(&spec.field("conversion"));
        if spec.field("preserveUnknownFields").truth() {
            let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
            spec.field("preserveUnknownFields").invalid(why);
        }
        approval(root, spec.get("group"));
    });
}

fn group(at: &At<'_>) {
    match at.text() {
        "" => at.required(""),
        text => {
            at.matches(names::dns1123_subdomain);
            if !text.contains('.') {
                at.invalid("should be a domain with at least one dot");
            }
        }
    }
}

fn versions(spec: &At<'_>) {
    let list = spec.field("versions");
    let mut seen: Vec<&str> = Vec::new();
    for version in list.items() {
        let name = version.field("name");
        name.matches(names::dns1035_label);
        if seen.contains(&name.text()) {
            name.invalid("must contain unique version names");
        }
        seen.push(name.text());
        subresources(&version, list.len() == 1);
        columns(&version, list.len() == 1);
    }
    let stored = list.items().filter(|v| v.field("storage").truth()).count();
    if stored != 1 {
        let shown: Vec<String> = list.items().map(|v| version_shown(&v)).collect();
        let why = "must have exactly one version marked as storage version";
        list.invalid_as(&format!("[{}]", shown.join(",")), why);
        if stored == 0 {
            spec.named("status.storedVersions").invalid_as("null", "must have at least one stored version");
        }
    }
}

/// A version as the message shows it, without what one version alone keeps elsewhere.
fn version_shown(at: &At<'_>) -> String {
    format!(
        "{{\"Name\":{:?},\"Served\":{},\"Storage\":{},\"Deprecated\":{},\"DeprecationWarning\":null,\"Schema\":null,\"Subresources\":null,\"AdditionalPrinterColumns\":null,\"SelectableFields\":null}}",
        at.get("name"),
        at.field("served").truth(),
        at.field("storage").truth(),
        at.field("deprecated").truth()
    )
}

/// What a single version says is said to stand in the spec itself.
fn place<'a>(version: &At<'a>, key: &str, single: bool) -> At<'a> {
    let at = version.field(key);
    if single { at.named(format!("spec.{key}")) } else { at }
}

fn subresources(version: &At<'_>, single: bool) {
    let scale = place(version, "subresources", single).field("scale");
    if !scale.is() {
        return;
    }
    for (key, under) in [("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")] {
        let path = scale.field(key);
        match path.text() {
            "" => path.required(""),
            text if !text.starts_with(&format!("{under}.")) => {
                path.invalid(&format!("should be a json path under {under}"));
            }
            _ => {}
        }
    }
}

const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];

fn columns(version: &At<'_>, single: bool) {
    for column in place(version, "additionalPrinterColumns", single).items() {
        column.field("name").not_empty();
        let kind = column.field("type");
        match kind.text() {
            "" => kind.required(&format!("must be one of {}", COLUMN_TYPES.join(","))),
            text if !COLUMN_TYPES.contains(&text) => {
                kind.invalid(&format!("must be one of {}", COLUMN_TYPES.join(",")));
            }
            _ => {}
        }
        let path = column.field("jsonPath").named(format!("{}.JSONPath", column.path));
        match path.text() {
            "" => path.required(""),
            text if !text.starts_with('.') => path.invalid("must be a simple json path starting with ."),
            _ => {}
        }
    }
}

fn spec_names(at: &At<'_>) {
    at.field("plural").required_matches(names::dns1035_label);
    at.field("singular").required_matches(names::dns1035_label);
    for key in ["kind", "listKind"] {
        let name = at.field(key);
        match name.text() {
            "" => name.required(""),
            text => names::dns1035_label(&text.to_lowercase()).iter().for_each(|why| {
                name.invalid(&format!("may have mixed case, but should otherwise match: {why}"));
            }),
        }
    }
    for key in ["shortNames", "categories"] {
        at.field(key).items().for_each(|n| n.matches(names::dns1035_label));
    }
    if !at.get("kind").is_empty() && at.get("kind") == at.get("listKind") {
        at.field("listKind").invalid("kind and listKind may not be the same");
    }
}

fn conversion(at: &At<'_>) {
    if !at.is() {
        return;
    }
    let hook = at.field("webhook");
    let (config, known) = (hook.field("clientConfig"), hook.field("conversionReviewVersions"));
    match at.get("strategy") {
        "None" if hook.is() => hook.forbidden("should not be set when strategy is not set to Webhook"),
        "None" => {}
        "Webhook" => {
            let config = config.named(format!("{}.webhookClientConfig", at.path));
            match config.is() {
                true => client(&config),
                false => config.required("required when strategy is set to Webhook"),
            }
            if known.is_empty() {
                known.named(format!("{}.conversionReviewVersions", at.path)).required("");
            }
        }
        _ => at.field("strategy").one_of(&["None", "Webhook"]),
    }
}

fn approval(root: &At<'_>, group: &str) {
    let protected = |suffix: &&str| group == *suffix || group.ends_with(&format!(".{suffix}"));
    let annotations = root.fields(&["metadata", "annotations"]);
    if PROTECTED.iter().any(protected) && annotations.get(APPROVAL).is_empty() {
        annotations.key(APPROVAL).required(&format!(
            "protected groups must have approval annotation {APPROVAL:?}, see https://github.com/kubernetes/enhancements/pull/1111"
        ));
    }
}

pub(in crate::kinds) fn definition_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    let rules = |root: &At<'_>| {
        let spec = root.field("spec");
        let established = old.at(&["status", "conditions"]).and_then(Value::as_list).is_some_and(|list| {
            let is = |v: &Value, key: &str, text: &str| v.get(key).and_then(Value::as_str) == Some(text);
            list.iter().any(|v| is(v, "type", "Established") && is(v, "status", "True"))
        });
        if established {
            immutable(&spec.field("scope"), old.at(&["spec", "scope"]));
            immutable(&spec.fields(&["names", "kind"]), old.at(&["spec", "names", "kind"]));
        }
        immutable(&spec.field("group"), old.at(&["spec", "group"]));
        immutable(&spec.fields(&["names", "plural"]), old.at(&["spec", "names", "plural"]));
    };
    updated(new, old, c, out, rules, |_| {});
}
