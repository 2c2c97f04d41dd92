//! Ports of the node that lead to pods (`hostPort`): which there are follows from the sandboxes that are ready. Opening
//! them is left to whom the shim is given.

use crate::convert;
use crate::record::SandboxRecord;
use crate::shim::Shim;
use rpc::cri;
use rpc::tonic::Status;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// One port of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostPort {
    /// The unspecified address stands for all of the node's.
    pub host: IpAddr,
    pub protocol: cri::Protocol,
    pub port: u16,
    pub pod: (IpAddr, u16),
}

/// Opens ports of the node.
pub trait HostPorts: std::fmt::Debug + Send + Sync {
    /// Makes these the node's ports, and no others. May block.
    ///
    /// # Errors
    /// Why they cannot be opened.
    fn set(&self, ports: &[HostPort]) -> Result<(), String>;
}

/// Whether a sandbox has such ports at all.
pub fn has(config: &cri::PodSandboxConfig) -> bool {
    !convert::on_host_network(config) && config.port_mappings.iter().any(|m| m.host_port > 0)
}

/// The ports of one sandbox with that address.
pub fn of(config: &cri::PodSandboxConfig, pod: IpAddr) -> Result<Vec<HostPort>, String> {
    if !has(config) {
        return Ok(Vec::new());
    }
    config.port_mappings.iter().filter(|m| m.host_port > 0).map(|m| one(m, pod)).collect()
}

fn one(mapping: &cri::PortMapping, pod: IpAddr) -> Result<HostPort, String> {
    let number = |port: i32| u16::try_from(port).ok().filter(|port| *port > 0);
    let wrong = |what: &str| format!("hostPort {}: {what}", mapping.host_port);
    let host = match mapping.host_ip.as_str() {
        "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        text => text.parse().map_err(|_| wrong(&format!("hostIP {text:?} is no address")))?,
    };
    let protocol = cri::Protocol::try_from(mapping.protocol).map_err(|_| wrong("an unknown protocol"))?;
    if host.is_ipv6() {
        return Err(wrong(
            "the pod network has IPv4 addresses only; leave hostIP out, or name one of the node's of IPv4",
        ));
    }
    let port = number(mapping.host_port).ok_or_else(|| wrong("no port"))?;
    let to = number(mapping.container_port).ok_or_else(|| wrong("the container's port is none"))?;
    Ok(HostPort { host, protocol, port, pod: (pod, to) })
}

/// The ports of all sandboxes that are ready.
fn all<'a>(records: impl Iterator<Item = &'a SandboxRecord>) -> Vec<HostPort> {
    let ready = records.filter(|r| r.ready);
    let ports = ready.filter_map(|r| of(&r.config.0, *r.spec.ips.first()?).ok());
    ports.flatten().collect()
}

/// Opens what the ready sandboxes and `new` have. To be called by whoever has the turn of `Shim::ports`.
pub async fn open(shim: &Arc<Shim>, new: Option<&SandboxRecord>) -> Result<(), Status> {
    let Some(opener) = shim.config.host_ports.clone() else { return Ok(()) };
    let records = shim.sandboxes();
    let ports = all(records.iter().chain(new));
    let set = tokio::task::spawn_blocking(move || opener.set(&ports)).await;
    let set = set.map_err(|e| Status::internal(e.to_string()))?;
    set.map_err(|e| Status::internal(format!("open the pod's ports of the node: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_a_port_or_is_refused_with_its_number() {
        let pod: IpAddr = [10, 244, 0, 7].into();
        let config = |host_port, container_port, host_ip: &str| cri::PodSandboxConfig {
            port_mappings: vec![cri::PortMapping {
                protocol: cri::Protocol::Udp as i32,
                host_port,
                container_port,
                host_ip: host_ip.into(),
            }],
            ..Default::default()
        };
        let port = HostPort { host: [127, 0, 0, 1].into(), protocol: cri::Protocol::Udp, port: 80, pod: (pod, 8080) };
        assert_eq!(of(&config(80, 8080, "127.0.0.1"), pod), Ok(vec![port]));
        assert_eq!(of(&config(0, 8080, ""), pod), Ok(vec![]));
        for bad in [config(80, 8080, "nowhere"), config(80, 8080, "::1"), config(80, 0, ""), config(70_000, 1, "")] {
            let error = of(&bad, pod).expect_err("it is refused");
            assert!(error.starts_with("hostPort "), "{error}");
        }
    }
}
