//! `wherry up`: a whole cluster in this process and the shim's, until Ctrl-C.

use crate::cli;
use crate::control_plane::Api;
use crate::data_dir::DataDir;
use crate::health;
use crate::join;
use crate::leading::{timing, where_leading};
use crate::machine;
use crate::machines::Machines;
use crate::manifests;
use crate::node::{self, Certificates, Node, Plan};
use crate::progress::Step;
use crate::registry;
use crate::servers;
use anyhow::Context;
use apiserver::InternalUser;
use client::Informers;
use client::lease::Timing;
use k8s_openapi::api::core::v1 as core;
use kube::api::Api as Objects;
use kube::runtime::wait::await_condition;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long the example's pods may take; compiling a large component takes most of it.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long the kubelet may take to register; it takes milliseconds where the machine has time.
const NODE_PATIENCE: Duration = Duration::from_secs(60);

pub async fn run(flags: cli::Up, stop: CancellationToken) -> anyhow::Result<()> {
    machine::require_root("up")?;
    let manifests: Vec<_> = flags.apply.iter().map(|p| manifests::load(p)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut dir = DataDir::open(&flags.cluster)?;
    dir.want_nodes(flags.nodes)?;
    dir.announce()?;
    let machines = Machines::of(&dir.path, &dir.settings);
    if let Some(machines) = &machines {
        machines.open().await?;
    }
    let started = Step::start("control plane");
    let api = Api::start(&dir, &flags.cluster).await?;
    let address = api.advertise;
    let roles_stop = CancellationToken::new();
    let mut roles = JoinSet::new();
    start_roles(&api, &dir, Timing::default(), &flags.controllers, &roles_stop, &mut roles);
    started.done(&format!("https://{address}:{}", api.server.local_addr().port()));

    let started = Step::start("node");
    let admin = api.client(InternalUser::Admin);
    node::claim(&admin, &dir.settings.node_name, Some(dir.settings.node_pod_cidr())).await?;
    let node = start_node(&api, &dir, address).await?;
    join::publish(&admin, &dir, &api).await?;
    ready(&admin, &dir.settings.node_name).await?;
    started.done(&dir.settings.node_name);
    let started = Step::start("registry");
    let (registry, served) = registry::start(&dir.path, flags.registry_port, roles_stop.clone()).await?;
    roles.spawn(served);
    started.done(&format!("http://{registry}"));
    if let Some(machines) = &machines {
        let (images, served) = registry::share(&dir.path, address, roles_stop.clone()).await?;
        roles.spawn(served);
        let mirror = format!("http://{images}");
        tokio::select! {
            () = stop.cancelled() => {}
            started = start_machines(machines, &admin, &mirror) => started?,
        }
    }

    eprintln!("\n  export KUBECONFIG={}\n", dir.kubeconfig().display());
    let shown = async {
        for set in &manifests {
            show(&admin, set, address).await?;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        () = stop.cancelled() => {}
        result = shown => {
            if let Err(error) = result {
                eprintln!("wherry: {error:#}");
            }
            eprintln!("Ctrl-C stops the pods and the cluster; its data stays in {}.", dir.path.display());
            stop.cancelled().await;
        }
    }
    eprintln!();
    let further = async {
        match &machines {
            Some(machines) => machines.close(false).await,
            None => Ok(()),
        }
    };
    let (stopped, further) = tokio::join!(node.stop(), further);
    roles_stop.cancel();
    while roles.join_next().await.is_some() {}
    api.stop().await?;
    stopped.and(further)
}

/// Starts the further nodes of this machine, and waits until they are ready.
async fn start_machines(machines: &Machines, client: &kube::Client, mirror: &str) -> anyhow::Result<()> {
    let names = machines.names();
    let step = Step::start(format!("{} more nodes", names.len()));
    let starts = names.keys().map(|name| machines.start(name, Some(mirror)));
    futures::future::try_join_all(starts).await?;
    for name in names.keys() {
        ready(client, name).await.with_context(|| format!("its log is {}", machines.log(name).display()))?;
    }
    step.done(&names.keys().cloned().collect::<Vec<_>>().join(" "));
    Ok(())
}

/// `wherry server`: the control plane of `up`, without a node.
pub async fn server(flags: cli::Server, stop: CancellationToken) -> anyhow::Result<()> {
    let dir = servers::open(&flags).await?;
    dir.announce()?;
    let started = stop.run_until_cancelled(Api::start(&dir, &flags.cluster)).await;
    let Some(api) = started.transpose()? else { return Ok(()) };
    println!("{}", dir.kubeconfig().display());
    let mut roles = JoinSet::new();
    start_roles(&api, &dir, timing(&flags.election)?, &flags.controllers, &stop, &mut roles);
    let join = join::publish(&api.client(InternalUser::Admin), &dir, &api).await?;
    eprintln!("A machine joins with a copy of {0}: wherry node --join {0}", join.display());
    if dir.settings.place.is_some() {
        let token = dir.path.join("server.token");
        eprintln!("A server joins with a copy of {0}: wherry server --join {0}", token.display());
    }
    let work = async { while roles.join_next().await.is_some() {} };
    if dir.settings.place.is_none() {
        // One that is alone is still good for reads.
        work.await;
    } else {
        tokio::select! {
            () = work => {}
            error = api.store_failed() => return Err(error).context("the store of this server; the others go on without it"),
        }
    }
    api.stop().await
}

/// The controllers and the scheduler, each under its own identity; among several servers, where they lead.
fn start_roles(
    api: &Api,
    dir: &DataDir,
    timing: Timing,
    controllers: &cli::Controllers,
    stop: &CancellationToken,
    roles: &mut JoinSet<()>,
) {
    let elects = dir.settings.place.as_ref().map(|place| format!("{}_{}", dir.settings.node_name, place.id));
    let reader = api.client(InternalUser::ControllerManager);
    let config = controllers::Config {
        root_ca: Some(api.server.pki().authority.cert_pem().to_owned()),
        node_ranges: vec![controllers::NodeRange {
            cluster: dir.settings.pod_cidr.to_string(),
            prefix: Some(dir.settings.node_pod_cidr().prefix_len()),
        }],
        sign: Some(controllers::Sign::by(api.server.signer())),
        ..controllers.config()
    };
    let metrics = config.metrics.clone();
    let port = |port: u16| (Ipv4Addr::LOCALHOST, port).into();
    let tell: health::Tell = Arc::new(move || metrics.text());
    roles.spawn(health::serve(port(health::CONTROLLER_MANAGER), tell, reader.clone(), stop.clone()));
    let scheduling = scheduler::Config::default();
    let metrics = scheduling.metrics.clone();
    let tell: health::Tell = Arc::new(move || metrics.text());
    let client = api.client(InternalUser::Scheduler);
    roles.spawn(health::serve(port(health::SCHEDULER), tell.clone(), client.clone(), stop.clone()));
    api.server.add_metrics(move || tell());
    let service = Arc::new(api.server.identities());
    let leases = reader.clone();
    let controllers = move |stop: CancellationToken| {
        let (service, config) = (service.clone(), config.clone());
        let client_for =
            move |name: &str| kube::Client::new(service(InternalUser::Controller(name.to_owned())), "default");
        let informers = Informers::new(reader.clone(), stop.clone());
        controllers::run(client_for, informers, config, stop)
    };
    roles.spawn(where_leading(elects.clone(), "kube-controller-manager", leases, timing, stop.clone(), controllers));
    let leases = client.clone();
    let scheduler = move |stop: CancellationToken| {
        let informers = Informers::new(client.clone(), stop.clone());
        let running = scheduler::run(client.clone(), informers, scheduling.clone(), stop);
        async {
            if let Err(error) = running.await {
                tracing::error!("the scheduler: {error}");
            }
        }
    };
    roles.spawn(where_leading(elects, "kube-scheduler", leases, timing, stop.clone(), scheduler));
}

async fn start_node(api: &Api, dir: &DataDir, address: IpAddr) -> anyhow::Result<Node> {
    let name = &dir.settings.node_name;
    let pki = dir.path.join("pki").join("kubelet");
    let names = [address.to_string(), "127.0.0.1".into(), "localhost".into()];
    apiserver::pki::open_kubelet(&pki, &api.server.pki().authority, name, &names)
        .context("the kubelet's certificates")?;
    let certificates =
        Certificates { serving: pki.join("kubelet-serving.pem"), client_ca: dir.path.join("pki").join("ca.crt") };
    let plan = Plan {
        data_dir: dir.path.clone(),
        settings: dir.settings.clone(),
        address,
        kubelet: api.client(InternalUser::Node(name.clone())),
        proxy: api.client(InternalUser::Proxy),
    };
    Node::start(plan, certificates).await
}

/// Waits until the node has said that pods can be placed on it: those applied before would only be told to wait.
async fn ready(client: &kube::Client, node: &str) -> anyhow::Result<()> {
    let says_so = |node: Option<&core::Node>| {
        let conditions = node.and_then(|n| n.status.as_ref()).and_then(|s| s.conditions.as_ref());
        let ready = conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"));
        let taints = node.and_then(|n| n.spec.as_ref()).and_then(|s| s.taints.as_ref());
        ready && taints.is_none_or(|all| all.iter().all(|t| t.key != "node.kubernetes.io/not-ready"))
    };
    let nodes = Objects::<core::Node>::all(client.clone());
    let waited = tokio::time::timeout(NODE_PATIENCE, await_condition(nodes, node, says_so)).await;
    let found = waited.with_context(|| format!("node {node} is not ready after {} s", NODE_PATIENCE.as_secs()))??;
    let conditions = found.and_then(|n| n.status).and_then(|s| s.conditions).unwrap_or_default();
    for lack in conditions.iter().filter(|c| c.type_.ends_with("Pressure") && c.status == "True") {
        let message = lack.message.as_deref().unwrap_or_default();
        eprintln!("wherry: node {node} takes no new pods until there is more room: {}: {message}", lack.type_);
    }
    Ok(())
}

/// Applies an example and shows it becoming ready, with the addresses that answer.
async fn show(client: &kube::Client, set: &[manifests::Manifest], node: IpAddr) -> anyhow::Result<()> {
    let failed = manifests::apply_all(client, set).await;
    manifests::wait(client, set, PATIENCE).await?;
    for (name, urls) in manifests::addresses(client, set, node).await? {
        for url in urls {
            match manifests::first_line(&url).await {
                Ok(answer) => println!("{name}  {url}  {answer}"),
                Err(error) => println!("{name}  {url}  ({error:#})"),
            }
        }
    }
    anyhow::ensure!(failed == 0, "{failed} objects could not be applied");
    Ok(())
}
