//! One SPDY connection as its streams. The client opens streams; nothing here does.
//!
//! SPDY as Kubernetes speaks it has no flow control, so a stream whose consumer is slow holds up the connection once its
//! buffer is full. So does upstream's.

use super::connection::{Gone, Idle, Limits, drive};
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::io;
use stream::spdy::{Decoder, Encoder, Frame, Headers};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Streams of one connection at once: a forwarded connection takes two, and browsers open dozens.
const STREAMS: usize = 512;
/// Streams that were opened and not looked at yet.
const BACKLOG: usize = 16;
/// Frames on their way out, 32 KiB each at the most.
const QUEUE: usize = 16;
/// Received bytes of one stream that its consumer has not taken.
const STREAM_BUFFER: usize = 64 << 10;
/// Frames are written together up to here.
const BATCH: usize = 64 << 10;
/// Bytes read at once.
const READ: usize = 16 << 10;

const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 3;

enum Out {
    Frame(Frame),
    /// Everything was said.
    End,
}

/// The connection, which lives until both sides are done with it.
pub(super) struct Connection {
    out: mpsc::Sender<Out>,
    opened: mpsc::Receiver<Stream>,
    gone: CancellationToken,
    driver: JoinHandle<()>,
}

/// A stream that the client opened.
pub(super) struct Stream {
    pub id: u32,
    headers: Headers,
    /// What the client sends; ends with its FIN, its reset or the connection.
    pub input: DuplexStream,
    pub output: Output,
}

/// Our direction of a stream.
pub(super) struct Output {
    id: u32,
    out: mpsc::Sender<Out>,
    gone: CancellationToken,
    /// Tells the reader that nobody is interested any more.
    _dropped: DropGuard,
}

impl Connection {
    pub(super) fn start<Io>(io: Io, limits: Limits, stop: CancellationToken) -> Connection
    where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (out, queue) = mpsc::channel(QUEUE);
        let (announce, opened) = mpsc::channel(BACKLOG);
        let (gone, idle) = (CancellationToken::new(), Idle::new());
        let (read, write) = tokio::io::split(io);
        let reader = Reader { out: out.clone(), announce, gone: gone.clone(), inlets: HashMap::new(), last: 0 };
        let closing = gone.clone();
        let driver = tokio::spawn(async move {
            let reading = reader.run(read, idle.clone());
            drive(reading, write_all(write, queue, idle.clone()), idle, limits, &stop, closing).await;
        });
        Connection { out, opened, gone, driver }
    }

    /// The next stream that the client opens; `None` when it is gone.
    pub(super) async fn accept(&mut self) -> Option<Stream> {
        self.opened.recv().await
    }

    /// Cancelled when the connection is over.
    pub(super) fn gone(&self) -> &CancellationToken {
        &self.gone
    }

    /// Sends what is queued, says that this was all, and gives the client time to close.
    pub(super) async fn finish(self) {
        let Connection { out, opened, gone, driver } = self;
        drop(opened);
        tokio::select! {
            _ = out.send(Out::End) => {}
            () = gone.cancelled() => {}
        }
        if let Err(error) = driver.await {
            tracing::warn!(%error, "a streaming connection's task failed");
        }
    }
}

impl Stream {
    /// The value of a header; names are lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

impl Output {
    /// Accepts the stream: its client waits for that.
    pub(super) async fn reply(&self) -> Result<(), Gone> {
        self.send(Frame::SynReply { stream: self.id, fin: false, headers: Headers::new() }).await
    }

    /// Refuses the stream or breaks it off.
    pub(super) async fn reset(&self) -> Result<(), Gone> {
        self.send(Frame::Reset { stream: self.id, status: PROTOCOL_ERROR }).await
    }

    pub(super) async fn data(&self, data: Bytes) -> Result<(), Gone> {
        self.send(Frame::Data { stream: self.id, fin: false, data }).await
    }

    /// Says that no more data follows.
    pub(super) async fn finish(&self) -> Result<(), Gone> {
        self.send(Frame::Data { stream: self.id, fin: true, data: Bytes::new() }).await
    }

    /// Cancelled when the client has reset the stream or left.
    pub(super) fn gone(&self) -> &CancellationToken {
        &self.gone
    }

