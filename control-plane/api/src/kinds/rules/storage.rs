//! Storage classes, CSI drivers and nodes, attachments; quotas and limits.

use super::at::At;
use super::metadata::differs;
use super::workloads::{checked, immutable, updated};
use super::{resources, words};
use crate::kind::Context;
use crate::names;
use crate::object::Object;
use crate::quantity::Quantity;
use crate::status::FieldError;
use crate::value::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Whatever makes or changes volumes.
fn plugin(at: &At<'_>) {
    match at.text().to_lowercase() {
        text if text.is_empty() => at.required(""),
        text => names::qualified_name(&text).iter().for_each(|why| at.invalid_text(&text, why)),
    }
}

pub(in crate::kinds) fn storage_class(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        plugin(&root.field("provisioner"));
        let parameters = root.field("parameters");
        if parameters.pairs().any(|(key, _)| key.is_empty()) {
            parameters.invalid_text("", "field can not be empty.");
        }
        root.field("reclaimPolicy").maybe_one_of(&["Delete", "Retain"]);
        root.field("volumeBindingMode").maybe_one_of(&["Immediate", "WaitForFirstConsumer"]);
        let topologies = root.field("allowedTopologies");
        topologies.items().for_each(|t| topology(&t));
        repeated(&topologies);
    });
}

/// Terms that allow the same; upstream takes one without expressions for one of those that it has yet to read.
fn repeated(list: &At<'_>) {
    let keys = |term: &At<'_>| -> BTreeMap<String, BTreeSet<String>> {
        let expressions = term.field("matchLabelExpressions");
        let values = |e: &At<'_>| e.field("values").items().map(|v| v.text().to_owned()).collect();
        expressions.items().map(|e| (e.get("key").to_owned(), values(&e))).collect()
    };
    let mut seen = vec![BTreeMap::new(); list.len()];
    for term in list.items() {
        let own = keys(&term);
        for _ in seen.iter().filter(|s| **s == own) {
            term.field("matchLabelExpressions").duplicate_as("\"\"", "");
        }
        seen.push(own);
    }
}

fn topology(at: &At<'_>) {
    let mut keys: Vec<&str> = Vec::new();
    for expression in at.field("matchLabelExpressions").items() {
        let (key, values) = (expression.field("key"), expression.field("values"));
        if values.is_empty() {
            values.required("");
        }
        for (i, value) in values.items().enumerate() {
            if values.list().iter().take(i).any(|v| Some(v) == value.value) {
                value.duplicate();
            }
        }
        key.matches(names::qualified_name);
        if keys.contains(&key.text()) {
            key.duplicate();
        }
        keys.push(key.text());
    }
}

pub(in crate::kinds) fn storage_class_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    let rules = |root: &At<'_>| {
        for key in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
            immutable(&root.field(key), old.at(&[key]));
        }
    };
    updated(new, old, c, out, rules, |_| {});
}

pub(in crate::kinds) fn csi_driver(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        spec.field("fsGroupPolicy").maybe_one_of(&["File", "None", "ReadWriteOnceWithFSType"]);
        let mut audiences: Vec<&str> = Vec::new();
        for request in spec.field("tokenRequests").items() {
            let (audience, seconds) = (request.field("audience"), request.field("expirationSeconds"));
            if audiences.contains(&audience.text()) {
                audience.duplicate();
            }
            audiences.push(audience.text());
            match seconds.int() {
                Some(s) if s < 600 => seconds.invalid("may not specify a duration less than 10 minutes"),
                Some(s) if s > 1 << 32 => seconds.invalid("may not specify a duration larger than 2^32 seconds"),
                _ => {}
            }
        }
        let modes = spec.field("volumeLifecycleModes");
        modes.items().for_each(|m| m.named(modes.path.as_str()).one_of(&["Persistent", "Ephemeral"]));
        let period = spec.field("nodeAllocatableUpdatePeriodSeconds");
        if period.int().is_some_and(|p| p < 10) {
            period.invalid("must be greater than or equal to 10 seconds");
        }
        let tokens = spec.field("serviceAccountTokenInSecrets");
        if tokens.is() && spec.field("tokenRequests").is_empty() {
            tokens.invalid("serviceAccountTokenInSecrets is set but no tokenRequests are specified");
        }
    });
}

