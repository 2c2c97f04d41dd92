//! Slices of endpoints: which endpoint is in which, with as few writes as may be.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Moment, Plan};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{HEADLESS, MANAGED_BY, MANAGER, SERVICE, is_headless};
use crate::pods;

/// Endpoints in one slice, as upstream's default: an update of one stays small.
const PER_SLICE: usize = 100;

/// More slices than any Service has of a family.
const MOST_SLICES: usize = 1 << 20;

/// Endpoints by the ports that they share.
pub(super) type Groups = BTreeMap<String, (Vec<EndpointPort>, Vec<Endpoint>)>;

/// What the slices of one owner have in common.
pub(super) struct Shape {
    pub name: String,
    pub namespace: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// None: whatever somebody set.
    pub annotations: Option<BTreeMap<String, String>>,
    pub owner: OwnerReference,
}

impl Shape {
    pub(super) fn of_service(service: &Service) -> Shape {
        let mut labels = service.metadata.labels.clone().unwrap_or_default();
        labels.remove(HEADLESS);
        labels.insert(SERVICE.to_owned(), service.metadata.name.clone().unwrap_or_default());
        labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
        if is_headless(service) {
            labels.insert(HEADLESS.to_owned(), String::new());
        }
        Shape {
            name: service.metadata.name.clone().unwrap_or_default(),
            namespace: service.metadata.namespace.clone(),
            labels,
            annotations: None,
            owner: pods::owner(service),
        }
    }

    fn write(
        &self,
        family: &str,
        slice: Option<Arc<EndpointSlice>>,
        ports: &[EndpointPort],
        endpoints: Vec<Endpoint>,
        seed: u64,
        plan: &mut Plan,
    ) {
        let ports = Some(ports.to_vec()).filter(|ports| !ports.is_empty());
        let Some(slice) = slice else {
            let prefix = format!("{}-", self.name);
            return plan.create(&EndpointSlice {
                metadata: ObjectMeta {
                    name: Some(format!("{prefix}{}", pods::suffix(seed))),
                    generate_name: Some(prefix),
                    namespace: self.namespace.clone(),
                    labels: Some(self.labels.clone()),
                    annotations: self.annotations.clone().filter(|annotations| !annotations.is_empty()),
                    owner_references: Some(vec![self.owner.clone()]),
                    ..ObjectMeta::default()
                },
                address_type: family.to_owned(),
                endpoints: Some(endpoints),
                ports,
            });
        };
        let same_ports = slice.ports.clone().filter(|ports| !ports.is_empty()) == ports;
        let same_endpoints = slice.endpoints.as_deref().unwrap_or_default() == endpoints;
        let has = slice.metadata.annotations.clone().unwrap_or_default();
        let same_annotations = self.annotations.as_ref().is_none_or(|wanted| *wanted == has);
        let same_labels = slice.metadata.labels.as_ref() == Some(&self.labels);
        if !same_endpoints || !same_labels || !same_ports || !same_annotations {
            let mut slice = (*slice).clone();
            slice.metadata.labels = Some(self.labels.clone());
            if let Some(wanted) = &self.annotations {
                slice.metadata.annotations = Some(wanted.clone()).filter(|annotations| !annotations.is_empty());
            }
            plan.update(&EndpointSlice { endpoints: Some(endpoints), ports, ..slice });
        }
    }
}

/// Brings the slices of one address family up to date; answers those that are no longer needed.
pub(super) fn pack(
    shape: &Shape,
    family: &str,
    groups: Groups,
    existing: Vec<Arc<EndpointSlice>>,
    moment: Moment,
    plan: &mut Plan,
) -> Vec<Arc<EndpointSlice>> {
    let mut surplus = existing;
    // The slices of both families may be made at the same moment, and none may have the other's name.
    let mut made = if family == "IPv6" { MOST_SLICES } else { 0 };
    for (key, (ports, endpoints)) in groups {
        let same = |s: &Arc<EndpointSlice>| ports_key(s.ports.as_deref().unwrap_or_default()) == key;
        let (usable, rest): (Vec<_>, Vec<_>) = surplus.into_iter().partition(same);
        surplus = rest;
        let (contents, unused) = distribute(usable, endpoints);
        surplus.extend(unused);
        for (slice, endpoints) in contents {
            let seed = pods::nth(moment, made);
            made += usize::from(slice.is_none());
            shape.write(family, slice, &ports, endpoints, seed, plan);
        }
    }
    surplus
}

type Content = (Option<Arc<EndpointSlice>>, Vec<Endpoint>);

/// Leaves endpoints in the slice they are in, and puts the others where as few slices as may be are written for them.
fn distribute(slices: Vec<Arc<EndpointSlice>>, endpoints: Vec<Endpoint>) -> (Vec<Content>, Vec<Arc<EndpointSlice>>) {
    let none = endpoints.is_empty();
    let mut left: BTreeMap<String, Endpoint> = endpoints.into_iter().map(|e| (identity(&e), e)).collect();
    let (mut contents, mut written): (Vec<Content>, Vec<usize>) = (Vec::new(), Vec::new());
    for slice in slices {
        let before = slice.endpoints.as_deref().unwrap_or_default();
        let kept: Vec<_> = before.iter().take(PER_SLICE).filter_map(|e| left.remove(&identity(e))).collect();
        if kept != before {
            written.push(contents.len());
        }
        contents.push((Some(slice), kept));
    }
    fill(&mut contents, written, left.into_values().collect());
    if none && contents.is_empty() {
        contents.push((None, vec![]));
    }
    let mut unused = Vec::new();
    let mut kept = Vec::new();
    for (slice, content) in contents {
        match (slice, content.is_empty()) {
            (Some(slice), true) if !none || !kept.is_empty() => unused.push(slice),
            other => kept.push((other.0, content)),
        }
    }
    (kept, unused)
}

/// Fills slices that are written anyway, the fullest first; what is left goes into the fullest one that takes all of it, or
/// into new ones.
fn fill(contents: &mut Vec<Content>, mut written: Vec<usize>, mut rest: Vec<Endpoint>) {
    written.sort_by_key(|at| std::cmp::Reverse(contents[*at].1.len()));
    for at in written {
        let content = &mut contents[at].1;
        let room = PER_SLICE - content.len();
        content.extend(rest.drain(..room.min(rest.len())));
    }
    while !rest.is_empty() {
        let wanted = rest.len();
        let fitting = contents.iter_mut().filter(|(_, content)| content.len() + wanted <= PER_SLICE);
        match fitting.max_by_key(|(_, content)| content.len()) {
            Some((_, content)) => content.append(&mut rest),
            None => contents.push((None, rest.drain(..wanted.min(PER_SLICE)).collect())),
        }
    }
}

fn identity(endpoint: &Endpoint) -> String {
    let uid = endpoint.target_ref.as_ref().and_then(|target| target.uid.as_deref()).unwrap_or_default();
    format!("{uid} {}", endpoint.addresses.join(" "))
}

pub(super) fn ports_key(ports: &[EndpointPort]) -> String {
    let mut keys: Vec<String> =
        ports.iter().map(|p| format!("{:?} {:?} {:?} {:?}", p.name, p.protocol, p.port, p.app_protocol)).collect();
    keys.sort();
    keys.join(",")
}
