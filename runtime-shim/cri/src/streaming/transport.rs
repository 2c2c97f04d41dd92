//! What a session's bytes travel by: an upgraded connection as it is, or the messages of a WebSocket.

use super::websocket::{self, Message};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// Pieces in flight in each direction; a slower side holds the other back.
const PIECES: usize = 16;

/// Both directions. The incoming one ends when the client leaves; dropping the outgoing one closes the connection after
/// what was sent.
pub struct Transport {
    pub incoming: mpsc::Receiver<Bytes>,
    pub outgoing: mpsc::Sender<Bytes>,
}

pub fn plain(io: impl AsyncRead + AsyncWrite + Send + 'static) -> Transport {
    let (mut reader, mut writer) = tokio::io::split(io);
    let (sender, incoming) = mpsc::channel(PIECES);
    let (outgoing, mut receiver) = mpsc::channel::<Bytes>(PIECES);
    tokio::spawn(async move {
        let mut buffer = vec![0; 32 * 1024];
        while let Ok(count @ 1..) = reader.read(&mut buffer).await {
            if sender.send(Bytes::copy_from_slice(&buffer[..count])).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some(bytes) = receiver.recv().await {
            if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
                return;
            }
        }
        let _ = writer.shutdown().await;
    });
    Transport { incoming, outgoing }
}

pub fn websocket(io: impl AsyncRead + AsyncWrite + Send + 'static) -> Transport {
    let (reader, mut writer) = tokio::io::split(io);
    let mut reader = tokio::io::BufReader::new(reader);
    let (sender, incoming) = mpsc::channel(PIECES);
    let (outgoing, mut receiver) = mpsc::channel::<Bytes>(PIECES);
    let (pong, mut pings) = mpsc::channel::<Bytes>(PIECES);
    tokio::spawn(async move {
        loop {
            let sent = match websocket::read(&mut reader).await {
                Ok(Some(Message::Data(data))) => sender.send(data).await.is_ok(),
                // A client that pings faster than it is answered gets one answer for several.
                Ok(Some(Message::Ping(data))) => pong.try_send(data).is_ok() || !pong.is_closed(),
                Ok(Some(Message::Pong)) => true,
                Ok(Some(Message::Close) | None) | Err(_) => false,
            };
            if !sent {
                return;
            }
        }
    });
    tokio::spawn(async move {
        loop {
            let frame = tokio::select! {
                bytes = receiver.recv() => match bytes {
                    Some(bytes) => websocket::encode(&Message::Data(bytes)),
                    None => break,
                },
                Some(data) = pings.recv() => {
                    // A pong is a ping's frame with another number.
                    let mut frame = websocket::encode(&Message::Ping(data)).to_vec();
                    frame[0] = 0x8a;
                    frame.into()
                }
            };
            if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
                return;
            }
        }
        let _ = writer.write_all(&websocket::encode(&Message::Close)).await;
        let _ = writer.shutdown().await;
    });
    Transport { incoming, outgoing }
}
