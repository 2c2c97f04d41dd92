//! Port-forward over SPDY/3.1, bare or tunnelled through a WebSocket: for each connection the client opens a stream for
//! its bytes and one for an error, with the headers `streamtype`, `port` and `requestid`.

pub(super) mod channels;
mod dial;
mod pairs;

use super::connection::Limits;
use super::door::Offer;
use super::mux::{Connection, Stream};
use super::outlet::Outlet;
use bytes::BytesMut;
use pairs::{Added, Label, Pair, Pairs};
use rpc::cri::PortForwardRequest;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use stream::channel::{self, PORT_FORWARD_TUNNEL, V4, V4_BASE64};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const SPDY: &[&str] = &["portforward.k8s.io"];
/// For requests that name their ports.
const NAMED: Offer = Offer { spdy: SPDY, websocket: &[PORT_FORWARD_TUNNEL, V4, V4_BASE64, channel::UNNAMED] };
const UNNAMED: Offer = Offer { spdy: SPDY, websocket: &[PORT_FORWARD_TUNNEL] };

/// Bytes moved at once.
const PIECE: usize = 32 << 10;

/// The pod whose ports are meant.
pub(super) struct Forward {
    sandbox: String,
    netns: Option<PathBuf>,
    ports: Vec<u16>,
}

impl Forward {
    /// The ports of the request do not bind a SPDY client: each of its streams names one, as upstream has it.
    pub(super) fn new(request: PortForwardRequest, netns: Option<PathBuf>) -> Forward {
        let ports = request.port.iter().filter_map(|port| u16::try_from(*port).ok()).collect();
        Forward { sandbox: request.pod_sandbox_id, netns, ports }
    }

    pub(super) fn offer(&self) -> &'static Offer {
        if (1..=channels::PORTS).contains(&self.ports.len()) { &NAMED } else { &UNNAMED }
    }
}

/// Serves one connection to its end.
pub(super) async fn serve(forward: Forward, mut connection: Connection, limits: Limits) {
    let forward = Arc::new(forward);
    let mut pairs = Pairs::default();
    let mut running = JoinSet::new();
    loop {
        let due = pairs.oldest().map(|since| since + limits.opening);
        tokio::select! {
            stream = connection.accept() => {
                let Some(stream) = stream else { break };
                if let Some(pair) = take(&mut pairs, stream).await {
                    running.spawn(forward.clone().pair(pair, limits));
                }
            }
            () = sleep_until(due) => {
                for half in pairs.expire(Instant::now(), limits.opening) {
                    half.give_up().await;
                }
            }
            Some(_) = running.join_next(), if !running.is_empty() => {}
        }
    }
    running.shutdown().await;
    connection.finish().await;
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Accepts a stream; gives the pair that it completes. A client that left in between shows at the next accept.
async fn take(pairs: &mut Pairs, stream: Stream) -> Option<Pair> {
    let label = match Label::read(stream.id, |name| stream.header(name)) {
        Ok(label) => label,
        Err(why) => {
            tracing::debug!("a stream to forward a port is refused: {why}");
            let _ = stream.output.reset().await;
            return None;
        }
    };
    stream.output.reply().await.ok()?;
    match pairs.add(label, stream, Instant::now()) {
        Added::Waits => None,
        Added::Whole(pair) => Some(*pair),
        Added::Twice(stream) => {
            let _ = stream.output.reset().await;
            None
        }
    }
}

impl Forward {
    async fn pair(self: Arc<Self>, pair: Pair, limits: Limits) {
        let Pair { port, data, error } = pair;
        self.one(port, data.input, Outlet::Spdy(data.output), Outlet::Spdy(error.output), limits).await;
    }

    /// Forwards one connection to its end.
    async fn one(self: Arc<Self>, port: u16, input: DuplexStream, data: Outlet, error: Outlet, limits: Limits) {
        tokio::select! {
            () = data.gone().cancelled() => {}
            dialled = dial::dial(self.netns.clone(), port, limits.dial) => match dialled {
                Ok(tcp) => {
                    join(tcp, input, &data, limits.half_closed).await;
                }
                Err(why) => {
                    // Upstream's words; it names the sandbox as the pod and leaves the uid empty.
                    let text = format!("error forwarding port {port} to pod {}, uid : {why}", self.sandbox);
                    tracing::debug!("{text}");
                    let _ = error.data(text.into()).await;
                }
            }
        }
        data.finish().await;
        error.finish().await;
    }
}

/// Moves bytes both ways until the pod has said its last, or the client wants no more. A connection that breaks ends
/// like one that closes: an error would make kubectl give up all the others, too.
async fn join(tcp: TcpStream, input: DuplexStream, output: &Outlet, half_closed: Duration) {
    let (read, write) = tcp.into_split();
    let said = CancellationToken::new();
    let inward = async {
        inward(input, write).await;
        said.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = inward => {}
        () = outward(read, output, &said, half_closed) => {}
        () = output.gone().cancelled() => {}
    }
}

/// The client's bytes; its end becomes the connection's end of input.
async fn inward(mut input: DuplexStream, mut write: OwnedWriteHalf) {
    if let Err(error) = tokio::io::copy(&mut input, &mut write).await {
        tracing::debug!(%error, "a forwarded connection takes no more");
    }
    // Fails only if the connection is broken, which the other direction sees.
    let _ = write.shutdown().await;
}

async fn outward(mut read: OwnedReadHalf, output: &Outlet, said: &CancellationToken, half_closed: Duration) {
    let mut buffer = BytesMut::with_capacity(PIECE);
    loop {
        let silence = async {
            said.cancelled().await;
            tokio::time::sleep(half_closed).await;
        };
        let read = tokio::select! {
            read = read.read_buf(&mut buffer) => read,
            () = silence => return,
        };
        if !matches!(read, Ok(1..)) || output.data(buffer.split().freeze()).await.is_err() {
            return;
        }
        buffer.reserve(PIECE);
    }
}
