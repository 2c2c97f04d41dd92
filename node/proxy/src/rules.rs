//! From Services and EndpointSlices to the flat map. Pure.
//!
//! Every way into a Service is one *front*: an address, a protocol and a port (a NodePort has the unspecified address).
//! The elements `front, index → endpoint` of all fronts lie in one map, so a Service costs a few elements and no chain
//! of its own. Rules exist per distinct number of endpoints (and time-out of affinity), not per Service.

use crate::topology;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the proxy must know of its node.
#[derive(Debug, Clone)]
pub struct Node {
    pub name: String,
    /// The addresses of all pods of the cluster; what leaves them is masqueraded.
    pub pod_cidrs: Vec<ipnet::IpNet>,
    /// Where the node is: traffic goes to endpoints that are meant for it first.
    pub zone: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    fn parse(text: Option<&str>) -> Option<Protocol> {
        match text.unwrap_or("TCP") {
            "TCP" => Some(Protocol::Tcp),
            "UDP" => Some(Protocol::Udp),
            "SCTP" => Some(Protocol::Sctp),
            _ => None,
        }
    }

    /// The number in the IP header.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }
}

/// One way into a Service. The unspecified address stands for every address of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Front {
    pub address: IpAddr,
    pub protocol: Protocol,
    pub port: u16,
}

/// Where a front leads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// Sorted, so that the same endpoints always give the same elements.
    pub endpoints: Vec<(IpAddr, u16)>,
    /// How long a client stays with its endpoint, in seconds; 0 is not at all.
    pub affinity_seconds: u32,
    /// The client's address is hidden from the endpoint, so that the answer comes back through this node.
    pub masquerade: bool,
    /// No endpoint here is no answer rather than a refusal (`externalTrafficPolicy: Local`).
    pub drop_if_empty: bool,
}

/// Everything that the table says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    pub fronts: BTreeMap<Front, Target>,
}

/// The rules for these Services on this node. Later Services do not take a front that an earlier one (by namespace and
/// name) has.
pub fn rules<'a>(
    services: impl Iterator<Item = &'a Service>,
    slices: impl Iterator<Item = &'a EndpointSlice>,
    node: &Node,
) -> Ruleset {
    let mut by_service: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in slices {
        let labels = slice.metadata.labels.as_ref();
        if let (Some(ns), Some(name)) =
            (slice.metadata.namespace.as_deref(), labels.and_then(|l| l.get("kubernetes.io/service-name")))
        {
            by_service.entry((ns, name)).or_default().push(slice);
        }
    }
    let mut ordered: Vec<_> = services.filter_map(|s| Some((key(s)?, s))).collect();
    ordered.sort_by_key(|(key, _)| *key);
    let mut out = Ruleset::default();
    for (key, service) in ordered {
        add_service(&mut out, service, by_service.get(&key).map_or(&[], Vec::as_slice), node);
    }
    out
}

fn key(service: &Service) -> Option<(&str, &str)> {
    Some((service.metadata.namespace.as_deref()?, service.metadata.name.as_deref()?))
}

fn add_service(out: &mut Ruleset, service: &Service, slices: &[&EndpointSlice], node: &Node) {
    let Some(spec) = &service.spec else { return };
    let cluster: Vec<IpAddr> = spec.cluster_ips.iter().flatten().filter_map(|ip| ip.parse().ok()).collect();
    if spec.type_.as_deref() == Some("ExternalName") || cluster.is_empty() {
        return;
    }
    let external = external_addresses(service);
    let internal_local = spec.internal_traffic_policy.as_deref() == Some("Local");
    let external_local = spec.external_traffic_policy.as_deref() == Some("Local");
    let affinity_seconds = affinity(service);
    for port in spec.ports.iter().flatten() {
        let (Some(protocol), Ok(number)) = (Protocol::parse(port.protocol.as_deref()), u16::try_from(port.port)) else {
            continue;
        };
        for &address in &cluster {
            let v6 = address.is_ipv6();
            let mut put = |address, number, local: bool, outside: bool| {
                let target = Target {
                    endpoints: endpoints(slices, port, v6, node, local),
                    affinity_seconds,
                    masquerade: outside && !local,
                    drop_if_empty: outside && local,
                };
                out.fronts.entry(Front { address, protocol, port: number }).or_insert(target);
            };
            put(address, number, internal_local, false);
            for &address in external.iter().filter(|a| a.is_ipv6() == v6) {
                put(address, number, external_local, true);
            }
            if let Some(node_port) = port.node_port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0) {
                put(unspecified(v6), node_port, external_local, true);
            }
        }
    }
}

