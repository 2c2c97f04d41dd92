//! What a cluster is run with: priority levels and flow schemas, aggregated APIs.

use super::at::At;
use super::workloads::{checked, status_updated};
use crate::kind::Context;
use crate::names;
use crate::object::Object;
use crate::status::FieldError;
use base64::prelude::{BASE64_STANDARD, Engine};

pub(in crate::kinds) fn priority_level(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        let kind = spec.field("type");
        let exempt = root.field("metadata").get("name") == "exempt";
        if (kind.text() == "Exempt") != exempt {
            kind.invalid("must be 'Exempt' if and only if `name` is 'exempt'");
        }
        let limited = spec.field("limited");
        match kind.text() {
            "Exempt" if limited.is() => limited.forbidden("must be nil if the type is not Limited"),
            "Exempt" => {}
            "Limited" if spec.has("exempt") => {
                spec.field("exempt").forbidden("must be nil if the type is Limited");
                limits(&limited);
            }
            "Limited" if !limited.is() => limited.required("must not be empty when type is Limited"),
            "Limited" => limits(&limited),
            _ => kind.unsupported(&["Exempt", "Limited"]),
        }
    });
}

fn limits(at: &At<'_>) {
    let shares = at.field("nominalConcurrencyShares");
    if shares.int().is_some_and(|s| s < 0) {
        shares.invalid("must be a non-negative integer");
    }
    let response = at.field("limitResponse");
    let queuing = response.field("queuing");
    match response.get("type") {
        "Reject" if queuing.is() => queuing.forbidden("must be nil if limited.limitResponse.type is not Limited"),
        "Reject" => {}
        "Queue" if !queuing.is() => queuing.required("must not be empty if limited.limitResponse.type is Limited"),
        "Queue" => queues(&queuing),
        _ => response.field("type").unsupported(&["Queue", "Reject"]),
    }
    if at.field("lendablePercent").int().is_some_and(|p| !(0..=100).contains(&p)) {
        at.field("lendablePercent").between(0, 100);
    }
    let borrowing = at.field("borrowingLimitPercent");
    if borrowing.int().is_some_and(|p| p < 0) {
        borrowing.invalid("if specified, must be a non-negative integer");
    }
}

fn queues(at: &At<'_>) {
    let number = |key: &str| at.field(key).int().unwrap_or(0);
    for key in ["queueLengthLimit", "queues"] {
        if number(key) <= 0 {
            at.field(key).invalid_as(&number(key).to_string(), "must be positive");
        }
    }
    if number("handSize") <= 0 {
        at.field("handSize").invalid_as(&number("handSize").to_string(), "must be positive");
    } else if number("handSize") > number("queues") {
        at.field("handSize").invalid(&format!("should not be greater than queues ({})", number("queues")));
    }
}

/// Flow schemas and priority levels alike: their conditions have types, each another.
pub(in crate::kinds) fn flow_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    status_updated(new, old, context, out, |status| {
        let mut seen: Vec<&str> = Vec::new();
        for kind in status.field("conditions").items().map(|c| c.field("type")) {
            if seen.contains(&kind.text()) {
                kind.duplicate_as(&format!("{:?}", kind.text()), "");
            }
            seen.push(kind.text());
            kind.not_empty();
        }
    });
}

pub(in crate::kinds) fn api_service_update(
    new: &Object,
    old: &Object,
    context: Context<'_>,
    out: &mut Vec<FieldError>,
) {
    status_updated(new, old, context, out, |status| {
        for condition in status.field("conditions").items() {
            condition.field("status").one_of(&["True", "False", "Unknown"]);
        }
    });
}

pub(in crate::kinds) fn flow_schema(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        let name = root.field("metadata").get("name");
        let precedence = spec.field("matchingPrecedence");
        let number = precedence.int().unwrap_or(0);
        if number <= 0 || number > 10_000 {
            precedence.invalid_as(&number.to_string(), "must be positive and less than or equal to 10000");
        }
        if number == 1 && name != "exempt" {
            precedence.invalid("only the schema named 'exempt' may have matchingPrecedence 1");
        }
        let level = spec.fields(&["priorityLevelConfiguration", "name"]);
        match level.is_empty() {
            true => level.required("must reference a priority level"),
            false => level.matches(names::dns1123_subdomain),
        }
        let method = spec.field("distinguisherMethod");
        if method.is() && !matches!(method.get("type"), "ByNamespace" | "ByUser") {
            let shown = format!("{{\"Type\":{:?}}}", method.get("type"));
            method.field("type").unsupported_as(&shown, &["ByNamespace", "ByUser"]);
        }
        spec.field("rules").items().for_each(|rule| flow_rules(&rule));
    });
}

fn flow_rules(rule: &At<'_>) {
    let subjects = rule.field("subjects");
    subjects.not_empty();
    subjects.items().for_each(|s| flow_subject(&s));
    let (resources, others) = (rule.field("resourceRules"), rule.field("nonResourceRules"));
    if resources.is_empty() && others.is_empty() {
        rule.required("at least one of resourceRules and nonResourceRules has to be non-empty");
    }
    resources.items().for_each(|r| flow_rule(&r));
    others.items().for_each(|r| flow_paths(&r));
}

