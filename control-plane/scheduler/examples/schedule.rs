//! The scheduler alone: `cargo run -p scheduler --example schedule -- KUBECONFIG [CONFIGURATION]`. It runs until Ctrl-C.

use client::Informers;
use kube::config::{KubeConfigOptions, Kubeconfig};
use scheduler::Config;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let kubeconfig = args.next().ok_or("usage: schedule KUBECONFIG [CONFIGURATION]")?;
    let config = match args.next() {
        Some(file) => Config::parse(&std::fs::read_to_string(file)?)?,
        None => Config::default(),
    };
    let text = std::fs::read_to_string(kubeconfig)?;
    let (text, options) = (Kubeconfig::from_yaml(&text)?, KubeConfigOptions::default());
    let told = kube::Config::from_custom_kubeconfig(text, &options).await?;
    let (client, stop) = (kube::Client::try_from(told)?, CancellationToken::new());
    let informers = Informers::new(client.clone(), stop.clone());
    let metrics = config.metrics.clone();
    let running = tokio::spawn(scheduler::run(client, informers, config, stop.clone()));
    tokio::signal::ctrl_c().await?;
    stop.cancel();
    running.await??;
    print!("{}", metrics.text());
    Ok(())
}
