//! Services as nftables rules: the pure [`rules()`] over Services and EndpointSlices, the table they become, and the one
//! loop that keeps the kernel's table equal to it.
//!
//! Beside it, [`routes`]: the ways to the pods of other nodes.
//!
//! It refuses to touch any table but its own, and any packet that is not for a Service or leaving the pods' addresses.

mod host_ports;
pub mod nft;
pub mod routes;
pub mod rules;
pub mod table;
mod topology;

pub use host_ports::{HostPort, HostPorts};
pub use nft::Error;
pub use rules::{Node, Ruleset, rules};

use client::Informers;
use futures::FutureExt;
use k8s_openapi::api::core::v1::{self as core, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::sync::Arc;
use std::time::Duration;
use table::{Family, Table};
use tokio_util::sync::CancellationToken;

/// What the proxy of one node runs with.
#[derive(Debug, Clone)]
pub struct Config {
    pub node: Node,
    /// Name of the nftables tables, one per family. Two clusters on a machine have two names.
    pub table: String,
}

/// After a refused transaction, or after a burst began: long enough to gather what comes together.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the tables right until `stop`. They stay when it returns: established and new connections go on while the
/// process is restarted. [`remove`] takes them away.
pub async fn run(config: Config, informers: Arc<Informers>, stop: CancellationToken) {
    let services = informers.of::<Service>();
    let slices = informers.of::<EndpointSlice>();
    let own = informers.filtered::<core::Node>(&format!("metadata.name={}", config.node.name), "");
    let (mut service_changes, mut slice_changes) = (services.changes(), slices.changes());
    let mut own_changes = own.changes();
    tokio::select! {
        () = stop.cancelled() => return,
        () = async { tokio::join!(services.synced(), slices.synced(), own.synced()); } => {}
    }
    let mut kernel = Kernel { config, tables: Vec::new() };
    loop {
        kernel.config.node.zone = own.get("", &kernel.config.node.name).and_then(|node| zone(&node));
        let (all_services, all_slices) = (services.list(), slices.list());
        let ruleset = rules(all_services.iter().map(|s| &**s), all_slices.iter().map(|s| &**s), &kernel.config.node);
        let failed;
        (kernel, failed) = kernel.bring_to(ruleset).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RETRY), if failed => {}
            change = service_changes.next() => if change.is_none() { return },
            change = slice_changes.next() => if change.is_none() { return },
            change = own_changes.next() => if change.is_none() { return },
        }
        // What else has come by now is in the same transaction.
        while service_changes.next().now_or_never().flatten().is_some() {}
        while slice_changes.next().now_or_never().flatten().is_some() {}
        while own_changes.next().now_or_never().flatten().is_some() {}
    }
}

fn zone(node: &core::Node) -> Option<String> {
    node.metadata.labels.as_ref()?.get("topology.kubernetes.io/zone").cloned()
}

/// The tables as the kernel has them.
struct Kernel {
    config: Config,
    tables: Vec<(Family, Table)>,
}

impl Kernel {
    /// Applies a ruleset; the flag says that a family failed and must be tried again.
    async fn bring_to(mut self, ruleset: Ruleset) -> (Kernel, bool) {
        let config = self.config.clone();
        let work = tokio::task::spawn_blocking(move || {
            let failed = [Family::V4, Family::V6].map(|family| self.apply(&ruleset, family)).contains(&false);
            (self, failed)
        });
        // A panic in there loses the memory of what the kernel has; starting over is always right.
        work.await.unwrap_or((Kernel { config, tables: Vec::new() }, true))
    }

    fn apply(&mut self, ruleset: &Ruleset, family: Family) -> bool {
        let next = table::table(ruleset, &self.config.node, family);
        let position = self.tables.iter().position(|(f, _)| *f == family);
        let before = position.map(|i| self.tables.swap_remove(i).1);
        match nft::send(next.transaction(&self.config.table, before.as_ref())) {
            Ok(()) => {
                self.tables.push((family, next));
                true
            }
            Err(error) => {
                tracing::warn!(%error, ?family, "the Service rules could not be changed; they will be written anew");
                false
            }
        }
    }
}

/// Removes the proxy's tables.
pub fn remove(table: &str) -> Result<(), Error> {
    for family in [Family::V4, Family::V6] {
        let mut transaction = nft::Transaction::new(family.number(), table);
        transaction.add_table();
        transaction.delete_table();
        nft::send(transaction)?;
    }
    Ok(())
}
