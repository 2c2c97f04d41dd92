//! Routes to the pods of the other nodes: each node's range by that node's own address.
//!
//! It needs nodes that reach one another without a router between them, refuses to tunnel, and touches no route but its
//! own: those of one protocol number within the cluster's pod range. They stay when [`run`] returns.

use client::Informers;
use futures::{FutureExt, TryStreamExt};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol};
use rtnetlink::{Handle, RouteMessageBuilder};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What the routes of one node are made for.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node.
    pub node: String,
    /// The addresses of all pods of the cluster.
    pub cluster: IpNet,
}

/// The mark of our routes (`ip route show proto 158`); of no known routing program.
const PROTOCOL: u8 = 158;
/// The kernel drops routes with their link; what it dropped is put back after so long at most.
const CHECK: Duration = Duration::from_secs(30);
/// After a refused change.
const RETRY: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    pub to: IpNet,
    pub via: IpAddr,
}

/// A change of the kernel's routes that failed, with what was being done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("opening a netlink socket: {0}")]
    Open(std::io::Error),
    #[error("{doing}: {source}")]
    Netlink { doing: String, source: rtnetlink::Error },
}

/// The routes that `own` needs. Pure.
pub fn plan<'a>(nodes: impl Iterator<Item = &'a Node>, own: &str, cluster: IpNet) -> BTreeSet<Route> {
    nodes.filter(|node| node.metadata.name.as_deref() != Some(own)).flat_map(|node| to(node, cluster)).collect()
}

fn to(node: &Node, cluster: IpNet) -> Vec<Route> {
    let ranges = node.spec.iter().flat_map(|spec| spec.pod_cidrs.iter().flatten().chain(spec.pod_cidr.iter()));
    let ranges = ranges.filter_map(|range| range.parse::<IpNet>().ok()).filter(|range| cluster.contains(range));
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let internal: Vec<IpAddr> =
        addresses.filter(|a| a.type_ == "InternalIP").filter_map(|a| a.address.parse().ok()).collect();
    let via =
        |to: IpNet| internal.iter().find(|ip| ip.is_ipv4() == to.addr().is_ipv4()).map(|via| Route { to, via: *via });
    ranges.filter_map(via).collect()
}

/// Keeps the routes right until `stop`.
pub async fn run(config: Config, informers: Arc<Informers>, stop: CancellationToken) {
    let nodes = informers.of::<Node>();
    let mut changes = nodes.changes();
    tokio::select! {
        () = stop.cancelled() => return,
        () = nodes.synced() => {}
    }
    loop {
        let wanted = plan(nodes.list().iter().map(|node| &**node), &config.node, config.cluster);
        let result = bring_to(&wanted, config.cluster).await;
        if let Err(error) = &result {
            tracing::warn!(%error, "pods of other nodes may not be reached; nodes must share a network without a router");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(if result.is_ok() { CHECK } else { RETRY }) => {}
            change = futures::StreamExt::next(&mut changes) => if change.is_none() { return },
        }
        while futures::StreamExt::next(&mut changes).now_or_never().flatten().is_some() {}
    }
}

/// Takes our routes within the range away.
pub async fn remove(cluster: IpNet) -> Result<(), Error> {
    bring_to(&BTreeSet::new(), cluster).await
}

/// Adds what is missing and removes what is too much. One route that the kernel refuses keeps no other one from being made.
async fn bring_to(wanted: &BTreeSet<Route>, cluster: IpNet) -> Result<(), Error> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(Error::Open)?;
    let connection = tokio::spawn(connection);
    let result = change(&handle, wanted, cluster).await;
    connection.abort();
    result
}

async fn change(handle: &Handle, wanted: &BTreeSet<Route>, cluster: IpNet) -> Result<(), Error> {
    let mut result = Ok(());
    let mut there = BTreeSet::new();
    for (route, message) in ours(handle, cluster).await? {
        if wanted.contains(&route) {
            there.insert(route);
            continue;
        }
        let gone = handle.route().del(message).execute().await;
        let doing = format!("removing the route to {}", route.to);
        result = result.and(gone.map_err(|source| Error::Netlink { doing, source }));
    }
    for route in wanted.difference(&there) {
        let made = handle.route().add(message(*route)).replace().execute().await;
        let doing = format!("routing {} by {}", route.to, route.via);
        result = result.and(made.map_err(|source| Error::Netlink { doing, source }));
    }
    result
}

