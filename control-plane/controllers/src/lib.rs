//! The controllers: one file each, `watches()` and a pure `plan()`.
//!
//! Nothing here does IO: [`run`] hands each controller to the driver of `client`, with a client of its own identity.

mod aggregation;
mod api_services;
mod certificates;
mod choice;
mod claim;
mod clusterdns;
mod conditions;
mod cronjob;
mod daemonset;
mod definitions;
mod deployment;
mod deployment_status;
mod discovery;
mod disruption;
mod endpoints;
mod eviction;
mod flow_schemas;
mod garbage;
mod index;
mod job;
mod namespace;
mod nodeipam;
mod nodelifecycle;
mod podgc;
mod pods;
mod protection;
mod quota;
mod replicaset;
mod replicationcontroller;
mod revisions;
mod rollout;
mod rootca;
mod selector;
mod serviceaccount;
mod servicecidr;
mod statefulset;
mod ttl;

use std::sync::Arc;

use client::{Controller, Driver, Informers, Metrics};
use tokio_util::sync::CancellationToken;

pub use certificates::signing::Sign;
pub use choice::{Chosen, Each, Effort};
pub use garbage::Garbage;
pub use nodeipam::NodeRange;
pub use nodelifecycle::NodeHealth;
pub use podgc::FinishedPods;
pub use quota::Quotas;

/// What the controllers must be told about the cluster.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The certificate authority that pods trust the apiserver by, in PEM. Without it no `kube-root-ca.crt` is published.
    pub root_ca: Option<String>,
    /// The ranges that nodes get their pod ranges from, one of each family at most. Without one nodes get none.
    pub node_ranges: Vec<NodeRange>,
    /// Signs certificate requests with the cluster's authority. Without it approved ones wait.
    pub sign: Option<Sign>,
    /// Silence of nodes from before this is not held against them; [`run`] sets it to its own beginning.
    pub since: jiff::Timestamp,
    /// The zone of CronJobs that name none; [`run`] takes the machine's if not said, and without that it is UTC.
    pub zone: Option<jiff::tz::TimeZone>,
    pub node_health: NodeHealth,
    pub finished_pods: FinishedPods,
    pub chosen: Chosen,
    pub effort: Effort,
    /// Where what the controllers do is counted.
    pub metrics: Arc<Metrics>,
}

impl Config {
    /// The driver of a controller, as it is to work and counted.
    pub(crate) fn driver(
        &self,
        controller: Arc<dyn Controller>,
        client: kube::Client,
        stop: &CancellationToken,
    ) -> Driver {
        let name = controller.name();
        let driver = self.effort.of(name, Driver::new(controller, client, stop));
        self.metrics.add(choice::queue(name), driver.counts());
        driver
    }
}

/// Every controller, in the order they start.
pub fn all(config: &Config) -> Vec<Arc<dyn Controller>> {
    vec![
        Arc::new(serviceaccount::DefaultServiceAccount),
        Arc::new(rootca::RootCa { pem: config.root_ca.clone() }),
        Arc::new(deployment::Deployments),
        Arc::new(replicaset::ReplicaSets),
        Arc::new(replicationcontroller::ReplicationControllers),
        Arc::new(daemonset::DaemonSets),
        Arc::new(statefulset::StatefulSets),
        Arc::new(job::Jobs),
        Arc::new(cronjob::CronJobs { zone: config.zone.clone().unwrap_or(jiff::tz::TimeZone::UTC) }),
        Arc::new(ttl::TtlAfterFinished),
        Arc::new(endpoints::EndpointSlices),
        Arc::new(endpoints::Endpoints),
        Arc::new(endpoints::mirroring::Mirroring),
        Arc::new(namespace::Namespaces),
        Arc::new(nodeipam::NodeRanges { clusters: config.node_ranges.clone() }),
        Arc::new(nodelifecycle::NodeLifecycle { health: config.node_health.clone(), since: config.since }),
        Arc::new(eviction::TaintEviction),
        Arc::new(podgc::PodGarbage { kept: config.finished_pods.kept() }),
        Arc::new(disruption::Disruptions),
        Arc::new(disruption::stale::StaleDisruptions),
        Arc::new(aggregation::Aggregation),
        Arc::new(protection::Claims),
        Arc::new(protection::Volumes),
        Arc::new(clusterdns::ClusterDns),
        Arc::new(servicecidr::ServiceRanges),
        Arc::new(certificates::approving::Approving),
        Arc::new(certificates::signing::Signing { sign: config.sign.clone() }),
        Arc::new(certificates::cleaning::Cleaning),
    ]
}

/// What upstream's apiserver runs by itself: it belongs wherever the apiserver runs.
pub fn of_apiserver() -> Vec<Arc<dyn Controller>> {
    vec![Arc::new(definitions::Definitions), Arc::new(api_services::ApiServices), Arc::new(flow_schemas::FlowSchemas)]
}

/// Runs the apiserver's own controllers until stopped, with its own rights.
pub async fn run_of_apiserver(client: kube::Client, stop: CancellationToken) {
    let informers = Informers::new(client.clone(), stop.clone());
    let mut tasks = tokio::task::JoinSet::new();
    for controller in of_apiserver() {
        let driver = Driver::new(controller, client.clone(), &stop);
        let (informers, stop) = (informers.clone(), stop.clone());
        tasks.spawn(async move { driver.run(&informers, stop).await });
    }
    ended(tasks).await;
}

/// Waits for controllers to end, and says which did not end well.
async fn ended(mut tasks: tokio::task::JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!("a controller ended: {error}");
        }
    }
}

/// Runs every controller until stopped. `client_for` gives each a client by its identity.
pub async fn run(
    client_for: impl Fn(&str) -> kube::Client,
    informers: Arc<Informers>,
    mut config: Config,
    stop: CancellationToken,
) {
    config.since = config.since.max(jiff::Timestamp::now());
    config.zone.get_or_insert_with(jiff::tz::TimeZone::system);
    let mut tasks = tokio::task::JoinSet::new();
    for controller in all(&config).into_iter().filter(|controller| config.chosen.runs(controller.name())) {
        let client = client_for(controller.identity());
        let driver = config.driver(controller, client, &stop);
        let (informers, stop) = (informers.clone(), stop.clone());
        tasks.spawn(async move { driver.run(&informers, stop).await });
    }
    if config.chosen.runs(garbage::NAME) {
        let client = client_for(garbage::NAME);
        let of = |kinds| -> Arc<dyn Controller> { Arc::new(Garbage::of_served(kinds)) };
        tasks.spawn(discovery::follow(garbage::NAME, client, informers.clone(), stop.clone(), config.clone(), of));
    }
    if config.chosen.runs(quota::NAME) {
        let client = client_for(quota::NAME);
        let of = |kinds| -> Arc<dyn Controller> { Arc::new(Quotas::of_served(kinds)) };
        tasks.spawn(discovery::follow(quota::NAME, client, informers.clone(), stop.clone(), config.clone(), of));
    }
    ended(tasks).await;
}

/// Whether a namespace exists and takes new objects.
fn is_active_namespace(view: &client::View, name: &str) -> bool {
    let namespace = view.of::<k8s_openapi::api::core::v1::Namespace>().get("", name);
    namespace.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_none())
}
