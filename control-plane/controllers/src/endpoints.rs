//! Which pods stand behind a Service: as EndpointSlices, and as the older Endpoints object.

mod members;

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort as CorePort, EndpointSubset, Endpoints as EndpointsObject, Node, Pod, Service,
};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::pods;
use members::{Member, families, members};

/// Endpoints in one slice, as upstream's default: an update of one stays small.
const PER_SLICE: usize = 100;
/// Addresses in one Endpoints object: what every watcher of it must take at a time, as upstream.
const PER_OBJECT: usize = 1000;
const SERVICE: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";
const TRUNCATED: &str = "endpoints.kubernetes.io/over-capacity";
const ZONE: &str = "topology.kubernetes.io/zone";

pub(crate) struct EndpointSlices;
pub(crate) struct Endpoints;

impl Controller for EndpointSlices {
    fn name(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<Service>();
        watches.mapped::<Pod>(|view, change| services(view, &change.before, &change.after));
        watches.seen::<Node>();
        watches.mapped::<EndpointSlice>(|_, change| {
            let slices = [&change.before, &change.after].into_iter().flatten();
            let mut keys: Vec<Key> = slices.filter_map(|slice| service_of(slice)).collect();
            keys.dedup();
            keys
        });
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let mut plan = Plan::done();
        let Some(service) = view.of::<Service>().get_key(key).filter(|service| has_selector(service)) else {
            return plan.into();
        };
        if service.metadata.deletion_timestamp.is_some() {
            return plan.into();
        }
        let existing = view.of::<EndpointSlice>().list_in(&key.namespace);
        let mut mine: Vec<_> = existing.into_iter().filter(|slice| is_mine(slice, key)).collect();
        let mut surplus = Vec::new();
        for family in families(&service) {
            let (of_family, rest): (Vec<_>, Vec<_>) = mine.into_iter().partition(|s| s.address_type == family);
            mine = rest;
            surplus.extend(pack(view, &service, family, of_family, moment, &mut plan));
        }
        surplus.extend(mine);
        surplus.iter().for_each(|slice| plan.delete(slice.as_ref()));
        plan.if_refused(service.as_ref(), "FailedToUpdateEndpointSlices", "Error updating Endpoint Slices for Service");
        plan.into()
    }
}

fn has_selector(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| {
        spec.type_.as_deref() != Some("ExternalName") && spec.selector.as_ref().is_some_and(|s| !s.is_empty())
    })
}

fn services(view: &View, before: &Option<Arc<Pod>>, after: &Option<Arc<Pod>>) -> Vec<Key> {
    if let (Some(before), Some(after)) = (before, after)
        && members::same(before, after)
    {
        return vec![];
    }
    let pods: Vec<_> = [before, after].into_iter().flatten().collect();
    let Some(namespace) = pods.first().and_then(|pod| pod.metadata.namespace.clone()) else { return vec![] };
    let chosen = |service: &Arc<Service>| {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        selector.is_some_and(|s| pods.iter().any(|p| crate::selector::matches_map(s, p.metadata.labels.as_ref())))
    };
    let services = view.of::<Service>().list_in(&namespace);
    services.iter().filter(|s| has_selector(s) && chosen(s)).map(|service| Key::of(service.as_ref())).collect()
}

fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE)?;
    Some(Key::new(slice.metadata.namespace.clone().unwrap_or_default(), name))
}

fn is_mine(slice: &EndpointSlice, key: &Key) -> bool {
    let managed = slice.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY));
    managed.is_some_and(|by| by == MANAGER)
        && slice.metadata.deletion_timestamp.is_none()
        && service_of(slice).as_ref() == Some(key)
}

/// Brings the slices of one address family up to date; answers those that are no longer needed.
fn pack(
    view: &View,
    service: &Service,
    family: &str,
    existing: Vec<Arc<EndpointSlice>>,
    moment: Moment,
    plan: &mut Plan,
) -> Vec<Arc<EndpointSlice>> {
    let mut groups: BTreeMap<String, (Vec<EndpointPort>, Vec<Endpoint>)> = BTreeMap::new();
    for member in members(view, service, family) {
        let group = groups.entry(ports_key(&member.ports)).or_insert_with(|| (member.ports.clone(), vec![]));
        group.1.push(endpoint(view, service, &member));
    }
    if groups.is_empty() {
        // A Service without pods keeps one empty slice, so that who watches slices knows of it.
        groups.insert(String::new(), (vec![], vec![]));
    }
    let mut surplus = existing;
    let mut made = 0;
    for (key, (ports, endpoints)) in groups {
        let same = |s: &Arc<EndpointSlice>| ports_key(s.ports.as_deref().unwrap_or_default()) == key;
        let (usable, rest): (Vec<_>, Vec<_>) = surplus.into_iter().partition(same);
        surplus = rest;
        let (contents, unused) = distribute(usable, endpoints);
        surplus.extend(unused);
        for (slice, endpoints) in contents {
            let seed = pods::nth(moment, made);
            made += usize::from(slice.is_none());
            write(service, family, slice, &ports, endpoints, seed, plan);
        }
    }
    surplus
}

