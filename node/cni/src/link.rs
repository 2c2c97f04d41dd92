//! Carries out link operations by netlink. What concerns a pod's inside runs on a thread that has entered its
//! namespace and ends there.

use crate::{Error, LinkOp, POD_LINK, Result};
use futures::TryStreamExt;
use nix::sched::{CloneFlags, setns};
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkMessage};
use rtnetlink::{Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

const EEXIST: i32 = libc::EEXIST;
/// The loopback is the first link of every namespace.
const LOOPBACK: u32 = 1;
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// Carries out the operations in order, stopping at the first failure. Returns the pod link's hardware address, where
/// one was made.
pub async fn carry_out(ops: &[LinkOp]) -> Result<String> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(Error::io("opening a netlink socket"))?;
    let connection = tokio::spawn(connection);
    let mut mac = String::new();
    let mut result = Ok(());
    for op in ops {
        result = one(&handle, op, &mut mac).await;
        if result.is_err() {
            break;
        }
    }
    connection.abort();
    result.map(|()| mac)
}

async fn one(handle: &Handle, op: &LinkOp, mac: &mut String) -> Result<()> {
    match op {
        LinkOp::Forward { saved } => forward(saved),
        LinkOp::RestoreForwarding { saved } => restore_forwarding(saved),
        LinkOp::Bridge { name, address, prefix, mtu } => bridge(handle, name, *address, *prefix, *mtu).await,
        LinkOp::Pair { host, bridge, netns, mtu } => pair(handle, host, bridge, netns, *mtu).await,
        LinkOp::Address { netns, address, prefix, gateway } => {
            let (address, prefix, gateway) = (*address, *prefix, *gateway);
            *mac = inside(netns, move || act(Inside::Configure { address, prefix, gateway })).await?;
            Ok(())
        }
        LinkOp::Within { netns, ops } => {
            let ops = ops.clone();
            inside(netns, move || async move { carry_out(&ops).await }).await.map(drop)
        }
        LinkOp::Switch { name, mtu } => switch(handle, name, *mtu).await,
        LinkOp::Trunk { link, port, netns, mtu } => trunk(handle, link, port, netns, *mtu).await,
        LinkOp::Attach { port, bridge } => attach(handle, port, bridge).await,
        LinkOp::Own { link, address, prefix } => {
            let index = needed(handle, link).await?;
            let added = handle.address().add(index, *address, *prefix).execute().await;
            unless_exists(added, format!("giving {address} to {link}"))?;
            set(handle, link, true).await
        }
        LinkOp::Set { link, up } => set(handle, link, *up).await,
        LinkOp::Delete { link } => delete(handle, link).await,
        LinkOp::Exists { link } => match find(handle, link).await? {
            Some(_) => Ok(()),
            None => Err(Error::Invalid(format!("link {link} is missing"))),
        },
        LinkOp::HasAddress { netns, address } => {
            let address = *address;
            inside(netns, move || act(Inside::Check(address))).await.map(drop)
        }
    }
}

fn forward(saved: &Path) -> Result<()> {
    let now = std::fs::read_to_string(FORWARDING).map_err(Error::io(format!("reading {FORWARDING}")))?;
    if now.trim() == "1" {
        return Ok(());
    }
    std::fs::write(saved, now.trim()).map_err(Error::io(format!("writing {}", saved.display())))?;
    std::fs::write(FORWARDING, "1").map_err(Error::io(format!("writing {FORWARDING}")))
}

fn restore_forwarding(saved: &Path) -> Result<()> {
    match std::fs::read_to_string(saved) {
        Ok(value) => std::fs::write(FORWARDING, value).map_err(Error::io(format!("writing {FORWARDING}"))),
        Err(_) => Ok(()),
    }
}

/// The link of that name, `None` where there is none.
async fn find(handle: &Handle, name: &str) -> Result<Option<LinkMessage>> {
    match handle.link().get().match_name(name.to_owned()).execute().try_next().await {
        Ok(found) => Ok(found),
        Err(e) if code(&e) == libc::ENODEV => Ok(None),
        Err(e) => Err(Error::netlink(format!("looking for link {name}"))(e)),
    }
}

/// The positive errno of a netlink answer, 0 for other failures.
fn code(error: &rtnetlink::Error) -> i32 {
    match error {
        rtnetlink::Error::NetlinkError(message) => -message.raw_code(),
        _ => 0,
    }
}

fn unless_exists(result: std::result::Result<(), rtnetlink::Error>, doing: impl Into<String>) -> Result<()> {
    match result {
        Err(e) if code(&e) == EEXIST => Ok(()),
        other => other.map_err(Error::netlink(doing)),
    }
}

