//! Clients of an apiserver elsewhere.

use anyhow::Context;
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::path::Path;

/// A client as a kubeconfig says.
pub async fn client(kubeconfig: &Path) -> anyhow::Result<kube::Client> {
    let file = Kubeconfig::read_from(kubeconfig).with_context(|| format!("reading {}", kubeconfig.display()))?;
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    let mut config = config.with_context(|| format!("using {}", kubeconfig.display()))?;
    // Watches are long, and every caller has its own time limits.
    config.read_timeout = None;
    kube::Client::try_from(config).context("making a client of the API")
}
