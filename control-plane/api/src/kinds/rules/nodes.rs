//! Nodes: where their pods' addresses come from, what they have, and what keeps pods off.

use super::at::At;
use super::workloads::{checked, updated};
use super::{placement, resources, words};
use crate::kind::Context;
use crate::names;
use crate::object::Object;
use crate::status::{FieldError, FieldReason};
use crate::value::Value;

pub(in crate::kinds) fn node(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        placement::taints(&root.fields(&["spec", "taints"]).named("metadata.taints"));
        amounts(&root.field("status"));
        let swap = root.fields(&["status", "nodeInfo", "swap", "capacity"]).named("metadata.nodeSwapStatus.capacity");
        if swap.int().is_some_and(|c| c <= 0) {
            swap.invalid("must be greater than 0");
        }
        features(&root.fields(&["status", "declaredFeatures"]));
        pod_cidrs(&root.fields(&["spec", "podCIDRs"]));
    });
}

fn amounts(status: &At<'_>) {
    for list in ["capacity", "allocatable"] {
        for (name, amount) in status.field(list).pairs() {
            resources::resource_amount(&amount.named(format!("status.{list}.{name}")), name);
        }
    }
}

/// As upstream's.
const MAX_FEATURE: usize = 253;

/// Names of features, sorted, each of them once.
fn features(list: &At<'_>) {
    let items: Vec<At<'_>> = list.items().collect();
    for (i, one) in items.iter().enumerate() {
        let name = one.text();
        if name.len() > MAX_FEATURE {
            one.invalid(&format!("invalid feature name {name:?}: must be no more than {MAX_FEATURE} characters"));
        } else if !is_feature(name) {
            one.invalid(&format!("invalid feature name {name:?}: must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"));
        }
        match items.get(i + 1) {
            Some(next) if next.text() == name => next.duplicate(),
            Some(next) if name > next.text() => next.invalid("list must be sorted alphabetically"),
            _ => {}
        }
    }
}

fn is_feature(name: &str) -> bool {
    let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.split('/').all(word)
}

fn pod_cidrs(at: &At<'_>) {
    let wrong: Vec<(usize, &str)> =
        at.items().map(|c| c.text()).enumerate().filter(|(_, c)| words::parse_cidr(c).is_none()).collect();
    at.items().for_each(|c| c.matches(words::cidr));
    if at.len() < 2 {
        return;
    }
    if let Some((i, cidr)) = wrong.first() {
        at.say(
            FieldReason::Internal,
            format!(
                "Internal error: invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR[{i}]: <nil> (invalid CIDR address: {cidr})"
            ),
        );
    }
    let families: Vec<bool> =
        at.items().filter_map(|c| words::parse_cidr(c.text())).map(|(a, _)| a.is_ipv4()).collect();
    if at.len() > 2 || families.len() != 2 || families[0] == families[1] {
        at.invalid("may specify no more than one CIDR for each IP family");
    }
}

pub(in crate::kinds) fn node_update(new: &Object, old: &Object, context: Context<'_>, out: &mut Vec<FieldError>) {
    updated(new, old, context, out, |root| changes(root, old), held);
}

/// What the status says, whichever way it is written.
fn held(status: &At<'_>) {
    amounts(status);
    features(&status.field("declaredFeatures"));
    let mut seen: Vec<&Value> = Vec::new();
    for address in status.field("addresses").items() {
        if address.value.is_some_and(|a| seen.contains(&a)) {
            let shown = super::inner::inner(address.value, crate::schema::find("io.k8s.api.core.v1.NodeAddress"));
            address.duplicate_as(&shown, "");
        }
        seen.extend(address.value);
    }
}

fn changes(root: &At<'_>, old: &Object) {
    let spec = root.field("spec");
    held(&root.field("status"));
    let ranges = spec.field("podCIDRs");
    let before = old.at(&["spec", "podCIDRs"]).and_then(Value::as_list).unwrap_or(&[]);
    let changed = match before.len() == ranges.len() {
        true => before.iter().zip(ranges.list()).filter(|(was, now)| was != now).count(),
        false => usize::from(!before.is_empty()),
    };
    (0..changed).for_each(|_| ranges.forbidden("node updates may not change podCIDR except from \"\" to valid"));
    let provider = old.str_at(&["spec", "providerID"]);
    if !provider.is_empty() && spec.get("providerID") != provider {
        spec.field("providerID").forbidden("node updates may not change providerID except from \"\" to valid");
    }
    placement::taints(&spec.field("taints").named("metadata.taints"));
    if spec.get("externalID") != old.str_at(&["spec", "externalID"]) {
        spec.field("externalID").forbidden("may not be updated");
    }
}
