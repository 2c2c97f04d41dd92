//! The CRI sandbox of a pod.

use super::dns::{self, Resolver};
use super::{Invalid, resources, security};
use crate::identity::{self, PodId};
use crate::{plan, units};
use k8s_openapi::api::core::v1::Pod;
use rpc::cri::{LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata, PortMapping, Protocol};
use std::collections::HashMap;
use std::path::Path;

/// Where the logs of a pod's containers go, under the node's log directory.
pub fn log_directory(logs: &Path, pod: &PodId) -> std::path::PathBuf {
    logs.join(format!("{}_{}_{}", pod.namespace, pod.name, pod.uid))
}

pub fn config(pod: &Pod, attempt: u32, logs: &Path, resolver: &Resolver) -> Result<PodSandboxConfig, Invalid> {
    let id = PodId::of(pod);
    let spec = units::spec(pod);
    let host_network = spec.host_network == Some(true);
    let mut annotations: HashMap<String, String> =
        pod.metadata.annotations.clone().unwrap_or_default().into_iter().collect();
    annotations.insert(identity::GRACE.into(), plan::grace(pod).to_string());
    Ok(PodSandboxConfig {
        hostname: if host_network { String::new() } else { dns::hostname(pod, &resolver.cluster_domain).0 },
        log_directory: log_directory(logs, &id).to_string_lossy().into_owned(),
        dns_config: Some(dns::dns(pod, resolver)),
        port_mappings: if host_network { Vec::new() } else { ports(pod) },
        labels: labels(pod, &id),
        annotations,
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: resources::cgroup_parent(pod),
            security_context: Some(security::of_sandbox(pod)?),
            sysctls: sysctls(pod),
            resources: Some(resources::of_pod(pod)),
            overhead: None,
        }),
        metadata: Some(PodSandboxMetadata { name: id.name, uid: id.uid, namespace: id.namespace, attempt }),
        windows: None,
    })
}

fn labels(pod: &Pod, id: &PodId) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = pod.metadata.labels.clone().unwrap_or_default().into_iter().collect();
    labels.insert(identity::POD_NAME.into(), id.name.clone());
    labels.insert(identity::POD_NAMESPACE.into(), id.namespace.clone());
    labels.insert(identity::POD_UID.into(), id.uid.clone());
    labels
}

fn sysctls(pod: &Pod) -> HashMap<String, String> {
    let context = pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    context.iter().flat_map(|c| c.sysctls.iter().flatten()).map(|s| (s.name.clone(), s.value.clone())).collect()
}

fn ports(pod: &Pod) -> Vec<PortMapping> {
    let list = units::units(pod);
    let ports = list.iter().flat_map(|u| u.spec.ports.iter().flatten());
    ports
        .filter(|p| p.host_port.is_some_and(|h| h > 0))
        .map(|p| PortMapping {
            protocol: match p.protocol.as_deref() {
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                Some(_) | None => Protocol::Tcp,
            } as i32,
            container_port: p.container_port,
            host_port: p.host_port.unwrap_or(0),
            host_ip: p.host_ip.clone().unwrap_or_default(),
        })
        .collect()
}
