//! Slices, in which drivers say what devices a node has.

use super::at::At;
use super::devices::{binding, by, driver, each_of, pool_name, property_name, set_of};
use super::selectors::node_selector;
use super::words;
use super::workloads::{checked, immutable, updated};
use crate::kind::Context;
use crate::names;
use crate::object::Object;
use crate::quantity::Quantity;
use crate::status::FieldError;
use crate::value::Value;

/// Of one slice, as upstream's.
const MAX_DEVICES: usize = 128;
/// The same where one of them has taints or takes from counters.
const MAX_DEVICES_OF_PARTS: usize = 64;
/// Of one device, attributes and capacities together.
const MAX_PROPERTIES: usize = 32;
const MAX_ATTRIBUTE_TEXT: usize = 64;
const MAX_TAINTS: usize = 16;
const MAX_COUNTER_SETS: usize = 8;
/// Counters of one set, and of one device's share in one.
const MAX_COUNTERS: usize = 32;
/// Sets that one device takes from.
const MAX_SHARES: usize = 2;
/// Amounts that may be asked for of a capacity.
const MAX_OPTIONS: usize = 10;

pub(in crate::kinds) fn slice(object: &Object, out: &mut Vec<FieldError>) {
    checked(object, names::dns1123_subdomain, out, |root, _| {
        let spec = root.field("spec");
        driver(&spec.field("driver"));
        pool(&spec.field("pool"));
        let by_device = spec.field("perDeviceNodeSelection").truth();
        let mut places = places(&spec, "must be either unset or set to a non-empty string");
        let terms = spec.fields(&["nodeSelector", "nodeSelectorTerms"]);
        if spec.has("nodeSelector") && terms.len() != 1 {
            terms.invalid_inner("io.k8s.api.core.v1.NodeSelector", "must have exactly one node selector term");
        }
        flag(&spec.field("perDeviceNodeSelection"), &mut places);
        one_place(
            &spec,
            &places,
            "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required",
            ", but multiple fields are set",
        );
        let (devices, sets) = (spec.field("devices"), spec.field("sharedCounters"));
        if devices.is() && sets.is() {
            spec.invalid_text("", "only one of `sharedCounters` or `devices` is allowed");
        }
        let parts = devices.items().any(|d| !d.field("taints").is_empty() || !d.field("consumesCounters").is_empty());
        let limit = if parts { MAX_DEVICES_OF_PARTS } else { MAX_DEVICES };
        set_of(&devices, limit, |one| device(one, by_device), by("name"));
        set_of(&sets, MAX_COUNTER_SETS, counter_set, by("name"));
    });
}

fn pool(at: &At<'_>) {
    pool_name(&at.field("name"));
    let (count, generation) = (at.field("resourceSliceCount"), at.field("generation"));
    if count.int().unwrap_or(0) <= 0 {
        count.invalid_as(&count.int().unwrap_or(0).to_string(), "must be greater than zero");
    }
    if generation.int().unwrap_or(0) < 0 {
        generation.invalid("must be greater than or equal to zero");
    }
}

/// In which ways it is said where devices are.
fn places(at: &At<'_>, empty: &str) -> Vec<String> {
    let (node, selector) = (at.field("nodeName"), at.field("nodeSelector"));
    let mut out = Vec::new();
    if node.is() {
        match node.text().is_empty() {
            true => node.invalid(empty),
            false => {
                out.push("`nodeName`".to_owned());
                node.matches(names::dns1123_subdomain);
            }
        }
    }
    if selector.is() {
        out.push("`nodeSelector`".to_owned());
        node_selector(&selector);
    }
    flag(&at.field("allNodes"), &mut out);
    out
}

/// A switch that is on or not there.
fn flag(at: &At<'_>, out: &mut Vec<String>) {
    if at.truth() {
        out.push(format!("`{}`", at.path.rsplit('.').next().unwrap_or("")));
    } else if at.is() {
        at.invalid("must be either unset or set to true");
    }
}

