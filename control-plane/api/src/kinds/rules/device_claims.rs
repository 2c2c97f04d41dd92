//! Claims to devices, templates of them, and what their status says of an allocation.

use super::at::At;
use super::devices::{
    MAX_CONFIGS, binding, by, by_text, config, driver, each_of, full_property_name, pool_name, raw, selectors, set_of,
};
use super::metadata::{self, differs};
use super::selectors::node_selector;
use super::slices::toleration;
use super::storage::spec_stays;
use super::words;
use super::workloads::{checked, updated};
use crate::kind::Context;
use crate::names;
use crate::object::Object;
use crate::status::FieldError;
use crate::value::Value;

/// Of one claim, and results of one allocation, as upstream's.
const MAX_REQUESTS: usize = 32;
const MAX_ALTERNATIVES: usize = 8;
const MAX_CONSTRAINTS: usize = 32;
const MAX_USERS: usize = 256;
const MAX_CONDITIONS: usize = 8;
/// Of what a driver says of one device.
const MAX_DATA: usize = 10 * 1024;
const MAX_INTERFACE_NAME: usize = 256;
const MAX_HARDWARE_ADDRESS: usize = 128;
const MAX_IPS: usize = 16;

pub(in crate::kinds) fn resource_claim(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| claim_spec(&root.field("spec")));
}

pub(in crate::kinds) fn claim_template(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        template_metadata(&spec.field("metadata"));
        claim_spec(&spec.field("spec"));
    });
}

/// As upstream's messages call it here.
const UID: &str = "uID";

/// Labels and annotations, and nothing else.
fn template_metadata(at: &At<'_>) {
    metadata::annotations(&at.field("annotations"));
    metadata::labels(&at.field("labels"));
    for key in [
        "name",
        "generateName",
        "namespace",
        "selfLink",
        UID,
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "ownerReferences",
        "finalizers",
        "managedFields",
    ] {
        let field = at.field(if key == UID { "uid" } else { key }).named(format!("{}.{key}", at.path));
        let zero = matches!(field.value, Some(Value::Str(text)) if text.is_empty())
            || field.value == Some(&Value::Int(0)) && key == "generation";
        if field.is() && !zero {
            field.forbidden("cannot be set");
        }
    }
}

fn claim_spec(spec: &At<'_>) {
    let devices = spec.field("devices");
    let known = Requests(devices.field("requests").list());
    set_of(&devices.field("requests"), MAX_REQUESTS, request, by("name"));
    each_of(&devices.field("constraints"), MAX_CONSTRAINTS, |constraint| {
        references(&constraint.field("requests"), &known);
        let (same, distinct) = (constraint.field("matchAttribute"), constraint.field("distinctAttribute"));
        match (same.is(), distinct.is()) {
            (true, _) => full_property_name(&same),
            (false, true) => full_property_name(&distinct),
            (false, false) => constraint.required(
                "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set",
            ),
        }
    });
    each_of(&devices.field("config"), MAX_CONFIGS, |one| {
        references(&one.field("requests"), &known);
        config(one);
    });
}

fn request(at: &At<'_>) {
    at.field("name").matches(names::dns1123_label);
    let (exactly, first) = (at.field("exactly"), at.field("firstAvailable"));
    match (exactly.is(), !first.is_empty()) {
        (true, false) => wanted(&exactly),
        (false, true) => set_of(
            &first,
            MAX_ALTERNATIVES,
            |alternative| {
                alternative.field("name").matches(names::dns1123_label);
                wanted(alternative);
            },
            by("name"),
        ),
        (true, true) => at.invalid_as(
            "null",
            "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
        ),
        (false, false) => at.required("exactly one of `exactly` or `firstAvailable` is required"),
    }
}

/// What devices are wanted, and how many.
fn wanted(at: &At<'_>) {
    at.field("deviceClassName").required_matches(names::dns1123_subdomain);
    selectors(&at.field("selectors"));
    let (mode, count) = (at.field("allocationMode"), at.field("count"));
    let number = count.int().unwrap_or(0);
    match mode.text() {
        "All" if number != 0 => count.invalid("must not be specified when allocationMode is 'All'"),
        "All" => {}
        "ExactCount" if number <= 0 => count.invalid_as(&number.to_string(), "must be greater than zero"),
        "ExactCount" => {}
        _ => mode.unsupported(&["All", "ExactCount"]),
    }
    at.field("tolerations").items().for_each(|t| toleration(&t));
}

/// The requests of a claim, by which others refer to them.
struct Requests<'a>(&'a [Value]);

impl Requests<'_> {
    /// `request`, or `request/alternative`.
    fn has(&self, name: &str) -> bool {
        let named = |list: &'_ [Value], name: &str| -> Option<Value> {
            list.iter().find(|r| r.get("name").and_then(Value::as_str).unwrap_or("") == name).cloned()
        };
        let (request, alternative) = name.split_once('/').map_or((name, None), |(r, a)| (r, Some(a)));
        let Some(request) = named(self.0, request) else { return false };
        let first = request.get("firstAvailable").and_then(Value::as_list).unwrap_or(&[]);
        alternative.is_none_or(|a| named(first, a).is_some())
    }
}

