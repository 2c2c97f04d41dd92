//! What this machine has: its address, its name, its free ports.

use anyhow::{Context, bail};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// The address that other machines reach this one at: the source that the kernel picks for a far destination, or,
/// without a default route, the first address that is not a loopback's.
pub fn address() -> anyhow::Result<IpAddr> {
    // A UDP socket sends nothing when it is connected: this only asks the routing table.
    let far = SocketAddr::from((Ipv4Addr::new(203, 0, 113, 1), 9));
    let picked = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|s| s.connect(far).and_then(|()| s.local_addr()));
    if let Some(address) = picked.ok().map(|a| a.ip()).filter(|a| !a.is_loopback() && !a.is_unspecified()) {
        return Ok(address);
    }
    let links = nix::ifaddrs::getifaddrs().context("reading the machine's addresses")?;
    let addresses = links.filter_map(|l| l.address?.as_sockaddr_in().map(|a| IpAddr::V4(a.ip())));
    match addresses.into_iter().find(|a| !a.is_loopback()) {
        Some(address) => Ok(address),
        None => bail!("this machine has no address but the loopback's; give one with --advertise-address"),
    }
}

/// The machine's name as a node's name: lower case, and only what RFC 1123 allows.
pub fn name() -> String {
    let raw = nix::unistd::gethostname().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let clean: String = raw.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let clean = clean.trim_matches(|c| c == '-' || c == '.');
    if clean.is_empty() { "node".into() } else { clean.chars().take(63).collect() }
}

/// The first port from `wanted` on that nobody listens on; `None` past twenty.
pub fn free_port(wanted: u16) -> Option<u16> {
    (wanted..wanted.saturating_add(20)).find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok())
}

/// Fails with what to do unless this process may set up a node.
pub fn require_root(command: &str) -> anyhow::Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    bail!("`wherry {command}` sets up networks, mounts and cgroups and needs root: run it with sudo")
}