fn one_place(at: &At<'_>, places: &[String], why: &str, several: &str) {
    match places {
        [] => at.required(why),
        [_] => {}
        _ => at.invalid_text(&format!("{{{}}}", places.join(", ")), &format!("{why}{several}")),
    }
}

fn counter_set(at: &At<'_>) {
    at.field("name").required_matches(names::dns1123_label);
    counters(&at.field("counters"));
}

fn counters(at: &At<'_>) {
    match at.len() {
        0 => at.required(""),
        n if n > MAX_COUNTERS => at.too_many(MAX_COUNTERS),
        _ => at.pairs().for_each(|(name, _)| {
            names::dns1123_label(name).iter().for_each(|why| at.invalid_text(name, why));
        }),
    }
}

fn device(at: &At<'_>, by_device: bool) {
    at.field("name").matches(names::dns1123_label);
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
    let shared = at.field("allowMultipleAllocations").truth();
    for (name, value) in capacity.pairs() {
        property_name(&capacity, name);
        let policy = value.field("requestPolicy");
        match policy.is() {
            true if shared => request_policy(&value.field("value"), &policy),
            true => policy.forbidden("allowMultipleAllocations must be true"),
            false => {}
        }
    }
    each_of(&at.field("taints"), MAX_TAINTS, taint);
    set_of(
        &at.field("consumesCounters"),
        MAX_SHARES,
        |share| {
            share.field("counterSet").required_matches(names::dns1123_label);
            counters(&share.field("counters"));
        },
        by("counterSet"),
    );
    node(at, by_device);
    binding(at);
}

fn node(at: &At<'_>, by_device: bool) {
    if by_device {
        let why = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
        one_place(at, &places(at, "must not be empty"), why, "");
    } else if ["nodeName", "nodeSelector", "allNodes"].iter().any(|key| at.has(key)) {
        let why = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
        at.invalid_as("null", why);
    }
}

fn attribute(at: &At<'_>) {
    let (text, version) = (at.field("string"), at.field("version"));
    too_long(&text);
    if version.is() {
        if !is_version(version.text()) {
            version.invalid("must be a string compatible with semver.org spec 2.0.0");
        }
        too_long(&version);
    }
    match ["bool", "int", "string", "version"].into_iter().filter(|k| at.has(k)).count() {
        1 => {}
        0 => at.invalid_text("", "exactly one value must be specified"),
        _ => at.invalid_inner("io.k8s.api.resource.v1.DeviceAttribute", "exactly one value must be specified"),
    }
}

fn too_long(at: &At<'_>) {
    if at.text().len() > MAX_ATTRIBUTE_TEXT {
        at.too_long(MAX_ATTRIBUTE_TEXT);
    }
}

/// Of semver.org: three numbers, then parts of a version before, then of a build.
fn is_version(text: &str) -> bool {
    let number = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
    };
    let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
    let (core, before) = rest.split_once('-').map_or((rest, None), |(core, before)| (core, Some(before)));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    core.split('.').count() == 3
        && core.split('.').all(number)
        && before.is_none_or(|b| b.split('.').all(|part| word(part) && (!digits(part) || number(part))))
        && build.is_none_or(|b| b.split('.').all(word))
}

const TAINT_EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "None"];

fn taint(at: &At<'_>) {
    at.field("key").matches(names::qualified_name);
    at.field("value").matches(names::label_value);
    let effect = at.field("effect");
    match effect.is_empty() {
        true => effect.required(""),
        false => effect.one_of(TAINT_EFFECTS),
    }
}

/// A toleration of such taints.
pub(super) fn toleration(at: &At<'_>) {
    let (key, value, operator) = (at.field("key"), at.field("value"), at.field("operator"));
    if !key.is_empty() {
        key.matches(names::qualified_name);
    }
    match operator.text() {
        "Exists" if !value.is_empty() => value.invalid("must be empty for operator `Exists`"),
        "Exists" => {}
        "Equal" => value.matches(names::label_value),
        "" => operator.required(""),
        _ => operator.unsupported(&["Equal", "Exists"]),
    }
    if !at.get("effect").is_empty() {
        at.field("effect").one_of(TAINT_EFFECTS);
    }
}

