//! exec and attach over WebSocket: every message begins with the number of its channel, as a byte or, in protocols of
//! text, as a digit before base64. Version 5 (KEP-4006) can close the input.

use super::resize::Sizes;
use super::{Client, Outlet, Session};
use crate::streaming::connection::{Idle, Limits, drive};
use crate::streaming::socket::{self, Socket};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::SplitStream;
use stream::channel::{self, Channel, Dialect};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Input that the executor has not taken.
const STDIN_BUFFER: usize = 64 << 10;

/// Serves one connection to its end.
pub(in crate::streaming) async fn serve<Io>(
    session: Session,
    socket: Socket<Io>,
    dialect: Dialect,
    limits: Limits,
    stop: &CancellationToken,
) where
    Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let wants = session.wants;
    let (sink, messages) = socket.split();
    let (out, queue) = mpsc::channel(socket::QUEUE);
    let (gone, idle) = (CancellationToken::new(), Idle::new());
    let (pipe, stdin) = wants.stdin.then(|| tokio::io::duplex(STDIN_BUFFER)).unzip();
    let (sizes, receiver) = wants.tty.then(Sizes::new).unzip();
    let inlets = Inlets { stdin: pipe, sizes, dialect };
    let outlet = |channel: Channel| {
        let (out, gone) = (out.clone(), gone.clone());
        Outlet::WebSocket { number: channel.number(), framing: dialect.framing, out, gone }
    };
    let client = Client {
        stdin,
        stdout: wants.stdout.then(|| outlet(Channel::Stdout)),
        stderr: wants.stderr.then(|| outlet(Channel::Stderr)),
        sizes: receiver,
        error: outlet(Channel::Error),
        dialect,
        gone: gone.clone(),
        held: Vec::new(),
    };
    let reading = inlets.read(messages, idle.clone());
    let driver = drive(reading, socket::write_all(sink, queue, idle.clone()), idle, limits, stop, gone.clone());
    let running = async {
        // An empty message tells that the connection stands; clients wait for it.
        let first = client.stdout.as_ref().or(client.stderr.as_ref()).unwrap_or(&client.error);
        if first.data(Bytes::new()).await.is_ok() {
            session.run(client, limits).await;
        }
        tokio::select! {
            _ = out.send(socket::close()) => {}
            () = gone.cancelled() => {}
        }
    };
    tokio::join!(driver, running);
}

/// Where the client's channels go.
struct Inlets {
    stdin: Option<DuplexStream>,
    sizes: Option<Sizes>,
    dialect: Dialect,
}

impl Inlets {
    async fn read<Io>(mut self, mut messages: SplitStream<Socket<Io>>, idle: Idle)
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        while let Some(message) = socket::next(&mut messages, &idle).await {
            match channel::decode(&message, self.dialect.framing) {
                Ok(channel::Message::Data(Channel::Stdin, data)) => self.stdin(&data).await,
                Ok(channel::Message::Data(Channel::Resize, data)) => {
                    if let Some(sizes) = &mut self.sizes {
                        sizes.push(&data);
                    }
                }
                Ok(channel::Message::Close(Channel::Stdin)) if self.dialect.close => self.stdin = None,
                // The other channels are ours to write to; upstream ignores what clients send there.
                Ok(channel::Message::Data(..) | channel::Message::Close(_)) => {}
                Err(error) => tracing::debug!(%error, "a client's message is ignored"),
            }
        }
    }

    async fn stdin(&mut self, data: &[u8]) {
        if let Some(stdin) = &mut self.stdin
            && stdin.write_all(data).await.is_err()
        {
            // The command has closed its input: the rest is dropped.
            self.stdin = None;
        }
    }
}
