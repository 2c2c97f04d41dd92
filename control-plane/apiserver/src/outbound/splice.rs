//! A request passed on to a peer: its answer streamed back, or both connections joined once the peer agrees to another
//! protocol. What flows then (SPDY, WebSocket, anything) is none of ours.

use super::{Outbound, Peer};
use crate::metrics::LongRunning;
use crate::server::Body;
use crate::websocket::{self, wants_upgrade};
use api::Status;
use http::header::{self, HeaderName};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Headers that concern one connection alone (RFC 9110, 7.6.1), and credentials that are for us and nobody else.
const OURS: [&str; 10] = [
    "authorization",
    "connection",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
];
/// One direction of a joined connection copies this much at once: a log's burst, a file's chunk.
const COPY_BYTES: usize = 32 << 10;

/// Why a request is passed on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum For<'a> {
    /// A log or a stream of a kubelet.
    Kubelet,
    /// A client that asked for a proxy: the peer sees the host that the client named.
    Proxy { host: Option<&'a HeaderValue> },
}

impl For<'_> {
    /// A peer that does not answer, in upstream's words.
    fn unreachable(self, upgrade: bool, why: &dyn std::fmt::Display) -> Status {
        match self {
            For::Proxy { .. } if !upgrade => Status::unavailable(format!("error trying to reach service: {why}")),
            For::Kubelet | For::Proxy { .. } => Status::internal(format!("error dialing backend: {why}")),
        }
    }
}

/// Sends a request on to `path_and_query` at a peer and gives back its answer.
pub(crate) async fn forward(
    outbound: &Outbound,
    peer: &Peer,
    reason: For<'_>,
    path_and_query: &str,
    mut request: Request<Body>,
    stop: &CancellationToken,
) -> Result<Response<Body>, Status> {
    let upgrade = wants_upgrade(request.headers());
    let client = upgrade.then(|| hyper::upgrade::on(&mut request));
    let lasts = request.extensions().get::<Arc<LongRunning>>().cloned();
    let request = outgoing(peer, reason, path_and_query, request, upgrade)?;
    let connection = outbound.dial(peer).await.map_err(|why| reason.unreachable(upgrade, &why))?;
    let handshake = hyper::client::conn::http1::handshake(connection).await;
    let (mut sender, driver) = handshake.map_err(|why| reason.unreachable(upgrade, &why))?;
    let ended = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            done = driver.with_upgrades() => if let Err(error) = done {
                tracing::debug!(%error, "a proxied connection ended");
            },
            () = ended.cancelled() => {}
        }
    });
    let sent = sender.send_request(request).await;
    let mut response = sent.map_err(|why| reason.unreachable(upgrade, &why))?;
    match client {
        Some(client) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            let server = hyper::upgrade::on(&mut response);
            let joined = join(client, server, stop.clone());
            tokio::spawn(async move {
                joined.await;
                drop(lasts);
            });
        }
        None if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            return Err(Status::internal("the backend switched protocols without being asked to"));
        }
        Some(_) if response.status().as_u16() < 400 => {
            let code = response.status().as_u16();
            return Err(Status::internal(format!("invalid upgrade response: status code {code}")));
        }
        Some(_) | None => {}
    }
    Ok(incoming(response))
}

fn outgoing(
    peer: &Peer,
    reason: For<'_>,
    path_and_query: &str,
    request: Request<Body>,
    upgrade: bool,
) -> Result<Request<Body>, Status> {
    let (parts, body) = request.into_parts();
    let uri = path_and_query.parse::<http::Uri>();
    let uri = uri.map_err(|e| Status::bad_request(format!("the proxied path is no path: {e}")))?;
    let mut out = Request::new(body);
    *out.method_mut() = parts.method;
    *out.uri_mut() = uri;
    let headers = out.headers_mut();
    for (name, value) in &parts.headers {
        if let Some(value) = passed_on(name, value) {
            headers.append(name, value);
        }
    }
    if upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    } else {
        headers.remove(header::UPGRADE);
    }
    let host = match reason {
        For::Proxy { host: Some(host) } => Some(host.clone()),
        For::Proxy { host: None } | For::Kubelet => HeaderValue::from_str(&peer.authority()).ok(),
    };
    if let Some(host) = host {
        headers.insert(header::HOST, host);
    }
    Ok(out)
}

/// A header as the peer gets it; `None` for what is ours.
fn passed_on(name: &HeaderName, value: &HeaderValue) -> Option<HeaderValue> {
    if OURS.contains(&name.as_str()) || name.as_str().starts_with("impersonate-") {
        return None;
    }
    if name != header::SEC_WEBSOCKET_PROTOCOL {
        return Some(value.clone());
    }
    let protocols =
        value.to_str().ok()?.split(',').map(str::trim).filter(|p| !p.starts_with(websocket::TOKEN_PROTOCOL));
    let protocols = protocols.collect::<Vec<_>>().join(", ");
    HeaderValue::from_str(&protocols).ok().filter(|v| !v.is_empty())
}

fn incoming(response: Response<hyper::body::Incoming>) -> Response<Body> {
    let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let mut response = response.map(Body::new);
    if !switching {
        for name in ["connection", "keep-alive", "transfer-encoding", "upgrade"] {
            response.headers_mut().remove(name);
        }
    }
    response
}

/// Copies both ways until one side has finished and the other has taken what was left.
async fn join(client: OnUpgrade, server: OnUpgrade, stop: CancellationToken) {
    let (client, server) = match tokio::try_join!(client, server) {
        Ok(both) => both,
        Err(error) => return tracing::debug!(%error, "a stream could not be joined"),
    };
    let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
    tokio::select! {
        done = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, COPY_BYTES, COPY_BYTES) => {
            if let Err(error) = done {
                tracing::debug!(%error, "a stream ended");
            }
        }
        () = stop.cancelled() => {}
    }
}
