//! The listener: TLS with optional client certificates, HTTP/1.1 and HTTP/2, upgrades.

use crate::Error;
use crate::ctx::Ctx;
use crate::leftovers;
use crate::pipeline::{self, Caller};
use crate::pki::Pki;
use crate::server::Body;
use crate::subresources::proxy::CameFrom;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::CertificateDer;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A client that does not finish its handshake or its headers in this time is cut.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(30);
/// Connections at once: each may hold buffers and streams.
const CONNECTIONS: usize = 10_000;
/// Streams of one HTTP/2 connection, as upstream.
const STREAMS: u32 = 250;
/// The largest list of headers; a token and an impersonated user fit many times.
const HEADER_BYTES: u32 = 64 << 10;
/// After a failed accept (too many files open), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A client that has vanished without a word is noticed after three minutes and nine probes, as upstream: its watches
/// would else stay for ever.
const PROBE_AFTER_SECONDS: u32 = 180;
const PROBE_EVERY_SECONDS: u32 = 15;

pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    let bound = TcpListener::bind(address).await.and_then(|listener| {
        keep_alive(&listener)?;
        Ok(listener)
    });
    bound.map_err(|source| Error::Listen { address, source })
}

/// Sockets that are accepted here take these options over (`tcp(7)`).
fn keep_alive(listener: &TcpListener) -> std::io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt};
    setsockopt(listener, sockopt::KeepAlive, &true)?;
    setsockopt(listener, sockopt::TcpKeepIdle, &PROBE_AFTER_SECONDS)?;
    setsockopt(listener, sockopt::TcpKeepInterval, &PROBE_EVERY_SECONDS)?;
    Ok(())
}

/// Believes client certificates of the cluster's CA, and lets in clients without one.
pub(crate) fn acceptor(pki: &Pki) -> Result<TlsAcceptor, Error> {
    let fail = |e: &dyn std::fmt::Display| Error::Pki(format!("preparing TLS: {e}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for root in pki.client_roots() {
        roots.add(root).map_err(|e| fail(&e))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|e| fail(&e))?;
    let (chain, key) = pki.serving()?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| fail(&e))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|e| fail(&e))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until the server stops, then lets running requests finish.
pub(crate) async fn listen(ctx: Arc<Ctx>, listener: TcpListener, acceptor: TlsAcceptor) {
    let graceful = Arc::new(GracefulShutdown::new());
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    let tasks = tokio_util::task::TaskTracker::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ctx.stop.cancelled() => break,
        };
        match accepted {
            Ok((socket, from)) => {
                let (ctx, acceptor, watcher) = (ctx.clone(), acceptor.clone(), graceful.watcher());
                tasks.spawn(async move {
                    connection(ctx, acceptor, socket, from, watcher).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    tasks.close();
    if let Some(graceful) = Arc::into_inner(graceful) {
        graceful.shutdown().await;
    }
    tasks.wait().await;
}

async fn connection(
    ctx: Arc<Ctx>,
    acceptor: TlsAcceptor,
    socket: TcpStream,
    from: SocketAddr,
    watcher: hyper_util::server::graceful::Watcher,
) {
    // Small answers must not wait for the client's delayed acknowledgement.
    let _ = socket.set_nodelay(true);
    let tls = match tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => return,
    };
    let peer = tls.get_ref().1.peer_certificates().map(owned);
    let service = hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(CameFrom(from));
        let (ctx, peer) = (ctx.clone(), peer.clone());
        let (request, rest) = leftovers::split(request);
        async move {
            let response = pipeline::serve(ctx, Caller::Network(peer), request.map(Body::new)).await;
            Ok::<_, Infallible>(rest.before(response).await)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS).max_header_list_size(HEADER_BYTES);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(tls), service);
    if let Err(error) = watcher.watch(connection.into_owned()).await {
        tracing::debug!(%error, "a connection ended");
    }
}

fn owned(chain: &[CertificateDer<'static>]) -> Arc<Vec<CertificateDer<'static>>> {
    Arc::new(chain.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{getsockopt, sockopt};

    #[tokio::test]
    async fn an_accepted_socket_is_probed() {
        let listener = bind((std::net::Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert!(getsockopt(&accepted, sockopt::KeepAlive).unwrap());
        assert_eq!(getsockopt(&accepted, sockopt::TcpKeepIdle).unwrap(), PROBE_AFTER_SECONDS);
        assert_eq!(getsockopt(&accepted, sockopt::TcpKeepInterval).unwrap(), PROBE_EVERY_SECONDS);
        drop(client);
    }
}
