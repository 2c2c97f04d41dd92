//! Pods: their specs, wherever they stand, and what of a pod may change.

use super::at::{At, Errors};
use super::containers::{self, Pod};
use super::metadata::{self, differs};
use super::{placement, resources, security, volumes, words};
use crate::kind::Context;
use crate::kinds::pod_spec::qos_class;
use crate::names;
use crate::object::Object;
use crate::status::{FieldError, FieldReason};
use crate::value::{Map, Value};

const NOT_ON_CREATE: &str = "Forbidden: cannot be set on create";

pub(in crate::kinds) fn pod(object: &Object, out: &mut Vec<FieldError>) {
    let errors = Errors::default();
    let root = At::root(object, &errors);
    metadata::metadata(&root.field("metadata"), names::dns1123_subdomain);
    mirror(&root);
    let spec = root.field("spec");
    pod_spec(&spec, &errors);
    let ephemeral = spec.field("ephemeralContainers");
    if !ephemeral.is_empty() {
        ephemeral.say(FieldReason::Forbidden, NOT_ON_CREATE);
    }
    out.extend(errors.into_list());
}

/// A pod that a kubelet made from a file says where it runs.
fn mirror(root: &At<'_>) {
    let annotation = "kubernetes.io/config.mirror";
    let place = root.fields(&["metadata", "annotations"]).pairs().find(|(k, _)| *k == annotation);
    if let Some((_, at)) = place.filter(|_| root.field("spec").get("nodeName").is_empty()) {
        at.invalid_text(at.text(), "must set spec.nodeName if mirror pod annotation is set");
    }
}

/// The rules of a pod spec. `errors` is the list that `spec` complains to.
pub(super) fn pod_spec(spec: &At<'_>, errors: &Errors) {
    pod_spec_with(spec, errors, &[]);
}

