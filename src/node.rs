//! The roles of a node: the shim in a process of its own, and kubelet, proxy and DNS in this one.

use crate::data_dir::{self, Settings};
use crate::machine;
use crate::progress::Step;
use crate::shim;
use anyhow::{Context, bail};
use client::Informers;
use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::wait::await_condition;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Where upstream's kubelet listens; a second node of this machine takes another port.
const KUBELET_PORT: u16 = 10_250;
/// A pod of WebAssembly is a network namespace and a few kilobytes; the limit is the node's addresses.
const MAX_PODS: u32 = 4_000;
/// Where a node says that its DNS answers.
const DNS_ANNOTATION: &str = "wherry.dev/dns";
/// How long the cluster may take to give a new node its range.
const RANGE: Duration = Duration::from_secs(60);
/// How long pods may take to end when the cluster is stopped.
pub const STOP_GRACE: Duration = Duration::from_secs(5);
/// How often stopping the pods is begun: a shim that is killed meanwhile is replaced at once, and again.
const STOP_TRIES: u32 = 3;

/// What a node needs from whoever made the cluster.
pub struct Plan {
    pub data_dir: PathBuf,
    pub settings: Settings,
    pub address: IpAddr,
    /// The kubelet's own identity, and the proxy's (which DNS shares: both read Services and their endpoints).
    pub kubelet: kube::Client,
    pub proxy: kube::Client,
}

/// A running node.
pub struct Node {
    settings: Settings,
    data_dir: PathBuf,
    stop: CancellationToken,
    roles: JoinSet<()>,
}

/// The certificates of a node's kubelet under `DIR/pki/kubelet`.
pub struct Certificates {
    /// The certificate and its key, in one file.
    pub serving: PathBuf,
    pub client_ca: PathBuf,
}

impl Node {
    /// Starts the shim unless one is there already, then the roles of this process.
    pub async fn start(plan: Plan, certificates: Certificates) -> anyhow::Result<Node> {
        let socket = shim::ensure(&plan.data_dir).await?;
        let settings = plan.settings;
        let stop = CancellationToken::new();
        let manifests = plan.data_dir.join("manifests");
        data_dir::make_private(&manifests)?;
        let gateway = settings.gateway();
        cni::prepare(&shim::network(&settings, &plan.data_dir)).await.context("making the pods' bridge")?;
        let sockets = dns::Sockets::bind(&[gateway], 53).context("listening for DNS at the pods' gateway")?;
        let dns_at = std::net::SocketAddr::new(gateway, sockets.port()).to_string();
        let kubelet = kubelet::Config {
            node_name: settings.node_name.clone(),
            node_ips: vec![plan.address],
            root_dir: kubelet_root(&plan.data_dir),
            cri_endpoint: socket,
            static_pods: Some(manifests),
            cluster_dns: vec![settings.dns_address()],
            cluster_domain: "cluster.local".into(),
            bind: plan.address,
            port: machine::free_port(KUBELET_PORT).unwrap_or(0),
            tls_cert: certificates.serving.clone(),
            tls_key: certificates.serving,
            client_ca: certificates.client_ca,
            max_pods: MAX_PODS,
            labels: BTreeMap::new(),
            annotations: BTreeMap::from([(DNS_ANNOTATION.to_owned(), dns_at)]),
            pod_cidr: Some(settings.node_pod_cidr().to_string()),
            taints: Vec::new(),
            host_dns: host_dns(),
            version: version(),
        };
        let resolv = std::fs::read_to_string(host_dns()).unwrap_or_default();
        let resolvers = dns::resolvers(&resolv, &[gateway, settings.dns_address()]);
        let informers = Informers::new(plan.proxy, stop.clone());
        let mut roles = JoinSet::new();
        roles.spawn(shim::keep(plan.data_dir.clone(), stop.clone()));
        roles.spawn(run_kubelet(kubelet, plan.kubelet, stop.clone()));
        let dns = dns::Config { domain: "cluster.local".into(), resolvers };
        roles.spawn(dns::run(dns, sockets, informers.clone(), stop.clone()));
        let routes = proxy::routes::Config { node: settings.node_name.clone(), cluster: settings.pod_cidr };
        roles.spawn(proxy::routes::run(routes, informers.clone(), stop.clone()));
        roles.spawn(run_proxy(&settings, informers, stop.clone()));
        Ok(Node { settings, data_dir: plan.data_dir, stop, roles })
    }

    /// Ends the roles and leaves the pods running.
    pub async fn leave(&mut self) {
        self.stop.cancel();
        while self.roles.join_next().await.is_some() {}
    }

    /// Ends the pods too, and everything that was set up on this machine for them. Where pods cannot be ended, they keep
    /// their network: the next start carries on with them.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.leave().await;
        let step = Step::start("stopping pods");
        stop_pods(&self.settings, &self.data_dir).await?;
        step.done("");
        Ok(())
    }
}

