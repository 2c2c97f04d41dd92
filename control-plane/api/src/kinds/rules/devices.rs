//! Device classes, and what classes, claims and slices of devices have in common.

use super::at::At;
use super::resources::is_extended;
use super::workloads::checked;
use crate::codec::json;
use crate::names;
use crate::object::Object;
use crate::status::FieldError;
use crate::value::Value;

/// Of one class or request, as upstream's.
const MAX_SELECTORS: usize = 32;
/// Of one class or claim, as upstream's.
pub(super) const MAX_CONFIGS: usize = 32;
const MAX_EXPRESSION: usize = 10 * 1024;
const MAX_PARAMETERS: usize = 10 * 1024;
const MAX_DRIVER_NAME: usize = 63;
const MAX_POOL_NAME: usize = 253;
/// For binding and for the failure to bind, each.
const MAX_BINDING_CONDITIONS: usize = 4;

pub(in crate::kinds) fn device_class(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, class_name, out, |root, _| {
        let spec = root.field("spec");
        selectors(&spec.field("selectors"));
        each_of(&spec.field("config"), MAX_CONFIGS, config);
        let extended = spec.field("extendedResourceName");
        if extended.is() && !(is_extended(extended.text()) && names::qualified_name(extended.text()).is_empty()) {
            extended.invalid_text(extended.text(), "must be a valid extended resource name");
        }
    });
}

/// Long names, counted in bytes.
fn class_name(name: &str) -> Vec<String> {
    names::dns1123_subdomain(name).into_iter().map(|why| why.replace("253 characters", "253 bytes")).collect()
}

/// The items of a list, unless there are too many of them to look at.
pub(super) fn each_of(list: &At<'_>, limit: usize, rule: impl Fn(&At<'_>)) {
    match list.len() > limit {
        true => list.too_many(limit),
        false => list.items().for_each(|item| rule(&item)),
    }
}

/// The same where no two items may have the same key; keys are JSON texts.
pub(super) fn set_of(list: &At<'_>, limit: usize, rule: impl Fn(&At<'_>), key: impl Fn(&At<'_>) -> String) {
    each_of(list, limit, rule);
    if list.len() > limit {
        return;
    }
    let mut seen: Vec<String> = Vec::with_capacity(list.len());
    for item in list.items() {
        let key = key(&item);
        match seen.contains(&key) {
            true => item.duplicate_as(&key, ""),
            false => seen.push(key),
        }
    }
}

/// The name that stands in an item, as a key.
pub(super) fn by<'k>(field: &'k str) -> impl Fn(&At<'_>) -> String + 'k {
    move |item| format!("{:?}", item.get(field))
}

/// The item itself, as a key.
pub(super) fn by_text(item: &At<'_>) -> String {
    format!("{:?}", item.text())
}

/// Selectors of devices; that their expressions compile is somebody else's to say.
pub(super) fn selectors(list: &At<'_>) {
    each_of(list, MAX_SELECTORS, |selector| {
        let (cel, expression) = (selector.field("cel"), selector.fields(&["cel", "expression"]));
        if !cel.is() {
            cel.required("");
        } else if expression.text().len() > MAX_EXPRESSION {
            expression.too_long(MAX_EXPRESSION);
        }
    });
}

/// The parameters of a driver, in a class, a claim or an allocation.
pub(super) fn config(at: &At<'_>) {
    let opaque = at.field("opaque");
    if !opaque.is() {
        return opaque.required("");
    }
    driver(&opaque.field("driver"));
    raw(&opaque.field("parameters"), MAX_PARAMETERS);
}

/// An object of somebody else's, of at most so many bytes.
pub(super) fn raw(at: &At<'_>, limit: usize) {
    match at.value {
        None => at.required(""),
        Some(value) if json::encode(value).len() > limit => at.too_long(limit),
        Some(Value::Map(_)) => {}
        Some(_) => at.invalid_text("<value omitted>", "must be a valid JSON object"),
    }
}

/// The name of a driver; letters may be capital.
pub(super) fn driver(at: &At<'_>) {
    let text = at.text();
    if text.is_empty() {
        return at.required("");
    }
    if text.len() > MAX_DRIVER_NAME {
        at.too_long(MAX_DRIVER_NAME);
    }
    names::dns1123_subdomain(&text.to_lowercase()).iter().for_each(|why| at.invalid_text(text, why));
}

/// The name of a pool: subdomains between slashes.
pub(super) fn pool_name(at: &At<'_>) {
    let text = at.text();
    if text.is_empty() {
        return at.required("");
    }
    if text.len() > MAX_POOL_NAME {
        at.too_long(MAX_POOL_NAME);
    }
    for part in text.split('/') {
        names::dns1123_subdomain(part).iter().for_each(|why| at.invalid_text(part, why));
    }
}

/// `name` or `domain/name`, as attributes and capacities are called.
pub(super) fn property_name(at: &At<'_>, text: &str) {
    let parts: Vec<&str> = text.split('/').collect();
    match parts[..] {
        [name] => identifier(at, name),
        [domain, name] => {
            match domain {
                "" => at.invalid_text("", "the domain must not be empty"),
                _ => domain_name(at, domain),
            }
            match name {
                "" => at.invalid_text("", "the name must not be empty"),
                _ => identifier(at, name),
            }
        }
        // More parts are taken, as upstream takes them.
        _ => {}
    }
}

/// `domain/name`.
pub(super) fn full_property_name(at: &At<'_>) {
    property_name(at, at.text());
    if !at.text().contains('/') {
        at.invalid_text(at.text(), "a fully qualified name must be a domain and a name separated by a slash");
    }
}

fn domain_name(at: &At<'_>, domain: &str) {
    if domain.len() > MAX_DRIVER_NAME {
        at.too_long(MAX_DRIVER_NAME);
    }
    names::dns1123_subdomain(&domain.to_lowercase()).iter().for_each(|why| at.invalid_text(domain, why));
}

const MAX_IDENTIFIER: usize = 32;
const IDENTIFIER: &str = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')";

fn identifier(at: &At<'_>, name: &str) {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.len() > MAX_IDENTIFIER {
        at.too_long(MAX_IDENTIFIER);
    }
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(word) {
        at.invalid_text(name, IDENTIFIER);
    }
}

/// What must be so before a device is used, and what says that it never will be.
pub(super) fn binding(at: &At<'_>) {
    let (good, bad) = (at.field("bindingConditions"), at.field("bindingFailureConditions"));
    for list in [&good, &bad] {
        each_of(list, MAX_BINDING_CONDITIONS, |name| name.matches(names::qualified_name));
    }
    unique(&good);
    let known: Vec<&str> = good.items().map(|c| c.text()).collect();
    let mut seen: Vec<&str> = Vec::new();
    for one in bad.items() {
        if seen.contains(&one.text()) {
            one.duplicate();
        }
        seen.push(one.text());
        if known.contains(&one.text()) {
            one.invalid("bindingFailureConditions must not overlap with bindingConditions");
        }
    }
    for (one, other) in [(&good, &bad), (&bad, &good)] {
        let name = |list: &At<'_>| list.path.rsplit('.').next().unwrap_or("").to_owned();
        if one.is_empty() && !other.is_empty() {
            one.invalid_as("null", &format!("{} are required to use {}", name(one), name(other)));
        }
    }
}

fn unique(list: &At<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for one in list.items() {
        if seen.contains(&one.text()) {
            one.duplicate();
        }
        seen.push(one.text());
    }
}
