//! A server of its own for a test, without a listener that others could meet.

use apiserver::{Config, Server};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

pub async fn start(dir: &Path) -> (Server, store::Store) {
    let store = store::Store::open(store::Config::new(dir.join("store"))).await.expect("the folder is ours");
    (Server::start(config(dir), store.clone()).await.expect("it starts"), store)
}

pub fn config(dir: &Path) -> Config {
    Config {
        data_dir: dir.to_owned(),
        bind: (Ipv4Addr::LOCALHOST, 0).into(),
        advertise: IpAddr::V4(Ipv4Addr::LOCALHOST),
        service_cidr: "10.96.0.0/16".parse().expect("a network"),
        node_port_range: 30000..=32767,
        cluster_domain: "cluster.local".into(),
        external_names: Vec::new(),
        several: false,
        issuer: "https://kubernetes.default.svc.cluster.local".into(),
    }
}

pub async fn stop(server: Server, store: store::Store) {
    server.shutdown().await;
    store.close().await.expect("it closes");
}
