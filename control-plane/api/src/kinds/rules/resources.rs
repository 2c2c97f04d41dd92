//! What containers ask for: limits, requests, claims, and how resizing is done.

use super::at::At;
use super::words;
use crate::names;
use crate::quantity::Quantity;
use crate::quota;

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
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// A resource that someone else defines.
pub(super) fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::qualified_name(&format!("requests.{name}")).is_empty()
}

pub(super) fn is_huge(name: &str) -> bool {
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
    } else if !is_native(name) && !is_extended(name) {
        at.invalid_text(name, "doesn't follow extended resource name standard");
    }
}

/// What there is no part of.
const WHOLE: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// An amount of a resource: not negative, and whole where the resource has no parts.
pub(super) fn resource_amount(at: &At<'_>, name: &str) {
    words::amount_not_negative(at);
    let whole = is_extended(name) || WHOLE.contains(&name);
    if let Some(quantity) = words::amount(at).filter(|q| whole && q.milli() % 1000 != 0) {
        at.invalid_text(&quantity.to_string(), "must be an integer");
    }
}

/// Huge pages are had one by one.
fn huge_amount(at: &At<'_>, name: &str) {
    let Some((amount, size)) = words::amount(at).zip(name.strip_prefix("hugepages-")) else { return };
    let size = Quantity::parse(size).ok().filter(|s| s.signum() > 0 && s.milli() % 1000 == 0);
    if size.is_none_or(|size| amount.value() % size.value() != 0) {
        let shown = amount.to_string();
        at.invalid_text(&shown, &format!("{shown} is not positive integer multiple of {name}"));
    }
}

/// What pods of a class or a template need beyond their containers: upstream reads it as limits.
pub(super) fn overhead(at: &At<'_>) {
    for (name, amount) in at.pairs() {
        let place = amount.named(format!("{}.limits[{name}]", at.path));
        container_resource(&place, name);
        resource_amount(&place, name);
        huge_amount(&place, name);
    }
    let has = |test: fn(&str) -> bool| at.pairs().any(|(name, _)| test(name));
    if has(is_huge) && !has(is_compute) {
        at.forbidden(HUGE_ALONE);
    }
}

const HUGE_ALONE: &str = "HugePages require cpu or memory";

fn is_compute(name: &str) -> bool {
    matches!(name, "cpu" | "memory")
}

/// The resources of a container; `claims` are those of the pod.
pub(super) fn requirements(at: &At<'_>, claims: &[&str]) {
    requirements_of(at, claims, container_resource);
}

/// The resources of a pod as a whole; `spec` is the pod's.
pub(super) fn of_pod(spec: &At<'_>, claims: &[&str]) {
    let at = spec.field("resources");
    if !at.is() {
        return;
    }
    if spec.fields(&["os", "name"]).text() == "windows" {
        return at.forbidden("may not be set for a windows pod");
    }
    if at.has("claims") {
        at.field("claims").forbidden("claims may not be set for Resources at pod-level");
    }
    requirements_of(&at, claims, |at, name| {
        let before = at.errors_count();
        resource_name(at, name);
        if at.errors_count() == before && !is_compute(name) && !is_huge(name) {
            at.unsupported_as(&format!("{name:?}"), &["cpu", "hugepages-", "memory"]);
        }
    });
    containers_fit(spec, &at);
}

/// What the containers have together is no more than what their pod has.
fn containers_fit(spec: &At<'_>, at: &At<'_>) {
    for (what, sum) in [("requests", "aggregate container requests"), ("limits", "aggregate container limits")] {
        let of_pod = at.field(what);
        for (name, together) in quota::of_containers(spec.value, what) {
            let Some(amount) = of_pod.pairs().find(|(n, _)| *n == name).map(|(_, a)| a) else { continue };
            let Some(own) = words::amount(&amount).filter(|own| together > *own) else { continue };
            if what == "requests" || is_huge(&name) {
                amount.invalid_text(&own.to_string(), &format!("must be greater than or equal to {sum} of {together}"));
            }
        }
    }
    for (i, container) in spec.field("containers").items().enumerate() {
        for (name, limit) in container.fields(&["resources", "limits"]).pairs() {
            let of_pod = at.field("limits").pairs().find(|(n, _)| *n == name).and_then(|(_, l)| words::amount(&l));
            let Some((limit, of_pod)) = words::amount(&limit).zip(of_pod).filter(|(own, most)| own > most) else {
                continue;
            };
            let place = at.named(format!("{}.containers[{i}][{name}].limits", at.path));
            place.invalid_text(&limit.to_string(), &format!("must be less than or equal to pod limits of {of_pod}"));
        }
    }
}

fn requirements_of(at: &At<'_>, claims: &[&str], named: fn(&At<'_>, &str)) {
    let (limits, requests) = (at.field("limits"), at.field("requests"));
    for (name, limit) in limits.pairs() {
        named(&limit, name);
        resource_amount(&limit, name);
        huge_amount(&limit, name);
    }
    for (name, request) in requests.pairs() {
        named(&request, name);
        resource_amount(&request, name);
        within_limit(&requests, &limits, name, &request);
        huge_amount(&request, name);
    }
    let has = |test: fn(&str) -> bool| [&limits, &requests].iter().any(|l| l.pairs().any(|(name, _)| test(name)));
    if has(is_huge) && !has(is_compute) {
        at.forbidden(HUGE_ALONE);
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
        if seen.iter().any(|s| s == name) {
            claim.duplicate_as(&format!("{name:?}"), "");
        } else {
            if !request.is_empty() {
                request.matches(names::dns1123_label);
            }
            seen_once(&claim, &mut seen);
        }
        if !known.contains(&name) {
            claim.not_found(name, &one_of_claims(known));
        }
    }
}

/// A claim, or one request of it; the whole is none of its parts.
fn seen_once(claim: &At<'_>, seen: &mut Vec<String>) {
    let (name, request) = (claim.get("name"), claim.get("request"));
    let key = if request.is_empty() { name.to_owned() } else { format!("{name}/{request}") };
    if seen.contains(&key) {
        return claim.duplicate_as(&format!("{key:?}"), "");
    }
    if request.is_empty() {
        let part = format!("{name}/");
        seen.iter().filter(|s| s.starts_with(&part)).for_each(|_| claim.duplicate_as(&format!("{name:?}"), ""));
    }
    seen.push(key);
}

fn one_of_claims(known: &[&str]) -> String {
    let mut names = known.to_vec();
    names.sort_unstable();
    names.dedup();
    match names.is_empty() {
        true => "must be one of the names in pod.spec.resourceClaims which is empty".to_owned(),
        false => format!("must be one of the names in pod.spec.resourceClaims: {}", names.join(", ")),
    }
}

/// How a container takes a change of its resources; `restarts` is when its pod restarts containers.
pub(super) fn resize_policy(at: &At<'_>, restarts: &str) {
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
        let policy = policy.get("restartPolicy");
        known(policy, &["NotRequired", "RestartContainer"]);
        if restarts == "Never" && policy != "NotRequired" {
            at.invalid_text(policy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
        }
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