/// The same where volumes of these names are added for each pod.
fn pod_spec_with<'a>(spec: &At<'a>, errors: &Errors, added: &[&'a str]) {
    let mut volumes = volumes::volumes(&spec.field("volumes"), errors);
    volumes.extend(added.iter().map(|name| (*name, true)));
    claims(&spec.field("resourceClaims"));
    let claims = spec.field("resourceClaims");
    let refers = Pod {
        volumes,
        claims: claims.items().map(|c| c.get("name")).collect(),
        host_network: spec.field("hostNetwork").truth(),
        host_users: spec.field("hostUsers").value.and_then(Value::as_bool).unwrap_or(true),
        grace_seconds: spec.field("terminationGracePeriodSeconds").int().unwrap_or(30),
    };
    containers::containers(spec, &refers);
    spec.field("restartPolicy").one_of(&["Always", "OnFailure", "Never"]);
    spec.field("dnsPolicy").one_of(&["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
    metadata::labels(&spec.field("nodeSelector"));
    security::pod(spec);
    placement::affinity(&spec.field("affinity"));
    dns(spec);
    placement::gates(spec);
    placement::spread(&spec.field("topologySpreadConstraints"));
    let all: Vec<At<'_>> =
        ["containers", "initContainers"].iter().flat_map(|l| spec.field(l).items().collect::<Vec<_>>()).collect();
    named(&spec.field("serviceAccountName"));
    named(&spec.field("nodeName"));
    let deadline = spec.field("activeDeadlineSeconds");
    if deadline.is() {
        deadline.between(1, i64::from(i32::MAX));
    }
    for host in ["hostname", "subdomain"].map(|h| spec.field(h)) {
        if !host.text().is_empty() {
            host.matches(names::dns1123_label);
        }
    }
    placement::tolerations(&spec.field("tolerations"));
    host_aliases(&spec.field("hostAliases"));
    named(&spec.field("priorityClassName"));
    if spec.has("runtimeClassName") {
        spec.field("runtimeClassName").matches(names::dns1123_subdomain);
    }
    preemption(&spec.field("preemptionPolicy"));
    resources::overhead(&spec.field("overhead"));
    let whole = spec.field("resources");
    if whole.is() {
        resources::of_pod(&whole, &refers.claims);
    }
    let own_name = spec.field("hostnameOverride");
    if own_name.is() {
        own_name.matches(names::dns1123_subdomain);
    }
    security::system(spec, &all);
}

/// Whether pods of a priority may push out others.
pub(super) fn preemption(at: &At<'_>) {
    if !at.is() {
        return;
    }
    match at.is_empty() {
        true => at.required(""),
        false => at.one_of(&["PreemptLowerPriority", "Never"]),
    }
}

fn named(at: &At<'_>) {
    if !at.text().is_empty() {
        at.matches(names::dns1123_subdomain);
    }
}

fn claims(list: &At<'_>) {
    const CLAIM: &str = "io.k8s.api.core.v1.PodResourceClaim";
    let mut seen: Vec<&str> = Vec::new();
    for claim in list.items() {
        let name = claim.field("name");
        name.required_matches(names::dns1123_label);
        if !name.text().is_empty() && seen.contains(&name.text()) {
            name.duplicate();
        }
        seen.push(name.text());
        match (claim.has("resourceClaimName"), claim.has("resourceClaimTemplateName")) {
            (true, true) => claim.invalid_inner(
                CLAIM,
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            ),
            (false, false) => {
                claim.invalid_inner(CLAIM, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
            }
            _ => {}
        }
        named(&claim.field("resourceClaimName"));
        named(&claim.field("resourceClaimTemplateName"));
    }
}

const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_LETTERS: usize = 2048;

fn dns(spec: &At<'_>) {
    let at = spec.field("dnsConfig");
    let servers = at.field("nameservers");
    if spec.get("dnsPolicy") == "None" && servers.is_empty() {
        match at.is() {
            true => servers.required("must provide at least one DNS nameserver when `dnsPolicy` is None"),
            false => at.required("must provide `dnsConfig` when `dnsPolicy` is None"),
        }
    }
    if servers.len() > MAX_NAMESERVERS {
        servers.invalid("must not have more than 3 nameservers");
    }
    servers.items().for_each(|s| s.matches(words::ip));
    let searches = at.field("searches");
    if searches.len() > MAX_SEARCHES {
        searches.invalid("must not have more than 32 search paths");
    }
    if searches.items().map(|s| s.text().len() + 1).sum::<usize>() > MAX_SEARCH_LETTERS + 1 {
        searches.invalid("must not have more than 2048 characters (including spaces) in the search list");
    }
    for search in searches.items().filter(|s| s.text() != ".") {
        let text = search.text();
        dns_search(text.strip_suffix('.').unwrap_or(text)).iter().for_each(|why| search.invalid_text(text, why));
    }
    for option in at.field("options").items() {
        if option.get("name").is_empty() {
            option.required("must not be empty");
        }
    }
}

/// A domain whose parts may have underscores.
fn dns_search(text: &str) -> Vec<String> {
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let part = |p: &str| {
        let p = p.strip_prefix('_').unwrap_or(p).as_bytes();
        let (Some(first), Some(last)) = (p.first(), p.last()) else { return false };
        lower(*first) && lower(*last) && p.iter().all(|b| lower(*b) || matches!(b, b'-' | b'_'))
    };
    match text.split('.').all(part) {
        true => Vec::new(),
        false => vec!["a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')".into()],
    }
}

fn host_aliases(at: &At<'_>) {
    for alias in at.items() {
        alias.field("ip").matches(words::ip);
        alias.field("hostnames").items().for_each(|h| h.matches(names::dns1123_subdomain));
    }
}

const CHANGES: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(in crate::kinds) fn pod_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    let errors = Errors::default();
    let root = At::root(new, &errors);
    match context.subresource {
        "" => {
            out.retain(|e| e.message != NOT_ON_CREATE);
            changes(&root.field("spec"), old);
        }
        "status" => {
            out.clear();
            status(&root.field("status"));
        }
        "ephemeralcontainers" => {
            out.retain(|e| e.message != NOT_ON_CREATE);
            ephemeral(&root.fields(&["spec", "ephemeralContainers"]), old);
        }
        "resize" => {
            out.retain(|e| e.message != NOT_ON_CREATE);
            resize(&root, new, old);
        }
        _ => out.retain(|e| e.message != NOT_ON_CREATE),
    }
    out.extend(errors.into_list());
    metadata::update(new, old, out);
}

fn changes(spec: &At<'_>, old: &Object) {
    for list in ["containers", "initContainers"] {
        let before = old.at(&["spec", list]).and_then(Value::as_list).map_or(0, <[Value]>::len);
        if spec.field(list).len() != before {
            return spec.field(list).forbidden(match list {
                "containers" => "pod updates may not add or remove containers",
                _ => "pod updates may not add or remove init containers",
            });
        }
    }
    let found = deadline(&spec.field("activeDeadlineSeconds"), old)
        | gates(&spec.field("schedulingGates"), old)
        | tolerations(&spec.field("tolerations"), old);
    let empty = Map::new();
    let before = old.at(&["spec"]).and_then(Value::as_map).unwrap_or(&empty);
    let now = spec.value.and_then(Value::as_map).unwrap_or(&empty);
    if found {
        return;
    }
    let (fixed, before) = (Value::Map(fixed(now, before)), Value::Map(before.clone()));
    if fixed != before {
        let changes = super::inner::changes(Some(&before), Some(&fixed), "io.k8s.api.core.v1.PodSpec", None);
        spec.forbidden(&format!("{CHANGES}\n{changes}"));
    }
}

/// A spec with what may change as it was.
fn fixed(spec: &Map, old: &Map) -> Map {
    let mut spec = spec.clone();
    let asked = spec.get("terminationGracePeriodSeconds").cloned();
    let mut as_it_was = |field: &'static str| match old.get(field) {
        Some(value) => drop(spec.insert(field, value.clone())),
        None => drop(spec.remove(field)),
    };
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        as_it_was(field);
    }
    let held = |s: &Map| s.get("schedulingGates").and_then(Value::as_list).is_some_and(|g| !g.is_empty());
    if held(old) {
        as_it_was("nodeSelector");
        as_it_was("affinity");
    }
    let was_negative = old.get("terminationGracePeriodSeconds").and_then(Value::as_i64).is_some_and(|g| g < 0);
    if was_negative && asked == Some(Value::Int(1)) {
        as_it_was("terminationGracePeriodSeconds");
    }
    for list in ["containers", "initContainers"] {
        let before = old.get(list).and_then(Value::as_list).unwrap_or(&[]);
        let now = spec.get_mut(list).and_then(Value::as_list_mut).into_iter().flatten();
        for (one, was) in now.zip(before) {
            if let (Some(container), Some(image)) = (one.as_map_mut(), was.get("image")) {
                container.insert("image", image.clone());
            }
        }
    }
    spec
}

