//! Clients of an apiserver elsewhere.

use anyhow::Context;
use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ConfigExt};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use tower::retry::RetryLayer;

async fn config(kubeconfig: &Path) -> anyhow::Result<kube::Config> {
    let file = Kubeconfig::read_from(kubeconfig).with_context(|| format!("reading {}", kubeconfig.display()))?;
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    config.with_context(|| format!("using {}", kubeconfig.display()))
}

/// A connection on which nothing comes is asked so often whether the other side is there; a watch that a partition has cut
/// would else wait for a packet that the server sends again ever more seldom.
const PROBE_AFTER: Duration = Duration::from_secs(15);
const PROBE_EVERY: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;
/// What is sent and not acknowledged for so long will not be: probes alone do not notice it.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// How long a connection may take to come about. One that is begun while a partition lasts asks ever more seldom: another one
/// finds the way again sooner.
const CONNECT: Duration = Duration::from_secs(5);

/// Connections end by themselves when the server cannot be reached for half a minute, as upstream's.
fn client_of(mut config: kube::Config) -> anyhow::Result<kube::Client> {
    if config.proxy_url.is_some() {
        // Watches are long, and every caller has its own time limits.
        config.read_timeout = None;
        return kube::Client::try_from(config).context("making a client of the API");
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_keepalive(Some(PROBE_AFTER));
    connector.set_keepalive_interval(Some(PROBE_EVERY));
    connector.set_keepalive_retries(Some(PROBES));
    connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let connector = config.rustls_https_connector_with_connector(connector).context("trusting the API")?;
    let http = hyper_util::client::legacy::Builder::new(TokioExecutor::new()).build(connector);
    let again = config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry()));
    let service = tower::ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(again)
        .option_layer(config.auth_layer().context("reading the credentials")?)
        .layer(config.extra_headers_layer().context("reading the identity to take")?)
        .map_err(tower::BoxError::from)
        .service(http);
    Ok(kube::Client::new(service, config.default_namespace))
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Whether the kernel probes the connection to a port of this machine: `02` among the timers of proc(5).
    fn is_probed(port: u16) -> bool {
        let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
        let remote = format!("0100007F:{port:04X}");
        let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.any(|line| line.len() > 5 && line[2] == remote && line[5].starts_with("02:"))
    }

    #[tokio::test]
    async fn connections_that_nothing_comes_on_are_probed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            assert!(socket.read(&mut request).await.unwrap() > 0);
            let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n";
            socket.write_all(answer).await.unwrap();
            socket
        };
        let client = client_of(kube::Config::new(format!("http://127.0.0.1:{port}").parse().unwrap())).unwrap();
        let request = Request::get("/api/v1/pods?watch=true").body(Vec::new()).unwrap();
        // The answer goes on, as that to a watch does.
        let (_socket, _stream) = tokio::join!(server, async { client.request_stream(request).await.unwrap() });
        let probed = async {
            while !is_probed(port) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), probed).await.expect("the kernel probes the connection");
    }
}
