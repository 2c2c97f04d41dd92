//! The roles of the control plane: the store with the apiserver, the controllers, the scheduler.

use crate::cli;
use crate::data_dir::DataDir;
use crate::health;
use crate::leading::{process_name, timing, where_leading};
use crate::machine;
use crate::machines::Machines;
use crate::peers::{Accepted, Dialer};
use crate::servers::Door;
use crate::tls;
use anyhow::{Context, ensure};
use apiserver::{Config, InternalUser, Server};
use client::Informers;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use store::Store;
use tokio_util::sync::CancellationToken;

/// NodePorts, where Kubernetes has them.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

/// A running apiserver with its store.
pub struct Api {
    pub server: Server,
    /// The address that nodes and pods reach it at.
    pub advertise: IpAddr,
    store: Store,
    /// The controllers that belong to the apiserver.
    own: tokio::task::JoinHandle<()>,
    stop: CancellationToken,
}

impl Api {
    /// Opens the store, starts the apiserver and writes `DIR/admin.kubeconfig`.
    pub async fn start(dir: &DataDir, flags: &cli::Cluster) -> anyhow::Result<Api> {
        let advertise = match flags.advertise_address {
            Some(address) => address,
            None => match Machines::of(&dir.path, &dir.settings) {
                Some(machines) => machines.own_address()?,
                None => machine::address()?,
            },
        };
        let store = open_store(dir, advertise).await?;
        // People reach the API from elsewhere even where nodes have a network of their own.
        let outside = machine::address().ok().map(|address| address.to_string());
        let bound = Some(flags.bind_address).filter(|a| !a.is_unspecified()).map(|a| a.to_string());
        let domain = "cluster.local";
        let config = Config {
            data_dir: dir.path.clone(),
            bind: (flags.bind_address, dir.settings.secure_port).into(),
            advertise,
            service_cidr: dir.settings.service_cidr,
            second_service_cidr: dir.settings.second_service_cidr,
            node_port_range: NODE_PORTS,
            cluster_domain: domain.into(),
            external_names: outside.into_iter().chain(bound.clone()).chain([machine::name()]).collect(),
            several: dir.settings.place.is_some(),
            issuer: format!("https://kubernetes.default.svc.{domain}"),
        };
        let server = Server::start(config, store.clone()).await.context("starting the apiserver")?;
        let pki = server.pki();
        let local = if bound.is_some() { flags.bind_address } else { Ipv4Addr::LOCALHOST.into() };
        let url = format!("https://{}", SocketAddr::new(local, server.local_addr().port()));
        let text = apiserver::pki::kubeconfig::text(&url, &pki.authority, "kubernetes-super-admin", &pki.admin);
        apiserver::pki::kubeconfig::write(&dir.kubeconfig(), &text)
            .context("writing the administrator's kubeconfig")?;
        server.add_metrics(client::workqueue::text);
        let stop = CancellationToken::new();
        let client = kube::Client::new(server.in_process(InternalUser::Apiserver), "default");
        let own = tokio::spawn(controllers::run_of_apiserver(client, stop.clone()));
        Ok(Api { server, advertise, store, own, stop })
    }

    /// A client in this process, without sockets or TLS, under the user's own rights.
    pub fn client(&self, user: InternalUser) -> kube::Client {
        kube::Client::new(self.server.in_process(user), "default")
    }

    /// Returns when the store can do nothing any more until the process starts again.
    pub async fn store_failed(&self) -> store::Error {
        self.store.failed().await
    }

    /// Ends the server, then the store.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.own.await.context("ending the apiserver's controllers")?;
        self.server.shutdown().await;
        self.store.close().await.context("closing the store")
    }
}

/// Opens the store, alone or in its place among others, and returns when it has caught up with them.
async fn open_store(dir: &DataDir, advertise: IpAddr) -> anyhow::Result<Store> {
    let mut config = store::Config::new(dir.path.join("store"));
    let Some(place) = &dir.settings.place else {
        return Store::open(config).await.context("opening the store");
    };
    ensure!(
        place.heartbeat_ms * 2 <= place.election_ms,
        "an election timeout of {} ms must be several heartbeats of {} ms",
        place.election_ms,
        place.heartbeat_ms
    );
    let member = apiserver::pki::members::open(&dir.path.join("pki"), place.id).context("the server's certificate")?;
    let address = SocketAddr::new(advertise, place.peer_port);
    let door = Door::open(&dir.path, &dir.settings, &address.to_string(), &member)?;
    let opens = door.opens_with();
    let mut accepted = Accepted::listen(address, &member, door).await?;
    let dialer = Arc::new(Dialer::new(&member)?);
    accepted.renew(dir.path.join("pki"), place.id, dialer.clone());
    let mut cluster = store::Cluster::new(address.to_string(), dialer, Box::new(accepted));
    cluster.join = place.join.clone();
    let [heartbeat, election] = [place.heartbeat_ms, place.election_ms].map(Duration::from_millis);
    cluster.timing = store::Timing { heartbeat, election };
    config.node_id = place.id;
    config.cluster = Some(cluster);
    let store = Store::open(config).await.context("opening the store; it needs most of the cluster's servers")?;
    for member in store.members() {
        // It was here, and here is this one now: without its disk, so that it may not come back under its number.
        if member.address == address.to_string() && member.id != place.id {
            let replaced = store.remove_member(member.id).await;
            replaced.with_context(|| format!("replacing member {} of the store", member.id))?;
        }
    }
    // Nobody else sets it.
    let _ = opens.set(store.clone());
    Ok(store)
}

