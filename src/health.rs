//! Health and metrics of the controllers and the scheduler, where upstream's have them: `/healthz`, `/livez`, `/readyz` and
//! `/metrics` over TLS. Nothing else is answered, and nothing that is asked changes anything.

use anyhow::Context;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Upstream's ports.
pub const CONTROLLER_MANAGER: u16 = 10257;
pub const SCHEDULER: u16 = 10259;
/// Probes and scrapers are few; who opens more connections waits.
const CONNECTIONS: usize = 32;
/// A connection is for one scrape or a few probes: one that is slower or longer is none.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a role tells about itself besides that it lives.
pub type Tell = Arc<dyn Fn() -> String + Send + Sync>;

/// Serves a role's health and metrics until stopped, unless the port is 0. Without them the role works all the same.
pub async fn serve(at: SocketAddr, tell: Tell, stop: CancellationToken) {
    if at.port() == 0 {
        return;
    }
    match Port::open_or_other(at).await {
        Ok(port) => port.serve(tell, stop).await,
        Err(error) => tracing::warn!("{error:#}"),
    }
}

/// A port that answers when it is served.
struct Port {
    listener: TcpListener,
    tls: TlsAcceptor,
}

impl Port {
    /// Listens, with a certificate of its own making, as upstream's components without one.
    async fn open(at: SocketAddr) -> anyhow::Result<Port> {
        let names = [at.ip().to_string(), "localhost".to_owned(), "127.0.0.1".to_owned()];
        let credential = apiserver::pki::self_signed("localhost", &names).context("the certificate of health")?;
        let (chain, key) = credential.to_rustls().map_err(anyhow::Error::msg)?;
        let mut config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind(at).await.with_context(|| format!("listening for health at {at}"))?;
        Ok(Port { listener, tls: TlsAcceptor::from(Arc::new(config)) })
    }

    /// The same at any port, where another of this machine has this one.
    async fn open_or_other(at: SocketAddr) -> anyhow::Result<Port> {
        match Port::open(at).await {
            Ok(port) => Ok(port),
            Err(error) => {
                let port = Port::open((at.ip(), 0).into()).await?;
                tracing::warn!("{error:#}; it is at {} instead", port.address());
                Ok(port)
            }
        }
    }

    fn address(&self) -> String {
        self.listener.local_addr().map(|address| address.to_string()).unwrap_or_default()
    }

    /// Answers until stopped.
    async fn serve(self, tell: Tell, stop: CancellationToken) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        let accepting = async {
            loop {
                let Ok(permit) = connections.clone().acquire_owned().await else { return };
                let Ok((stream, _)) = self.listener.accept().await else { continue };
                let (tls, tell) = (self.tls.clone(), tell.clone());
                tokio::spawn(async move {
                    let _permit = permit;
                    let _ = tokio::time::timeout(PATIENCE, converse(tls, stream, tell)).await;
                });
            }
        };
        stop.run_until_cancelled(accepting).await;
    }
}

async fn converse(tls: TlsAcceptor, stream: TcpStream, tell: Tell) {
    let Ok(stream) = tls.accept(stream).await else { return };
    let answering = hyper::service::service_fn(move |request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path(), &tell);
        async move { Ok::<_, std::convert::Infallible>(answer) }
    });
    let mut server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    // A connection that breaks off concerns nobody else.
    let _ = server.serve_connection(TokioIo::new(stream), answering).await;
}

fn answer(method: &Method, path: &str, tell: &Tell) -> Response<String> {
    let (status, text) = match path {
        _ if method != Method::GET && method != Method::HEAD => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
        "/healthz" | "/livez" | "/readyz" => (StatusCode::OK, "ok".to_owned()),
        "/metrics" => (StatusCode::OK, tell()),
        _ => (StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    let kind =
        if path == "/metrics" { "text/plain; version=0.0.4; charset=utf-8" } else { "text/plain; charset=utf-8" };
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_and_metrics_and_nothing_else() {
        let tell: Tell = Arc::new(|| "up 1\n".to_owned());
        let got = |method: &Method, path: &str| {
            let response = answer(method, path, &tell);
            (response.status().as_u16(), response.into_body())
        };
        for path in ["/healthz", "/livez", "/readyz"] {
            assert_eq!(got(&Method::GET, path), (200, "ok".to_owned()));
        }
        assert_eq!(got(&Method::GET, "/metrics"), (200, "up 1\n".to_owned()));
        assert_eq!(got(&Method::GET, "/configz").0, 404);
        assert_eq!(got(&Method::POST, "/metrics").0, 405);
    }
}
