//! The controllers: one file each, `watches()` and a pure `plan()`.
//!
//! Nothing here does IO: [`run`] hands each controller to the driver of `client`, with a client of its own identity.

mod conditions;
mod deployment;
mod deployment_status;
mod endpoints;
mod pods;
mod replicaset;
mod rollout;
mod rootca;
mod selector;
mod serviceaccount;

use std::sync::Arc;

use client::{Controller, Driver, Informers};
use tokio_util::sync::CancellationToken;

/// What the controllers must be told about the cluster.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The certificate authority that pods trust the apiserver by, in PEM. Without it no `kube-root-ca.crt` is published.
    pub root_ca: Option<String>,
    /// The range that nodes get their pod ranges from. Without it nodes get none.
    pub cluster_cidr: Option<String>,
    /// The prefix length of one node's range; 24 if not said.
    pub node_cidr_prefix: Option<u8>,
}

/// Every controller, in the order they start.
pub fn all(config: &Config) -> Vec<Arc<dyn Controller>> {
    vec![
        Arc::new(serviceaccount::DefaultServiceAccount),
        Arc::new(rootca::RootCa { pem: config.root_ca.clone() }),
        Arc::new(deployment::Deployments),
        Arc::new(replicaset::ReplicaSets),
        Arc::new(endpoints::EndpointSlices),
        Arc::new(endpoints::Endpoints),
    ]
}

/// Runs every controller until stopped. `client_for` gives each a client by its name.
pub async fn run(
    client_for: impl Fn(&str) -> kube::Client,
    informers: Arc<Informers>,
    config: Config,
    stop: CancellationToken,
) {
    let mut tasks = tokio::task::JoinSet::new();
    for controller in all(&config) {
        let driver = Driver::new(controller.clone(), client_for(controller.name()), &stop);
        let (informers, stop) = (informers.clone(), stop.clone());
        tasks.spawn(async move { driver.run(&informers, stop).await });
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!("a controller ended: {error}");
        }
    }
}

/// Whether a namespace exists and takes new objects.
fn is_active_namespace(view: &client::View, name: &str) -> bool {
    let namespace = view.of::<k8s_openapi::api::core::v1::Namespace>().get("", name);
    namespace.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_none())
}
