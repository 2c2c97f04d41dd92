//! What the shim and the Wasm host say to each other over a unix socket: length-prefixed frames, JSON in most of them.
//!
//! A connection carries one [`Call`] and its [`Reply`]. `exec` and `attach` carry streams in between; `watch` goes on with events.

use container::{Error, Exit, Illegal, Resources, Spec, State, Stats};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Raised when a message changes its meaning. A shim that meets a host of another protocol says so instead of guessing.
pub const PROTOCOL: u32 = 1;

/// The longest frame: a container's spec with all its environment and mounts is far below.
const FRAME_LIMIT: u32 = 16 << 20;

/// The first message of a connection.
#[derive(Debug, Serialize, Deserialize)]
pub struct Call {
    pub protocol: u32,
    pub request: Request,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    Create(Box<Spec>),
    Start {
        id: String,
    },
    Kill {
        id: String,
        signal: i32,
    },
    Delete {
        id: String,
    },
    CloseSandbox {
        id: String,
    },
    State {
        id: String,
    },
    Stats {
        id: String,
    },
    Update {
        id: String,
        resources: Resources,
    },
    Exec {
        id: String,
        command: Vec<String>,
        tty: bool,
        stdin: bool,
    },
    Attach {
        id: String,
        stdin: bool,
    },
    ReopenLog {
        id: String,
    },
    /// Replies with all states, then sends [`Ended`] events until the connection closes.
    Watch,
    /// Ends the host and with it all guests.
    Shutdown,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    Done,
    State(State),
    Stats {
        cpu_ns: u64,
        memory_bytes: u64,
    },
    States(Vec<(String, State)>),
    /// The exec'd command's exit code.
    Code(i32),
    Failed(Failure),
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Ended {
    pub id: String,
    pub exit: Exit,
}

/// An error on its way to the shim.
#[derive(Debug, Serialize, Deserialize)]
pub enum Failure {
    NotFound(String),
    Illegal { state: String, event: String },
    Invalid(String),
    Unsupported(String),
    Other { doing: String, source: String },
}

impl From<Error> for Failure {
    fn from(err: Error) -> Failure {
        match err {
            Error::NotFound(id) => Failure::NotFound(id),
            Error::Illegal(illegal) => Failure::Illegal { state: illegal.state.into(), event: illegal.event.into() },
            Error::Invalid(message) => Failure::Invalid(message),
            Error::Unsupported(message) => Failure::Unsupported(message),
            Error::Failed { doing, source } => Failure::Other { doing, source: source.to_string() },
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::NotFound(id) => Error::NotFound(id),
            Failure::Illegal { state, event } => Error::Illegal(Illegal {
                state: known(&state, ["created", "running", "exited"]),
                event: known(&event, ["started", "ended", "deleted"]),
            }),
            Failure::Invalid(message) => Error::Invalid(message),
            Failure::Unsupported(message) => Error::Unsupported(message),
            Failure::Other { doing, source } => Error::failed(doing, source),
        }
    }
}

fn known(word: &str, words: [&'static str; 3]) -> &'static str {
    words.into_iter().find(|known| *known == word).unwrap_or("in a state that this version does not know")
}

impl Reply {
    pub fn stats(self) -> Option<Stats> {
        let Reply::Stats { cpu_ns, memory_bytes } = self else { return None };
        let memory = Stats {
            working_set_bytes: memory_bytes,
            usage_bytes: memory_bytes,
            rss_bytes: memory_bytes,
            ..Stats::default()
        };
        Some(Stats { cpu_ns, ..memory })
    }
}

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Message,
    Stdin,
    /// The client's input has ended.
    StdinEnd,
    Stdout,
    Stderr,
}

impl Kind {
    fn of(byte: u8) -> io::Result<Kind> {
        let kinds = [Kind::Message, Kind::Stdin, Kind::StdinEnd, Kind::Stdout, Kind::Stderr];
        kinds
            .get(usize::from(byte))
            .copied()
            .ok_or_else(|| io::Error::other(format!("a frame of the unknown kind {byte}")))
    }
}

pub async fn write_frame(to: &mut (impl AsyncWrite + Unpin), kind: Kind, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).ok().filter(|length| *length <= FRAME_LIMIT);
    let length = length.ok_or_else(|| io::Error::other(format!("a frame of {} bytes is too long", payload.len())))?;
    let mut frame = Vec::with_capacity(payload.len() + 5);
    frame.extend(length.to_le_bytes());
    frame.push(kind as u8);
    frame.extend(payload);
    to.write_all(&frame).await
}

/// The next frame, or `None` where the other side has closed between two.
pub async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(Kind, Vec<u8>)>> {
    let length = match from.read_u32_le().await {
        Ok(length) => length,
        Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(err) => return Err(err),
    };
    if length > FRAME_LIMIT {
        return Err(io::Error::other(format!("a frame of {length} bytes is too long")));
    }
    let kind = Kind::of(from.read_u8().await?)?;
    let mut payload = vec![0; length as usize];
    from.read_exact(&mut payload).await?;
    Ok(Some((kind, payload)))
}

pub async fn write_message(to: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> io::Result<()> {
    write_frame(to, Kind::Message, &serde_json::to_vec(message).map_err(io::Error::other)?).await
}

/// The next frame as a message; an end or another kind of frame is an error.
pub async fn read_message<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    match read_frame(from).await? {
        Some((Kind::Message, payload)) => serde_json::from_slice(&payload).map_err(io::Error::other),
        Some((kind, _)) => Err(io::Error::other(format!("a {kind:?} frame where a message was due"))),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_round_trip_and_overlong_ones_are_refused_before_they_are_read() {
        let (mut a, mut b) = tokio::io::duplex(1 << 16);
        write_frame(&mut a, Kind::Stderr, b"oh").await.unwrap();
        write_message(&mut a, &Reply::Code(7)).await.unwrap();
        assert_eq!(read_frame(&mut b).await.unwrap(), Some((Kind::Stderr, b"oh".to_vec())));
        assert!(matches!(read_message(&mut b).await.unwrap(), Reply::Code(7)));
        a.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
        assert!(read_frame(&mut b).await.is_err());
        drop(a);
        let (a, mut b) = tokio::io::duplex(16);
        drop(a);
        assert_eq!(read_frame(&mut b).await.unwrap(), None);
    }

    #[test]
    fn errors_keep_their_kind_over_the_wire() {
        let illegal = Error::Illegal(Illegal { state: "running", event: "deleted" });
        for err in [Error::NotFound("c".into()), illegal, Error::Invalid("i".into()), Error::Unsupported("u".into())] {
            let text = err.to_string();
            let wire = serde_json::to_string(&Failure::from(err)).unwrap();
            assert_eq!(Error::from(serde_json::from_str::<Failure>(&wire).unwrap()).to_string(), text);
        }
    }
}
