//! Two pods do not have the same port of a node.

use k8s_openapi::api::core::v1::{Container, Pod};

use super::{Judge, Plugin, Reject};
use crate::queue::Happening;
use crate::snapshot::{NodeInfo, Snapshot};

pub(super) struct NodePorts;
struct Wanted(Vec<HostPort>);

struct HostPort {
    address: String,
    protocol: String,
    port: i32,
}

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn helped_by(&self) -> &'static [Happening] {
        &[Happening::NodeAdded, Happening::PodLeft]
    }

    fn begin<'a>(&self, _: &'a Snapshot, pod: &'a Pod) -> Option<Box<dyn Judge + 'a>> {
        let ports = host_ports(pod);
        (!ports.is_empty()).then(|| Box::new(Wanted(ports)) as Box<dyn Judge>)
    }
}

impl Judge for Wanted {
    fn filter(&self, node: &NodeInfo) -> Result<(), Reject> {
        let taken: Vec<_> = node.pods.iter().flat_map(|pod| host_ports(pod)).collect();
        match self.0.iter().any(|wanted| taken.iter().any(|taken| collide(wanted, taken))) {
            true => Reject::for_now("node(s) didn't have free ports for the requested pod ports"),
            false => Ok(()),
        }
    }
}

/// The whole address 0.0.0.0 collides with every address.
fn collide(a: &HostPort, b: &HostPort) -> bool {
    let every = |port: &HostPort| port.address == "0.0.0.0" || port.address == "::";
    a.port == b.port && a.protocol == b.protocol && (a.address == b.address || every(a) || every(b))
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = pod.spec.as_ref() else { return vec![] };
    let sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(sidecar);
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let or = |text: &Option<String>, default: &str| {
        text.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned())
    };
    let host = ports.filter_map(|port| {
        let number = port.host_port.filter(|number| *number > 0)?;
        Some(HostPort { address: or(&port.host_ip, "0.0.0.0"), protocol: or(&port.protocol, "TCP"), port: number })
    });
    host.collect()
}