/// `wherry apiserver`.
pub async fn apiserver(flags: cli::Apiserver, stop: CancellationToken) -> anyhow::Result<()> {
    let dir = DataDir::open(&flags.cluster)?;
    let api = Api::start(&dir, &flags.cluster).await?;
    println!("{}", dir.kubeconfig().display());
    stop.cancelled().await;
    api.stop().await
}

/// The ranges that nodes get theirs out of, each with the length of one node's part.
fn node_ranges(flags: &cli::ControllerManager) -> Vec<controllers::NodeRange> {
    let sizes = &flags.node_cidr;
    let size = |v4: bool| if v4 { sizes.node_cidr_mask_size_ipv4 } else { sizes.node_cidr_mask_size_ipv6 };
    let of = |range: ipnet::IpNet| controllers::NodeRange {
        cluster: range.to_string(),
        prefix: sizes.node_cidr_mask_size.or(size(range.addr().is_ipv4())),
    };
    flags.cluster_cidr.iter().flat_map(|ranges| ranges.iter()).map(of).collect()
}

/// `wherry controller-manager`.
pub async fn controller_manager(flags: cli::ControllerManager, stop: CancellationToken) -> anyhow::Result<()> {
    let kubeconfig = &flags.remote.kubeconfig;
    let client = tls::client(kubeconfig).await?;
    let root_ca = match &flags.root_ca_file {
        Some(file) => Some(std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?),
        None => tls::authority(kubeconfig)?,
    };
    let config = controllers::Config { root_ca, node_ranges: node_ranges(&flags), ..flags.controllers.config() };
    let metrics = config.metrics.clone();
    let health = (flags.health.bind_address, flags.health.secure_port).into();
    tokio::spawn(health::serve(health, Arc::new(move || metrics.text()), client.clone(), stop.clone()));
    let leases = client.clone();
    let work = |stop: CancellationToken| {
        let (client, informers) = (client.clone(), Informers::new(client.clone(), stop.clone()));
        controllers::run(move |_| client.clone(), informers, config.clone(), stop)
    };
    let me = flags.election.leader_elect.then(process_name);
    where_leading(me, "kube-controller-manager", leases, timing(&flags.election.times)?, stop, work).await;
    Ok(())
}

/// `wherry scheduler`.
pub async fn scheduler(flags: cli::Scheduler, stop: CancellationToken) -> anyhow::Result<()> {
    let config = flags.config.as_deref().map(scheduler_config).transpose()?.unwrap_or_default();
    let client = tls::client(&flags.remote.kubeconfig).await?;
    let health = (flags.health.bind_address, flags.health.secure_port).into();
    let metrics = config.metrics.clone();
    tokio::spawn(health::serve(health, Arc::new(move || metrics.text()), client.clone(), stop.clone()));
    let elects = config.leader_elect.unwrap_or(flags.election.leader_elect);
    let (failed, whole) = (OnceLock::new(), stop.child_token());
    let (failing, ending, of, told) = (&failed, &whole, &client, &config);
    let work = move |stop: CancellationToken| async move {
        let informers = Informers::new(of.clone(), stop.clone());
        if let Err(error) = scheduler::run(of.clone(), informers, told.clone(), stop).await {
            // The first is the one that matters.
            let _ = failing.set(error);
            ending.cancel();
        }
    };
    let (me, times) = (elects.then(process_name), timing(&flags.election.times)?);
    where_leading(me, "kube-scheduler", client.clone(), times, whole.clone(), work).await;
    match failed.into_inner() {
        Some(error) => Err(error).context("running the scheduler"),
        None => Ok(()),
    }
}

fn scheduler_config(file: &Path) -> anyhow::Result<scheduler::Config> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    scheduler::Config::parse(&text).with_context(|| format!("in {}", file.display()))
}