fn flow_subject(at: &At<'_>) {
    let parts = [("Group", "group"), ("ServiceAccount", "serviceAccount"), ("User", "user")];
    let Some((kind, part)) = parts.iter().find(|(kind, _)| at.get("kind") == *kind) else {
        return at.field("kind").unsupported(&["Group", "ServiceAccount", "User"]);
    };
    for (other, key) in parts.iter().filter(|(other, _)| other != kind) {
        if at.has(key) {
            at.field(key).forbidden(&format!("{key} is forbidden when subject kind is not '{other}'"));
        }
    }
    if !at.has(part) {
        return at.field(part).required(&format!("{part} is required when subject kind is '{kind}'"));
    }
    match *part {
        "serviceAccount" => {
            let (name, namespace) = (at.fields(&[part, "name"]), at.fields(&[part, "namespace"]));
            match name.text() {
                "" => name.required(""),
                "*" => {}
                _ => name.matches(names::dns1123_subdomain),
            }
            if namespace.text().is_empty() {
                namespace.required("must specify namespace for service account");
            } else {
                namespace.matches(names::dns1123_label);
            }
        }
        part => at.fields(&[part, "name"]).not_empty(),
    }
}

/// The verbs that rules may name, of resources and of paths alike.
const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

fn flow_verbs(verbs: &At<'_>) {
    if verbs.is_empty() {
        verbs.required("verbs must contain at least one value");
    } else if verbs.items().any(|v| v.text() == "*") {
        if verbs.len() > 1 {
            verbs.invalid("if '*' is present, must not specify other verbs");
        }
    } else if verbs.items().any(|v| !VERBS.contains(&v.text())) {
        verbs.unsupported(VERBS);
    }
}

fn flow_paths(at: &At<'_>) {
    flow_verbs(&at.field("verbs"));
    let urls = at.field("nonResourceURLs");
    if urls.is_empty() {
        urls.required("nonResourceURLs must contain at least one value");
    } else if urls.len() > 1 && urls.items().any(|u| u.text() == "*") {
        urls.invalid("if '*' is present, must not specify other non-resource URLs");
    } else {
        urls.items().filter(|u| u.text() != "*").for_each(|u| flow_path(&u));
    }
}

fn flow_path(at: &At<'_>) {
    let text = at.text();
    let inner = text.strip_suffix('*').unwrap_or(text);
    if text.is_empty() {
        at.invalid("must not be empty");
    } else if !text.starts_with('/') {
        at.invalid("must start with slash");
    } else if text.contains(' ') {
        at.invalid("must not contain white-space");
    } else if text.contains("//") {
        at.invalid("must not contain double slash");
    } else if inner.contains('*') || (text.ends_with('*') && !inner.ends_with('/')) {
        at.invalid("wildcard can only do suffix matching");
    }
}

fn flow_rule(at: &At<'_>) {
    flow_verbs(&at.field("verbs"));
    let lists = [
        ("apiGroups", "resource rules must supply at least one api group", "api groups"),
        ("resources", "resource rules must supply at least one resource", "resources"),
    ];
    for (key, missing, what) in lists {
        let list = at.field(key);
        if list.is_empty() {
            list.required(missing);
        } else if list.len() > 1 && list.items().any(|v| v.text() == "*") {
            list.invalid(&format!("if '*' is present, must not specify other {what}"));
        }
    }
    let namespaces = at.field("namespaces");
    if namespaces.is_empty() && !at.field("clusterScope").truth() {
        namespaces.required("resource rules that are not cluster scoped must supply at least one namespace");
    }
}

pub(in crate::kinds) fn api_service(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, super::metadata::path_segment, out, |root, _| {
        let spec = root.field("spec");
        let name = root.fields(&["metadata", "name"]);
        let (wanted, group) = (format!("{}.{}", spec.get("version"), spec.get("group")), spec.field("group"));
        for name in [root.fields(&["metadata", "generateName"]), name] {
            if !name.is_empty() && name.text() != wanted && super::metadata::path_segment(name.text()).is_empty() {
                name.invalid(&format!("must be `spec.version+\".\"+spec.group`: {wanted:?}"));
            }
        }
        match group.is_empty() {
            true if spec.get("version") != "v1" => {
                group.required("only v1 may have an empty group and it better be legacy kube");
            }
            true => {}
            false => group.matches(names::dns1123_subdomain),
        }
        spec.field("version").matches(names::dns1035_label);
        for (key, limit) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
            let at = spec.field(key);
            let number = at.int().unwrap_or(0);
            if number <= 0 || number > limit {
                at.invalid_as(&number.to_string(), &format!("must be positive and less than {limit}"));
            }
        }
        let insecure = spec.field("insecureSkipTLSVerify");
        if !spec.has("service") {
            let bundle = spec.field("caBundle");
            if !bundle.is_empty() {
                let size = BASE64_STANDARD.decode(bundle.text()).map_or(0, |b| b.len());
                bundle.invalid_text(&format!("{size} bytes"), "local APIServices may not have a caBundle");
            }
            if insecure.truth() {
                insecure.invalid("local APIServices may not have insecureSkipTLSVerify");
            }
            return;
        }
        spec.fields(&["service", "namespace"]).not_empty();
        spec.fields(&["service", "name"]).not_empty();
        let port = spec.fields(&["service", "port"]);
        let number = port.int().unwrap_or(0);
        if !(1..=65535).contains(&number) {
            port.invalid_as(&number.to_string(), "port is not valid: must be between 1 and 65535, inclusive");
        }
        if insecure.truth() && !spec.get("caBundle").is_empty() {
            insecure.invalid("may not be true if caBundle is present");
        }
    });
}