pub(in crate::kinds) fn csi_driver_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    let rules = |root: &At<'_>| {
        for (key, path) in [("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")] {
            let at = root.fields(&["spec", key]).named(format!("spec.{path}"));
            immutable(&at, old.at(&["spec", key]));
        }
    };
    updated(new, old, c, out, rules, |_| {});
}

pub(in crate::kinds) fn csi_node(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let mut seen: Vec<&str> = Vec::new();
        for driver in root.fields(&["spec", "drivers"]).items() {
            driver_of_node(&driver);
            let name = driver.field("name");
            if seen.contains(&name.text()) {
                name.duplicate();
            }
            seen.push(name.text());
        }
    });
}

fn driver_of_node(at: &At<'_>) {
    at.field("name").required_matches(names::dns1123_subdomain);
    let id = at.field("nodeID");
    id.not_empty();
    if id.text().len() > MAX_NODE_ID {
        id.invalid(&format!("must be {MAX_NODE_ID} characters or less"));
    }
    at.fields(&["allocatable", "count"]).not_negative();
    let mut keys: Vec<&str> = Vec::new();
    for key in at.field("topologyKeys").items().map(|k| k.text()) {
        if key.is_empty() {
            at.required("topology key cannot be empty");
        } else if keys.contains(&key) {
            at.duplicate_as(&format!("{key:?}"), "");
        }
        keys.push(key);
        names::qualified_name(key).iter().for_each(|why| at.invalid_text(key, why));
    }
}

/// What a driver said of a node stays, but for how much it can take.
pub(in crate::kinds) fn csi_node_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    let rules = |root: &At<'_>| {
        let drivers = root.fields(&["spec", "drivers"]);
        let fixed = |driver: &Value| {
            let mut driver = driver.clone();
            driver.as_map_mut().and_then(|d| d.remove("allocatable"));
            driver
        };
        for before in old.at(&["spec", "drivers"]).and_then(Value::as_list).unwrap_or_default() {
            let name = |v: &Value| v.get("name").and_then(Value::as_str).unwrap_or("").to_owned();
            for now in drivers.list().iter().filter(|now| name(now) == name(before)).map(fixed) {
                if now != fixed(before) {
                    let place = drivers.other(Some(&now));
                    place.invalid_inner("io.k8s.api.storage.v1.CSINodeDriver", "field is immutable");
                }
            }
        }
    };
    updated(new, old, c, out, rules, |_| {});
}

pub(in crate::kinds) fn csi_capacity(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let class = root.field("storageClassName");
        names::dns1123_subdomain(class.text()).iter().for_each(|why| class.invalid_text(class.text(), why));
        super::selectors::label_selector(&root.field("nodeTopology"));
        words::amount_not_negative(&root.field("capacity"));
    });
}

pub(in crate::kinds) fn csi_capacity_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    let rules = |root: &At<'_>| {
        let topology = root.field("nodeTopology");
        if differs(topology.value, old.at(&["nodeTopology"])) {
            topology.invalid_typed(super::selectors::LABEL_SELECTOR, "field is immutable");
        }
        immutable(&root.field("storageClassName"), old.at(&["storageClassName"]));
    };
    updated(new, old, c, out, rules, |_| {});
}

const SOURCE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";

pub(in crate::kinds) fn volume_attachment(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        spec.field("attacher").required_matches(names::dns1123_subdomain);
        let source = spec.field("source");
        let volume = source.field("persistentVolumeName");
        match (volume.is(), source.has("inlineVolumeSpec")) {
            (true, true) => source.forbidden(SOURCE),
            (false, false) => source.required(SOURCE),
            (true, false) if volume.text().is_empty() => volume.required("must specify non empty persistentVolumeName"),
            (true, false) => {}
            (false, true) => super::claims::inline_volume(&source.field("inlineVolumeSpec")),
        }
        if volume.is() {
            volume.matches(names::dns1123_subdomain);
        }
        spec.field("nodeName").matches(names::dns1123_subdomain);
    });
}

pub(in crate::kinds) fn volume_attachment_update(
    new: &Object,
    old: &Object,
    c: Context<'_>,
    out: &mut Vec<FieldError>,
) {
    let rules = |root: &At<'_>| spec_stays(root, old, "io.k8s.api.storage.v1.VolumeAttachmentSpec");
    updated(new, old, c, out, rules, |_| {});
}