/// Ends the pods of a node whose roles have ended, and everything that was set up on this machine for them.
pub async fn stop_pods(settings: &Settings, data_dir: &Path) -> anyhow::Result<()> {
    let stopped = end_pods(data_dir).await;
    shim::end(data_dir).await?;
    stopped.with_context(|| {
        let dir = data_dir.display();
        format!("not every pod could be stopped; `wherry up` carries on with them, `wherry reset --data-dir {dir}` removes them")
    })?;
    clear(settings, data_dir).await
}

/// The shim may end at any time, also between its answer and the next question: then it is asked again.
async fn end_pods(data_dir: &Path) -> anyhow::Result<()> {
    let mut tries = STOP_TRIES;
    loop {
        tries -= 1;
        let socket = shim::ensure(data_dir).await?;
        match kubelet::stop_all_pods(&socket, &kubelet_root(data_dir), STOP_GRACE).await {
            Err(error) if tries > 0 => tracing::info!(%error, "stopping the pods once more"),
            other => return other.context("stopping the pods"),
        }
    }
}

fn kubelet_root(data_dir: &Path) -> PathBuf {
    data_dir.join("kubelet")
}

/// Makes the Node object where there is none, and returns the range that the cluster gives to its pods: `kept`, where one
/// is in use here already.
pub async fn claim(client: &kube::Client, name: &str, kept: Option<IpNet>) -> anyhow::Result<IpNet> {
    let nodes: Api<core::Node> = Api::all(client.clone());
    let range = |node: &core::Node| node.spec.as_ref()?.pod_cidr.as_ref()?.parse::<IpNet>().ok();
    let mut node = nodes.get_opt(name).await.context("looking for the node's object")?;
    if node.is_none() {
        let ranges = kept.map(|range| vec![range.to_string()]);
        let spec = core::NodeSpec { pod_cidr: kept.map(|r| r.to_string()), pod_cidrs: ranges, ..Default::default() };
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let made = nodes.create(&PostParams::default(), &core::Node { metadata, spec: Some(spec), status: None }).await;
        node = Some(made.context("making the node's object")?);
    }
    if node.as_ref().and_then(range).is_none() {
        let given = |node: Option<&core::Node>| node.is_none_or(|node| range(node).is_some());
        let waited = tokio::time::timeout(RANGE, await_condition(nodes, name, given)).await;
        node = waited.context("the cluster gives this node no range for its pods; are its controllers running?")??;
    }
    let given = node.as_ref().and_then(range).context("the node's object was deleted while it was joining")?;
    match kept {
        Some(kept) if kept != given => bail!(
            "the cluster gives the node {name} the range {given}, and its pods here have addresses of {kept}: \
             delete the Node object, or remove this node with `wherry reset` and let it join again"
        ),
        _ => Ok(given),
    }
}

/// Takes the node's links and rules away.
pub async fn clear(settings: &Settings, data_dir: &Path) -> anyhow::Result<()> {
    cni::remove(&shim::network(settings, data_dir)).await.context("removing the pods' bridge")?;
    proxy::routes::remove(settings.pod_cidr).await.context("removing the routes to other nodes")?;
    let tables = [settings.table(), settings.ports_table()];
    let removed = tokio::task::spawn_blocking(move || tables.iter().try_for_each(|table| proxy::remove(table)));
    removed.await?.context("removing the Service rules")?;
    // Another cluster's pods may be in these groups: then they are not empty, and stay.
    for group in ["kubepods/burstable", "kubepods/besteffort", "kubepods"] {
        oci::cgroup::Cgroup::at(group).remove().ok();
    }
    data_dir::withdraw(&settings.tag);
    Ok(())
}

async fn run_kubelet(config: kubelet::Config, client: kube::Client, stop: CancellationToken) {
    if let Err(error) = kubelet::run(config, client, stop).await {
        tracing::error!(%error, "the kubelet ended");
    }
}

fn run_proxy(
    settings: &Settings,
    informers: Arc<Informers>,
    stop: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    // What leaves the nodes of this machine for elsewhere goes out as this machine.
    let pod_cidrs = std::iter::once(settings.pod_cidr).chain(settings.node_network).collect();
    let node = proxy::Node { name: settings.node_name.clone(), pod_cidrs, zone: None };
    proxy::run(proxy::Config { node, table: settings.table() }, informers, stop)
}

/// The version that the node shows.
pub fn version() -> String {
    format!("v1.36.0+wherry{}", env!("CARGO_PKG_VERSION"))
}

/// The resolvers of this machine: those behind systemd-resolved's stub, where it is used.
pub fn host_dns() -> PathBuf {
    let behind_stub = Path::new("/run/systemd/resolve/resolv.conf");
    if behind_stub.exists() { behind_stub.into() } else { "/etc/resolv.conf".into() }
}
