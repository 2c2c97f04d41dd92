//! Pods: their specs, wherever they stand.

use super::at::{At, Errors};
use super::containers::{self, Pod};
use super::{annotations, environment, metadata, placement, resources, security, volumes, windows, words};
use crate::names;
use crate::object::Object;
use crate::status::FieldError;
use crate::value::Value;

pub(in crate::kinds) fn pod(object: &Object, out: &mut Vec<FieldError>) {
    let errors = Errors::default();
    let root = At::root(object, &errors);
    whole(&root, &errors);
    let spec = root.field("spec");
    let ephemeral = spec.field("ephemeralContainers");
    if !ephemeral.is_empty() {
        ephemeral.forbidden("cannot be set on create");
    }
    let node = spec.field("nodeName");
    if !node.is_empty() && !spec.field("schedulingGates").is_empty() {
        node.forbidden("cannot be set until all schedulingGates have been cleared");
    }
    annotations::match_fields(&root.fields(&["metadata", "annotations"]), &spec);
    out.extend(errors.into_list());
}

/// What holds for every pod, new or changed.
pub(super) fn whole(root: &At<'_>, errors: &Errors) {
    let (meta, spec) = (root.field("metadata"), root.field("spec"));
    metadata::metadata(&meta, names::dns1123_subdomain);
    annotations::of_pod(&meta.field("annotations"), &spec);
    pod_spec_with(&spec, errors, &[], Some(&meta));
    if spec.field("serviceAccountName").is_empty() {
        for volume in spec.field("volumes").items() {
            for source in volume.fields(&["projected", "sources"]).items().filter(|s| s.has("serviceAccountToken")) {
                source
                    .field("serviceAccountToken")
                    .forbidden("must not be specified when serviceAccountName is not set");
            }
        }
    }
    for list in ["containers", "initContainers"] {
        spec.field(list).items().for_each(|c| containers::trimmed_image(&c));
    }
}

/// The rules of a pod spec, where volumes of the names in `added` are added for each pod. `errors` is the list that
/// `spec` complains to; `meta` is that of a pod itself.
fn pod_spec_with<'a>(spec: &At<'a>, errors: &Errors, added: &[&'a str], meta: Option<&At<'_>>) {
    let mut volumes = volumes::volumes(&spec.field("volumes"), errors, meta);
    volumes.extend(added.iter().map(|name| (*name, true)));
    claims(&spec.field("resourceClaims"), meta);
    let claims = spec.field("resourceClaims");
    let refers = Pod {
        volumes,
        claims: claims.items().map(|c| c.get("name")).filter(|name| !name.is_empty()).collect(),
        host_users: spec.field("hostUsers").value.and_then(Value::as_bool).unwrap_or(true),
        grace_seconds: spec.field("terminationGracePeriodSeconds").int().unwrap_or(30),
        restart_policy: spec.get("restartPolicy"),
    };
    containers::containers(spec, &refers);
    resources::of_pod(spec, &refers.claims);
    if spec.field("hostNetwork").truth() {
        containers::ports_of_host(&spec.field("containers"), meta.is_some());
    }
    required_one_of(&spec.field("restartPolicy"), &["Always", "OnFailure", "Never"]);
    required_one_of(&spec.field("dnsPolicy"), &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
    metadata::labels(&spec.field("nodeSelector"));
    security::pod(spec);
    placement::affinity(&spec.field("affinity"));
    dns(spec);
    placement::gates(spec);
    placement::spread(&spec.field("topologySpreadConstraints"));
    let all: Vec<At<'_>> = ["initContainers", "containers", "ephemeralContainers"]
        .iter()
        .flat_map(|l| spec.field(l).items().collect::<Vec<_>>())
        .collect();
    windows::host_processes(spec, &all);
    security::own_users(spec, &all);
    own_host_name(spec);
    rest(spec, &all);
}

fn required_one_of(at: &At<'_>, supported: &[&str]) {
    match at.text() {
        "" => at.required(""),
        _ => at.one_of(supported),
    }
}

/// The longest name that Linux gives to a host.
const MAX_HOST_NAME: usize = 64;

fn own_host_name(spec: &At<'_>) {
    let name = spec.field("hostnameOverride");
    if !name.is() {
        return;
    }
    for field in ["setHostnameAsFQDN", "hostNetwork"].iter().filter(|f| spec.field(f).truth()) {
        name.forbidden(&format!("may not be specified when {field} is true"));
    }
    if name.text().len() > MAX_HOST_NAME {
        name.too_long(MAX_HOST_NAME);
    }
    name.matches(names::dns1123_subdomain);
}

/// Names, deadlines, priorities, the system; `all` are all containers.
fn rest(spec: &At<'_>, all: &[At<'_>]) {
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
    windows::system(spec, all);
    all.iter().for_each(|c| environment::file_volumes(c, &spec.field("volumes")));
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

fn claims(list: &At<'_>, meta: Option<&At<'_>>) {
    const CLAIM: &str = "io.k8s.api.core.v1.PodResourceClaim";
    let mut seen: Vec<&str> = Vec::new();
    let is_static = meta.is_some_and(|m| m.field("annotations").has(annotations::MIRROR));
    for claim in list.items() {
        if is_static {
            list.named("").forbidden("static pods do not support resource claims");
            continue;
        }
        let name = claim.field("name");
        match seen.contains(&name.text()) {
            true => name.duplicate(),
            false => name.required_matches(names::dns1123_label),
        }
        if !name.is_empty() {
            seen.push(name.text());
        }
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
        for name in ["resourceClaimName", "resourceClaimTemplateName"].map(|n| claim.field(n)).iter().filter(|n| n.is())
        {
            name.matches(names::dns1123_subdomain);
        }
    }
}

const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_LETTERS: usize = 2048;

fn dns(spec: &At<'_>) {
    let at = spec.field("dnsConfig");
    let servers = at.field("nameservers");
    if spec.get("dnsPolicy") == "None" && servers.is_empty() {
        return match at.is() {
            true => servers.required("must provide at least one DNS nameserver when `dnsPolicy` is None"),
            false => at.required("must provide `dnsConfig` when `dnsPolicy` is None"),
        };
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
    metadata::labels(&at.fields(&["metadata", "labels"]).named(format!("{}.labels", at.path)));
    // Upstream's paths of a template leave its metadata out.
    let notes = at.fields(&["metadata", "annotations"]).named(format!("{}.annotations", at.path));
    metadata::annotations(&notes);
    let spec = at.field("spec");
    annotations::of_pod(&notes, &spec);
    pod_spec_with(&spec, errors, added, None);
    annotations::match_fields(&notes, &spec);
    if !spec.field("ephemeralContainers").is_empty() {
        spec.field("ephemeralContainers").forbidden("ephemeral containers not allowed in pod template");
    }
}
