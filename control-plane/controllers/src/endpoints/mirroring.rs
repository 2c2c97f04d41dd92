//! Endpoints that people write for Services without a selector, shown as EndpointSlices too.
//!
//! Nothing is mirrored of a Service that has a selector, of an object that says so, or of one that elects a leader.

use std::collections::BTreeMap;
use std::net::IpAddr;

use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort as CorePort, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};

use super::slices::{self, Groups, Shape, ports_key};
use super::{MANAGED_BY, SERVICE, is_mine, service_of};
use crate::{index, pods};

const MIRROR: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Annotations that are about the object alone.
const NOT_COPIED: [&str; 2] =
    ["endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration"];
/// Addresses of one subset that are mirrored, as upstream.
const PER_SUBSET: usize = 1000;

pub(crate) struct Mirroring;

impl Controller for Mirroring {
    fn name(&self) -> &'static str {
        "endpointslicemirroring-controller"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<Endpoints>();
        watches.own::<Service>();
        watches.mapped::<EndpointSlice>(|_, change| {
            let slices = [&change.before, &change.after].into_iter().flatten();
            let of_mirror = |slice: &&std::sync::Arc<EndpointSlice>| {
                slice.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == MIRROR)
            };
            let mut keys: Vec<Key> = slices.filter(of_mirror).filter_map(|slice| service_of(slice)).collect();
            keys.dedup();
            keys
        });
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let mut plan = Plan::done();
        let mut mine = index::slices_of(view, key);
        mine.retain(|slice| is_mine(slice, key, MIRROR));
        let service = view.of::<Service>().get_key(key);
        let selectorless = |service: &Service| service.spec.as_ref().is_some_and(|spec| spec.selector.is_none());
        let object = view.of::<Endpoints>().get_key(key).filter(|object| is_mirrored(object));
        if let Some(object) = object.filter(|_| service.is_some_and(|service| selectorless(&service))) {
            let shape = shape(&object);
            for family in ["IPv4", "IPv6"] {
                let (of_family, rest): (Vec<_>, Vec<_>) = mine.into_iter().partition(|s| s.address_type == family);
                mine = rest;
                mine.extend(slices::pack(&shape, family, groups(&object, family), of_family, moment, &mut plan));
            }
            plan.if_refused(object.as_ref(), "FailedToUpdateEndpointSlices", "Error updating Endpoint Slices");
        }
        mine.iter().for_each(|slice| plan.delete(slice.as_ref()));
        plan.into()
    }
}

fn is_mirrored(object: &Endpoints) -> bool {
    let skips = object.metadata.labels.as_ref().and_then(|labels| labels.get(SKIP)).is_some_and(|skip| skip == "true");
    let elects = object.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(LEADER));
    !skips && !elects && object.metadata.deletion_timestamp.is_none()
}

fn shape(object: &Endpoints) -> Shape {
    let name = object.metadata.name.clone().unwrap_or_default();
    let mut labels = object.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE.to_owned(), name.clone());
    labels.insert(MANAGED_BY.to_owned(), MIRROR.to_owned());
    let mut annotations = object.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| !NOT_COPIED.contains(&key.as_str()));
    let (namespace, owner) = (object.metadata.namespace.clone(), pods::owner(object));
    Shape { name, namespace, labels, annotations: Some(annotations), owner }
}

/// The addresses of one family, by the ports of their subsets.
fn groups(object: &Endpoints, family: &str) -> Groups {
    let mut groups = Groups::new();
    for subset in object.subsets.iter().flatten() {
        let ports: Vec<EndpointPort> = subset.ports.iter().flatten().map(port).collect();
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let not_ready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        let of_family = |(address, _): &(&EndpointAddress, bool)| {
            address.ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6() == (family == "IPv6"))
        };
        // An address that is said twice is ready if it is so once.
        let mut seen = BTreeMap::new();
        for (address, ready) in ready.chain(not_ready).filter(of_family).take(PER_SUBSET) {
            seen.entry(&address.ip).or_insert_with(|| endpoint(address, ready));
        }
        if !seen.is_empty() {
            let group = groups.entry(ports_key(&ports)).or_insert_with(|| (ports, vec![]));
            group.1.extend(seen.into_values());
        }
    }
    groups
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn port(port: &CorePort) -> EndpointPort {
    EndpointPort {
        // A port without a name is called so in a slice.
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: port.protocol.clone(),
        app_protocol: port.app_protocol.clone(),
    }
}
