//! Which pods stand behind a Service: as EndpointSlices, and as the older Endpoints object.

mod members;
pub(crate) mod mirroring;
mod slices;

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort as CorePort, EndpointSubset, Endpoints as EndpointsObject, Node, Pod, Service,
};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{index, pods};
use members::{Member, families, members};
use slices::{Groups, Shape, ports_key};

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
        watches.mapped::<Node>(|view, change| {
            let zone = |node: &Arc<Node>| node.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE).cloned());
            if change.before.as_ref().map(zone) == change.after.as_ref().map(zone) {
                return vec![];
            }
            let here = index::pods_on(view, &change.key.name);
            here.into_iter().flat_map(|pod| services(view, &None, &Some(pod))).collect()
        });
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
        let mut mine = index::slices_of(view, key);
        mine.retain(|slice| is_mine(slice, key, MANAGER));
        let shape = Shape::of_service(&service);
        for family in families(&service) {
            let (of_family, rest): (Vec<_>, Vec<_>) = mine.into_iter().partition(|s| s.address_type == family);
            let mut groups = Groups::new();
            for member in members(view, &service, family).into_iter().filter(|member| is_placed(view, &service, member))
            {
                let endpoint = endpoint(view, &service, &member);
                groups.entry(ports_key(&member.ports)).or_insert_with(|| (member.ports, vec![])).1.push(endpoint);
            }
            if groups.is_empty() {
                // A Service without pods keeps one empty slice, so that who watches slices knows of it.
                groups.insert(String::new(), (vec![], vec![]));
            }
            mine = rest;
            mine.extend(slices::pack(&shape, family, groups, of_family, moment, &mut plan));
        }
        mine.iter().for_each(|slice| plan.delete(slice.as_ref()));
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
    let pods = [before, after].into_iter().flatten();
    let services = pods.flat_map(|pod| index::services_of(view, pod)).filter(|service| has_selector(service));
    let mut keys: Vec<Key> = services.map(|service| Key::of(service.as_ref())).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE)?;
    Some(Key::new(slice.metadata.namespace.clone().unwrap_or_default(), name))
}

/// Whether a slice is of this Service, and this manager's to write.
fn is_mine(slice: &EndpointSlice, key: &Key, manager: &str) -> bool {
    let managed = slice.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY));
    managed.is_some_and(|by| by == manager)
        && slice.metadata.deletion_timestamp.is_none()
        && service_of(slice).as_ref() == Some(key)
}

fn endpoint(view: &View, service: &Service, member: &Member) -> Endpoint {
    let spec = member.pod.spec.as_ref();
    let node_name = spec.and_then(|spec| spec.node_name.clone());
    let node = node_name.as_ref().and_then(|name| view.of::<Node>().get("", name));
    let terminating = member.pod.metadata.deletion_timestamp.is_some();
    let serving = pods::is_ready(&member.pod);
    let ready = serving && !terminating || members::publishes_not_ready(service);
    let zone = node.and_then(|node| node.metadata.labels.as_ref()?.get(ZONE).cloned());
    Endpoint {
        addresses: vec![member.address.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: member.hostname.clone(),
        hints: if ready { hints(service, zone.as_deref(), node_name.as_deref()) } else { None },
        zone,
        node_name,
        target_ref: Some(member.reference()),
        ..Endpoint::default()
    }
}

/// Whose traffic an endpoint is best for, if the Service asks for what is close.
fn hints(service: &Service, zone: Option<&str>, node: Option<&str>) -> Option<EndpointHints> {
    let asked = service.spec.as_ref().and_then(|spec| spec.traffic_distribution.as_deref())?;
    let by_node = match asked {
        "PreferSameNode" => true,
        "PreferClose" | "PreferSameZone" => false,
        _ => return None,
    };
    let for_zones = zone.map(|name| vec![ForZone { name: name.to_owned() }]);
    let for_nodes = node.filter(|_| by_node).map(|name| vec![ForNode { name: name.to_owned() }]);
    (for_zones.is_some() || for_nodes.is_some()).then_some(EndpointHints { for_nodes, for_zones })
}

/// A pod of a node that is not there any more answers nobody, whatever it told last.
fn is_placed(view: &View, service: &Service, member: &Member) -> bool {
    members::publishes_not_ready(service) || view.of::<Node>().get("", pods::node(&member.pod)).is_some()
}

fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
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
