//! A server of its own for a test, without a listener that others could meet.

use apiserver::{Config, Server};
use std::path::Path;

pub async fn start(dir: &Path) -> (Server, store::Store) {
    start_with(Config::on_loopback(dir)).await
}

pub async fn start_with(config: Config) -> (Server, store::Store) {
    let store =
        store::Store::open(store::Config::new(config.data_dir.join("store"))).await.expect("the folder is ours");
    (Server::start(config, store.clone()).await.expect("it starts"), store)
}

pub async fn stop(server: Server, store: store::Store) {
    server.shutdown().await;
    store.close().await.expect("it closes");
}