pub fn unspecified(v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

/// `externalIPs` and the addresses of a load balancer that wants them handled on the node (KEP-1860).
fn external_addresses(service: &Service) -> BTreeSet<IpAddr> {
    let declared = service.spec.iter().flat_map(|s| s.external_ips.iter().flatten()).filter_map(|ip| ip.parse().ok());
    let ingress = service.status.iter().flat_map(|s| &s.load_balancer).flat_map(|l| l.ingress.iter().flatten());
    let given = ingress.filter(|i| i.ip_mode.as_deref() != Some("Proxy")).filter_map(|i| i.ip.as_deref()?.parse().ok());
    declared.chain(given).collect()
}

fn affinity(service: &Service) -> u32 {
    const DEFAULT_SECONDS: i32 = 10_800;
    let Some(spec) = &service.spec else { return 0 };
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return 0;
    }
    let configured = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref()?.timeout_seconds);
    u32::try_from(configured.unwrap_or(DEFAULT_SECONDS)).unwrap_or(0)
}

/// The endpoints that serve a port: the ready ones, and of those the close ones, or, where none is ready, those that end but
/// still serve (KEP-1669). Of a Service that is local, those of this node.
fn endpoints(slices: &[&EndpointSlice], port: &ServicePort, v6: bool, node: &Node, local: bool) -> Vec<(IpAddr, u16)> {
    let family = if v6 { "IPv6" } else { "IPv4" };
    let of_family = || slices.iter().filter(|slice| slice.address_type == family);
    let all = || of_family().flat_map(|slice| slice.endpoints.iter().flatten());
    let mut close: Vec<&Endpoint> = all().filter(|endpoint| matches!(readiness(endpoint), Readiness::Ready)).collect();
    topology::close(&mut close, node);
    let close: HashSet<*const Endpoint> = close.into_iter().map(std::ptr::from_ref).collect();
    let (mut ready, mut ending) = (BTreeSet::new(), BTreeSet::new());
    for slice in of_family() {
        let Some(number) = slice_port(slice, port) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            if local && endpoint.node_name.as_deref() != Some(&node.name) {
                continue;
            }
            let group = match readiness(endpoint) {
                Readiness::Ready if local || close.contains(&std::ptr::from_ref(endpoint)) => &mut ready,
                Readiness::EndingButServing => &mut ending,
                Readiness::Ready | Readiness::Not => continue,
            };
            group.extend(endpoint.addresses.iter().filter_map(|a| Some((a.parse::<IpAddr>().ok()?, number))));
        }
    }
    let chosen = if ready.is_empty() { ending } else { ready };
    chosen.into_iter().collect()
}

fn slice_port(slice: &EndpointSlice, port: &ServicePort) -> Option<u16> {
    let wanted = (port.name.as_deref().unwrap_or(""), port.protocol.as_deref().unwrap_or("TCP"));
    let same = |p: &&k8s_openapi::api::discovery::v1::EndpointPort| {
        (p.name.as_deref().unwrap_or(""), p.protocol.as_deref().unwrap_or("TCP")) == wanted
    };
    u16::try_from(slice.ports.iter().flatten().find(same)?.port?).ok()
}

enum Readiness {
    Ready,
    EndingButServing,
    Not,
}

fn readiness(endpoint: &Endpoint) -> Readiness {
    let Some(c) = &endpoint.conditions else { return Readiness::Ready };
    match (c.ready.unwrap_or(true), c.serving.unwrap_or(c.ready.unwrap_or(true)), c.terminating.unwrap_or(false)) {
        (true, _, _) => Readiness::Ready,
        (false, true, true) => Readiness::EndingButServing,
        (false, _, _) => Readiness::Not,
    }
}
