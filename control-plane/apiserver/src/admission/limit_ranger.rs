//! LimitRanger: fills in the resources that a namespace's LimitRanges default, and holds pods and claims to their bounds.

use super::{Admission, Operation, fields};
use crate::ctx::Ctx;
use crate::lookup;
use api::{Object, Quantity, Status, Value};
use std::collections::BTreeMap;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

type Amounts = BTreeMap<String, Quantity>;

pub(super) async fn mutate(ctx: &Ctx, admission: &mut Admission<'_>) -> Result<(), Status> {
    if !admission.writes(lookup::PODS, "", &[Operation::Create]) {
        return Ok(());
    }
    let ranges = ctx.registry.all(lookup::LIMIT_RANGES, Some(&admission.info.namespace)).await?;
    if let Some(pod) = admission.object.as_mut().filter(|_| !ranges.is_empty()) {
        fill(pod, &ranges);
    }
    Ok(())
}

pub(super) async fn validate(ctx: &Ctx, admission: &Admission<'_>) -> Result<(), Status> {
    let both = [Operation::Create, Operation::Update];
    let pod = admission.writes(lookup::PODS, "", &both[..1]) || admission.writes(lookup::PODS, "resize", &both[1..]);
    let claim = admission.writes(lookup::PERSISTENT_VOLUME_CLAIMS, "", &both);
    let Some(object) = admission.object.as_ref().filter(|_| pod || claim) else { return Ok(()) };
    let ranges = ctx.registry.all(lookup::LIMIT_RANGES, Some(&admission.info.namespace)).await?;
    let errors: Vec<String> = ranges.iter().flat_map(|range| violations(object, pod, range)).collect();
    match errors.as_slice() {
        [] => Ok(()),
        [one] => Err(admission.forbid(one)),
        many => Err(admission.forbid(&format!("[{}]", many.join(", ")))),
    }
}

fn limits(range: &Object) -> &[Value] {
    range.at(&["spec", "limits"]).and_then(Value::as_list).unwrap_or(&[])
}

fn of_type<'a>(range: &'a Object, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    limits(range).iter().filter(move |l| fields::text(l, &["type"]) == kind)
}

/// Sets what containers leave out. A request that is left out is the limit, where there is one.
pub(super) fn fill(pod: &mut Object, ranges: &[Object]) {
    let mut notes = Vec::new();
    for (key, shown) in [("containers", "container"), ("initContainers", "init container")] {
        let containers = pod.at_mut(&["spec", key]).and_then(Value::as_list_mut);
        for container in containers.into_iter().flatten() {
            for limit in ranges.iter().flat_map(|r| of_type(r, "Container")) {
                fill_container(container, limit, shown, &mut notes);
            }
        }
    }
    if !notes.is_empty() {
        let note = format!("LimitRanger plugin set: {}", notes.join("; "));
        pod.set(&["metadata", "annotations", ANNOTATION], note);
    }
}

fn fill_container(container: &mut Value, limit: &Value, shown: &str, notes: &mut Vec<String>) {
    let name = fields::text(container, &["name"]).to_owned();
    let resources = container.make_map().entry("resources").make_map();
    for (key, value) in resources.get("limits").and_then(Value::as_map).cloned().unwrap_or_default() {
        let requests = resources.entry("requests").make_map();
        if !requests.contains_key(&key) {
            requests.insert(key, value);
        }
    }
    let mut set = |what: &'static str, from: &str| {
        let mut keys = Vec::new();
        for (key, value) in limit.get(from).and_then(Value::as_map).into_iter().flat_map(|m| m.iter()) {
            let there = resources.entry(what).make_map();
            if !there.contains_key(key) {
                there.insert(key.clone(), value.clone());
                keys.push(key.to_string());
            }
        }
        keys.join(", ")
    };
    let (limits, requests) = (set("limits", "default"), set("requests", "defaultRequest"));
    for (keys, what) in [(requests, "request"), (limits, "limit")] {
        if !keys.is_empty() {
            notes.push(format!("{keys} {what} for {shown} {name}"));
        }
    }
    for key in ["requests", "limits"] {
        if resources.get(key).and_then(Value::as_map).is_some_and(api::Map::is_empty) {
            resources.remove(key);
        }
    }
}

/// What an object asks for, in one unit of account.
struct Asked {
    requests: Amounts,
    limits: Amounts,
}

fn amounts(value: Option<&Value>) -> Amounts {
    let pairs = value.and_then(Value::as_map).into_iter().flat_map(|m| m.iter());
    pairs.filter_map(|(k, v)| Some((k.to_string(), amount(v)?))).collect()
}

/// A quantity may stand as a number.
fn amount(value: &Value) -> Option<Quantity> {
    match value {
        Value::Str(text) => Quantity::parse(text).ok(),
        Value::Int(int) => Some(Quantity::from_int(*int)),
        Value::Null | Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => None,
    }
}

fn asked(container: &Value) -> Asked {
    let at = |key| amounts(container.at(&["resources", key]));
    Asked { requests: at("requests"), limits: at("limits") }
}

