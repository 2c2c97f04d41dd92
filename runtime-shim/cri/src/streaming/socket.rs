//! WebSocket connections after their handshake: limits, the way they end, and bytes tunnelled through their messages.

use super::connection::{Idle, Limits, drive};
use bytes::{Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

/// Bytes of a tunnel between its two protocols.
pub(super) const TUNNEL: usize = 64 << 10;
/// The longest message that is read. kubectl's have 32 KiB; libraries send what they are given in one.
const LARGEST_MESSAGE: usize = 4 << 20;
/// Written bytes that the connection has not taken: messages of ours have 32 KiB, and each is flushed.
const WRITE_BUFFER: usize = 1 << 20;
const READ: usize = 16 << 10;

/// Messages on their way out, 32 KiB each at the most.
pub(super) const QUEUE: usize = 16;

pub(super) type Socket<Io> = WebSocketStream<Io>;

/// Begins to speak WebSocket, as the server.
pub(super) async fn open<Io: AsyncRead + AsyncWrite + Unpin>(io: Io) -> Socket<Io> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(LARGEST_MESSAGE))
        .max_frame_size(Some(LARGEST_MESSAGE));
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

/// The message that ends a connection. Clients take any other end for a failure.
pub(super) fn close() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::from_static("") }))
}

/// The payload of the next message with data; `None` at the end. Text counts as bytes, as it does upstream.
pub(super) async fn next<Io>(messages: &mut SplitStream<Socket<Io>>, idle: &Idle) -> Option<Bytes>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let message = match messages.next().await? {
            Ok(message) => message,
            Err(error) => {
                tracing::debug!(%error, "a WebSocket client left");
                return None;
            }
        };
        idle.touch();
        match message {
            Message::Binary(data) => return Some(data),
            Message::Text(text) => return Some(text.into()),
            // Pings and closes are answered underneath, when the next message is read.
            Message::Close(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

/// Sends what is queued, up to a closing message.
pub(super) async fn write_all<Io>(
    mut sink: SplitSink<Socket<Io>, Message>,
    mut queue: mpsc::Receiver<Message>,
    idle: Idle,
) -> io::Result<()>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = queue.recv().await {
        let last = message.is_close();
        sink.send(message).await.map_err(io::Error::other)?;
        idle.touch();
        if last {
            break;
        }
    }
    Ok(())
}

/// Joins `bytes` to the payloads of binary messages, until both are over.
pub(super) async fn tunnel<Io>(socket: Socket<Io>, bytes: DuplexStream, limits: Limits, stop: &CancellationToken)
where
    Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sink, mut messages) = socket.split();
    let (read, mut write) = tokio::io::split(bytes);
    let idle = Idle::new();
    let incoming = async {
        while let Some(data) = next(&mut messages, &idle).await {
            // Once the other end is over, what still comes is dropped until the client closes.
            let _ = write.write_all(&data).await;
        }
    };
    let outgoing = outgoing(read, sink, idle.clone());
    drive(incoming, outgoing, idle.clone(), limits, stop, CancellationToken::new()).await;
}

async fn outgoing<Io>(
    mut read: impl AsyncRead + Unpin,
    mut sink: SplitSink<Socket<Io>, Message>,
    idle: Idle,
) -> io::Result<()>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = BytesMut::with_capacity(READ);
    while read.read_buf(&mut buffer).await? > 0 {
        sink.send(Message::Binary(buffer.split().freeze())).await.map_err(io::Error::other)?;
        idle.touch();
        buffer.reserve(READ);
    }
    sink.send(close()).await.map_err(io::Error::other)
}