fn deadline(at: &At<'_>, old: &Object) -> bool {
    let before = old.i64_at(&["spec", "activeDeadlineSeconds"]);
    match (at.int(), before) {
        (Some(now), Some(before)) if now > before => {
            at.invalid("must be less than or equal to previous value");
            true
        }
        (None, Some(_)) => {
            at.invalid_as("null", "must not update from a positive integer to nil value");
            true
        }
        _ => false,
    }
}

fn gates(at: &At<'_>, old: &Object) -> bool {
    let before = old.at(&["spec", "schedulingGates"]).and_then(Value::as_list).unwrap_or(&[]);
    let known = |name: &str| before.iter().any(|g| g.get("name").and_then(Value::as_str) == Some(name));
    let mut found = false;
    for gate in at.items().filter(|g| !known(g.get("name"))) {
        let why = format!("only deletion is allowed, but found new scheduling gate '{}'", gate.get("name"));
        gate.field("name").forbidden(&why);
        found = true;
    }
    found
}

fn tolerations(at: &At<'_>, old: &Object) -> bool {
    let plain = |v: &Value| {
        let mut map = v.as_map().cloned().unwrap_or_default();
        map.remove("tolerationSeconds");
        map
    };
    let before = old.at(&["spec", "tolerations"]).and_then(Value::as_list).unwrap_or(&[]);
    let lost = before.iter().any(|b| !at.list().iter().any(|n| plain(n) == plain(b)));
    if lost {
        at.forbidden("existing toleration can not be modified except its tolerationSeconds");
    }
    lost
}

fn ephemeral(at: &At<'_>, old: &Object) {
    let before = old.at(&["spec", "ephemeralContainers"]).and_then(Value::as_list).unwrap_or(&[]);
    for one in before {
        let name = one.get("name").and_then(Value::as_str).unwrap_or("");
        match at.items().find(|n| n.get("name") == name) {
            None => at.forbidden(&format!("existing ephemeral containers {name:?} may not be removed\n")),
            Some(now) if differs(now.value, Some(one)) => {
                const TYPE: &str = "io.k8s.api.core.v1.EphemeralContainer";
                let changes = super::inner::changes(Some(one), now.value, TYPE, None);
                at.forbidden(&format!("existing ephemeral containers {name:?} may not be changed\n{changes}"));
            }
            Some(_) => {}
        }
    }
}

