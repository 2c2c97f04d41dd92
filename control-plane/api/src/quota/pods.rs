//! What a pod uses: what its containers request and may have, while it has not ended.

use super::{Usage, amounts_in, one};
use crate::{Object, Quantity, Value};
use jiff::{SignedDuration, Timestamp};

/// Requests that have a short name too, and limits that are counted at all.
const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// What every container must say once a quota limits it.
const MUST_SAY: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
/// What the resources of a whole pod may say.
const OF_POD: [&str; 2] = ["cpu", "memory"];
const HUGE: &str = "hugepages-";

pub(super) fn usage(pod: &Object, usage: &mut Usage) {
    if matches!(pod.str_at(&["status", "phase"]), "Succeeded" | "Failed") {
        usage.remove("pods");
        return;
    }
    usage.extend(named(&total(pod, "requests"), &total(pod, "limits")));
}

/// Whether a pod's grace has passed, so that it uses no more than one that has ended.
pub fn is_over(pod: &Object, now: Timestamp) -> bool {
    let ends = pod.deletion_timestamp().and_then(|text| text.parse::<Timestamp>().ok());
    let grace = pod.deletion_grace_period_seconds().map(SignedDuration::from_secs);
    let over = ends.zip(grace).and_then(|(ends, grace)| ends.checked_add(grace).ok());
    over.is_some_and(|over| over < now)
}

pub(super) fn is_of(name: &str) -> bool {
    let plain = name.strip_prefix("requests.").or_else(|| name.strip_prefix("limits.")).unwrap_or(name);
    let extended = name.starts_with("requests.") && plain.contains('/') && !plain.contains(".storageclass.");
    COMPUTE.contains(&plain) || plain.starts_with(HUGE) || extended
}

/// The names under which amounts count.
fn named(requests: &Usage, limits: &Usage) -> Usage {
    let mut named = Usage::new();
    for (name, amount) in requests {
        let compute = COMPUTE.contains(&name.as_str()) || name.starts_with(HUGE);
        if compute {
            named.insert(name.clone(), *amount);
        }
        if compute || name.contains('/') {
            named.insert(format!("requests.{name}"), *amount);
        }
    }
    for (name, amount) in limits.iter().filter(|(name, _)| COMPUTE.contains(&name.as_str())) {
        named.insert(format!("limits.{name}"), *amount);
    }
    named
}

fn containers<'a>(spec: Option<&'a Value>, which: &str) -> &'a [Value] {
    spec.and_then(|s| s.get(which)).and_then(Value::as_list).unwrap_or_default()
}

/// The most that the containers of a pod's spec have at a time: all that run beside one another, or one that runs
/// before them. `what` is `requests` or `limits`.
pub(crate) fn of_containers(spec: Option<&Value>, what: &str) -> Usage {
    let of = |container: &Value| amounts_in(container.at(&["resources", what]));
    let mut running = Usage::new();
    containers(spec, "containers").iter().for_each(|container| super::add(&mut running, &of(container)));
    let (mut beside, mut before) = (Usage::new(), Usage::new());
    for container in containers(spec, "initContainers") {
        let mut at_once = of(container);
        if container.at(&["restartPolicy"]).and_then(Value::as_str) == Some("Always") {
            super::add(&mut beside, &at_once);
            at_once = beside.clone();
        } else {
            super::add(&mut at_once, &beside);
        }
        most(&mut before, &at_once);
    }
    super::add(&mut running, &beside);
    most(&mut running, &before);
    running
}

/// What its containers have, then what is said of the whole pod, and its overhead.
fn total(pod: &Object, what: &str) -> Usage {
    let mut running = of_containers(pod.at(&["spec"]), what);
    for (name, amount) in amounts_in(pod.at(&["spec", "resources", what])) {
        if OF_POD.contains(&name.as_str()) || name.starts_with(HUGE) {
            running.insert(name, amount);
        }
    }
    for (name, amount) in amounts_in(pod.at(&["spec", "overhead"])) {
        match running.get_mut(&name) {
            Some(known) => *known = known.add(amount),
            // A limit that nobody set stays none.
            None if what == "requests" => drop(running.insert(name, amount)),
            None => {}
        }
    }
    running
}

fn all_containers(pod: &Object) -> impl Iterator<Item = &Value> {
    let spec = pod.at(&["spec"]);
    containers(spec, "containers").iter().chain(containers(spec, "initContainers"))
}

fn most(total: &mut Usage, other: &Usage) {
    for (name, amount) in other {
        let known = total.entry(name.clone()).or_insert(Quantity::ZERO);
        if known.nanos() < amount.nanos() {
            *known = *amount;
        }
    }
}

/// What a quota limits and a pod's containers do not say: `cpu for: a,b; memory for: a`.
pub fn unspecified<'a>(pod: &Object, limited: impl Iterator<Item = &'a str>) -> Option<String> {
    let limited: std::collections::BTreeSet<&str> = limited.filter(|name| MUST_SAY.contains(name)).collect();
    let whole = said(pod.at(&["spec"]));
    let missing = limited.into_iter().filter(|name| !whole.contains_key(*name)).filter_map(|name| {
        let all = all_containers(pod);
        let silent = all.filter(|container| !said(Some(container)).contains_key(name));
        let mut names: Vec<&str> = silent.filter_map(|container| container.at(&["name"])?.as_str()).collect();
        names.sort_unstable();
        (!names.is_empty()).then(|| format!("{name} for: {}", names.join(",")))
    });
    let missing: Vec<String> = missing.collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}

/// What the `resources` of something say, by the names of quotas.
fn said(of: Option<&Value>) -> Usage {
    let at = |what| amounts_in(of.and_then(|of| of.at(&["resources", what])));
    let mut said = named(&at("requests"), &at("limits"));
    said.insert("pods".into(), one());
    said
}

/// Neither a request nor a limit of CPU or memory anywhere: the pod that goes first when a node is full.
pub(super) fn best_effort(pod: &Object) -> bool {
    let all = all_containers(pod);
    let silent = |of: &Value| {
        ["requests", "limits"].iter().all(|what| {
            let amounts = amounts_in(of.at(&["resources", what]));
            OF_POD.iter().all(|name| amounts.get(*name).is_none_or(|amount| amount.is_zero()))
        })
    };
    all.chain(pod.at(&["spec"])).all(silent)
}
