//! How much a pod asks for and how much a node has.
//!
//! Amounts are whole numbers: millicores of CPU, and units (bytes, pieces) of everything else.

use std::collections::BTreeMap;

use api::Quantity as Exact;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

pub type Amounts = BTreeMap<String, i64>;

/// What a container that asks for nothing is taken to use when nodes are compared (never when they are filtered).
const CPU_GUESS: i64 = 100;
const MEMORY_GUESS: i64 = 200 << 20;
/// What may be asked for the pod as a whole.
const POD_LEVEL: [&str; 2] = ["cpu", "memory"];

/// The amounts of a list of resources. One that cannot be read counts as nothing: the API lets none through.
pub fn amounts(list: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    list.into_iter().flatten().map(|(name, quantity)| (name.clone(), amount(name, quantity))).collect()
}

fn amount(name: &str, quantity: &Quantity) -> i64 {
    let Ok(exact) = Exact::parse(&quantity.0) else { return 0 };
    if name == "cpu" { exact.milli() } else { exact.value() }
}

/// What a pod asks for: the containers that run together, or a larger initial one, and the overhead of its sandbox.
pub fn requests(pod: &Pod) -> Amounts {
    total(pod, false)
}

/// The same with a guess for containers that ask for nothing.
pub fn likely_requests(pod: &Pod) -> Amounts {
    total(pod, true)
}

fn total(pod: &Pod, guess: bool) -> Amounts {
    let Some(spec) = pod.spec.as_ref() else { return Amounts::new() };
    let of = |container: &Container| container_requests(pod, container, guess);
    let mut all = Amounts::new();
    spec.containers.iter().for_each(|container| add(&mut all, &of(container)));
    let (mut sidecars, mut largest) = (Amounts::new(), Amounts::new());
    for init in spec.init_containers.iter().flatten() {
        let mut now = of(init);
        if init.restart_policy.as_deref() == Some("Always") {
            add(&mut all, &now);
            add(&mut sidecars, &now);
            now = sidecars.clone();
        } else {
            add(&mut now, &sidecars);
        }
        raise(&mut largest, &now);
    }
    raise(&mut all, &largest);
    let whole = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    for (name, amount) in amounts(whole) {
        if POD_LEVEL.contains(&name.as_str()) || name.starts_with("hugepages-") {
            all.insert(name, amount);
        }
    }
    add(&mut all, &amounts(spec.overhead.as_ref()));
    all
}

/// A container that is being resized counts with the larger of what it has and what it asks for.
fn container_requests(pod: &Pod, container: &Container, guess: bool) -> Amounts {
    let asked =
        |resources: &Option<ResourceRequirements>| amounts(resources.as_ref().and_then(|r| r.requests.as_ref()));
    let mut requests = asked(&container.resources);
    let statuses = pod.status.as_ref().map(|status| {
        status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten())
    });
    if let Some(status) = statuses.into_iter().flatten().find(|status| status.name == container.name) {
        raise(&mut requests, &amounts(status.allocated_resources.as_ref()));
        raise(&mut requests, &asked(&status.resources));
    }
    if guess {
        requests.entry("cpu".to_owned()).or_insert(CPU_GUESS);
        requests.entry("memory".to_owned()).or_insert(MEMORY_GUESS);
    }
    requests
}

pub fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = to.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*amount);
    }
}

pub fn subtract(from: &mut Amounts, less: &Amounts) {
    for (name, amount) in less {
        let rest = from.entry(name.clone()).or_default();
        *rest = rest.saturating_sub(*amount);
    }
}

fn raise(to: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        let known = to.entry(name.clone()).or_default();
        *known = (*known).max(*amount);
    }
}

pub fn get(amounts: &Amounts, name: &str) -> i64 {
    amounts.get(name).copied().unwrap_or(0)
}