pub(super) fn violations(object: &Object, is_pod: bool, range: &Object) -> Vec<String> {
    let spec = object.at(&["spec"]).cloned().unwrap_or_default();
    let mut errors = Vec::new();
    if !is_pod {
        let claim = Asked { requests: amounts(spec.at(&["resources", "requests"])), limits: Amounts::new() };
        let bounds = of_type(range, "PersistentVolumeClaim");
        bounds.for_each(|limit| check_claim(limit, &claim, &mut errors));
        return errors;
    }
    let containers: Vec<Asked> = fields::list(&spec, &["containers"]).iter().map(asked).collect();
    let init: Vec<Asked> = fields::list(&spec, &["initContainers"]).iter().map(asked).collect();
    for limit in of_type(range, "Container") {
        containers.iter().chain(&init).for_each(|asked| check(limit, asked, &mut errors));
    }
    let pod = whole(&containers, &init);
    of_type(range, "Pod").for_each(|limit| check(limit, &pod, &mut errors));
    errors
}

/// A pod needs the sum of its containers, or the most of any init container if that is more.
fn whole(containers: &[Asked], init: &[Asked]) -> Asked {
    let fold = |of: fn(&Asked) -> &Amounts| {
        let mut sum = Amounts::new();
        for (key, value) in containers.iter().flat_map(of) {
            sum.entry(key.clone()).and_modify(|s| *s = s.add(*value)).or_insert(*value);
        }
        for (key, value) in init.iter().flat_map(of) {
            let most = sum.entry(key.clone()).or_insert(*value);
            if most.nanos() < value.nanos() {
                *most = *value;
            }
        }
        sum
    };
    Asked { requests: fold(|a| &a.requests), limits: fold(|a| &a.limits) }
}

fn check(limit: &Value, asked: &Asked, errors: &mut Vec<String>) {
    let kind = fields::text(limit, &["type"]);
    for (key, bound) in amounts(limit.get("min")) {
        let (request, most) = (asked.requests.get(&key), asked.limits.get(&key));
        let rule = format!("minimum {key} usage per {kind} is {bound}");
        errors.extend(below(&rule, bound, request, most));
    }
    for (key, bound) in amounts(limit.get("max")) {
        let (request, most) = (asked.requests.get(&key), asked.limits.get(&key));
        let rule = format!("maximum {key} usage per {kind} is {bound}");
        errors.extend(above(&rule, bound, request, most));
    }
    for (key, bound) in amounts(limit.get("maxLimitRequestRatio")) {
        let rule = format!("{key} max limit to request ratio per {kind} is {bound}");
        errors.extend(ratio(&rule, bound, asked.requests.get(&key), asked.limits.get(&key)));
    }
}

fn check_claim(limit: &Value, claim: &Asked, errors: &mut Vec<String>) {
    for (key, bound) in amounts(limit.get("min")) {
        let rule = format!("minimum {key} usage per PersistentVolumeClaim is {bound}");
        errors.extend(below(&rule, bound, claim.requests.get(&key), None));
    }
    for (key, bound) in amounts(limit.get("max")) {
        if let Some(request) = claim.requests.get(&key).filter(|r| r.nanos() > bound.nanos()) {
            errors.push(format!("maximum {key} usage per PersistentVolumeClaim is {bound}, but request is {request}"));
        }
    }
}

fn below(rule: &str, bound: Quantity, request: Option<&Quantity>, limit: Option<&Quantity>) -> Option<String> {
    let under = |q: &&Quantity| q.nanos() < bound.nanos();
    match (request, limit) {
        (None, _) => Some(format!("{rule}.  No request is specified")),
        (Some(request), _) if under(&request) => Some(format!("{rule}, but request is {request}")),
        (_, limit) => limit.filter(under).map(|limit| format!("{rule}, but limit is {limit}")),
    }
}

fn above(rule: &str, bound: Quantity, request: Option<&Quantity>, limit: Option<&Quantity>) -> Option<String> {
    let over = |q: &&Quantity| q.nanos() > bound.nanos();
    match (limit, request) {
        (None, _) => Some(format!("{rule}.  No limit is specified")),
        (Some(limit), _) if over(&limit) => Some(format!("{rule}, but limit is {limit}")),
        (_, request) => request.filter(over).map(|request| format!("{rule}, but request is {request}")),
    }
}

#[expect(clippy::cast_precision_loss, reason = "upstream divides as floating point and prints six digits")]
fn ratio(rule: &str, bound: Quantity, request: Option<&Quantity>, limit: Option<&Quantity>) -> Option<String> {
    let Some(request) = request.filter(|r| !r.is_zero()) else {
        return Some(format!("{rule}, but no request is specified or request is 0"));
    };
    let Some(limit) = limit.filter(|l| !l.is_zero()) else {
        return Some(format!("{rule}, but no limit is specified or limit is 0"));
    };
    let provided = limit.nanos() as f64 / request.nanos() as f64;
    let most = bound.nanos() as f64 / 1e9;
    (provided > most).then(|| format!("{rule}, but provided ratio is {provided:.6}"))
}