async fn bridge(handle: &Handle, name: &str, address: IpAddr, prefix: u8, mtu: u32) -> Result<()> {
    if find(handle, name).await?.is_some_and(|l| l.header.flags.contains(rtnetlink::packet_route::link::LinkFlags::Up))
    {
        return Ok(());
    }
    let made = handle.link().add(LinkBridge::new(name).mtu(mtu).build()).execute().await;
    unless_exists(made, format!("making bridge {name}"))?;
    let link = find(handle, name).await?.ok_or_else(|| Error::Invalid(format!("bridge {name} vanished")))?;
    let index = link.header.index;
    let added = handle.address().add(index, address, prefix).execute().await;
    unless_exists(added, format!("giving {address} to bridge {name}"))?;
    // A redirect would send a pod's next packet past the translation of Services.
    std::fs::write(format!("/proc/sys/net/ipv4/conf/{name}/send_redirects"), "0").ok();
    set(handle, name, true).await
}

async fn set(handle: &Handle, name: &str, up: bool) -> Result<()> {
    let message = LinkMessageBuilder::<LinkUnspec>::new().index(needed(handle, name).await?);
    let message = if up { message.up() } else { message.down() };
    let doing = format!("bringing {name} {}", if up { "up" } else { "down" });
    handle.link().change(message.build()).execute().await.map_err(Error::netlink(doing))
}

/// The index of a link that must be there.
async fn needed(handle: &Handle, name: &str) -> Result<u32> {
    let link = find(handle, name).await?.ok_or_else(|| Error::Invalid(format!("link {name} is missing")))?;
    Ok(link.header.index)
}

async fn switch(handle: &Handle, name: &str, mtu: u32) -> Result<()> {
    let made = handle.link().add(LinkBridge::new(name).mtu(mtu).build()).execute().await;
    unless_exists(made, format!("making bridge {name}"))?;
    set(handle, name, true).await
}

async fn trunk(handle: &Handle, link: &str, port: &str, netns: &Path, mtu: u32) -> Result<()> {
    if find(handle, link).await?.is_some() {
        return Ok(());
    }
    let ns = File::open(netns).map_err(Error::io(format!("opening the namespace {}", netns.display())))?;
    let peer = LinkMessageBuilder::<LinkUnspec>::new().name(port).mtu(mtu).setns_by_fd(ns.as_raw_fd()).build();
    let message = LinkMessageBuilder::<LinkVeth>::new(link, port)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .mtu(mtu)
        .build();
    handle.link().add(message).execute().await.map_err(Error::netlink(format!("making the pair {link}")))
}

async fn attach(handle: &Handle, port: &str, bridge: &str) -> Result<()> {
    let (port_index, bridge_index) = (needed(handle, port).await?, needed(handle, bridge).await?);
    let message = LinkMessageBuilder::<LinkUnspec>::new().index(port_index).controller(bridge_index).up().build();
    handle.link().change(message).execute().await.map_err(Error::netlink(format!("attaching {port} to {bridge}")))
}

async fn pair(handle: &Handle, host: &str, bridge: &str, netns: &Path, mtu: u32) -> Result<()> {
    let index = match find(handle, host).await? {
        Some(link) => link.header.index,
        None => new_pair(handle, host, bridge, netns, mtu).await?,
    };
    // A pod that calls its own Service gets its frame back through the port it came from: where the kernel translates
    // bridged frames too (bridge-nf-call-iptables), they never leave the bridge.
    let port = LinkBridgePort::new(index).hairpin(true).build();
    handle.link().change(port).execute().await.map_err(Error::netlink(format!("letting frames of {host} return")))
}

/// Makes the pair and returns the host's end of it.
async fn new_pair(handle: &Handle, host: &str, bridge: &str, netns: &Path, mtu: u32) -> Result<u32> {
    let master = find(handle, bridge).await?.ok_or_else(|| Error::Invalid(format!("bridge {bridge} is missing")))?;
    let ns = File::open(netns).map_err(Error::io(format!("opening the namespace {}", netns.display())))?;
    let inner = LinkMessageBuilder::<LinkUnspec>::new().name(POD_LINK).mtu(mtu).setns_by_fd(ns.as_raw_fd()).build();
    let message = LinkMessageBuilder::<LinkVeth>::new(host, POD_LINK)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(inner)))
        .mtu(mtu)
        .controller(master.header.index)
        .up()
        .build();
    handle.link().add(message).execute().await.map_err(Error::netlink(format!("making the pair {host}")))?;
    let made = find(handle, host).await?.ok_or_else(|| Error::Invalid(format!("link {host} vanished")))?;
    Ok(made.header.index)
}

