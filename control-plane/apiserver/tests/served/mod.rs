//! A server of its own for a test, without a listener that others could meet.

use apiserver::{Config, Server};
use std::path::Path;

pub async fn start(dir: &Path) -> (Server, store::Store) {
    let store = store::Store::open(store::Config::new(dir.join("store"))).await.expect("the folder is ours");
    (Server::start(Config::on_loopback(dir), store.clone()).await.expect("it starts"), store)
}

pub async fn stop(server: Server, store: store::Store) {
    server.shutdown().await;
    store.close().await.expect("it closes");
}
