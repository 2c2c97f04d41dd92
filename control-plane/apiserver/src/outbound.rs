//! The only calls the server makes out: to kubelets (logs, exec, …) and, proxied for a client, to pods and Services.
//! Webhooks and aggregated APIs will call through here too.
//!
//! Each call takes a connection of its own, so that it can become a stream of bytes, and none is retried: whether a
//! command ran twice is for the client to decide.

mod splice;

pub(crate) use splice::{For, forward};

use crate::pki::judged::judged;
use crate::{Config, Error, pki::Pki};
use api::{Object, Status, Value};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A peer in the cluster that does not answer in this time is down.
const DIAL: Duration = Duration::from_secs(5);
/// What upstream's kubelet listens on, where a node does not say.
const KUBELET_PORT: i64 = 10250;

/// Whom to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    /// Plain HTTP.
    No,
    /// The peer must be a kubelet of this cluster, and is shown our own certificate.
    Kubelet,
    /// A kubelet whose certificate nobody looks at, because the client said so; it is shown our own.
    AnyKubelet,
    /// Whoever answers: a client asked for `https:` in a proxy path, and nothing says what certificate to expect.
    Any,
}

impl Peer {
    /// `host:port` as URLs have it.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

pub(crate) type Connection = TokioIo<Box<dyn AnyStream>>;

/// A connection, encrypted or not.
pub(crate) trait AnyStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> AnyStream for T {}

pub(crate) struct Outbound {
    kubelets: TlsConnector,
    any_kubelet: TlsConnector,
    anybody: TlsConnector,
}

impl Outbound {
    pub(crate) fn open(_config: &Config, pki: &Pki) -> Result<Outbound, Error> {
        let fail = |e: &dyn std::fmt::Display| Error::Pki(format!("preparing TLS to kubelets: {e}"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for root in pki.client_roots() {
            roots.add(root).map_err(|e| fail(&e))?;
        }
        let builder = || {
            ClientConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()
                .map_err(|e| fail(&e))
        };
        let (chain, key) = pki.kubelet_client.to_rustls().map_err(|e| fail(&e))?;
        let kubelets = builder()?.with_root_certificates(roots);
        let kubelets = kubelets.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(|e| fail(&e))?;
        let anybody = || {
            let verifier = judged(provider.clone(), Box::new(|_, _, _, _| Ok(())));
            Ok::<_, Error>(builder()?.dangerous().with_custom_certificate_verifier(verifier))
        };
        let any_kubelet = anybody()?.with_client_auth_cert(chain, key).map_err(|e| fail(&e))?;
        let anybody = anybody()?.with_no_client_auth();
        let [kubelets, any_kubelet, anybody] = [kubelets, any_kubelet, anybody].map(|c| Arc::new(c).into());
        Ok(Outbound { kubelets, any_kubelet, anybody })
    }

    /// Connects to a peer, or says why not.
    pub(crate) async fn dial(&self, peer: &Peer) -> Result<Connection, String> {
        let refused = |e: &dyn std::fmt::Display| format!("dial tcp {}: {e}", peer.authority());
        let dial = async {
            let socket = TcpStream::connect((peer.host.as_str(), peer.port)).await?;
            socket.set_nodelay(true)?;
            let connector = match peer.tls {
                Tls::No => return Ok(Box::new(socket) as Box<dyn AnyStream>),
                Tls::Kubelet => &self.kubelets,
                Tls::AnyKubelet => &self.any_kubelet,
                Tls::Any => &self.anybody,
            };
            let name = ServerName::try_from(peer.host.clone()).map_err(std::io::Error::other)?;
            Ok(Box::new(connector.connect(name, socket).await?) as Box<dyn AnyStream>)
        };
        match tokio::time::timeout(DIAL, dial).await {
            Ok(Ok(stream)) => Ok(TokioIo::new(stream)),
            Ok(Err(error)) => {
                let error: std::io::Error = error;
                Err(refused(&error))
            }
            Err(_) => Err(refused(&"i/o timeout")),
        }
    }
}

/// Where a node's kubelet listens.
pub(crate) fn kubelet(node: &Object) -> Result<Peer, Status> {
    let addresses = node.at(&["status", "addresses"]).and_then(Value::as_list).unwrap_or(&[]);
    let of = |kind: &str| {
        let found = addresses.iter().find(|a| a.get("type").and_then(Value::as_str) == Some(kind));
        found.and_then(|a| a.get("address")?.as_str()).map(str::to_owned)
    };
    let host = of("InternalIP").or_else(|| of("Hostname")).or_else(|| of("ExternalIP"));
    let host = host.ok_or_else(|| {
        Status::internal(format!("no preferred addresses found; known addresses: {}", addresses.len()))
    })?;
    let port = node.i64_at(&["status", "daemonEndpoints", "kubeletEndpoint", "Port"]).filter(|p| *p != 0);
    let port = u16::try_from(port.unwrap_or(KUBELET_PORT));
    let port = port.map_err(|_| Status::internal("the node's kubeletEndpoint is no port"))?;
    Ok(Peer { host, port, tls: Tls::Kubelet })
}

#[cfg(test)]
mod tests;