/// How much of a capacity may be asked for.
fn request_policy(capacity: &At<'_>, policy: &At<'_>) {
    let whole = words::amount(capacity).unwrap_or(Quantity::ZERO);
    let (values, range, default) = (policy.field("validValues"), policy.field("validRange"), policy.field("default"));
    let asked = words::amount(&default);
    match (!values.is_empty(), range.is()) {
        (true, true) => policy.forbidden(
            "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time",
        ),
        (true, false) => match asked {
            None => default.required("required when validValues is defined"),
            Some(asked) => options(&values, whole, asked),
        },
        (false, true) => match asked {
            None => default.required("required when validRange is defined"),
            Some(asked) => request_range(&range, whole, asked),
        },
        (false, false) => {}
    }
}

fn options(values: &At<'_>, whole: Quantity, asked: Quantity) {
    let amounts: Vec<(At<'_>, Quantity)> = values.items().filter_map(|v| words::amount(&v).map(|q| (v, q))).collect();
    for pair in amounts.windows(2) {
        if let [(_, before), (at, amount)] = pair
            && before > amount
        {
            at.invalid_text(&amount.to_string(), "values must be sorted in ascending order");
        }
    }
    let rule = |at: &At<'_>| {
        if let Some(amount) = words::amount(at).filter(|a| *a > whole) {
            at.invalid_text(&amount.to_string(), &format!("option is larger than capacity value: {whole}"));
        }
    };
    set_of(values, MAX_OPTIONS, rule, |at| format!("\"{}\"", words::amount(at).map_or(0, Quantity::value)));
    if !amounts.iter().any(|(_, amount)| *amount == asked) {
        values.invalid_text(&asked.to_string(), "default value is not valid according to the requestPolicy");
    }
}

fn request_range(range: &At<'_>, whole: Quantity, asked: Quantity) {
    let [min_at, max_at, step_at] = ["min", "max", "step"].map(|key| range.field(key));
    let (min, max, step) = (words::amount(&min_at), words::amount(&max_at), words::amount(&step_at));
    let Some(min) = min else { return min_at.required("required when validRange is defined") };
    let say = |bad: bool, at: &At<'_>, shown: Quantity, why: String| {
        if bad {
            at.invalid_text(&shown.to_string(), &why);
        }
    };
    say(min > whole, &min_at, min, format!("min is larger than capacity value: {whole}"));
    say(asked < min, &min_at, asked, format!("default is less than min: {min}"));
    if let Some(max) = max {
        say(min > max, &max_at, min, format!("min is larger than max: {max}"));
        say(max > whole, &max_at, max, format!("max is larger than capacity value: {whole}"));
        say(asked > max, &max_at, asked, format!("default is more than max: {max}"));
    }
    if let Some(step) = step {
        let added = min.add(step);
        say(added > whole, &step_at, step, format!("one step {added} is larger than capacity value: {whole}"));
        for amount in [Some(asked), max].into_iter().flatten() {
            // A step of nothing reaches nothing but the start.
            let beyond = amount.value().saturating_sub(min.value());
            let off = beyond.checked_rem(step.value()).unwrap_or(beyond) != 0;
            say(off, &step_at, amount, format!("value is not a multiple of a given step ({step}) from ({min})"));
        }
    }
}

pub(in crate::kinds) fn slice_update(new: &Object, old: &Object, c: Context<'_>, out: &mut Vec<FieldError>) {
    let rules = |root: &At<'_>| {
        let spec = root.field("spec");
        let before = |path: &[&str]| old.at(&["spec"]).and_then(|s| s.at(path)).filter(|v: &&Value| !v.is_null());
        immutable(&spec.fields(&["pool", "name"]), before(&["pool", "name"]));
        immutable(&spec.field("driver"), before(&["driver"]));
        immutable(&spec.field("nodeName"), before(&["nodeName"]));
    };
    updated(new, old, c, out, rules, |_| {});
}
