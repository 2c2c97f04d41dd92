//! What the executor and a pod process say to each other: one JSON object a line over a unix socket, with descriptors
//! beside the first byte. Both sides are the same binary's code, but not always the same version of it: fields may be
//! added, never change their meaning.

use container::{Exit, State};
use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The longest message. The kernel takes at most 128 KiB for one argument; a command with several fits well.
pub const MESSAGE_LIMIT: usize = 1024 * 1024;
/// Descriptors in one message: stdin, stdout, stderr.
const FDS_LIMIT: usize = 3;

#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Prepare the container whose `spec.json` lies in `dir`.
    Create {
        dir: PathBuf,
    },
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
    /// With the descriptors that are named, unless `tty`. Answered by `Started` and, at its end, `Ended`.
    Exec {
        id: String,
        command: Vec<String>,
        tty: bool,
        stdin: bool,
        stdout: bool,
        stderr: bool,
    },
    /// With the descriptors that are named. Answered by `Done`, and at the end of the container's output by `Ended`.
    Attach {
        id: String,
        stdin: bool,
        stdout: bool,
        stderr: bool,
    },
    /// A new size of the terminal of the attach session on this connection.
    Resize {
        columns: u16,
        rows: u16,
    },
    ReopenLog {
        id: String,
    },
    States,
    /// From now on every exit is told on this connection, after one `States`.
    Watch,
    /// End everything and leave.
    Shutdown,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    Done,
    Started { pid: u32 },
    States(Vec<(String, State)>),
    Exited { id: String, exit: Exit },
    Ended { code: i32 },
    NotFound(String),
    Invalid(String),
    Failed(String),
}

/// Sends one message; the descriptors travel with its first byte.
pub fn send<T: Serialize>(socket: &UnixStream, message: &T, fds: &[RawFd]) -> io::Result<()> {
    let mut line = serde_json::to_vec(message).map_err(io::Error::other)?;
    line.push(b'\n');
    if line.len() > MESSAGE_LIMIT {
        return Err(io::Error::other(format!("a message of {} bytes; the limit is {MESSAGE_LIMIT}", line.len())));
    }
    let mut rest = &line[..];
    let mut control: &[ControlMessage<'_>] = &[ControlMessage::ScmRights(fds)];
    if fds.is_empty() {
        control = &[];
    }
    while !rest.is_empty() {
        match sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(rest)], control, MsgFlags::MSG_NOSIGNAL, None) {
            Ok(sent) => {
                rest = &rest[sent..];
                control = &[];
            }
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// What has come in on a connection and is not yet a whole message.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

/// What one read brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    Some,
    /// The other side has closed.
    Closed,
    /// Nothing there on a socket that does not block.
    Nothing,
}

impl Inbox {
    /// Reads once.
    pub fn read(&mut self, socket: &UnixStream) -> io::Result<Read> {
        let mut buffer = [0u8; 8192];
        let mut space = cmsg_space!([RawFd; FDS_LIMIT]);
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let received = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC);
        let count = match received {
            Ok(message) => {
                for control in message.cmsgs()? {
                    if let ControlMessageOwned::ScmRights(fds) = control {
                        // SAFETY: the kernel has just made these descriptors for us; nobody else owns them.
                        self.fds.extend(fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
                    }
                }
                message.bytes
            }
            Err(nix::errno::Errno::EAGAIN) => return Ok(Read::Nothing),
            Err(nix::errno::Errno::EINTR) => return Ok(Read::Some),
            Err(errno) => return Err(errno.into()),
        };
        if count == 0 {
            return Ok(Read::Closed);
        }
        if self.fds.len() > FDS_LIMIT || self.bytes.len() + count > MESSAGE_LIMIT {
            return Err(io::Error::other("a message larger than allowed"));
        }
        self.bytes.extend_from_slice(&buffer[..count]);
        Ok(Read::Some)
    }

    /// The next whole message with the descriptors that came with it.
    pub fn take<T: for<'de> Deserialize<'de>>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let message = serde_json::from_slice(&self.bytes[..end]).map_err(io::Error::other)?;
        self.bytes.drain(..=end);
        Ok(Some((message, std::mem::take(&mut self.fds))))
    }
}

/// Waits for the next message on a socket that blocks. `None` when the other side has closed.
pub fn receive<T: for<'de> Deserialize<'de>>(
    socket: &UnixStream,
    inbox: &mut Inbox,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    loop {
        if let Some(message) = inbox.take()? {
            return Ok(Some(message));
        }
        if inbox.read(socket)? == Read::Closed {
            return Ok(None);
        }
    }
}

/// Connects to the socket `name` in `directory`, however long the path (a socket address holds 107 bytes).
pub fn connect(directory: &Path, name: &str) -> io::Result<UnixStream> {
    let directory = std::fs::File::open(directory)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
}

/// Listens on the socket `name` in `directory`, however long the path.
pub fn listen(directory: &Path, name: &str) -> io::Result<UnixListener> {
    let _ = std::fs::remove_file(directory.join(name));
    let directory = std::fs::File::open(directory)?;
    UnixListener::bind(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
}

impl Inbox {
    /// The first descriptor received, where only that matters.
    pub fn into_fd(self) -> Option<OwnedFd> {
        self.fds.into_iter().next()
    }
}