type Content = (Option<Arc<EndpointSlice>>, Vec<Endpoint>);

/// Leaves endpoints in the slice they are in, fills the room that others left, and only then begins new slices.
fn distribute(slices: Vec<Arc<EndpointSlice>>, endpoints: Vec<Endpoint>) -> (Vec<Content>, Vec<Arc<EndpointSlice>>) {
    let none = endpoints.is_empty();
    let mut left: BTreeMap<String, Endpoint> = endpoints.into_iter().map(|e| (identity(&e), e)).collect();
    let mut contents: Vec<Content> = Vec::new();
    for slice in slices {
        let kept = slice.endpoints.iter().flatten().take(PER_SLICE).filter_map(|e| left.remove(&identity(e))).collect();
        contents.push((Some(slice), kept));
    }
    let mut rest = left.into_values();
    for (_, content) in &mut contents {
        let room = PER_SLICE - content.len();
        content.extend(rest.by_ref().take(room));
    }
    loop {
        let more: Vec<_> = rest.by_ref().take(PER_SLICE).collect();
        if more.is_empty() {
            break;
        }
        contents.push((None, more));
    }
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

fn identity(endpoint: &Endpoint) -> String {
    let uid = endpoint.target_ref.as_ref().and_then(|target| target.uid.as_deref()).unwrap_or_default();
    format!("{uid} {}", endpoint.addresses.join(" "))
}

fn ports_key(ports: &[EndpointPort]) -> String {
    let mut keys: Vec<String> =
        ports.iter().map(|p| format!("{:?} {:?} {:?} {:?}", p.name, p.protocol, p.port, p.app_protocol)).collect();
    keys.sort();
    keys.join(",")
}

fn endpoint(view: &View, service: &Service, member: &Member) -> Endpoint {
    let spec = member.pod.spec.as_ref();
    let node_name = spec.and_then(|spec| spec.node_name.clone());
    let node = node_name.as_ref().and_then(|name| view.of::<Node>().get("", name));
    let terminating = member.pod.metadata.deletion_timestamp.is_some();
    Endpoint {
        addresses: vec![member.address.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(member.serving && (!terminating || members::publishes_not_ready(service))),
            serving: Some(member.serving),
            terminating: Some(terminating),
        }),
        hostname: member.hostname.clone(),
        zone: node.and_then(|node| node.metadata.labels.as_ref()?.get(ZONE).cloned()),
        node_name,
        target_ref: Some(member.reference()),
        ..Endpoint::default()
    }
}

fn write(
    service: &Service,
    family: &str,
    slice: Option<Arc<EndpointSlice>>,
    ports: &[EndpointPort],
    endpoints: Vec<Endpoint>,
    seed: u64,
    plan: &mut Plan,
) {
    let labels = slice_labels(service);
    let ports = Some(ports.to_vec()).filter(|ports| !ports.is_empty());
    let Some(slice) = slice else {
        let prefix = format!("{}-", service.metadata.name.as_deref().unwrap_or_default());
        return plan.create(&EndpointSlice {
            metadata: ObjectMeta {
                name: Some(format!("{prefix}{}", pods::suffix(seed))),
                generate_name: Some(prefix),
                namespace: service.metadata.namespace.clone(),
                labels: Some(labels),
                owner_references: Some(vec![pods::owner(service)]),
                ..ObjectMeta::default()
            },
            address_type: family.to_owned(),
            endpoints: Some(endpoints),
            ports,
        });
    };
    let same_ports = slice.ports.clone().filter(|ports| !ports.is_empty()) == ports;
    let same_endpoints = slice.endpoints.as_deref().unwrap_or_default() == endpoints;
    if !same_endpoints || slice.metadata.labels.as_ref() != Some(&labels) || !same_ports {
        let mut slice = (*slice).clone();
        slice.metadata.labels = Some(labels);
        plan.update(&EndpointSlice { endpoints: Some(endpoints), ports, ..slice });
    }
}

fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

fn slice_labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    labels.insert(SERVICE.to_owned(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

impl Controller for Endpoints {
    fn name(&self) -> &'static str {
        "endpoint-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<Service>();
        watches.mapped::<Pod>(|view, change| services(view, &change.before, &change.after));
        watches.own::<EndpointsObject>();
    }

    fn plan(&self, view: &View, key: &Key, _: Moment) -> Decision {
        let mut plan = Plan::done();
        let existing = view.of::<EndpointsObject>().get_key(key);
        let service = view.of::<Service>().get_key(key);
        let Some(service) = service.filter(|service| service.metadata.deletion_timestamp.is_none()) else {
            // Only what this controller made: others make Endpoints without any Service.
            if let Some(existing) = existing.filter(|existing| is_made_here(existing)) {
                plan.delete(existing.as_ref());
            }
            return plan.into();
        };
        if !has_selector(&service) {
            return plan.into();
        }
        let (subsets, truncated) = subsets(view, &service);
        let meta = object_meta(&service, existing.as_deref(), truncated);
        let subsets = Some(subsets).filter(|subsets| !subsets.is_empty());
        match existing {
            None => plan.create(&EndpointsObject { metadata: meta, subsets }),
            Some(existing) => {
                let has = existing.subsets.clone().filter(|subsets| !subsets.is_empty());
                if has != subsets || existing.metadata != meta {
                    plan.update(&EndpointsObject { metadata: meta, subsets });
                }
            }
        }
        plan.if_refused(service.as_ref(), "FailedToUpdateEndpoint", "Failed to update endpoint");
        plan.into()
    }
}

const OBJECT_MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";

fn is_made_here(object: &EndpointsObject) -> bool {
    let by = object.metadata.labels.as_ref().and_then(|labels| labels.get(OBJECT_MANAGED_BY));
    by.is_some_and(|by| by == "endpoint-controller")
}

fn object_meta(service: &Service, existing: Option<&EndpointsObject>, truncated: bool) -> ObjectMeta {
    let mut meta = existing.map(|object| object.metadata.clone()).unwrap_or_else(|| ObjectMeta {
        name: service.metadata.name.clone(),
        namespace: service.metadata.namespace.clone(),
        ..ObjectMeta::default()
    });
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(OBJECT_MANAGED_BY.to_owned(), "endpoint-controller".to_owned());
    meta.labels = Some(labels);
    let mut annotations = meta.annotations.take().unwrap_or_default();
    annotations.remove(TRUNCATED);
    if truncated {
        annotations.insert(TRUNCATED.to_owned(), "truncated".to_owned());
    }
    meta.annotations = Some(annotations).filter(|annotations| !annotations.is_empty());
    meta
}

/// One subset per distinct set of ports, and whether there were more addresses than one object takes.
fn subsets(view: &View, service: &Service) -> (Vec<EndpointSubset>, bool) {
    let mut groups: BTreeMap<String, EndpointSubset> = BTreeMap::new();
    // The older object has the Service's first address family only.
    let Some(family) = families(service).first().copied() else { return (vec![], false) };
    let mut members = members(view, service, family);
    members.retain(|m| members::publishes_not_ready(service) || m.pod.metadata.deletion_timestamp.is_none());
    members.sort_by_key(|member| !member.serving);
    let truncated = members.len() > PER_OBJECT;
    for member in members.into_iter().take(PER_OBJECT) {
        let subset = groups.entry(ports_key(&member.ports)).or_insert_with(|| EndpointSubset {
            ports: Some(member.ports.iter().map(core_port).collect::<Vec<_>>()).filter(|ports| !ports.is_empty()),
            ..EndpointSubset::default()
        });
        let list = if member.serving { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        list.get_or_insert_default().push(EndpointAddress {
            ip: member.address.clone(),
            hostname: member.hostname.clone(),
            node_name: member.pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            target_ref: Some(member.reference()),
        });
    }
    let mut subsets: Vec<_> = groups.into_values().collect();
    for subset in &mut subsets {
        for list in [&mut subset.addresses, &mut subset.not_ready_addresses].into_iter().flatten() {
            list.sort_by(|a, b| a.ip.cmp(&b.ip));
        }
    }
    (subsets, truncated)
}

fn core_port(port: &EndpointPort) -> CorePort {
    CorePort {
        name: port.name.clone().filter(|name| !name.is_empty()),
        port: port.port.unwrap_or(0),
        protocol: port.protocol.clone(),
        app_protocol: port.app_protocol.clone(),
    }
}
