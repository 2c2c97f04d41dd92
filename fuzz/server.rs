//! A server in this process, for the targets that ask whole requests of one.

use apiserver::{Config, Server};
use std::sync::LazyLock;
use tokio::runtime::Runtime;

pub struct Running {
    pub runtime: Runtime,
    pub server: Server,
    _dir: tempfile::TempDir,
}

/// Started by the first input.
pub static SERVER: LazyLock<Running> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let server = runtime.block_on(async {
        let store = store::Store::open(store::Config::new(dir.path().join("store"))).await.expect("a store");
        Server::start(Config::on_loopback(dir.path()), store).await.expect("it starts")
    });
    Running { runtime, server, _dir: dir }
});