/// A spec that no update may change.
pub(super) fn spec_stays(root: &At<'_>, old: &Object, type_name: &str) {
    let spec = root.field("spec");
    if differs(spec.value, old.at(&["spec"])) {
        spec.invalid_inner(type_name, "field is immutable");
    }
}

pub(in crate::kinds) fn attributes_class(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        plugin(&root.field("driverName"));
        let parameters = root.field("parameters");
        if parameters.is_empty() {
            parameters.required("must contain at least one key/value pair");
        }
    });
}

pub(in crate::kinds) fn attributes_class_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    let rules = |root: &At<'_>| {
        for key in ["driverName", "parameters"] {
            if differs(root.field(key).value, old.at(&[key])) {
                root.field(key).forbidden(&format!("updates to {key} are forbidden."));
            }
        }
    };
    updated(new, old, c, out, rules, |_| {});
}

/// What a driver may call a node, in bytes, as upstream's.
const MAX_NODE_ID: usize = 256;

const QUOTA_RESOURCES: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];

pub(in crate::kinds) fn resource_quota(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        for (name, amount) in spec.field("hard").pairs() {
            quota_resource(&amount, name);
            resources::resource_amount(&amount, name);
        }
        scopes(&spec);
        scope_selector(&spec);
    });
}

fn quota_resource(at: &At<'_>, name: &str) {
    resources::resource_name(at, name);
    let huge = name.starts_with("hugepages-") || name.starts_with("requests.hugepages-");
    if !name.contains('/') && !huge && !QUOTA_RESOURCES.contains(&name) {
        at.invalid_text(name, "must be a standard resource for quota");
    }
}

const SCOPES: &[&str] =
    &["BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating"];
const OPPOSITES: &[(&str, &str)] = &[("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")];

fn scopes(spec: &At<'_>) {
    let at = spec.field("scopes");
    let list: Vec<&str> = at.items().map(|s| s.text()).collect();
    let counted: Vec<&str> = spec.field("hard").pairs().map(|(name, _)| name).collect();
    for scope in &list {
        if !SCOPES.contains(scope) && !scope.contains('/') {
            at.invalid("unsupported scope");
        }
        for _ in counted.iter().filter(|r| !scope_covers(scope, r)) {
            at.invalid("unsupported scope applied to resource");
        }
    }
    if OPPOSITES.iter().any(|(a, b)| list.contains(a) && list.contains(b)) {
        at.invalid("conflicting scopes");
    }
}

/// Whether a quota of a scope may count a resource.
fn scope_covers(scope: &str, resource: &str) -> bool {
    match scope {
        "BestEffort" => resource == "pods",
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
            let asked = ["cpu", "memory", "requests.", "limits.", "pods", "ephemeral-storage"];
            asked.iter().any(|a| resource.starts_with(a)) && resource != "requests.storage"
        }
        _ => true,
    }
}

const EXISTS_ONLY: &str = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";

fn scope_selector(spec: &At<'_>) {
    let list = spec.fields(&["scopeSelector", "matchExpressions"]);
    for one in list.items() {
        let place = |key: &str| one.field(key).named(format!("{}.{key}", list.path));
        let (name, operator, values) = (one.get("scopeName"), one.get("operator"), one.field("values"));
        if !SCOPES.contains(&name) {
            place("scopeName").invalid_text(name, "unsupported scope");
        }
        let exists_only = SCOPES.contains(&name) && name != "PriorityClass";
        match operator {
            _ if exists_only && operator != "Exists" => {
                place("operator").invalid_text(operator, EXISTS_ONLY);
            }
            "In" | "NotIn" if values.is_empty() => place("values")
                .required("must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"),
            "Exists" | "DoesNotExist" if !values.is_empty() => place("values")
                .invalid("must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector"),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => place("operator").invalid_text(operator, "not a valid selector operator"),
        }
    }
}

pub(in crate::kinds) fn resource_quota_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    let rules = |root: &At<'_>| immutable(&root.fields(&["spec", "scopes"]), old.at(&["spec", "scopes"]));
    updated(new, old, c, out, rules, |status| {
        for (name, amount) in ["hard", "used"].iter().flat_map(|l| status.field(l).pairs().collect::<Vec<_>>()) {
            quota_resource(&amount, name);
            resources::resource_amount(&amount, name);
        }
    });
}

