//! The clients of a pod process: plain questions, watchers of exits, commands and attached streams.

use super::Source;
use super::container::Container;
use crate::wire::{self, Inbox, Read as Got, Reply, Request};
use nix::poll::PollFlags;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// Clients at once. The shim opens one a request and one to watch; commands and attached terminals keep theirs.
const SESSIONS_LIMIT: usize = 1024;
/// What waits for a slow attached client before its container's output waits too.
const PENDING_LIMIT: usize = 256 * 1024;

#[derive(Debug)]
pub enum Session {
    Plain,
    Watch,
    Exec {
        pid: i32,
    },
    Attach {
        container: String,
        stdin: Option<File>,
        /// Input that the container has not taken yet.
        waiting: Vec<u8>,
        /// The client's input has ended and the container is still to be told.
        ending: bool,
        outputs: [Option<Output>; 2],
    },
}

#[derive(Debug)]
pub struct Output {
    file: File,
    pending: Vec<u8>,
}

impl Session {
    pub fn attach(container: String, stdin: Option<File>, outputs: [Option<File>; 2]) -> Session {
        let outputs = outputs.map(|file| file.map(|file| Output { file, pending: Vec::new() }));
        Session::Attach { container, stdin, waiting: Vec::new(), ending: false, outputs }
    }
}

#[derive(Debug)]
struct Client {
    socket: UnixStream,
    inbox: Inbox,
    session: Session,
}

#[derive(Debug, Default)]
pub struct Sessions {
    all: BTreeMap<u64, Client>,
    next: u64,
}

impl Sessions {
    pub fn add(&mut self, socket: UnixStream) {
        if self.all.len() >= SESSIONS_LIMIT || socket.set_nonblocking(true).is_err() {
            return;
        }
        self.next += 1;
        self.all.insert(self.next, Client { socket, inbox: Inbox::default(), session: Session::Plain });
    }

    pub fn remove(&mut self, id: u64) -> Option<Session> {
        self.all.remove(&id).map(|client| client.session)
    }

    pub fn set(&mut self, id: u64, session: Session) {
        if let Some(client) = self.all.get_mut(&id) {
            client.session = session;
        }
    }

    /// Every descriptor to wait for.
    pub(super) fn watch<'a>(&'a self, watched: &mut Vec<(Source, BorrowedFd<'a>, PollFlags)>) {
        for (id, client) in &self.all {
            watched.push((Source::Connection(*id), client.socket.as_fd(), PollFlags::POLLIN));
            let Session::Attach { stdin, waiting, outputs, .. } = &client.session else { continue };
            if let (Some(stdin), true) = (stdin, waiting.is_empty()) {
                watched.push((Source::Input(*id), stdin.as_fd(), PollFlags::POLLIN));
            }
            for (index, output) in outputs.iter().enumerate() {
                if let Some(output) = output.as_ref().filter(|output| !output.pending.is_empty()) {
                    watched.push((Source::Drain(*id, index), output.file.as_fd(), PollFlags::POLLOUT));
                }
            }
        }
    }

    /// Reads requests. `None` when the client has left or talks nonsense.
    pub fn receive(&mut self, id: u64) -> Option<Vec<(Request, Vec<OwnedFd>)>> {
        let client = self.all.get_mut(&id)?;
        let mut requests = Vec::new();
        loop {
            match client.inbox.read(&client.socket) {
                Ok(Got::Some) => {}
                Ok(Got::Nothing) => return Some(requests),
                Ok(Got::Closed) | Err(_) => return None,
            }
            while let Some(request) = client.inbox.take().ok()? {
                requests.push(request);
            }
        }
    }

    /// Sends a reply. A client that does not take it is dropped: it will ask again.
    pub fn send(&mut self, id: u64, reply: &Reply, fds: &[OwnedFd]) {
        let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let failed = self.all.get(&id).is_some_and(|client| wire::send(&client.socket, reply, &raw).is_err());
        if failed {
            self.all.remove(&id);
        }
    }

    /// Tells all watchers.
    pub fn tell(&mut self, reply: &Reply) {
        let watchers: Vec<u64> =
            self.all.iter().filter(|(_, client)| matches!(client.session, Session::Watch)).map(|(id, _)| *id).collect();
        for id in watchers {
            self.send(id, reply, &[]);
        }
    }

