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

/// The certificate that a kubeconfig trusts its cluster by, as PEM; `None` where it trusts the machine's own roots.
pub fn authority(kubeconfig: &Path) -> anyhow::Result<Option<String>> {
    let file = Kubeconfig::read_from(kubeconfig).with_context(|| format!("reading {}", kubeconfig.display()))?;
    let context = file.contexts.iter().find(|c| Some(&c.name) == file.current_context.as_ref());
    let name = context.and_then(|c| c.context.as_ref()).map(|c| c.cluster.as_str());
    let cluster = file.clusters.iter().find(|c| Some(c.name.as_str()) == name).and_then(|c| c.cluster.as_ref());
    let Some(cluster) = cluster else { return Ok(None) };
    if let Some(data) = &cluster.certificate_authority_data {
        let bytes: k8s_openapi::ByteString = serde_json::from_value(data.as_str().into())
            .with_context(|| format!("the certificate-authority-data of {}", kubeconfig.display()))?;
        let text = String::from_utf8(bytes.0);
        return text.map(Some).with_context(|| format!("the certificate-authority-data of {}", kubeconfig.display()));
    }
    let Some(path) = &cluster.certificate_authority else { return Ok(None) };
    std::fs::read_to_string(path).map(Some).with_context(|| format!("reading {path}"))
}
