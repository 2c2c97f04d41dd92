//! The API server and its store, alone: `cargo run -p apiserver --example serve -- DIR [PORT]`.
//! It writes `DIR/admin.kubeconfig` and runs until Ctrl-C.

use apiserver::{Config, Server};
use std::net::Ipv4Addr;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = std::path::PathBuf::from(args.next().ok_or("usage: serve DIR [PORT]")?);
    let port: u16 = args.next().map_or(Ok(0), |p| p.parse())?;
    std::fs::create_dir_all(&dir)?;
    let store = store::Store::open(store::Config::new(dir.join("store"))).await?;
    let config = Config { bind: (Ipv4Addr::LOCALHOST, port).into(), ..Config::on_loopback(&dir) };
    let server = Server::start(config, store.clone()).await?;
    let address = server.local_addr();
    let pki = server.pki();
    let text = apiserver::pki::kubeconfig::text(&format!("https://{address}"), &pki.authority, "admin", &pki.admin);
    apiserver::pki::kubeconfig::write(&dir.join("admin.kubeconfig"), &text)?;
    eprintln!("https://{address} is ready");
    tokio::signal::ctrl_c().await?;
    server.shutdown().await;
    store.close().await?;
    Ok(())
}
