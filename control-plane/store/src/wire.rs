//! How a member's request reaches another one, and how an answer comes back: frames on streams that the caller makes.
//!
//! Who may dial and be accepted is the caller's business: the streams are expected to be mutually authenticated.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::task::JoinSet;

use crate::clock;

/// A frame holds at most one group of the largest transactions, or one block of an image.
const MAX_FRAME: usize = 96 << 20;
/// Connections to one member that are kept for the next request.
const IDLE: usize = 4;
/// Connections that are served at once: every member holds a few, and there are few members.
const SERVED: usize = 256;
/// Until a connection stands, handshake included.
const DIAL: Duration = Duration::from_secs(5);
/// A connection without a whole request for this long is ended: its other side may be gone without a word.
const SILENCE: Duration = Duration::from_secs(120);
/// A listener that fails does so again at once when the process has no more files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Both directions of a connection.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

pub type Stream = Box<dyn Connection>;

/// Makes connections to members, by the address that they are known by.
pub trait Dial: Send + Sync + 'static {
    fn dial(&self, address: String) -> BoxFuture<'static, io::Result<Stream>>;
}

/// Takes connections from members.
pub trait Listen: Send + 'static {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>>;
}

/// Carries one request to a member, and its answer back.
pub trait Wire: Send + Sync + 'static {
    fn call(&self, address: &str, request: Bytes) -> BoxFuture<'static, io::Result<Bytes>>;
}

/// What answers.
pub trait Answer: Send + Sync + 'static {
    fn answer(&self, request: Bytes) -> BoxFuture<'_, io::Result<Bytes>>;
}

/// Requests on streams, one at a time on each.
pub struct Framed {
    dial: Arc<dyn Dial>,
    idle: Arc<Mutex<HashMap<String, Vec<Stream>>>>,
}

impl Framed {
    pub fn new(dial: Arc<dyn Dial>) -> Self {
        Self { dial, idle: Arc::default() }
    }
}

impl Wire for Framed {
    fn call(&self, address: &str, request: Bytes) -> BoxFuture<'static, io::Result<Bytes>> {
        let (dial, idle, address) = (self.dial.clone(), self.idle.clone(), address.to_owned());
        Box::pin(async move {
            let known = loop {
                let Some(mut stream) = idle.lock().get_mut(&address).and_then(Vec::pop) else { break None };
                if is_open(&mut stream) {
                    break Some(stream);
                }
            };
            let mut stream = match known {
                Some(stream) => stream,
                None => clock::timeout(DIAL, dial.dial(address.clone())).await??,
            };
            write(&mut stream, &request).await?;
            let answer = read(&mut stream).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let mut idle = idle.lock();
            let kept = idle.entry(address).or_default();
            if kept.len() < IDLE {
                kept.push(stream);
            }
            Ok(answer)
        })
    }
}

/// Whether the other side has neither ended a waiting stream nor said anything out of turn: it may have been restarted.
fn is_open(stream: &mut Stream) -> bool {
    let mut byte = [0];
    let mut context = Context::from_waker(Waker::noop());
    Pin::new(stream).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
}

/// Serves every connection, for as long as it is polled.
pub async fn serve(mut listen: Box<dyn Listen>, answer: Arc<dyn Answer>) {
    let mut serving = JoinSet::new();
    loop {
        while serving.try_join_next().is_some() || serving.len() >= SERVED {
            if serving.len() >= SERVED {
                serving.join_next().await;
            }
        }
        match listen.accept().await {
            Ok(stream) => {
                serving.spawn(serve_one(stream, answer.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection of another member could not be accepted");
                clock::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

async fn serve_one(mut stream: Stream, answer: Arc<dyn Answer>) {
    let ended = async {
        while let Some(request) = clock::timeout(SILENCE, read(&mut stream)).await?? {
            let answer = answer.answer(request).await?;
            write(&mut stream, &answer).await?;
        }
        io::Result::Ok(())
    };
    if let Err(error) = ended.await {
        tracing::debug!(%error, "a connection of another member ended");
    }
}

async fn write(stream: &mut Stream, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).ok().filter(|length| *length as usize <= MAX_FRAME);
    let length = length.ok_or_else(|| io::Error::other("a message is longer than any may be"))?;
    stream.write_all(&length.to_le_bytes()).await?;
    stream.write_all(frame).await?;
    stream.flush().await
}

/// Reads what a connection says to its end.
pub async fn count_frames(said: Vec<u8>) -> io::Result<usize> {
    let mut stream: Stream = Box::new(tokio::io::join(io::Cursor::new(said), tokio::io::sink()));
    let mut count = 0;
    while read(&mut stream).await?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// A frame, or `None` where the other side ended between two.
async fn read(stream: &mut Stream) -> io::Result<Option<Bytes>> {
    let length = match stream.read_u32_le().await {
        Ok(length) => length as usize,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is longer than any may be"));
    }
    // Grows with what arrives: a length alone must not take memory.
    let mut frame = BytesMut::new();
    let mut limited = stream.take(length as u64);
    while frame.len() < length {
        if limited.read_buf(&mut frame).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(frame.freeze()))
}
