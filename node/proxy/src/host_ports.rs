//! `hostPort`: ports of the node that lead to pods of the node, in a table of their own beside that of the Services.
//!
//! A port without a `hostIP` is open at every address of the node, 127.0.0.1 too. What comes by the loopback reaches the
//! pod with the bridge's address, and needs the kernel to route the loopback's addresses over the bridge: as long as it
//! does, nobody but the node itself may send to them.

use crate::nft::{self, Error};
use crate::rules::{Front, Protocol, Ruleset, Target};
use crate::table::{self, Family, Table};
use parking_lot::Mutex;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// One port of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostPort {
    /// The unspecified address stands for all of the node's.
    pub host: IpAddr,
    pub protocol: Protocol,
    pub port: u16,
    pub pod: (IpAddr, u16),
}

/// The table of one node's ports.
#[derive(Debug)]
pub struct HostPorts {
    table: String,
    bridge: String,
    /// As the kernel has it; none before the first change and after a failure.
    kernel: Mutex<Option<Table>>,
}

fn front(host: IpAddr, port: &HostPort) -> (Front, Target) {
    let target = Target { endpoints: vec![port.pod], masquerade: host.is_loopback(), ..Target::default() };
    (Front { address: host, protocol: port.protocol, port: port.port }, target)
}

/// The fronts of these ports. Of two pods with the same port the first one has it: the scheduler does not let it come to
/// that.
pub fn ruleset(ports: &[HostPort]) -> Ruleset {
    let mut out = Ruleset::default();
    let fits = |p: &&HostPort| p.host.is_ipv4() && p.pod.0.is_ipv4();
    let (every, one): (Vec<&HostPort>, Vec<&HostPort>) =
        ports.iter().filter(fits).partition(|p| p.host.is_unspecified());
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let named = one.iter().map(|p| front(p.host, p));
    let everywhere = every.iter().flat_map(|p| [front(p.host, p), front(loopback, p)]);
    for (front, target) in named.chain(everywhere) {
        out.fronts.entry(front).or_insert(target);
    }
    out
}

impl HostPorts {
    /// `bridge` is the link that the pods hang on.
    pub fn new(table: String, bridge: String) -> HostPorts {
        HostPorts { table, bridge, kernel: Mutex::new(None) }
    }

    /// Makes these the node's ports, and no others.
    ///
    /// # Errors
    /// The kernel refuses the rules: nothing has changed then.
    pub fn set(&self, ports: &[HostPort]) -> Result<(), Error> {
        let mut kernel = self.kernel.lock();
        let ruleset = ruleset(ports);
        let loopback = ruleset.fronts.keys().any(|f| f.address.is_loopback());
        if ruleset.fronts.is_empty() {
            crate::remove(&self.table)?;
            *kernel = None;
            return self.route_loopback(false);
        }
        let next = table::of_host_ports(&ruleset, Family::V4);
        let sent = nft::send(next.transaction(&self.table, kernel.as_ref()));
        // What a failed change leaves is found out by writing all of it the next time.
        *kernel = sent.is_ok().then_some(next);
        sent?;
        // Only now: the table keeps strangers from the loopback.
        self.route_loopback(loopback)
    }

    fn route_loopback(&self, on: bool) -> Result<(), Error> {
        let file = PathBuf::from("/proc/sys/net/ipv4/conf").join(&self.bridge).join("route_localnet");
        match std::fs::write(&file, if on { "1" } else { "0" }) {
            // No bridge: nothing to route over, or nothing left.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(Error::Io { doing: "routing the loopback's addresses over the pods' bridge", source }),
            Ok(()) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_open_where_its_manifest_says() {
        let pod = |n: u8| (IpAddr::from([10, 244, 0, n]), 8080);
        let port = |host: [u8; 4], protocol, pod| HostPort { host: host.into(), protocol, port: 80, pod };
        let got = ruleset(&[
            port([0, 0, 0, 0], Protocol::Tcp, pod(1)),
            port([192, 0, 2, 1], Protocol::Udp, pod(2)),
            port([127, 0, 0, 1], Protocol::Tcp, pod(3)),
            // Too late.
            port([192, 0, 2, 1], Protocol::Udp, pod(4)),
            HostPort { host: "::".parse().unwrap(), protocol: Protocol::Tcp, port: 80, pod: pod(5) },
        ]);
        let lines: Vec<String> = got
            .fronts
            .iter()
            .map(|(f, t)| format!("{} {:?} → {} {}", f.address, f.protocol, t.endpoints[0].0, t.masquerade))
            .collect();
        let wanted =
            ["0.0.0.0 Tcp → 10.244.0.1 false", "127.0.0.1 Tcp → 10.244.0.3 true", "192.0.2.1 Udp → 10.244.0.2 false"];
        assert_eq!(lines, wanted);
    }
}
