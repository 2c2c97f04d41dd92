//! Cluster DNS: the pure [`zone()`] over Services and EndpointSlices, and a small server that answers from it and passes
//! every other question on to the node's own resolvers.
//!
//! It refuses to be a resolver for the outside: it listens only where the pods are.

mod answer;
mod forward;
mod server;
mod zone;

pub use answer::{Reply, reply};
pub use forward::resolvers;
pub use server::Sockets;
pub use zone::{Answer, Records, Zone, zone};

use client::Informers;
use futures::FutureExt;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::RwLock;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What the DNS of one node runs with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster's domain (`cluster.local`).
    pub domain: String,
    /// Who answers for everything else.
    pub resolvers: Vec<SocketAddr>,
}

/// The newest zone.
type Shared = Arc<RwLock<Arc<Zone>>>;

/// Serves the zone on the sockets until `stop`. Until the first zone is known, questions wait in the sockets.
pub async fn run(config: Config, sockets: Sockets, informers: Arc<Informers>, stop: CancellationToken) {
    let services = informers.of::<Service>();
    let slices = informers.of::<EndpointSlice>();
    let (mut service_changes, mut slice_changes) = (services.changes(), slices.changes());
    tokio::select! {
        () = stop.cancelled() => return,
        () = async { tokio::join!(services.synced(), slices.synced()); } => {}
    }
    let config = Arc::new(config);
    let build = || {
        let (services, slices) = (services.list(), slices.list());
        Arc::new(zone(&config.domain, services.iter().map(|s| &**s), slices.iter().map(|s| &**s)))
    };
    let shared: Shared = Arc::new(RwLock::new(build()));
    let server = tokio::spawn(server::serve(sockets, config.clone(), shared.clone(), stop.clone()));
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            change = service_changes.next() => if change.is_none() { break },
            change = slice_changes.next() => if change.is_none() { break },
        }
        // What else has come by now is in the same zone.
        while service_changes.next().now_or_never().flatten().is_some() {}
        while slice_changes.next().now_or_never().flatten().is_some() {}
        *shared.write() = build();
    }
    server.await.ok();
}