async fn delete(handle: &Handle, name: &str) -> Result<()> {
    let Some(link) = find(handle, name).await? else { return Ok(()) };
    match handle.link().del(link.header.index).execute().await {
        Err(e) if code(&e) == libc::ENODEV => Ok(()),
        other => other.map_err(Error::netlink(format!("deleting link {name}"))),
    }
}

/// What a thread inside a pod's namespace does.
enum Inside {
    Configure { address: IpAddr, prefix: u8, gateway: IpAddr },
    Check(IpAddr),
}

/// Runs `what` on a thread of its own in the namespace; the thread ends there, so nothing leaks back.
async fn inside<F>(netns: &Path, what: impl FnOnce() -> F + Send + 'static) -> Result<String>
where
    F: Future<Output = Result<String>>,
{
    let netns: PathBuf = netns.to_path_buf();
    let (send, receive) = tokio::sync::oneshot::channel();
    let run = move || {
        let result = enter(&netns).and_then(|()| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(Error::io("starting a runtime in the namespace"))?.block_on(what())
        });
        send.send(result).ok();
    };
    std::thread::Builder::new().name("pod-netns".into()).spawn(run).map_err(Error::io("starting a thread"))?;
    receive.await.unwrap_or_else(|_| Err(Error::Invalid("the thread in the pod's namespace ended early".into())))
}

fn enter(netns: &Path) -> Result<()> {
    let doing = || format!("entering the namespace {}", netns.display());
    let file = File::open(netns).map_err(Error::io(doing()))?;
    setns(&file, CloneFlags::CLONE_NEWNET).map_err(|e| Error::io(doing())(e.into()))
}

async fn act(what: Inside) -> Result<String> {
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(Error::io("opening a netlink socket in the pod"))?;
    tokio::spawn(connection);
    let link = find(&handle, POD_LINK).await?.ok_or_else(|| Error::Invalid(format!("the pod has no {POD_LINK}")))?;
    match what {
        Inside::Configure { address, prefix, gateway } => configure(&handle, &link, address, prefix, gateway).await?,
        Inside::Check(address) => {
            let filter = handle.address().get().set_link_index_filter(link.header.index).set_address_filter(address);
            let found = filter.execute().try_next().await.map_err(Error::netlink("reading the pod's addresses"))?;
            found.ok_or_else(|| Error::Invalid(format!("the pod's {POD_LINK} has lost {address}")))?;
        }
    }
    Ok(hardware_address(&link))
}

async fn configure(handle: &Handle, link: &LinkMessage, address: IpAddr, prefix: u8, gateway: IpAddr) -> Result<()> {
    for index in [LOOPBACK, link.header.index] {
        let up = LinkMessageBuilder::<LinkUnspec>::new().index(index).up().build();
        handle.link().change(up).execute().await.map_err(Error::netlink("bringing the pod's links up"))?;
    }
    for conf in ["all", POD_LINK] {
        std::fs::write(format!("/proc/sys/net/ipv4/conf/{conf}/accept_redirects"), "0").ok();
    }
    let index = link.header.index;
    let added = handle.address().add(index, address, prefix).execute().await;
    unless_exists(added, format!("giving {address} to the pod"))?;
    let (on_link, default) = routes(index, gateway);
    for route in [on_link, default] {
        unless_exists(handle.route().add(route).execute().await, format!("routing the pod by {gateway}"))?;
    }
    Ok(())
}

/// The gateway on the link, and everything else by the gateway.
fn routes(
    index: u32,
    gateway: IpAddr,
) -> (rtnetlink::packet_route::route::RouteMessage, rtnetlink::packet_route::route::RouteMessage) {
    use rtnetlink::packet_route::route::RouteScope::Link;
    match gateway {
        IpAddr::V4(g) => (
            RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(g, 32)
                .output_interface(index)
                .scope(Link)
                .build(),
            RouteMessageBuilder::<Ipv4Addr>::new().gateway(g).output_interface(index).build(),
        ),
        IpAddr::V6(g) => (
            RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(g, 128).output_interface(index).build(),
            RouteMessageBuilder::<Ipv6Addr>::new().gateway(g).output_interface(index).build(),
        ),
    }
}

fn hardware_address(link: &LinkMessage) -> String {
    let bytes = link.attributes.iter().find_map(|a| match a {
        LinkAttribute::Address(bytes) => Some(bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>()),
        _ => None,
    });
    bytes.unwrap_or_default().join(":")
}
