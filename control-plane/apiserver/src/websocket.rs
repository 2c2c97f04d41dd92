//! WebSockets that this server speaks itself, for watches and logs: the handshake (RFC 6455, 4) and what is limited.

use crate::server::Body;
use api::Status;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// RFC 6455, 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Clients that only listen have nothing to say but pings and their goodbye.
const LARGEST_MESSAGE: usize = 4 << 10;
/// Written bytes that the connection has not taken: an object and its frame.
const WRITE_BUFFER: usize = 4 << 20;
/// A token in place of a protocol; it is for us, is never repeated and never passed on.
pub(crate) const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// Whether the client asks for another protocol.
pub(crate) fn wants_upgrade(headers: &HeaderMap) -> bool {
    listed(headers, &header::CONNECTION).any(|v| v.eq_ignore_ascii_case("upgrade"))
        && headers.contains_key(header::UPGRADE)
}

/// Whether it asks for a WebSocket.
pub(crate) fn wanted(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|v| v.to_str().ok()).unwrap_or("");
    wants_upgrade(headers) && upgrade.eq_ignore_ascii_case("websocket")
}

/// The protocols that the client names, in its order, without a token among them.
pub(crate) fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    listed(headers, &header::SEC_WEBSOCKET_PROTOCOL).filter(|p| !p.starts_with(TOKEN_PROTOCOL))
}

fn listed<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).map(str::trim).filter(|v| !v.is_empty())
}

/// The answer that agrees, and the connection as it will be.
pub(crate) fn agree(parts: &Parts, protocol: Option<&str>) -> Result<(Response<Body>, OnUpgrade), Status> {
    let cannot = |why: &str| Status::bad_request(format!("unable to upgrade: {why}"));
    if parts.headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|v| v != "13") {
        return Err(cannot("only version 13 of WebSocket is spoken"));
    }
    let key = parts.headers.get(header::SEC_WEBSOCKET_KEY).ok_or_else(|| cannot("missing Sec-WebSocket-Key"))?;
    let upgrade = parts.extensions.get::<OnUpgrade>().cloned();
    let upgrade = upgrade.ok_or_else(|| cannot("this connection cannot be"))?;
    let mut hash = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(GUID);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&STANDARD.encode(hash.finish())) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = protocol.and_then(|p| HeaderValue::from_str(p).ok()) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok((response, upgrade))
}

/// Begins to speak. `None` where the client is gone already.
pub(crate) async fn open(upgrade: OnUpgrade) -> Option<WebSocketStream<TokioIo<Upgraded>>> {
    let io = match upgrade.await {
        Ok(io) => TokioIo::new(io),
        Err(error) => {
            tracing::debug!(%error, "a connection could not become a WebSocket");
            return None;
        }
    };
    let config = WebSocketConfig::default()
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(LARGEST_MESSAGE))
        .max_frame_size(Some(LARGEST_MESSAGE));
    Some(WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_no_protocol() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static("a, base64url.bearer.authorization.k8s.io.eA"),
        );
        headers.append(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(" ,b"));
        assert_eq!(protocols(&headers).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn an_upgrade_is_asked_for_by_two_headers() {
        for (connection, upgrade, any, socket) in [
            ("Upgrade", "websocket", true, true),
            ("keep-alive, upgrade", "WebSocket", true, true),
            ("Upgrade", "SPDY/3.1", true, false),
            ("keep-alive", "websocket", false, false),
            ("Upgrade", "", false, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONNECTION, HeaderValue::from_static(connection));
            if !upgrade.is_empty() {
                headers.insert(header::UPGRADE, HeaderValue::from_static(upgrade));
            }
            assert_eq!((wants_upgrade(&headers), wanted(&headers)), (any, socket), "{connection} {upgrade}");
        }
    }
}
