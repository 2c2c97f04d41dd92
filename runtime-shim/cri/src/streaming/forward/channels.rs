//! Port-forward over WebSocket with numbered channels, as libraries other than kubectl do it: one connection to each port
//! of the request, on two channels: its bytes on 2n and an error on 2n + 1. Both begin with the port, little end first.

use super::Forward;
use crate::streaming::connection::{Idle, Limits, drive};
use crate::streaming::outlet::Outlet;
use crate::streaming::socket::{self, Socket};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::SplitStream;
use std::sync::Arc;
use stream::channel::Framing;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Ports of one request: channels are numbered by a byte.
pub(super) const PORTS: usize = 127;
/// Received bytes of one port that its connection has not taken.
const BUFFER: usize = 64 << 10;

/// Serves one connection to its end.
pub(in crate::streaming) async fn serve<Io>(
    forward: Forward,
    socket: Socket<Io>,
    framing: Framing,
    limits: Limits,
    stop: &CancellationToken,
) where
    Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let forward = Arc::new(forward);
    let (sink, messages) = socket.split();
    let (out, queue) = mpsc::channel(socket::QUEUE);
    let (gone, idle) = (CancellationToken::new(), Idle::new());
    let outlet = |number| Outlet::WebSocket { number, framing, out: out.clone(), gone: gone.clone() };
    let mut pipes = Vec::new();
    let mut connections = Vec::new();
    for (number, port) in (0..=u8::MAX).step_by(2).zip(&forward.ports) {
        let (pipe, input) = tokio::io::duplex(BUFFER);
        pipes.push(pipe);
        connections.push(connection(forward.clone(), *port, input, outlet(number), outlet(number | 1), limits));
    }
    let running = async {
        join_all(connections).await;
        tokio::select! {
            _ = out.send(socket::close()) => {}
            () = gone.cancelled() => {}
        }
    };
    let writing = socket::write_all(sink, queue, idle.clone());
    let driver = drive(read(messages, framing, pipes, idle.clone()), writing, idle, limits, stop, gone.clone());
    tokio::join!(driver, running);
}

async fn connection(
    forward: Arc<Forward>,
    port: u16,
    input: DuplexStream,
    data: Outlet,
    error: Outlet,
    limits: Limits,
) {
    let name = Bytes::copy_from_slice(&port.to_le_bytes());
    if data.data(name.clone()).await.is_ok() && error.data(name).await.is_ok() {
        forward.one(port, input, data, error, limits).await;
    }
}

async fn read<Io>(mut messages: SplitStream<Socket<Io>>, framing: Framing, mut pipes: Vec<DuplexStream>, idle: Idle)
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = socket::next(&mut messages, &idle).await {
        if let Ok((number, data)) = framing.split(&message)
            && number % 2 == 0
            && let Some(pipe) = pipes.get_mut(usize::from(number / 2))
        {
            // What comes for a connection that has ended is dropped.
            let _ = pipe.write_all(&data).await;
        }
    }
}