/// What `resize` may change: CPU and memory of containers and sidecars, within the pod's class of service.
fn resize(root: &At<'_>, new: &Object, old: &Object) {
    let spec = root.field("spec");
    if old.annotation("kubernetes.io/config.mirror").is_some() {
        return root.forbidden("static pods cannot be resized");
    }
    if old.str_at(&["spec", "os", "name"]) == "windows" {
        return root.forbidden("windows pods cannot be resized");
    }
    let class = |pod: &Object| pod.at(&["spec"]).and_then(Value::as_map).map_or("", qos_class);
    if class(new) != class(old) {
        spec.invalid_text(class(old), "Pod QOS Class may not change as a result of resizing");
    }
    if !can_resize(old) {
        spec.forbidden("Pod running on node without support for resize");
    }
    for list in ["containers", "initContainers"] {
        let before = old.at(&["spec", list]).and_then(Value::as_list).unwrap_or(&[]);
        for (container, was) in spec.field(list).items().zip(before) {
            let runs_on = list == "containers" || container.get("restartPolicy") == "Always";
            resize_container(&container, was, runs_on, &spec);
        }
    }
}

fn resize_container(container: &At<'_>, was: &Value, runs_on: bool, spec: &At<'_>) {
    if was.get("name").and_then(Value::as_str) != Some(container.get("name")) {
        container.field("name").forbidden("containers may not be renamed or reordered on resize");
    }
    let resources = container.field("resources");
    let before = was.get("resources");
    if !runs_on {
        if differs(resources.value, before) {
            resources.forbidden("resources for non-sidecar init containers are immutable");
        }
        return;
    }
    for list in ["limits", "requests"] {
        let before = before.and_then(|r| r.get(list)).and_then(Value::as_map);
        if before.into_iter().flat_map(Map::keys).any(|key| !resources.field(list).has(key)) {
            resources.field(list).forbidden(&format!("resource {list} cannot be removed"));
        }
    }
    // Everything but the amounts of these two.
    let others = |value: Option<&Value>| {
        let mut resources = value.and_then(Value::as_map).cloned().unwrap_or_default();
        for list in ["limits", "requests"] {
            let mut amounts = resources.get(list).and_then(Value::as_map).cloned().unwrap_or_default();
            amounts.remove("cpu");
            amounts.remove("memory");
            resources.insert(list, amounts);
        }
        Value::Map(resources)
    };
    if others(resources.value) != others(before) {
        spec.forbidden("only cpu and memory resources are mutable");
    }
}

/// Whether the pod's node resizes: one that does tells the resources of what runs there.
fn can_resize(pod: &Object) -> bool {
    let statuses = pod.at(&["status", "containerStatuses"]).and_then(Value::as_list).unwrap_or(&[]);
    let running = statuses.iter().find(|s| s.at(&["state", "running"]).is_some_and(|r| !r.is_null()));
    running.is_none_or(|s| s.get("resources").is_some_and(|r| !r.is_null()))
}

fn status(at: &At<'_>) {
    named(&at.field("nominatedNodeName"));
    for ips in ["podIPs", "hostIPs"] {
        for one in at.field(ips).items() {
            let ip = one.get("ip");
            words::ip(ip).iter().for_each(|why| one.invalid_text(ip, why));
        }
    }
}

pub(in crate::kinds) fn pod_template(object: &Object, out: &mut Vec<FieldError>) {
    let errors = Errors::default();
    let root = At::root(object, &errors);
    metadata::metadata(&root.field("metadata"), names::dns1123_subdomain);
    template(&root.field("template"), &errors);
    out.extend(errors.into_list());
}

/// A `PodTemplateSpec`.
pub(super) fn template(at: &At<'_>, errors: &Errors) {
    template_with(at, errors, &[]);
}

/// The same where volumes of these names are added for each pod.
pub(super) fn template_with<'a>(at: &At<'a>, errors: &Errors, added: &[&'a str]) {
    metadata::labels(&at.fields(&["metadata", "labels"]));
    metadata::annotations(&at.fields(&["metadata", "annotations"]));
    let spec = at.field("spec");
    pod_spec_with(&spec, errors, added);
    if !spec.field("ephemeralContainers").is_empty() {
        spec.field("ephemeralContainers").forbidden("ephemeral containers not allowed in pod template");
    }
}