    pub fn exec_of(&self, wanted: i32) -> Option<u64> {
        self.all
            .iter()
            .find(|(_, client)| matches!(client.session, Session::Exec { pid } if pid == wanted))
            .map(|(id, _)| *id)
    }

    pub fn attached_to(&self, id: u64) -> Option<&str> {
        match &self.all.get(&id)?.session {
            Session::Attach { container, .. } => Some(container),
            Session::Plain | Session::Watch | Session::Exec { .. } => None,
        }
    }

    /// Ends a session with an exit code. What is pending is written if the client takes it at once.
    pub fn end(&mut self, id: u64, code: i32) {
        for index in [0, 1] {
            self.drain(id, index);
        }
        self.send(id, &Reply::Ended { code }, &[]);
        self.all.remove(&id);
    }

    pub fn end_attached(&mut self, container: &str, code: i32) {
        let ids: Vec<u64> = self.all.keys().copied().filter(|id| self.attached_to(*id) == Some(container)).collect();
        for id in ids {
            self.end(id, code);
        }
    }

    /// Whether a client of the container is so slow that its output must wait.
    pub fn congested(&self, wanted: &str) -> bool {
        self.all.values().any(|client| match &client.session {
            Session::Attach { container, outputs, .. } => {
                container == wanted && outputs.iter().flatten().any(|output| output.pending.len() > PENDING_LIMIT)
            }
            Session::Plain | Session::Watch | Session::Exec { .. } => false,
        })
    }

    /// Passes a container's output to everyone attached to it.
    pub fn output(&mut self, wanted: &str, index: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut touched = Vec::new();
        for (id, client) in &mut self.all {
            if let Session::Attach { container, outputs, .. } = &mut client.session
                && container == wanted
                && let Some(output) = &mut outputs[index]
            {
                output.pending.extend_from_slice(bytes);
                touched.push(*id);
            }
        }
        for id in touched {
            self.drain(id, index);
        }
    }

    /// Writes what a client takes now.
    pub fn drain(&mut self, id: u64, index: usize) {
        let Some(Client { session: Session::Attach { outputs, .. }, .. }) = self.all.get_mut(&id) else { return };
        let Some(output) = &mut outputs[index] else { return };
        while !output.pending.is_empty() {
            match output.file.write(&output.pending) {
                Ok(count) => {
                    output.pending.drain(..count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    outputs[index] = None;
                    return;
                }
            }
        }
    }

    /// Clients whose input waits for its container: (session, container).
    pub fn feeding(&self) -> impl Iterator<Item = (u64, &str)> {
        self.all.iter().filter_map(|(id, client)| match &client.session {
            Session::Attach { container, waiting, .. } if !waiting.is_empty() => Some((*id, container.as_str())),
            Session::Attach { .. } | Session::Plain | Session::Watch | Session::Exec { .. } => None,
        })
    }

    /// Reads a client's input into its buffer. Returns its container.
    pub fn read_input(&mut self, id: u64) -> Option<String> {
        let Session::Attach { container, stdin, waiting, ending, .. } = &mut self.all.get_mut(&id)?.session else {
            return None;
        };
        let mut buffer = [0u8; 4096];
        let ended = match stdin.as_mut()?.read(&mut buffer) {
            Ok(0) => true,
            Ok(count) => {
                waiting.extend_from_slice(&buffer[..count]);
                false
            }
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        };
        if ended {
            *stdin = None;
            *ending = true;
        }
        Some(container.clone())
    }

    /// Passes a client's input to its container, as much as that takes. True when the input has ended with it.
    pub fn feed(&mut self, id: u64, container: &mut Container) -> bool {
        let Some(Client { session: Session::Attach { waiting, ending, .. }, .. }) = self.all.get_mut(&id) else {
            return false;
        };
        while !waiting.is_empty() {
            match container.feed(waiting) {
                Ok(count) => {
                    waiting.drain(..count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // The container has closed its standard input: nothing that comes will be read.
                Err(_) => waiting.clear(),
            }
        }
        std::mem::take(ending)
    }
}
