//! What containers ask for: limits, requests, claims, and how resizing is done.

use super::at::At;
use super::words;
use crate::names;
use crate::quantity::Quantity;

const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "requests.storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "services.nodeports",
    "services.loadbalancers",
    "count/pods",
];

/// Whether the resource is one that Kubernetes defines: in no domain, or in its own.
pub(super) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.starts_with("kubernetes.io/")
}

/// A resource that someone else defines.
pub(super) fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.")
}

fn is_huge(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// The name of any resource.
pub(super) fn resource_name(at: &At<'_>, name: &str) {
    let wrong = names::qualified_name(name);
    wrong.iter().for_each(|why| at.invalid_text(name, why));
    if wrong.is_empty() && !name.contains('/') && !STANDARD.contains(&name) && !is_huge(name) {
        at.invalid_text(name, "must be a standard resource type or fully qualified");
    }
}

pub(super) fn container_resource(at: &At<'_>, name: &str) {
    resource_name(at, name);
    let known = matches!(name, "cpu" | "memory" | "ephemeral-storage") || is_huge(name);
    if !name.contains('/') && !known {
        at.invalid_text(name, "must be a standard resource for containers");
    }
}

/// An amount of a resource: not negative, and whole where the resource has no parts.
pub(super) fn resource_amount(at: &At<'_>, name: &str) {
    words::amount_not_negative(at);
    let whole = is_extended(name) || matches!(name, "pods" | "services" | "secrets" | "configmaps");
    if let Some(quantity) = words::amount(at).filter(|q| whole && q.milli() % 1000 != 0) {
        at.invalid_text(&quantity.to_string(), "must be an integer");
    }
}

/// What pods of a class or a template need beyond their containers: upstream reads it as limits.
pub(super) fn overhead(at: &At<'_>) {
    for (name, amount) in at.pairs() {
        let place = amount.named(format!("{}.limits[{name}]", at.path));
        container_resource(&place, name);
        resource_amount(&place, name);
    }
}

/// The resources of a container; `claims` are those of the pod.
pub(super) fn requirements(at: &At<'_>, claims: &[&str]) {
    requirements_of(at, claims, container_resource);
}

/// The resources of a pod as a whole.
pub(super) fn of_pod(at: &At<'_>, claims: &[&str]) {
    if at.has("claims") {
        at.field("claims").forbidden("claims may not be set for Resources at pod-level");
    }
    requirements_of(at, claims, |at, name| {
        let before = at.errors_count();
        resource_name(at, name);
        let known = matches!(name, "cpu" | "memory") || is_huge(name);
        if at.errors_count() == before && !known {
            at.unsupported_as(&format!("{name:?}"), &["cpu", "hugepages-", "memory"]);
        }
    });
}

fn requirements_of(at: &At<'_>, claims: &[&str], named: fn(&At<'_>, &str)) {
    let (limits, requests) = (at.field("limits"), at.field("requests"));
    for (name, limit) in limits.pairs() {
        named(&limit, name);
        resource_amount(&limit, name);
    }
    for (name, request) in requests.pairs() {
        named(&request, name);
        resource_amount(&request, name);
        within_limit(&requests, &limits, name, &request);
    }
    let has = |test: fn(&str) -> bool| [&limits, &requests].iter().any(|l| l.pairs().any(|(name, _)| test(name)));
    if has(is_huge) && !has(|name| matches!(name, "cpu" | "memory")) {
        at.forbidden("HugePages require cpu or memory");
    }
    claim_names(&at.field("claims"), claims);
}

fn within_limit(requests: &At<'_>, limits: &At<'_>, name: &str, request: &At<'_>) {
    let fixed = is_extended(name) || is_huge(name);
    let limit = limits.pairs().find(|(n, _)| *n == name).and_then(|(_, l)| words::amount(&l));
    let Some(asked) = words::amount(request) else { return };
    let shown = asked.to_string();
    match limit {
        Some(limit) if fixed && asked != limit => {
            requests.invalid_text(&shown, &format!("must be equal to {name} limit of {limit}"));
        }
        Some(limit) if !fixed && asked > limit => {
            requests.invalid_text(&shown, &format!("must be less than or equal to {name} limit of {limit}"));
        }
        None if fixed => limits.required("Limit must be set for non overcommitable resources"),
        _ => {}
    }
}

fn claim_names(at: &At<'_>, known: &[&str]) {
    let mut seen: Vec<String> = Vec::new();
    for claim in at.items() {
        let (name, request) = (claim.get("name"), claim.field("request"));
        if name.is_empty() {
            claim.required("");
            continue;
        }
        if !request.is_empty() {
            request.matches(names::dns1123_label);
        }
        let key = if request.is_empty() { name.to_owned() } else { format!("{name}/{}", request.text()) };
        let overlaps = |s: &String| *s == key || s == name || request.is_empty() && s.starts_with(&format!("{name}/"));
        if seen.iter().any(overlaps) {
            let shown = if seen.contains(&key) { key.as_str() } else { name };
            claim.duplicate_as(&format!("{shown:?}"), "");
        }
        if !known.contains(&name) {
            let why = match known.is_empty() {
                true => "must be one of the names in pod.spec.resourceClaims which is empty".to_owned(),
                false => {
                    let mut names = known.to_vec();
                    names.sort_unstable();
                    names.dedup();
                    format!("must be one of the names in pod.spec.resourceClaims: {}", names.join(", "))
                }
            };
            claim.not_found(name, &why);
        }
        seen.push(key);
    }
}

pub(super) fn resize_policy(at: &At<'_>) {
    let known = |text: &str, known: &[&str]| match text {
        "" => at.required(""),
        _ if !known.contains(&text) => at.unsupported_as(&format!("{text:?}"), known),
        _ => {}
    };
    let mut seen: Vec<&str> = Vec::new();
    for policy in at.items() {
        let resource = policy.get("resourceName");
        if seen.contains(&resource) {
            policy.duplicate_as(&format!("{resource:?}"), "");
        }
        seen.push(resource);
        known(resource, &["cpu", "memory"]);
        known(policy.get("restartPolicy"), &["NotRequired", "RestartContainer"]);
    }
}

/// Requests for storage, which a claim must make.
pub(super) fn storage_request(at: &At<'_>) {
    let requests = at.field("requests");
    let storage = requests.pairs().find(|(name, _)| *name == "storage").and_then(|(_, s)| words::amount(&s));
    let place = at.key("storage");
    match storage {
        None => place.required(""),
        Some(amount) if amount <= Quantity::ZERO => {
            place.invalid_text(&amount.to_string(), "must be greater than zero");
        }
        Some(_) => {}
    }
}
