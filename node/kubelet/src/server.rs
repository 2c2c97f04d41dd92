//! The kubelet's HTTPS server: logs, exec, attach and port-forward for the apiserver, and what the node reports of itself.
//!
//! Only a client with a certificate of the client CA whose common name is the apiserver's, or whose organisation is
//! `system:masters`, is let in; `/healthz` answers everybody.

mod debug;
mod exposition;
mod identity;
mod logs;
mod metrics;
mod proxy;
mod query;
mod stats;

use crate::config::Error;
use crate::node::Node;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use identity::Caller;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::Service;

/// Followed logs, exec sessions and port-forwards hold a connection each.
const CONNECTIONS: usize = 4096;
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Listens and serves in the background. Returns the port.
pub async fn start(node: &Arc<Node>, tasks: &mut JoinSet<()>) -> Result<u16, Error> {
    let config = &node.config;
    let tls = identity::tls(config)?;
    let at = SocketAddr::new(config.bind, config.port);
    let io = |source| Error::Io { doing: format!("listening on {at}"), source };
    let listener = TcpListener::bind(at).await.map_err(io)?;
    let port = listener.local_addr().map_err(io)?.port();
    tasks.spawn(accept(listener, TlsAcceptor::from(tls), router(node.clone())));
    Ok(port)
}

fn router(node: Arc<Node>) -> Router {
    let guarded = Router::new()
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs::get))
        .route("/exec/{namespace}/{pod}/{container}", any(proxy::exec))
        .route("/exec/{namespace}/{pod}/{uid}/{container}", any(proxy::exec_of))
        .route("/attach/{namespace}/{pod}/{container}", any(proxy::attach))
        .route("/attach/{namespace}/{pod}/{uid}/{container}", any(proxy::attach_of))
        .route("/portForward/{namespace}/{pod}", any(proxy::port_forward))
        .route("/portForward/{namespace}/{pod}/{uid}", any(proxy::port_forward_of))
        .route("/pods", get(stats::pods))
        .route("/stats/summary", get(stats::summary))
        .route("/metrics", get(stats::metrics))
        .route("/metrics/resource", get(metrics::resource))
        .route("/metrics/cadvisor", get(metrics::cadvisor))
        .route("/run/{namespace}/{pod}/{container}", post(debug::run))
        .route("/run/{namespace}/{pod}/{uid}/{container}", post(debug::run_of))
        .route("/logs", get(debug::logs_root))
        .route("/logs/", get(debug::logs_root))
        .route("/logs/{*path}", get(debug::logs))
        .route("/configz", get(stats::configz))
        .layer(middleware::from_fn(authorize));
    Router::new().route("/healthz", get(|| async { "ok" })).merge(guarded).with_state(node)
}

async fn authorize(request: Request, next: Next) -> Response {
    match request.extensions().get::<Caller>() {
        Some(caller) if caller.allowed() => next.run(request).await,
        Some(caller) => (StatusCode::FORBIDDEN, format!("Forbidden (user={})\n", caller.name)).into_response(),
        None => (StatusCode::UNAUTHORIZED, "Unauthorized\n").into_response(),
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (tls, router) = (tls.clone(), router.clone());
                connections.spawn(async move {
                    serve(stream, tls, router).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, router: Router) {
    let stream = match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => return,
    };
    let caller = stream.get_ref().1.peer_certificates().and_then(|l| l.first()).and_then(|c| Caller::of(c));
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        if let Some(caller) = &caller {
            request.extensions_mut().insert(caller.clone());
        }
        router.clone().call(request)
    });
    let server = auto::Builder::new(TokioExecutor::new());
    if let Err(error) = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection ended");
    }
}

/// An answer that says why not.
type Refusal = (StatusCode, String);

/// A pod or container that is not here.
fn not_found(what: impl std::fmt::Display) -> Refusal {
    (StatusCode::NOT_FOUND, format!("{what} not found\n"))
}

type Here = State<Arc<Node>>;