fn references(list: &At<'_>, known: &Requests<'_>) {
    set_of(list, MAX_REQUESTS, |one| reference(one, known), by_text);
}

fn reference(at: &At<'_>, known: &Requests<'_>) {
    const WHY: &str =
        "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
    let text = at.text();
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() > 2 {
        return at.invalid_text(text, WHY);
    }
    for part in parts {
        names::dns1123_label(part).iter().for_each(|why| at.invalid_text(part, why));
    }
    if !known.has(text) {
        at.invalid_text(text, WHY);
    }
}

/// What a claim asks for stays: nothing else of it is looked at again.
pub(in crate::kinds) fn resource_claim_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    out.clear();
    let rules = |root: &At<'_>| spec_stays(root, old, "io.k8s.api.resource.v1.ResourceClaimSpec");
    updated(new, old, c, out, rules, |status| claim_status(status, new, old));
}

pub(in crate::kinds) fn claim_template_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    let rules = |root: &At<'_>| spec_stays(root, old, "io.k8s.api.resource.v1.ResourceClaimTemplateSpec");
    updated(new, old, c, out, rules, |_| {});
}

fn claim_status(status: &At<'_>, new: &Object, old: &Object) {
    let known = Requests(new.at(&["spec", "devices", "requests"]).and_then(Value::as_list).unwrap_or(&[]));
    let (users, allocation) = (status.field("reservedFor"), status.field("allocation"));
    set_of(
        &users,
        MAX_USERS,
        |user| ["resource", "name", "uid"].iter().for_each(|key| user.field(key).not_empty()),
        by("uid"),
    );
    let results = allocation.fields(&["devices", "results"]);
    let allocated: Vec<String> = results.items().map(|r| shared_id(&r)).collect();
    set_of(&status.field("devices"), usize::MAX, |one| device_status(one, &allocated), shared_id);
    if !users.is_empty() && !allocation.is() {
        users.forbidden("may not be specified when `allocated` is not set");
    } else if new.deletion_timestamp().is_some() {
        let before = old.at(&["status", "reservedFor"]).and_then(Value::as_list).unwrap_or(&[]);
        if users.list().iter().any(|user| !before.contains(user)) {
            users
                .forbidden("new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set");
        }
    }
    let before = old.at(&["status", "allocation"]).filter(|a| !a.is_null());
    match before {
        Some(before) if allocation.is() && differs(allocation.value, Some(before)) => {
            allocation.invalid_inner("io.k8s.api.resource.v1.AllocationResult", "field is immutable");
        }
        None if allocation.is() => allocated_now(&allocation, &known),
        _ => {}
    }
}

/// By what one allocated device is told from others.
fn shared_id(at: &At<'_>) -> String {
    let [driver, pool, device, share] = ["driver", "pool", "device", "shareID"].map(|key| at.get(key));
    format!("{{\"Driver\":{driver:?},\"Pool\":{pool:?},\"Device\":{device:?},\"ShareID\":{share:?}}}")
}

fn place(at: &At<'_>) {
    driver(&at.field("driver"));
    pool_name(&at.field("pool"));
    at.field("device").matches(names::dns1123_label);
}

fn share(at: &At<'_>) {
    let share = at.field("shareID");
    if share.is() {
        share.matches(words::uuid);
    }
}

fn allocated_now(at: &At<'_>, known: &Requests<'_>) {
    let devices = at.field("devices");
    each_of(&devices.field("results"), MAX_REQUESTS, |result| {
        reference(&result.field("request"), known);
        place(result);
        binding(result);
        share(result);
    });
    each_of(&devices.field("config"), 2 * MAX_CONFIGS, |one| {
        let source = one.field("source");
        match source.text() {
            "" => source.required(""),
            _ => source.one_of(&["FromClaim", "FromClass"]),
        }
        references(&one.field("requests"), known);
        config(one);
    });
    let selector = at.field("nodeSelector");
    if selector.is() {
        node_selector(&selector);
    }
}

fn device_status(at: &At<'_>, allocated: &[String]) {
    place(at);
    share(at);
    let id = shared_id(at);
    if !allocated.contains(&id) {
        at.invalid_as(&id, "must be an allocated device in the claim");
    }
    let conditions = at.field("conditions");
    if conditions.len() > MAX_CONDITIONS {
        conditions.too_many(MAX_CONDITIONS);
    }
    super::conditions::conditions(&conditions);
    if at.has("data") {
        raw(&at.field("data"), MAX_DATA);
    }
    let network = at.field("networkData");
    for (key, limit) in [("interfaceName", MAX_INTERFACE_NAME), ("hardwareAddress", MAX_HARDWARE_ADDRESS)] {
        if network.get(key).len() > limit {
            network.field(key).too_long(limit);
        }
    }
    set_of(&network.field("ips"), MAX_IPS, |ip| ip.matches(words::interface_address), by_text);
}
