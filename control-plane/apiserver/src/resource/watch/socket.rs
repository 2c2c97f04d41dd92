//! A watch over WebSocket: each event is a message of its own, text as JSON and binary as protobuf, without what
//! separates events in a plain stream.

use crate::metrics::LongRunning;
use crate::negotiate::Encoding;
use crate::server::Body;
use crate::websocket;
use api::Status;
use bytes::Bytes;
use futures::{SinkExt, Stream, StreamExt};
use http::Response;
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use std::sync::Arc;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// Agrees to the WebSocket and sends the frames of a watch over it. Its protocol is the one that the client names: as
/// upstream, any will do, and of several none.
pub(super) fn answer(
    parts: &Parts,
    encoding: Encoding,
    frames: impl Stream<Item = Bytes> + Send + 'static,
) -> Result<Response<Body>, Status> {
    let mut protocols = websocket::protocols(&parts.headers);
    let protocol = protocols.next();
    if protocols.next().is_some() {
        return Err(Status::bad_request("a watch over WebSocket takes one protocol"));
    }
    let (response, upgrade) = websocket::agree(parts, protocol)?;
    let lasts = parts.extensions.get::<Arc<LongRunning>>().cloned();
    tokio::spawn(async move {
        speak(upgrade, encoding, frames).await;
        drop(lasts);
    });
    Ok(response)
}

async fn speak(upgrade: OnUpgrade, encoding: Encoding, frames: impl Stream<Item = Bytes>) {
    let mut frames = std::pin::pin!(frames);
    let Some(socket) = websocket::open(upgrade).await else { return };
    let (mut sink, mut heard) = socket.split();
    loop {
        let frame = tokio::select! {
            frame = frames.next() => frame,
            message = heard.next() => match message {
                Some(Ok(_)) => continue,
                // The client has said goodbye, or left without.
                Some(Err(_)) | None => return,
            },
        };
        let Some(frame) = frame else { break };
        for message in messages(frame, encoding) {
            if sink.send(message).await.is_err() {
                return;
            }
        }
    }
    // The peer may be gone already.
    let _ = sink.send(Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))).await;
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
