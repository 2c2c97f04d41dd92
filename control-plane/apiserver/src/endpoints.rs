//! Where the Service `kubernetes` leads: to every server of the cluster that is there.
//!
//! A server that is alone writes itself. Among several each has a lease in the store; whoever sees that the endpoints are
//! not those that have one, writes them. All listen at the same port: an EndpointSlice has one for all its addresses.

use crate::bootstrap;
use crate::ctx::Ctx;
use api::{Object, Status};
use serde_json::json;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Upstream's lease of a server: a dead one is no longer an endpoint after this long and one round more.
const LEASE_SECONDS: u64 = 15;
/// Between rounds: two may fail before the lease ends.
const ROUND: Duration = Duration::from_secs(5);

/// The endpoints of `kubernetes`. Those of this machine alone reach no pod, and validation refuses them.
pub(crate) fn objects(addresses: &[IpAddr], port: u16) -> Result<Vec<Object>, String> {
    let Some(first) = addresses.first().filter(|_| addresses.iter().all(|address| !address.is_loopback())) else {
        return Ok(Vec::new());
    };
    let one_each = |address: &IpAddr| json!({"addresses": [address.to_string()], "conditions": {"ready": true}});
    let values = [
        json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {
                "name": "kubernetes", "namespace": "default",
                "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
            },
            "subsets": [{
                "addresses": addresses.iter().map(|address| json!({"ip": address.to_string()})).collect::<Vec<_>>(),
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            }],
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "addressType": if first.is_ipv4() { "IPv4" } else { "IPv6" },
            "endpoints": addresses.iter().map(one_each).collect::<Vec<_>>(),
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }),
    ];
    values.iter().map(|value| Object::from_typed(value).map_err(|e| e.to_string())).collect()
}

/// This server among several.
#[derive(Default)]
pub(crate) struct Presence {
    lease: Option<u64>,
}

impl Presence {
    /// Says that this server is there, and has the endpoints be those that are.
    pub(crate) async fn round(&mut self, ctx: &Ctx) -> Result<(), Status> {
        let storage = ctx.registry.storage();
        // A lease that cannot be renewed has ended, or its end is near.
        let kept = match self.lease.take() {
            Some(lease) => storage.renew(lease).await.ok().map(|()| lease),
            None => None,
        };
        self.lease = match kept {
            Some(lease) => Some(lease),
            None => Some(storage.announce(&own(ctx).to_string(), LEASE_SECONDS).await?),
        };
        write(ctx).await
    }

    async fn end(self, ctx: &Ctx) -> Result<(), Status> {
        let Some(lease) = self.lease else { return Ok(()) };
        ctx.registry.storage().withdraw(lease).await?;
        write(ctx).await
    }
}

fn own(ctx: &Ctx) -> SocketAddr {
    SocketAddr::new(ctx.config.advertise, ctx.port)
}

async fn write(ctx: &Ctx) -> Result<(), Status> {
    let known = ctx.registry.storage().servers().await?;
    let servers: Vec<SocketAddr> = known.iter().filter_map(|server| server.parse().ok()).collect();
    for object in objects(&alike(&servers, own(ctx)), ctx.port).map_err(Status::internal)? {
        bootstrap::put(ctx, object).await?;
    }
    Ok(())
}

/// The addresses that go into one list with this server's own: of its family, at its port.
fn alike(servers: &[SocketAddr], own: SocketAddr) -> Vec<IpAddr> {
    let (alike, others): (Vec<SocketAddr>, Vec<SocketAddr>) =
        servers.iter().partition(|s| s.port() == own.port() && s.is_ipv4() == own.is_ipv4());
    for other in others {
        tracing::warn!(%other, "a server has another port or family and is no endpoint of the Service kubernetes");
    }
    let mut addresses: Vec<IpAddr> = alike.iter().map(SocketAddr::ip).collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

/// Goes on until the server stops, and is no endpoint any more then.
pub(crate) async fn keep(ctx: Arc<Ctx>, mut presence: Presence) {
    loop {
        if ctx.stop.run_until_cancelled(tokio::time::sleep(ROUND)).await.is_none() {
            break;
        }
        if let Err(status) = presence.round(&ctx).await {
            tracing::warn!(error = status.message, "the endpoints of the Service kubernetes may be old");
        }
    }
    match tokio::time::timeout(ROUND, presence.end(&ctx)).await {
        Ok(Ok(())) => {}
        Ok(Err(status)) => tracing::warn!(error = status.message, "this server stays an endpoint for a while"),
        Err(_) => tracing::warn!("this server stays an endpoint for a while: the store does not answer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|server| server.parse().unwrap()).collect()
    }

    #[test]
    fn servers_that_fit_in_one_list_are_endpoints() {
        let own = "192.0.2.2:6443".parse().unwrap();
        let known = servers(&["192.0.2.9:6443", "192.0.2.2:6443", "192.0.2.3:7443", "[2001:db8::1]:6443"]);
        let alike = alike(&known, own);
        assert_eq!(alike, ["192.0.2.2", "192.0.2.9"].map(|a| a.parse::<IpAddr>().unwrap()));
        let objects = objects(&alike, 6443).unwrap();
        assert_eq!(objects.iter().map(Object::kind).collect::<Vec<_>>(), ["Endpoints", "EndpointSlice"]);
        assert_eq!(objects[0].str_at(&["subsets", "0", "addresses", "1", "ip"]), "192.0.2.9");
        assert_eq!(objects[1].str_at(&["endpoints", "1", "addresses", "0"]), "192.0.2.9");
    }

    #[test]
    fn addresses_of_one_machine_alone_are_no_endpoints() {
        assert!(objects(&["127.0.0.1".parse().unwrap()], 6443).unwrap().is_empty());
    }
}
