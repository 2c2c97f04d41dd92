//! How much a pod asks for and how much a node has.
//!
//! Amounts are whole numbers: millicores of CPU, and units (bytes, pieces) of everything else.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Quantity as Exact;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Amounts by resource: the three that every pod has to do with by name, the others in a short sorted list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts {
    pub cpu: i64,
    pub memory: i64,
    pub storage: i64,
    others: Vec<(Arc<str>, i64)>,
}

/// A resource whose name has been looked at: what is asked for node after node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    Cpu,
    Memory,
    Storage,
    Other(&'a str),
}

impl<'a> Resource<'a> {
    pub fn name(self) -> &'a str {
        match self {
            Resource::Cpu => "cpu",
            Resource::Memory => "memory",
            Resource::Storage => "ephemeral-storage",
            Resource::Other(name) => name,
        }
    }

    pub fn named(name: &'a str) -> Resource<'a> {
        match name {
            "cpu" => Resource::Cpu,
            "memory" => Resource::Memory,
            "ephemeral-storage" => Resource::Storage,
            other => Resource::Other(other),
        }
    }
}

impl Amounts {
    pub fn of(&self, resource: Resource) -> i64 {
        match resource {
            Resource::Cpu => self.cpu,
            Resource::Memory => self.memory,
            Resource::Storage => self.storage,
            Resource::Other(name) => self.at(name).map_or(0, |at| self.others[at].1),
        }
    }

    pub fn get(&self, name: &str) -> i64 {
        self.of(Resource::named(name))
    }

    fn entry(&mut self, name: &str) -> &mut i64 {
        match name {
            "cpu" => &mut self.cpu,
            "memory" => &mut self.memory,
            "ephemeral-storage" => &mut self.storage,
            _ => {
                let at = self.at(name).unwrap_or_else(|at| {
                    self.others.insert(at, (name.into(), 0));
                    at
                });
                &mut self.others[at].1
            }
        }
    }

    fn at(&self, name: &str) -> Result<usize, usize> {
        self.others.binary_search_by(|(known, _)| known.as_ref().cmp(name))
    }

    /// Everything besides CPU, memory and ephemeral storage.
    pub fn others(&self) -> impl Iterator<Item = (&Arc<str>, i64)> {
        self.others.iter().map(|(name, amount)| (name, *amount))
    }

    fn merge(&mut self, other: &Amounts, with: impl Fn(i64, i64) -> i64) {
        self.cpu = with(self.cpu, other.cpu);
        self.memory = with(self.memory, other.memory);
        self.storage = with(self.storage, other.storage);
        for (name, amount) in &other.others {
            let known = self.entry(name);
            *known = with(*known, *amount);
        }
    }

    pub fn add(&mut self, more: &Amounts) {
        self.merge(more, i64::saturating_add);
    }

    pub fn subtract(&mut self, less: &Amounts) {
        self.merge(less, i64::saturating_sub);
    }

    fn raise(&mut self, least: &Amounts) {
        self.merge(least, i64::max);
    }

    pub fn is_zero(&self) -> bool {
        self.cpu == 0 && self.memory == 0 && self.storage == 0 && self.others.iter().all(|(_, amount)| *amount == 0)
    }
}

/// What a container that asks for nothing is taken to use when nodes are compared (never when they are filtered).
const CPU_GUESS: i64 = 100;
const MEMORY_GUESS: i64 = 200 << 20;
/// What may be asked for the pod as a whole.
const POD_LEVEL: [&str; 2] = ["cpu", "memory"];

/// The amounts of a list of resources. One that cannot be read counts as nothing: the API lets none through.
pub fn amounts(list: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    let mut amounts = Amounts::default();
    for (name, quantity) in list.into_iter().flatten() {
        *amounts.entry(name) = amount(name, quantity);
    }
    amounts
}

fn amount(name: &str, quantity: &Quantity) -> i64 {
    let Ok(exact) = Exact::parse(&quantity.0) else { return 0 };
    if name == "cpu" { exact.milli() } else { exact.value() }
}