pub(in crate::kinds) fn limit_range(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let mut seen: Vec<&str> = Vec::new();
        for limit in root.fields(&["spec", "limits"]).items() {
            let kind = limit.field("type");
            limit_type(&kind);
            if seen.contains(&kind.text()) {
                kind.duplicate();
            }
            seen.push(kind.text());
            one_limit(&limit, kind.text());
        }
    });
}

fn limit_type(at: &At<'_>) {
    let wrong = names::qualified_name(at.text());
    wrong.iter().for_each(|why| at.invalid_text(at.text(), why));
    let standard = ["Pod", "Container", "PersistentVolumeClaim"].contains(&at.text());
    if wrong.is_empty() && !at.text().contains('/') && !standard {
        at.invalid("must be a standard limit type or fully qualified");
    }
}

fn one_limit(at: &At<'_>, kind: &str) {
    let lists = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];
    for list in lists.map(|l| at.field(l)) {
        list.pairs().for_each(|(name, amount)| match kind {
            "Container" | "Pod" => resources::container_resource(&amount, name),
            _ => resources::resource_name(&amount, name),
        });
    }
    if kind == "Pod" {
        for key in ["default", "defaultRequest"] {
            if !at.field(key).is_empty() {
                at.field(key).forbidden("may not be specified when `type` is 'Pod'");
            }
        }
    }
    if kind == "PersistentVolumeClaim" && !at.field("min").has("storage") && !at.field("max").has("storage") {
        at.field("limits").required("either minimum or maximum storage value is required, but neither was provided");
    }
    let amount = |list: &str, name: &str| match (kind, list) {
        ("Pod", "default" | "defaultRequest") => None,
        _ => words::amount(&at.field(list).field(name)),
    };
    let mut seen: Vec<&str> = Vec::new();
    for (name, _) in lists.iter().flat_map(|l| at.field(l).pairs().collect::<Vec<_>>()) {
        if !seen.contains(&name) {
            seen.push(name);
            ordered_limits(at, name, &amount);
        }
    }
}

/// What is compared of a resource's limits: the smaller, the larger, which of both the complaint is about and shows.
const ORDERED: &[(&str, &str, &str, &str, &str, &str)] = &[
    ("min", "max", "min", "min", "min", "max"),
    ("min", "defaultRequest", "defaultRequest", "defaultRequest", "min", "default request"),
    ("defaultRequest", "max", "defaultRequest", "defaultRequest", "default request", "max"),
    ("defaultRequest", "default", "defaultRequest", "defaultRequest", "default request", "default limit"),
    ("min", "default", "default", "min", "min", "default"),
    ("default", "max", "default", "max", "default", "max"),
];

fn ordered_limits(at: &At<'_>, name: &str, amount: &dyn Fn(&str, &str) -> Option<Quantity>) {
    for (low, high, place, shown, low_said, high_said) in ORDERED {
        if let (Some(a), Some(b)) = (amount(low, name), amount(high, name))
            && a > b
        {
            let why = format!("{low_said} value {a} is greater than {high_said} value {b}");
            let shown = if shown == low { a } else { b };
            at.field(place).key(name).invalid_text(&shown.to_string(), &why);
        }
    }
    if let Some(ratio) = amount("maxLimitRequestRatio", name) {
        limit_ratio(&at.field("maxLimitRequestRatio").key(name), ratio, amount("min", name), amount("max", name));
    }
    let overcommits = resources::is_native(name) && !resources::is_huge(name);
    if let (Some(limit), Some(request)) = (amount("default", name), amount("defaultRequest", name))
        && !overcommits
        && limit != request
    {
        let why = format!("default value {limit} must equal to defaultRequest value {request} in {name}");
        at.field("defaultRequest").key(name).invalid_text(&request.to_string(), &why);
    }
}

/// How many times the request a limit may be: at least once, and no more than the bounds leave room for.
fn limit_ratio(at: &At<'_>, ratio: Quantity, least: Option<Quantity>, most: Option<Quantity>) {
    let wrong = |why: String| at.invalid_text(&ratio.to_string(), &why);
    if ratio < Quantity::from_int(1) {
        wrong(format!("ratio {ratio} is less than 1"));
    }
    if let (Some(least), Some(most)) = (least, most) {
        let widest = most.milli() as f64 / least.milli() as f64;
        if ratio.milli() as f64 / 1000.0 > widest {
            wrong(format!("ratio {ratio} is greater than max/min = {widest:.6}"));
        }
    }
}