    async fn send(&self, frame: Frame) -> Result<(), Gone> {
        tokio::select! {
            biased;
            () = self.gone.cancelled() => Err(Gone),
            sent = self.out.send(Out::Frame(frame)) => sent.map_err(|_| Gone),
        }
    }
}

/// Where the received bytes of a stream go.
struct Inlet {
    /// `None` once the client has said that this was all. It may still reset the stream.
    pipe: Option<DuplexStream>,
    gone: CancellationToken,
}

struct Reader {
    out: mpsc::Sender<Out>,
    announce: mpsc::Sender<Stream>,
    gone: CancellationToken,
    inlets: HashMap<u32, Inlet>,
    /// The last stream that was opened: numbers rise.
    last: u32,
}

impl Reader {
    async fn run<Io: AsyncRead>(mut self, mut io: ReadHalf<Io>, idle: Idle) {
        let mut decoder = Decoder::default();
        let mut buffer = BytesMut::with_capacity(READ);
        loop {
            match io.read_buf(&mut buffer).await {
                Ok(1..) => idle.touch(),
                Ok(0) => return,
                Err(error) => return tracing::debug!(%error, "a SPDY client left"),
            }
            decoder.push(&buffer);
            buffer.clear();
            loop {
                match decoder.next_frame() {
                    Ok(Some(frame)) => self.take(frame).await,
                    Ok(None) => break,
                    Err(error) => return tracing::debug!(%error, "a SPDY client is cut off"),
                }
            }
        }
    }

    async fn take(&mut self, frame: Frame) {
        match frame {
            Frame::SynStream { stream, fin, headers } => self.open(stream, fin, headers).await,
            Frame::Data { stream, fin, data } => self.data(stream, fin, &data).await,
            Frame::Headers { stream, fin, .. } => self.data(stream, fin, &[]).await,
            Frame::Reset { stream, .. } => {
                if let Some(inlet) = self.inlets.remove(&stream) {
                    inlet.gone.cancel();
                }
            }
            Frame::Ping(id) => self.send(Frame::Ping(id)).await,
            // A client says GOAWAY just before it closes.
            Frame::GoAway { .. } | Frame::SynReply { .. } | Frame::Other => {}
        }
    }

    async fn open(&mut self, id: u32, fin: bool, headers: Headers) {
        // Clients' streams have odd numbers (section 2.3.2 of the specification).
        if id.is_multiple_of(2) || id <= self.last {
            return self.send(Frame::Reset { stream: id, status: PROTOCOL_ERROR }).await;
        }
        self.last = id;
        self.inlets.retain(|_, inlet| !inlet.gone.is_cancelled());
        if self.inlets.len() >= STREAMS {
            return self.send(Frame::Reset { stream: id, status: REFUSED_STREAM }).await;
        }
        let (pipe, input) = tokio::io::duplex(STREAM_BUFFER);
        let gone = self.gone.child_token();
        self.inlets.insert(id, Inlet { pipe: (!fin).then_some(pipe), gone: gone.clone() });
        let output = Output { id, out: self.out.clone(), gone: gone.clone(), _dropped: gone.drop_guard() };
        if let Err(refused) = self.announce.send(Stream { id, headers, input, output }).await {
            // The session is closing.
            drop(refused);
            self.inlets.remove(&id);
        }
    }

    async fn data(&mut self, id: u32, fin: bool, data: &[u8]) {
        let Some(inlet) = self.inlets.get_mut(&id) else { return };
        if let Some(pipe) = &mut inlet.pipe {
            tokio::select! {
                biased;
                () = inlet.gone.cancelled() => inlet.pipe = None,
                // A consumer that went away wants no more; the rest is dropped.
                written = pipe.write_all(data) => if fin || written.is_err() {
                    inlet.pipe = None;
                },
            }
        }
    }

    async fn send(&self, frame: Frame) {
        // The writer ends only with the connection, and then nobody waits for this frame.
        let _ = self.out.send(Out::Frame(frame)).await;
    }
}

async fn write_all<Io: AsyncWrite>(
    mut io: WriteHalf<Io>,
    mut queue: mpsc::Receiver<Out>,
    idle: Idle,
) -> io::Result<()> {
    let mut encoder = Encoder::default();
    let mut batch = BytesMut::with_capacity(READ);
    while let Some(first) = queue.recv().await {
        let (mut next, mut ended) = (Some(first), false);
        while let Some(out) = next {
            match out {
                Out::Frame(frame) => encoder.encode(&frame, &mut batch).map_err(io::Error::other)?,
                Out::End => {
                    encoder.encode(&Frame::GoAway { last_stream: 0 }, &mut batch).map_err(io::Error::other)?;
                    ended = true;
                    break;
                }
            }
            next = if batch.len() < BATCH { queue.try_recv().ok() } else { None };
        }
        io.write_all(&batch).await?;
        io.flush().await?;
        idle.touch();
        batch.clear();
        if ended {
            break;
        }
    }
    io.shutdown().await
}
