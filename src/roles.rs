//! The roles of a node, each alone, against an apiserver elsewhere.

use crate::cli;
use crate::machine;
use crate::node::host_dns;
use crate::tls;
use anyhow::Context;
use client::Informers;
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

/// `wherry kubelet`. Its end leaves the pods running.
pub async fn kubelet(flags: cli::Kubelet, stop: CancellationToken) -> anyhow::Result<()> {
    machine::require_root("kubelet")?;
    let client = tls::client(&flags.remote.kubeconfig).await?;
    let address = match flags.node_ip {
        Some(address) => address,
        None => machine::address()?,
    };
    let config = kubelet::Config {
        node_name: flags.node_name.unwrap_or_else(machine::name),
        node_ips: vec![address],
        root_dir: flags.root_dir,
        cri_endpoint: flags.cri_endpoint,
        static_pods: flags.static_pods,
        cluster_dns: flags.cluster_dns,
        cluster_domain: "cluster.local".into(),
        bind: address,
        port: flags.port,
        tls_cert: flags.tls_cert,
        tls_key: flags.tls_key,
        client_ca: flags.client_ca,
        max_pods: flags.max_pods,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        pod_cidr: None,
        taints: Vec::new(),
        host_dns: host_dns(),
        version: crate::node::version(),
    };
    kubelet::run(config, client, stop).await.context("running the kubelet")
}

/// `wherry proxy`. Its rules stay when it ends, so that connections go on while it is restarted.
pub async fn proxy(flags: cli::Proxy, stop: CancellationToken) -> anyhow::Result<()> {
    machine::require_root("proxy")?;
    let informers = Informers::new(tls::client(&flags.remote.kubeconfig).await?, stop.clone());
    let name = flags.node_name.unwrap_or_else(machine::name);
    let node = proxy::Node { name, pod_cidrs: flags.cluster_cidr.into_iter().collect(), zone: None };
    proxy::run(proxy::Config { node, table: flags.table }, informers, stop).await;
    Ok(())
}

/// `wherry dns`.
pub async fn dns(flags: cli::Dns, stop: CancellationToken) -> anyhow::Result<()> {
    let sockets = dns::Sockets::bind(&flags.listen, flags.port).context("listening for DNS")?;
    for address in &flags.listen {
        println!("{}", std::net::SocketAddr::new(*address, sockets.port()));
    }
    let informers = Informers::new(tls::client(&flags.remote.kubeconfig).await?, stop.clone());
    let resolv = std::fs::read_to_string(host_dns()).unwrap_or_default();
    let config = dns::Config { domain: "cluster.local".into(), resolvers: dns::resolvers(&resolv, &flags.listen) };
    dns::run(config, sockets, informers, stop).await;
    Ok(())
}
