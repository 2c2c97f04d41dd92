//! One channel to the client, in whichever protocol.

use super::connection::Gone;
use super::mux;
use bytes::{Bytes, BytesMut};
use std::time::Duration;
use stream::channel::Framing;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

/// Bytes sent at once: what upstream's clients read at once.
const PIECE: usize = 32 << 10;

pub(super) enum Outlet {
    Spdy(mux::Output),
    /// Messages that begin with the channel's number.
    WebSocket {
        number: u8,
        framing: Framing,
        out: mpsc::Sender<Message>,
        gone: CancellationToken,
    },
}

impl Outlet {
    pub(super) async fn data(&self, data: Bytes) -> Result<(), Gone> {
        match self {
            Outlet::Spdy(output) => output.data(data).await,
            Outlet::WebSocket { number, framing, out, gone } => {
                let message = framing.join(*number, &data);
                let message = match framing {
                    Framing::Binary => Message::Binary(message),
                    // Digits and base64 are UTF-8, but for a channel above 79 of a port-forward, which is sent as it is.
                    Framing::Base64 => {
                        Utf8Bytes::try_from(message.clone()).map_or(Message::Binary(message), Message::Text)
                    }
                };
                tokio::select! {
                    biased;
                    () = gone.cancelled() => Err(Gone),
                    sent = out.send(message) => sent.map_err(|_| Gone),
                }
            }
        }
    }

    /// Says that the channel has ended. A WebSocket's end together, with the connection: clients know no other way.
    pub(super) async fn finish(&self) {
        if let Outlet::Spdy(output) = self {
            // A client that is gone knows it.
            let _ = output.finish().await;
        }
    }

    /// Cancelled when the client takes no more.
    pub(super) fn gone(&self) -> &CancellationToken {
        match self {
            Outlet::Spdy(output) => output.gone(),
            Outlet::WebSocket { gone, .. } => gone,
        }
    }

    /// Sends what `from` gives. Once the command has `ended`, output that pauses for `quiet` is over: something that
    /// the command left behind may hold it open for ever.
    pub(super) async fn pump(self, mut from: DuplexStream, ended: &CancellationToken, quiet: Duration) {
        let mut buffer = BytesMut::with_capacity(PIECE);
        loop {
            let read = tokio::select! {
                biased;
                () = self.gone().cancelled() => return,
                read = from.read_buf(&mut buffer) => read,
                () = silence(ended, quiet) => break,
            };
            if !matches!(read, Ok(1..)) {
                break;
            }
            // Dropping `from` is how the executor learns that the client is gone: its writes break.
            if self.data(buffer.split().freeze()).await.is_err() {
                return;
            }
            buffer.reserve(PIECE);
        }
        self.finish().await;
    }
}

async fn silence(ended: &CancellationToken, quiet: Duration) {
    ended.cancelled().await;
    tokio::time::sleep(quiet).await;
}
