//! SPDY connections from clients, and port-forward on top: each pair of streams is one connection into the pod's network.

use super::transport::Transport;
use crate::shim::Shim;
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use stream::spdy::{Decoder, Encoder, Frame, Headers};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};

/// Streams open at once on one connection; a browser through a forward opens some dozens.
const STREAMS_LIMIT: usize = 1000;
/// Pieces that wait for a slow reader of one stream, before the whole connection waits.
const PIECES: usize = 64;

/// The outgoing side, shared by all streams: frames' headers have one compression state.
#[derive(Clone)]
struct Outgoing(Arc<Mutex<(Encoder, mpsc::Sender<Bytes>)>>);

impl Outgoing {
    async fn send(&self, frame: Frame) -> bool {
        let mut guard = self.0.lock().await;
        let (encoder, sender) = &mut *guard;
        let mut bytes = BytesMut::new();
        encoder.encode(&frame, &mut bytes).is_ok() && sender.send(bytes.freeze()).await.is_ok()
    }
}

/// One stream that the client has opened.
pub struct Stream {
    id: u32,
    headers: Headers,
    data: mpsc::Receiver<Bytes>,
    outgoing: Outgoing,
}

impl Stream {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// What came next. `None` when the client has closed its side.
    pub async fn receive(&mut self) -> Option<Bytes> {
        self.data.recv().await
    }

    pub async fn send(&self, data: Bytes) -> bool {
        self.outgoing.send(Frame::Data { stream: self.id, fin: false, data }).await
    }

    pub async fn finish(&self) {
        self.outgoing.send(Frame::Data { stream: self.id, fin: true, data: Bytes::new() }).await;
    }

    /// Sends everything that comes, and the end.
    pub async fn send_all(&self, mut from: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; 32 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if !self.send(Bytes::copy_from_slice(&buffer[..count])).await {
                return;
            }
        }
        self.finish().await;
    }
}

/// A client's connection. New streams come by the receiver, which ends when the client leaves.
pub struct Connection {
    reader: tokio::task::JoinHandle<()>,
}

impl Connection {
    pub fn start(transport: Transport) -> (Connection, mpsc::Receiver<Stream>) {
        let (sender, opened) = mpsc::channel(PIECES);
        let outgoing = Outgoing(Arc::new(Mutex::new((Encoder::default(), transport.outgoing))));
        let reader = tokio::spawn(read(transport.incoming, outgoing, sender));
        (Connection { reader }, opened)
    }

    pub fn finish(self) {
        self.reader.abort();
    }
}

async fn read(mut incoming: mpsc::Receiver<Bytes>, outgoing: Outgoing, opened: mpsc::Sender<Stream>) {
    let mut decoder = Decoder::default();
    let mut open: HashMap<u32, mpsc::Sender<Bytes>> = HashMap::new();
    while let Some(bytes) = incoming.recv().await {
        decoder.push(&bytes);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    if !take(frame, &mut open, &outgoing, &opened).await {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, "a client's SPDY connection ends");
                    return;
                }
            }
        }
    }
}

async fn take(
    frame: Frame,
    open: &mut HashMap<u32, mpsc::Sender<Bytes>>,
    outgoing: &Outgoing,
    opened: &mpsc::Sender<Stream>,
) -> bool {
    match frame {
        Frame::SynStream { stream, fin, headers } => {
            open.retain(|_, sender| !sender.is_closed());
            if open.len() >= STREAMS_LIMIT {
                // 3: refused.
                return outgoing.send(Frame::Reset { stream, status: 3 }).await;
            }
            let (sender, data) = mpsc::channel(PIECES);
            if !fin {
                open.insert(stream, sender);
            }
            let replied = outgoing.send(Frame::SynReply { stream, fin: false, headers: Vec::new() }).await;
            replied && opened.send(Stream { id: stream, headers, data, outgoing: outgoing.clone() }).await.is_ok()
        }
        Frame::Data { stream, fin, data } => {
            if let Some(sender) = open.get(&stream)
                && !data.is_empty()
            {
                // A stream whose reader has gone takes nothing more; the others go on.
                let _ = sender.send(data).await;
            }
            if fin {
                open.remove(&stream);
            }
            true
        }
        Frame::Reset { stream, .. } => {
            open.remove(&stream);
            true
        }
        Frame::Ping(id) => outgoing.send(Frame::Ping(id)).await,
        Frame::GoAway { .. } => false,
        Frame::SynReply { .. } | Frame::Headers { .. } | Frame::Other => true,
    }
}

/// Forwards connections until the client leaves.
pub async fn run(shim: &Arc<Shim>, sandbox: &str, transport: Transport) {
    let Ok(record) = shim.sandbox(sandbox) else { return };
    let (_connection, mut opened) = Connection::start(transport);
    let mut halves: HashMap<String, Stream> = HashMap::new();
    while let Some(stream) = opened.recv().await {
        let request = stream.header("requestid").unwrap_or_default().to_owned();
        match halves.remove(&request) {
            None if halves.len() < STREAMS_LIMIT => {
                halves.insert(request, stream);
            }
            None => return,
            Some(other) => {
                let (data, error) =
                    if stream.header("streamtype") == Some("data") { (stream, other) } else { (other, stream) };
                tokio::spawn(forward(record.spec.netns.clone(), data, error));
            }
        }
    }
}

async fn forward(netns: Option<PathBuf>, mut data: Stream, error: Stream) {
    let wanted = data.header("port").unwrap_or_default().to_owned();
    let connected = match wanted.parse::<u16>() {
        Ok(port) => connect(netns, port).await.map_err(|e| format!("connect to port {port} in the pod: {e}")),
        Err(_) => Err(format!("{wanted:?} is not a port")),
    };
    let socket = match connected {
        Ok(socket) => socket,
        Err(message) => {
            error.send(message.into()).await;
            error.finish().await;
            data.finish().await;
            return;
        }
    };
    let (reader, mut writer) = socket.into_split();
    let outgoing = data.outgoing.clone();
    let id = data.id;
    let towards_pod = async move {
        while let Some(bytes) = data.receive().await {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = writer.shutdown().await;
        // Kept until the other direction ends: what still comes must have somewhere to go.
        std::future::pending::<()>().await;
    };
    let towards_client = async {
        let (_, nothing) = mpsc::channel(1);
        Stream { id, headers: Vec::new(), data: nothing, outgoing }.send_all(reader).await;
    };
    tokio::select! {
        () = towards_pod => {}
        () = towards_client => {}
    }
    error.finish().await;
}

/// Connects to the pod's own loopback.
async fn connect(netns: Option<PathBuf>, port: u16) -> std::io::Result<TcpStream> {
    let connected = tokio::task::spawn_blocking(move || {
        // A thread of its own, which ends in the pod's namespace: none of the runtime's threads must stay there.
        let thread = std::thread::spawn(move || -> std::io::Result<std::net::TcpStream> {
            if let Some(netns) = netns {
                nix::sched::setns(std::fs::File::open(netns)?, nix::sched::CloneFlags::CLONE_NEWNET)?;
            }
            let four = std::net::TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            four.or_else(|error| {
                std::net::TcpStream::connect(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).map_err(|_| error)
            })
        });
        thread.join().unwrap_or_else(|_| Err(std::io::Error::other("the thread that connects panicked")))
    });
    let socket = connected.await.map_err(std::io::Error::other)??;
    socket.set_nonblocking(true)?;
    TcpStream::from_std(socket)
}