/// The routes of ours that the kernel has.
async fn ours(handle: &Handle, cluster: IpNet) -> Result<Vec<(Route, RouteMessage)>, Error> {
    let all = match cluster {
        IpNet::V4(_) => RouteMessageBuilder::<Ipv4Addr>::new().build(),
        IpNet::V6(_) => RouteMessageBuilder::<Ipv6Addr>::new().build(),
    };
    let doing = "reading the routes".to_owned();
    let found: Result<Vec<RouteMessage>, _> = handle.route().get(all).execute().try_collect().await;
    let found = found.map_err(|source| Error::Netlink { doing, source })?;
    let ours = found.into_iter().filter(|message| message.header.protocol == RouteProtocol::Other(PROTOCOL));
    Ok(ours.filter_map(|message| Some((read(&message).filter(|r| cluster.contains(&r.to))?, message))).collect())
}

fn read(message: &RouteMessage) -> Option<Route> {
    let address = |address: &RouteAddress| match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    };
    let (mut to, mut via) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(a) => to = address(a),
            RouteAttribute::Gateway(a) => via = address(a),
            _ => {}
        }
    }
    Some(Route { to: IpNet::new(to?, message.header.destination_prefix_length).ok()?, via: via? })
}

fn message(route: Route) -> RouteMessage {
    match (route.to, route.via) {
        (IpNet::V4(to), IpAddr::V4(via)) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(to.network(), to.prefix_len())
            .gateway(via)
            .protocol(RouteProtocol::Other(PROTOCOL))
            .build(),
        (to, via) => {
            let v6 = |address: IpAddr| match address {
                IpAddr::V6(v6) => v6,
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            };
            RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(v6(to.network()), to.prefix_len())
                .gateway(v6(via))
                .protocol(RouteProtocol::Other(PROTOCOL))
                .build()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, ranges: &[&str], addresses: &[(&str, &str)]) -> Node {
        let addresses: Vec<_> = addresses.iter().map(|(t, a)| json!({"type": t, "address": a})).collect();
        serde_json::from_value(json!({
            "metadata": {"name": name}, "spec": {"podCIDR": ranges.first(), "podCIDRs": ranges},
            "status": {"addresses": addresses},
        }))
        .expect("a node")
    }

    #[test]
    fn every_other_node_is_routed_by_its_own_address_and_family() {
        let nodes = [
            node("a", &["10.244.0.0/20"], &[("InternalIP", "192.0.2.1")]),
            node(
                "b",
                &["10.244.16.0/20"],
                &[("Hostname", "b"), ("InternalIP", "2001:db8::2"), ("InternalIP", "192.0.2.2")],
            ),
            node("outside the range", &["10.9.0.0/20"], &[("InternalIP", "192.0.2.3")]),
            node("no range yet", &[], &[("InternalIP", "192.0.2.4")]),
            node("no address yet", &["10.244.32.0/20"], &[]),
        ];
        let cluster = "10.244.0.0/16".parse().expect("a network");
        let shown =
            |own| plan(nodes.iter(), own, cluster).iter().map(|r| format!("{} {}", r.to, r.via)).collect::<Vec<_>>();
        assert_eq!(shown("a"), ["10.244.16.0/20 192.0.2.2"]);
        assert_eq!(shown("no range yet"), ["10.244.0.0/20 192.0.2.1", "10.244.16.0/20 192.0.2.2"]);
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for (to, via) in [("10.244.16.0/20", "192.0.2.2"), ("2001:db8:1::/64", "2001:db8::2")] {
            let route = Route { to: to.parse().expect("a network"), via: via.parse().expect("an address") };
            assert_eq!(read(&message(route)), Some(route));
        }
    }
}