/// What a pod asks for: the containers that run together, or a larger initial one, and the overhead of its sandbox.
/// One that is being resized counts with what it has where that is more.
pub fn requests(pod: &Pod) -> Amounts {
    total(pod, |container| container_requests(pod, container))
}

/// The same by its manifest alone.
pub fn asked(pod: &Pod) -> Amounts {
    total(pod, |container| requested(&container.resources))
}

/// What it asks for, with a guess for containers that ask for nothing.
pub fn likely_requests(pod: &Pod) -> Amounts {
    total(pod, |container| guessed(container, container_requests(pod, container)))
}

fn total(pod: &Pod, of: impl Fn(&Container) -> Amounts) -> Amounts {
    let Some(spec) = pod.spec.as_ref() else { return Amounts::default() };
    let mut all = Amounts::default();
    spec.containers.iter().for_each(|container| all.add(&of(container)));
    let (mut sidecars, mut largest) = (Amounts::default(), Amounts::default());
    for init in spec.init_containers.iter().flatten() {
        let mut now = of(init);
        if init.restart_policy.as_deref() == Some("Always") {
            all.add(&now);
            sidecars.add(&now);
            now = sidecars.clone();
        } else {
            now.add(&sidecars);
        }
        largest.raise(&now);
    }
    all.raise(&largest);
    let whole = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    for (name, quantity) in whole.into_iter().flatten() {
        if POD_LEVEL.contains(&name.as_str()) || name.starts_with("hugepages-") {
            *all.entry(name) = amount(name, quantity);
        }
    }
    all.add(&amounts(spec.overhead.as_ref()));
    all
}

/// Whether the pod's node has said that it never has what the pod asks for.
fn infeasible(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "PodResizePending" && c.reason.as_deref() == Some("Infeasible"))
}

fn requested(resources: &Option<ResourceRequirements>) -> Amounts {
    amounts(resources.as_ref().and_then(|r| r.requests.as_ref()))
}

/// A container that is being resized counts with the larger of what it has and what it asks for; with what it has alone
/// where its node never has what it asks for.
fn container_requests(pod: &Pod, container: &Container) -> Amounts {
    let mut requests = requested(&container.resources);
    let statuses = pod.status.as_ref().map(|status| {
        status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten())
    });
    if let Some(status) = statuses.into_iter().flatten().find(|status| status.name == container.name) {
        if infeasible(pod) {
            requests = Amounts::default();
        }
        requests.raise(&amounts(status.allocated_resources.as_ref()));
        requests.raise(&requested(&status.resources));
    }
    requests
}

fn guessed(container: &Container, mut requests: Amounts) -> Amounts {
    let named = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let says = |name: &str| named.is_some_and(|named| named.contains_key(name));
    requests.cpu = if says("cpu") || requests.cpu > 0 { requests.cpu } else { CPU_GUESS };
    requests.memory = if says("memory") || requests.memory > 0 { requests.memory } else { MEMORY_GUESS };
    requests
}

/// A resource of which a node has too little left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lack<'a> {
    pub resource: Resource<'a>,
    pub requested: i64,
    pub used: i64,
    pub capacity: i64,
}

/// What is too little on a node for who asks for so much: CPU, memory, ephemeral storage, then all others by name.
pub fn lacking<'a>(asked: &'a Amounts, used: &'a Amounts, has: &'a Amounts) -> impl Iterator<Item = Lack<'a>> {
    let named = [Resource::Cpu, Resource::Memory, Resource::Storage];
    let others = asked.others().map(|(name, _)| Resource::Other(name));
    let all = named.into_iter().chain(others);
    all.map(|resource| Lack {
        resource,
        requested: asked.of(resource),
        used: used.of(resource),
        capacity: has.of(resource),
    })
    .filter(|lack| lack.requested > 0 && lack.requested > lack.capacity - lack.used)
}
