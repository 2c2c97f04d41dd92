//! Device classes and the slices in which drivers say what devices a node has.

use super::at::At;
use super::workloads::{checked, immutable, updated};
use crate::kind::Context;
use crate::names;
use crate::object::Object;
use crate::status::FieldError;
use crate::value::Value;

/// Of one slice.
const MAX_DEVICES: usize = 128;
/// Of one device, attributes and capacities together.
const MAX_PROPERTIES: usize = 32;
const MAX_SELECTORS: usize = 32;
const MAX_CONFIGS: usize = 32;
const MAX_DRIVER_NAME: usize = 63;
const MAX_POOL_NAME: usize = 253;
const MAX_ATTRIBUTE_TEXT: usize = 64;
const MAX_IDENTIFIER: usize = 32;
const MAX_DOMAIN: usize = 63;

/// How a slice says for which nodes its devices are.
const PLACES: &[&str] = &["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];

pub(in crate::kinds) fn device_class(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        let selectors = spec.field("selectors");
        at_most(&selectors, MAX_SELECTORS);
        selectors.items().filter(|s| !s.has("cel")).for_each(|s| s.field("cel").required(""));
        let configs = spec.field("config");
        at_most(&configs, MAX_CONFIGS);
        configs.items().for_each(|c| config(&c));
    });
}

/// The parameters of a driver, in a class, a claim or an allocation.
pub(super) fn config(at: &At<'_>) {
    let opaque = at.field("opaque");
    if !opaque.is() {
        return opaque.required("");
    }
    driver(&opaque.field("driver"));
    match opaque.field("parameters").value {
        None => opaque.field("parameters").required(""),
        Some(Value::Map(_)) => {}
        Some(_) => opaque.field("parameters").invalid_text("<value omitted>", "parameters must be a valid JSON object"),
    }
}

fn at_most(at: &At<'_>, limit: usize) {
    if at.len() > limit {
        at.too_many(limit);
    }
}

fn driver(at: &At<'_>) {
    if at.text().len() > MAX_DRIVER_NAME {
        at.too_long(MAX_DRIVER_NAME);
    }
    at.required_matches(names::dns1123_subdomain);
}

pub(in crate::kinds) fn slice(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        driver(&spec.field("driver"));
        pool(&spec.field("pool"));
        places(&spec);
        let devices = spec.field("devices");
        at_most(&devices, MAX_DEVICES);
        let mut seen: Vec<&str> = Vec::new();
        for one in devices.items() {
            let name = one.field("name");
            name.required_matches(names::dns1123_label);
            if !name.text().is_empty() && seen.contains(&name.text()) {
                one.duplicate_as(&format!("{:?}", name.text()), "");
            }
            seen.push(name.text());
            device(&one);
        }
    });
}

fn pool(at: &At<'_>) {
    let name = at.field("name");
    match name.text() {
        "" => name.required(""),
        text => {
            if text.len() > MAX_POOL_NAME {
                name.too_long(MAX_POOL_NAME);
            }
            for part in text.split('/') {
                names::dns1123_subdomain(part).iter().for_each(|why| name.invalid_text(part, why));
            }
        }
    }
    let (count, generation) = (at.field("resourceSliceCount"), at.field("generation"));
    if count.int().unwrap_or(0) <= 0 {
        count.invalid_as(&count.int().unwrap_or(0).to_string(), "must be greater than zero");
    }
    if generation.int().unwrap_or(0) < 0 {
        generation.invalid("must be greater than or equal to zero");
    }
}

fn places(spec: &At<'_>) {
    let set: Vec<String> = PLACES
        .iter()
        .filter(|p| spec.has(p) && spec.field(p).value != Some(&Value::Bool(false)))
        .map(|p| format!("`{p}`"))
        .collect();
    let all: Vec<String> = PLACES.iter().map(|p| format!("`{p}`")).collect();
    let why = format!("exactly one of {} is required", all.join(", "));
    match set.len() {
        0 => spec.required(&why),
        1 => {}
        _ => spec.invalid_as(&format!("\"{{{}}}\"", set.join(", ")), &format!("{why}, but multiple fields are set")),
    }
    let node = spec.field("nodeName");
    if node.is() {
        node.required_matches(names::dns1123_subdomain);
    }
}

fn device(at: &At<'_>) {
    let (attributes, capacity) = (at.field("attributes"), at.field("capacity"));
    let held = attributes.len() + capacity.len();
    if held > MAX_PROPERTIES {
        let why = format!("the total number of attributes and capacities must not exceed {MAX_PROPERTIES}");
        at.invalid_as(&held.to_string(), &why);
    }
    for (name, value) in attributes.pairs() {
        property_name(&attributes, name);
        attribute(&value);
    }
    for (name, _) in capacity.pairs() {
        property_name(&capacity, name);
    }
}

fn attribute(at: &At<'_>) {
    let kinds: Vec<&str> = ["bool", "int", "string", "version"].into_iter().filter(|k| at.has(k)).collect();
    match kinds.len() {
        1 => {}
        0 => at.required("exactly one value must be specified"),
        _ => at.invalid("exactly one value must be specified"),
    }
    for key in ["string", "version"] {
        if at.get(key).len() > MAX_ATTRIBUTE_TEXT {
            at.field(key).too_long(MAX_ATTRIBUTE_TEXT);
        }
    }
}

/// `name` or `domain/name`.
fn property_name(at: &At<'_>, text: &str) {
    let (domain, name) = match text.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, text),
    };
    if let Some(domain) = domain {
        match domain {
            "" => at.required("the domain must not be empty"),
            _ if domain.len() > MAX_DOMAIN => at.too_long(MAX_DOMAIN),
            _ => names::dns1123_subdomain(domain).iter().for_each(|why| at.invalid_text(domain, why)),
        }
    }
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match name {
        "" => at.required("the name must not be empty"),
        _ if name.len() > MAX_IDENTIFIER => at.too_long(MAX_IDENTIFIER),
        _ if name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(word) => at.invalid_text(
            name,
            "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')",
        ),
        _ => {}
    }
}

pub(in crate::kinds) fn slice_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    let rules = |root: &At<'_>| {
        let spec = root.field("spec");
        immutable(&spec.field("driver"), old.at(&["spec", "driver"]));
        immutable(&spec.fields(&["pool", "name"]), old.at(&["spec", "pool", "name"]));
        immutable(&spec.field("nodeName"), old.at(&["spec", "nodeName"]));
    };
    updated(new, old, c, out, rules, |_| {});
}
