//! The pods behind a Service, each with its address and the ports it serves.

use std::net::IpAddr;
use std::sync::Arc;

use client::View;
use k8s_openapi::api::core::v1::{ObjectReference, Pod, PodSpec, Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointPort;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::{index, pods};

pub(super) struct Member {
    pub pod: Arc<Pod>,
    pub address: String,
    pub ports: Vec<EndpointPort>,
    /// It is told of among those that answer: it is ready, or its Service does not ask.
    pub serving: bool,
    pub hostname: Option<String>,
}

impl Member {
    pub(super) fn reference(&self) -> ObjectReference {
        ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: self.pod.metadata.namespace.clone(),
            name: self.pod.metadata.name.clone(),
            uid: self.pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }
    }
}

/// The address families of a Service, the first its own.
pub(super) fn families(service: &Service) -> Vec<&'static str> {
    let Some(spec) = service.spec.as_ref() else { return vec![] };
    let named: Vec<_> = spec.ip_families.iter().flatten().map(|f| if f == "IPv6" { "IPv6" } else { "IPv4" }).collect();
    if !named.is_empty() {
        return named;
    }
    let v6 = spec.cluster_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()).is_some_and(|ip| ip.is_ipv6());
    vec![if v6 { "IPv6" } else { "IPv4" }]
}

pub(super) fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true)
}

/// Ordered by name.
pub(super) fn members(view: &View, service: &Service, family: &str) -> Vec<Member> {
    let Some(spec) = service.spec.as_ref() else { return vec![] };
    let (Some(selector), Some(namespace)) = (&spec.selector, &service.metadata.namespace) else { return vec![] };
    let anyway = publishes_not_ready(service);
    let chosen = index::chosen_by_map(view, namespace, selector);
    let running = chosen.into_iter().filter(|pod| !pods::is_finished(pod) && !pods::node(pod).is_empty());
    let member = |pod: Arc<Pod>| {
        let address = address(&pod, family)?;
        let ports = ports(spec.ports.as_deref().unwrap_or_default(), pod.spec.as_ref()?);
        let own = |spec: &PodSpec| spec.hostname.clone().filter(|_| spec.subdomain == service.metadata.name);
        let hostname = pod.spec.as_ref().and_then(own);
        Some(Member { serving: anyway || pods::is_ready(&pod), address, ports, hostname, pod })
    };
    running.filter_map(member).collect()
}

fn address(pod: &Pod, family: &str) -> Option<String> {
    let status = pod.status.as_ref()?;
    let all = status.pod_ips.iter().flatten().map(|ip| &ip.ip).chain(&status.pod_ip);
    let fits = |ip: &&String| ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6() == (family == "IPv6"));
    all.into_iter().find(fits).cloned()
}

fn ports(service: &[ServicePort], pod: &PodSpec) -> Vec<EndpointPort> {
    let resolved = service.iter().filter_map(|port| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            port: Some(target(port, pod)?),
            app_protocol: port.app_protocol.clone(),
        })
    });
    resolved.collect()
}

/// The number a target port stands for in this pod; none if the pod has no port of that name.
fn target(port: &ServicePort, pod: &PodSpec) -> Option<i32> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let name = match &port.target_port {
        None | Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let sidecars = pod.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = pod.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let mut named = ports.filter(|p| p.protocol.as_deref().unwrap_or("TCP") == protocol);
    named.find(|p| p.name.as_deref() == Some(name)).map(|p| p.container_port)
}

/// Whether nothing changed that a Service's endpoints show.
pub(super) fn same(before: &Pod, after: &Pod) -> bool {
    let spec = |pod: &Pod| {
        let spec = pod.spec.as_ref();
        spec.map(|spec| (spec.node_name.clone(), spec.hostname.clone(), spec.subdomain.clone()))
    };
    let addresses = |pod: &Pod| pod.status.as_ref().map(|status| (status.pod_ip.clone(), status.pod_ips.clone()));
    before.metadata.labels == after.metadata.labels
        && before.metadata.uid == after.metadata.uid
        && before.metadata.deletion_timestamp == after.metadata.deletion_timestamp
        && pods::is_finished(before) == pods::is_finished(after)
        && pods::is_ready(before) == pods::is_ready(after)
        && addresses(before) == addresses(after)
        && spec(before) == spec(after)
}
