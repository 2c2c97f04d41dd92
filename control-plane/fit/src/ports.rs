//! Ports of the node itself.

use k8s_openapi::api::core::v1::{Container, Pod};

/// Why a node does not do, in upstream's words.
pub const TAKEN: &str = "node(s) didn't have free ports for the requested pod ports";

/// The address that stands for every other one, also of IPv6, as upstream.
const EVERY: &str = "0.0.0.0";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    address: String,
    protocol: String,
    port: i32,
}

impl HostPort {
    /// Those of a pod's containers and sidecars: what is there together.
    pub fn of(pod: &Pod) -> Vec<HostPort> {
        let Some(spec) = pod.spec.as_ref() else { return vec![] };
        let sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
        let sidecars = spec.init_containers.iter().flatten().filter(sidecar);
        let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
        let or = |text: &Option<String>, default: &str| {
            text.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned())
        };
        let host = ports.filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            Some(HostPort { address: or(&port.host_ip, EVERY), protocol: or(&port.protocol, "TCP"), port: number })
        });
        host.collect()
    }

    pub fn collides(&self, other: &HostPort) -> bool {
        let every = |port: &HostPort| port.address == EVERY;
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address == other.address || every(self) || every(other))
    }
}

pub fn any_collides(wanted: &[HostPort], taken: &[HostPort]) -> bool {
    wanted.iter().any(|wanted| taken.iter().any(|taken| wanted.collides(taken)))
}
