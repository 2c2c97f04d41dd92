//! Clients of an apiserver elsewhere.

use anyhow::Context;
use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response};
use kube::client::Body;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

async fn config(kubeconfig: &Path) -> anyhow::Result<kube::Config> {
    let file = Kubeconfig::read_from(kubeconfig).with_context(|| format!("reading {}", kubeconfig.display()))?;
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    config.with_context(|| format!("using {}", kubeconfig.display()))
}

fn client_of(mut config: kube::Config) -> anyhow::Result<kube::Client> {
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

/// A client as a kubeconfig says.
pub async fn client(kubeconfig: &Path) -> anyhow::Result<kube::Client> {
    client_of(config(kubeconfig).await?)
}

/// Where the cluster of a kubeconfig is, and the authority to know it by, as PEM.
pub async fn cluster_of(kubeconfig: &Path) -> anyhow::Result<(String, String)> {
    let authority = authority(kubeconfig)?.with_context(|| format!("{} names no authority", kubeconfig.display()))?;
    Ok((config(kubeconfig).await?.cluster_url.to_string(), authority))
}

/// The client of a node: `pem` holds its certificate and its key, `ca` the authority of the cluster.
pub fn node_client(server: &str, ca: &Path, pem: &str) -> anyhow::Result<kube::Client> {
    let mut config = kube::Config::new(server.parse().with_context(|| format!("{server} is no address of an API"))?);
    let roots = std::fs::read_to_string(ca).with_context(|| format!("reading {}", ca.display()))?;
    let roots = pem::parse_many(roots).with_context(|| format!("reading {}", ca.display()))?;
    config.root_cert = Some(roots.into_iter().map(pem::Pem::into_contents).collect());
    let (certificate, key) =
        pem.split_at(pem.find("-----BEGIN PRIVATE KEY-----").context("the node's key is missing")?);
    config.auth_info = AuthInfo {
        client_certificate_data: Some(STANDARD.encode(certificate)),
        client_key_data: Some(STANDARD.encode(key).into()),
        ..AuthInfo::default()
    };
    client_of(config)
}

/// A client that can be exchanged while others hold it: `kube::Client::new(rotating, "default")`. Requests under way end
/// on the old one.
#[derive(Clone)]
pub struct Rotating(Arc<ArcSwap<kube::Client>>);

impl Rotating {
    pub fn new(client: kube::Client) -> Rotating {
        Rotating(Arc::new(ArcSwap::from_pointee(client)))
    }

    pub fn turn_to(&self, client: kube::Client) {
        self.0.store(Arc::new(client));
    }
}

impl tower::Service<Request<Body>> for Rotating {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = futures::future::BoxFuture<'static, Result<Response<Body>, kube::Error>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), kube::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let client = self.0.load_full();
        Box::pin(async move { client.send(request).await })
    }
}
