//! The roles of a node: the shim in a process of its own, and kubelet, proxy and DNS in this one.

use crate::data_dir::{self, Settings};
use crate::machine;
use crate::progress::Step;
use crate::shim;
use anyhow::Context;
use client::Informers;
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
    kubelet: kubelet::Config,
    settings: Settings,
    data_dir: PathBuf,
    stop: CancellationToken,
    roles: JoinSet<()>,
    /// The port on which DNS answers at the bridge's address.
    pub dns_port: u16,
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
        let kubelet = kubelet::Config {
            node_name: settings.node_name.clone(),
            node_ips: vec![plan.address],
            root_dir: plan.data_dir.join("kubelet"),
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
            taints: Vec::new(),
            host_dns: host_dns(),
            version: version(),
        };
        let sockets = dns::Sockets::bind(&[gateway], 53).context("listening for DNS at the pods' gateway")?;
        let dns_port = sockets.port();
        let resolv = std::fs::read_to_string(host_dns()).unwrap_or_default();
        let resolvers = dns::resolvers(&resolv, &[gateway, settings.dns_address()]);
        let informers = Informers::new(plan.proxy, stop.clone());
        let mut roles = JoinSet::new();
        roles.spawn(shim::keep(plan.data_dir.clone(), stop.clone()));
        roles.spawn(run_kubelet(kubelet.clone(), plan.kubelet, stop.clone()));
        let dns = dns::Config { domain: "cluster.local".into(), resolvers };
        roles.spawn(dns::run(dns, sockets, informers.clone(), stop.clone()));
        roles.spawn(run_proxy(&settings, informers, stop.clone()));
        Ok(Node { kubelet, settings, data_dir: plan.data_dir, stop, roles, dns_port })
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
        let stopped = self.stop_pods().await;
        shim::end(&self.data_dir).await?;
        stopped.with_context(|| {
            let dir = self.data_dir.display();
            format!("not every pod could be stopped; `wherry up` carries on with them, `wherry reset --data-dir {dir}` removes them")
        })?;
        step.done("");
        clear(&self.settings, &self.data_dir).await
    }

    /// The shim may end at any time, also between its answer and the next question: then it is asked again.
    async fn stop_pods(&self) -> anyhow::Result<()> {
        let mut tries = STOP_TRIES;
        loop {
            tries -= 1;
            shim::ensure(&self.data_dir).await?;
            match kubelet::stop_all_pods(&self.kubelet, STOP_GRACE).await {
                Err(error) if tries > 0 => tracing::info!(%error, "stopping the pods once more"),
                other => return other.context("stopping the pods"),
            }
        }
    }
}

/// Takes the node's links and rules away.
pub async fn clear(settings: &Settings, data_dir: &Path) -> anyhow::Result<()> {
    cni::remove(&shim::network(settings, data_dir)).await.context("removing the pods' bridge")?;
    let table = settings.table();
    tokio::task::spawn_blocking(move || proxy::remove(&table)).await?.context("removing the Service rules")?;
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
    let node = proxy::Node { name: settings.node_name.clone(), pod_cidrs: vec![settings.pod_cidr] };
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
