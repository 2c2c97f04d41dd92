//! A guest's standard streams: lines into the container's log, and bytes to whoever is attached.

use container::log::{Log, Stream};
use jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::broadcast;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};

/// The longest line kept in memory for an instance; the log cuts lines there too.
const LINE_LIMIT: usize = container::log::LINE_LIMIT;

/// What one write of a guest may hold.
const WRITE_LIMIT: usize = 64 << 10;

/// Writes that someone attached may lag behind before losing some: a slow terminal must not stop the guest.
const ATTACH_LAG: usize = 1024;

/// Bytes of input that wait for the guest to read them.
const STDIN_LIMIT: usize = 64 << 10;

/// Where the output of a container's guests goes.
#[derive(Clone)]
pub struct Output {
    log: Arc<Mutex<Log>>,
    attached: broadcast::Sender<(Stream, bytes::Bytes)>,
}

impl Output {
    pub fn new(log: Log) -> Output {
        Output { log: Arc::new(Mutex::new(log)), attached: broadcast::channel(ATTACH_LAG).0 }
    }

    pub fn reopen(&self) -> std::io::Result<()> {
        self.log.lock().reopen()
    }

    /// Output from now on.
    pub fn attach(&self) -> broadcast::Receiver<(Stream, bytes::Bytes)> {
        self.attached.subscribe()
    }

    /// One line of the host's own, about a guest.
    pub fn say(&self, line: &str) {
        self.write(Stream::Stderr, format!("{}\n", line.trim_end()).as_bytes());
    }

    /// Writes what waits for its newline: the guest has ended.
    pub fn finish(&self) {
        let mut log = self.log.lock();
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Err(err) = log.finish(stream, Timestamp::now()) {
                tracing::warn!("writing a container's log: {err}");
            }
        }
    }

    fn write(&self, stream: Stream, bytes: &[u8]) {
        // A full disk must not end the guest: its output is lost, as with a container's.
        if let Err(err) = self.log.lock().write(stream, Timestamp::now(), bytes) {
            tracing::warn!("writing a container's log: {err}");
        }
        if self.attached.receiver_count() > 0 {
            let _ = self.attached.send((stream, bytes::Bytes::copy_from_slice(bytes)));
        }
    }
}

/// Where one stream of a guest goes.
#[derive(Clone)]
pub enum Sink {
    /// The only guest of its container.
    Whole { output: Output, stream: Stream, terminal: bool },
    /// One of many instances: whole lines only, so that two requests never share one.
    Lines { output: Output, stream: Stream },
    /// An exec session's stream.
    Pipe { pipe: tokio::sync::mpsc::Sender<(Stream, bytes::Bytes)>, stream: Stream, terminal: bool },
}

impl IsTerminal for Sink {
    fn is_terminal(&self) -> bool {
        match self {
            Sink::Whole { terminal, .. } | Sink::Pipe { terminal, .. } => *terminal,
            Sink::Lines { .. } => false,
        }
    }
}

impl StdoutStream for Sink {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Writer { sink: self.clone(), line: Vec::new() })
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Writer { sink: self.clone(), line: Vec::new() })
    }
}

struct Writer {
    sink: Sink,
    line: Vec<u8>,
}

impl Writer {
    fn put(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        match &self.sink {
            Sink::Whole { output, stream, .. } => output.write(*stream, bytes),
            Sink::Lines { output, stream } => {
                self.line.extend_from_slice(bytes);
                let end = match self.line.iter().rposition(|byte| *byte == b'\n') {
                    Some(newline) => newline + 1,
                    None if self.line.len() >= LINE_LIMIT => {
                        self.line.push(b'\n');
                        self.line.len()
                    }
                    None => return Ok(()),
                };
                output.write(*stream, &self.line[..end]);
                self.line.drain(..end);
            }
            Sink::Pipe { pipe, stream, .. } => {
                pipe.try_send((*stream, bytes::Bytes::copy_from_slice(bytes))).map_err(|_| StreamError::Closed)?;
            }
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Sink::Lines { output, stream } = &self.sink
            && !self.line.is_empty()
        {
            self.line.push(b'\n');
            output.write(*stream, &self.line);
        }
    }
}

#[async_trait::async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        if let Sink::Pipe { pipe, .. } = &self.sink {
            // Room for a write, or nobody reads any more, which the next write tells.
            let _ = pipe.reserve().await;
        }
    }
}

#[async_trait::async_trait]
impl OutputStream for Writer {
    fn write(&mut self, bytes: bytes::Bytes) -> Result<(), StreamError> {
        self.put(&bytes)
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        match &self.sink {
            Sink::Pipe { pipe, .. } if pipe.is_closed() => Err(StreamError::Closed),
            Sink::Pipe { pipe, .. } if pipe.capacity() == 0 => Ok(0),
            Sink::Pipe { .. } | Sink::Whole { .. } | Sink::Lines { .. } => Ok(WRITE_LIMIT),
        }
    }
}

impl AsyncWrite for Writer {
    fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let bytes = &bytes[..bytes.len().min(WRITE_LIMIT)];
        Poll::Ready(match self.put(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(_) => Err(std::io::ErrorKind::BrokenPipe.into()),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A guest's standard input, fed by whoever is attached.
#[derive(Clone)]
pub struct Stdin {
    buffer: Arc<Mutex<Buffer>>,
    terminal: bool,
}

#[derive(Default)]
struct Buffer {
    bytes: VecDeque<u8>,
    closed: bool,
    reader: Option<std::task::Waker>,
    writer: Option<std::task::Waker>,
}

impl Stdin {
    pub fn new(terminal: bool) -> Stdin {
        Stdin { buffer: Arc::default(), terminal }
    }

    /// Waits for room and appends.
    pub async fn feed(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = std::future::poll_fn(|cx| {
                let mut buffer = self.buffer.lock();
                let room = STDIN_LIMIT - buffer.bytes.len().min(STDIN_LIMIT);
                if buffer.closed {
                    return Poll::Ready(bytes.len());
                }
                if room == 0 {
                    buffer.writer = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                let taken = room.min(bytes.len());
                buffer.bytes.extend(&bytes[..taken]);
                if let Some(reader) = buffer.reader.take() {
                    reader.wake();
                }
                Poll::Ready(taken)
            })
            .await;
            bytes = &bytes[taken..];
        }
    }

    /// The guest reads the end after what is there.
    pub fn close(&self) {
        let mut buffer = self.buffer.lock();
        buffer.closed = true;
        for waker in [buffer.reader.take(), buffer.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

impl IsTerminal for Stdin {
    fn is_terminal(&self) -> bool {
        self.terminal
    }
}

impl StdinStream for Stdin {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncRead for Stdin {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let mut buffer = self.buffer.lock();
        if buffer.bytes.is_empty() {
            if buffer.closed {
                return Poll::Ready(Ok(()));
            }
            buffer.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let (front, _) = buffer.bytes.as_slices();
        let taken = front.len().min(out.remaining());
        out.put_slice(&front[..taken]);
        buffer.bytes.drain(..taken);
        if let Some(writer) = buffer.writer.take() {
            writer.wake();
        }
        Poll::Ready(Ok(()))
    }
}
