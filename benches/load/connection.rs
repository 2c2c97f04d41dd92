//! One HTTP/2 connection to an apiserver, made from a kubeconfig. Bodies are counted, never decoded: the load is the
//! server's, not the client's.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::ConfigExt;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use rustls::pki_types::ServerName;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where a server is and who asks.
#[derive(Clone)]
pub(crate) struct Door {
    address: String,
    name: ServerName<'static>,
    tls: Arc<rustls::ClientConfig>,
}

impl Door {
    pub(crate) async fn open(kubeconfig: &Path) -> anyhow::Result<Door> {
        let text = std::fs::read_to_string(kubeconfig)?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(Kubeconfig::from_yaml(&text)?, &options).await?;
        let mut tls = config.rustls_client_config()?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let host = config.cluster_url.host().unwrap_or("127.0.0.1").to_owned();
        let port = config.cluster_url.port_u16().unwrap_or(443);
        let name = ServerName::try_from(config.tls_server_name.unwrap_or_else(|| host.clone()))?;
        Ok(Door { address: format!("{host}:{port}"), name, tls: Arc::new(tls) })
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let socket = TcpStream::connect(&self.address).await?;
        socket.set_nodelay(true)?;
        let stream = TlsConnector::from(self.tls.clone()).connect(self.name.clone(), socket).await?;
        let (send, driver) =
            http2::Builder::new(TokioExecutor::new()).handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        Ok(Connection { send, authority: self.address.clone() })
    }

    /// That many connections of their own.
    pub(crate) async fn connections(&self, count: usize) -> anyhow::Result<Vec<Connection>> {
        let mut out = Vec::with_capacity(count);
        for _ in 0..count {
            out.push(self.connect().await?);
        }
        Ok(out)
    }
}

#[derive(Clone)]
pub(crate) struct Connection {
    send: http2::SendRequest<Full<Bytes>>,
    authority: String,
}

impl Connection {
    /// The answer's head; its body can be read as it comes.
    pub(crate) async fn open(&mut self, method: Method, path: &str, body: Body) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(method.clone())
            .uri(format!("https://{}{path}", self.authority))
            .header("accept", "application/json");
        if !body.content.is_empty() {
            request = request.header("content-type", body.media_type);
        }
        self.send.ready().await?;
        let answer = self.send.send_request(request.body(Full::new(body.content))?).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let text = answer.into_body().collect().await?.to_bytes();
        anyhow::bail!("{method} {path}: {status}: {}", String::from_utf8_lossy(&text))
    }

    /// The whole answer.
    pub(crate) async fn ask(&mut self, method: Method, path: &str, body: Body) -> anyhow::Result<Bytes> {
        Ok(self.open(method, path, body).await?.into_body().collect().await?.to_bytes())
    }

    /// Makes an object; one that is there already is as good.
    pub(crate) async fn ensure(&mut self, path: &str, body: Body) -> anyhow::Result<()> {
        match self.ask(Method::POST, path, body).await {
            Err(error) if !error.to_string().contains(StatusCode::CONFLICT.as_str()) => Err(error),
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Default)]
pub(crate) struct Body {
    media_type: &'static str,
    content: Bytes,
}

impl Body {
    pub(crate) fn json(value: &serde_json::Value) -> Body {
        Body { media_type: "application/json", content: Bytes::from(value.to_string()) }
    }

    pub(crate) fn merge_patch(value: &serde_json::Value) -> Body {
        Body { media_type: "application/merge-patch+json", content: Bytes::from(value.to_string()) }
    }
}
