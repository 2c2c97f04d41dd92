//! A watch over WebSocket: each event is a message of its own, text as JSON and binary as protobuf, without what
//! separates events in a plain stream.

use super::Watching;
use crate::negotiate::Encoding;
use crate::server::Body;
use api::Status;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// RFC 6455, 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Clients of a watch have nothing to say but pings and their goodbye.
const LARGEST_MESSAGE: usize = 4 << 10;
/// Written bytes that the connection has not taken: an object and its frame.
const WRITE_BUFFER: usize = 4 << 20;
/// A token in place of a protocol; it is never repeated.
const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// Whether the client asks for a WebSocket.
pub(super) fn wanted(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|v| v.to_str().ok()).unwrap_or("");
    crate::outbound::wants_upgrade(headers) && upgrade.eq_ignore_ascii_case("websocket")
}

/// Agrees to the WebSocket and sends the watch over it.
pub(super) fn answer(parts: &Parts, watching: Watching) -> Result<Response<Body>, Status> {
    if parts.headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|v| v != "13") {
        return Err(Status::bad_request("unable to upgrade: only version 13 of WebSocket is spoken"));
    }
    let key = parts.headers.get(header::SEC_WEBSOCKET_KEY);
    let key = key.ok_or_else(|| Status::bad_request("unable to upgrade: missing Sec-WebSocket-Key"))?;
    let upgrade = parts.extensions.get::<OnUpgrade>().cloned();
    let upgrade = upgrade.ok_or_else(|| Status::bad_request("unable to upgrade: this connection cannot be"))?;
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
    if let Some(protocol) = protocol(&parts.headers) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    tokio::spawn(speak(upgrade, watching));
    Ok(response)
}

/// The protocol that the client names: as upstream, any will do.
fn protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let named = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|v| v.to_str().ok());
    let first = named.flat_map(|v| v.split(',')).map(str::trim).find(|p| !p.starts_with(TOKEN_PROTOCOL))?;
    HeaderValue::from_str(first).ok()
}

async fn speak(upgrade: OnUpgrade, mut watching: Watching) {
    let io = match upgrade.await {
        Ok(io) => TokioIo::new(io),
        Err(error) => return tracing::debug!(%error, "a watch could not become a WebSocket"),
    };
    let config = WebSocketConfig::default()
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(LARGEST_MESSAGE))
        .max_frame_size(Some(LARGEST_MESSAGE));
    let (mut sink, mut heard) = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await.split();
    loop {
        let frame = tokio::select! {
            frame = watching.next() => frame,
            message = heard.next() => match message {
                Some(Ok(_)) => continue,
                // The client has said goodbye, or left without.
                Some(Err(_)) | None => return,
            },
        };
        let Some(frame) = frame else { break };
        for message in messages(frame, watching.shown.accept.encoding) {
            if sink.send(message).await.is_err() {
                return;
            }
        }
    }
    // The peer may be gone already.
    let _ = sink.close().await;
}

/// The events of a frame as messages.
fn messages(mut frame: Bytes, encoding: Encoding) -> impl Iterator<Item = Message> {
    std::iter::from_fn(move || {
        if frame.is_empty() {
            return None;
        }
        Some(match encoding {
            Encoding::Protobuf => {
                let length = frame.split_to(frame.len().min(4));
                let length = length.iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
                Message::Binary(frame.split_to(frame.len().min(length)))
            }
            Encoding::Json | Encoding::Yaml => {
                let end = frame.iter().position(|b| *b == b'\n').map_or(frame.len(), |at| at + 1);
                let line = frame.split_to(end);
                Utf8Bytes::try_from(line.clone()).map_or(Message::Binary(line), Message::Text)
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::codec::protobuf::watch_frame;

    #[test]
    fn each_event_is_a_message() {
        let lines = Bytes::from_static(b"{\"type\":\"ADDED\"}\n{\"type\":\"DELETED\"}\n");
        let got: Vec<Message> = messages(lines, Encoding::Json).collect();
        assert_eq!(got, [Message::text("{\"type\":\"ADDED\"}\n"), Message::text("{\"type\":\"DELETED\"}\n")]);
        let frames = [watch_frame("ADDED", b"abc"), watch_frame("DELETED", b"")].concat();
        let got: Vec<Message> = messages(frames.clone().into(), Encoding::Protobuf).collect();
        let expected = [&frames[4..18], &frames[22..]].map(|b| Message::binary(Bytes::copy_from_slice(b)));
        assert_eq!(got, expected);
        assert_eq!(messages(Bytes::from_static(b"\0\0\0\xffab"), Encoding::Protobuf).count(), 1);
    }
}
