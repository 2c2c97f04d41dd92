//! The door of every write: checks its limits, groups what waits, and hands the group to raft.

use std::collections::HashSet;
use std::sync::Arc;

use openraft::EntryPayload;
use openraft::errors::{ClientWriteError, Fatal, RaftError};
use openraft::impls::ProgressResponder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::clock;
use crate::command::{Command, Group, Outcome};
use crate::contract::{Compare, Error, Op, Result, Txn};
use crate::log::Log;
use crate::member::Member;
use crate::raft::{Entry, LeaderId, Raft, Types};

/// Writes that wait at most; the ones after wait for a place. More than any group takes.
const WAITING: usize = 1024;
/// One group: enough to share a sync among all who wait, small enough to apply in a few milliseconds.
const GROUP_COMMANDS: usize = 256;
const GROUP_BYTES: u64 = 1 << 20;
/// etcd's 128 operations, with room for a lease and an index beside each.
const MAX_OPS: usize = 512;
/// Longer than any key of Kubernetes: two 253-byte names and a group's.
const MAX_KEY: usize = 4 << 10;
/// Kubernetes refuses request bodies above 3 MiB.
const MAX_BYTES: u64 = 8 << 20;
/// What a command takes beside its keys and values, generously.
const COMMAND_COST: u64 = 64;

/// Free space below which puts are refused: what the tables may grow by until the log is cut next, which rewrites the
/// pages of at most 4 MiB of changes, and the segment that is reserved ahead.
const FREE_TO_PUT: u64 = 32 << 20;
/// The same for deleting and compacting, the way out of a full disk.
const FREE_TO_DELETE: u64 = 12 << 20;

struct Request {
    command: Command,
    answer: oneshot::Sender<Result<Outcome>>,
}

#[derive(Clone)]
pub struct Writer {
    requests: mpsc::Sender<Request>,
}

impl Writer {
    /// The task ends when nobody can write any more, or is aborted.
    pub fn start(member: Arc<Member>) -> (Self, JoinHandle<()>) {
        let (requests, waiting) = mpsc::channel(WAITING);
        let task = clock::spawn(work(member, waiting));
        (Self { requests }, task)
    }

    pub async fn write(&self, command: Command) -> Result<Outcome> {
        check(&command)?;
        let (answer, answered) = oneshot::channel();
        let closed = || Error::Unavailable("it is closed".into());
        self.requests.send(Request { command, answer }).await.map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }
}

async fn work(member: Arc<Member>, mut waiting: mpsc::Receiver<Request>) {
    let mut held: Option<Request> = None;
    loop {
        let first = match held.take() {
            Some(request) => request,
            None => match waiting.recv().await {
                Some(request) => request,
                None => return,
            },
        };
        let mut bytes = size(&first.command);
        let mut group = vec![first];
        while group.len() < GROUP_COMMANDS
            && bytes < GROUP_BYTES
            && let Ok(request) = waiting.try_recv()
        {
            bytes += size(&request.command);
            if bytes > GROUP_BYTES {
                held = Some(request);
                break;
            }
            group.push(request);
        }
        let (commands, answers): (Vec<_>, Vec<_>) =
            group.into_iter().map(|request| (request.command, request.answer)).unzip();
        match member.propose(commands).await {
            Ok(outcomes) => {
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    // Nobody waits any more: the write is done all the same.
                    let _ = answer.send(Ok(outcome));
                }
            }
            Err(failed) => {
                for answer in answers {
                    let _ = answer.send(Err(again(&failed)));
                }
            }
        }
    }
}

/// What became of commands that were put to raft.
pub enum Proposed {
    /// With the log entry that holds them.
    Done(Vec<Outcome>, u64),
    /// Nothing: another member leads, at this address if one is known.
    NotLeader(Option<String>),
}

/// Meets a full disk before anything is logged.
pub fn reserve(log: &Log, commands: &[Command]) -> Result<()> {
    let bytes = commands.iter().map(size).sum();
    log.reserve(bytes, if commands.iter().any(puts) { FREE_TO_PUT } else { FREE_TO_DELETE })
}

/// The same for what another member has logged.
pub fn reserve_entries(log: &Log, entries: &[Entry]) -> Result<()> {
    let groups = entries.iter().filter_map(|entry| match &entry.payload {
        EntryPayload::Normal(group) => Some(&group.commands),
        EntryPayload::Blank | EntryPayload::Membership(_) => None,
    });
    let (mut bytes, mut any_puts) = (0, false);
    for commands in groups {
        bytes += commands.iter().map(size).sum::<u64>();
        any_puts |= commands.iter().any(puts);
    }
    match bytes {
        // A heartbeat.
        0 => Ok(()),
        _ => log.reserve(bytes, if any_puts { FREE_TO_PUT } else { FREE_TO_DELETE }),
    }
}

pub async fn propose(raft: &Raft, log: &Log, commands: &Arc<Vec<Command>>) -> Result<Proposed> {
    match raft.client_write(Group { commands: commands.clone() }).await {
        Ok(response) => Ok(Proposed::Done(response.data, response.log_id.index)),
        Err(RaftError::APIError(error)) => refused(error),
        Err(RaftError::Fatal(fatal)) => Err(stopped(log, &fatal)),
    }
}

/// The same, while the member leads in a term that it once led in; not in a later one.
pub async fn propose_in(raft: &Raft, log: &Log, commands: &Arc<Vec<Command>>, lead: LeaderId) -> Result<Proposed> {
    let (responder, done) = ProgressResponder::complete_only();
    let proposing = raft.write(Group { commands: commands.clone() }).with_leader(lead).responder(responder);
    proposing.await.map_err(|fatal| stopped(log, &fatal))?;
    match done.await {
        Ok(Ok(response)) => Ok(Proposed::Done(response.data, response.log_id.index)),
        Ok(Err(error)) => refused(error),
        Err(_) => Err(stopped(log, &Fatal::Stopped)),
    }
}

fn refused(error: ClientWriteError<Types>) -> Result<Proposed> {
    match error {
        ClientWriteError::ForwardToLeader(forward) => {
            Ok(Proposed::NotLeader(forward.leader_node.map(|node| node.addr)))
        }
        error => Err(Error::Unavailable(error.to_string())),
    }
}

fn puts(command: &Command) -> bool {
    matches!(command, Command::Txn(txn) if txn.ops.iter().any(|op| matches!(op, Op::Put { .. })))
}

pub fn stopped(log: &Log, fatal: &Fatal<Types>) -> Error {
    match (log.failure(), fatal) {
        (Some(why), _) => Error::Disk(why),
        (None, Fatal::StorageError(error)) => Error::Disk(error.to_string()),
        (None, Fatal::Stopped) => Error::Unavailable("it is closed".into()),
        (None, Fatal::Panicked) => Error::Unavailable("its consensus core panicked; restart it".into()),
    }
}

/// One failure, for each who waited.
pub fn again(error: &Error) -> Error {
    match error {
        Error::Compacted { asked, oldest } => Error::Compacted { asked: *asked, oldest: *oldest },
        Error::Future { asked, newest } => Error::Future { asked: *asked, newest: *newest },
        Error::Unavailable(why) => Error::Unavailable(why.clone()),
        Error::Disk(why) => Error::Disk(why.clone()),
        Error::Invalid(why) => Error::Invalid(why.clone()),
        Error::Data(why) => Error::Data(why.clone()),
    }
}

/// About what a command takes in the log, and never less.
pub fn size(command: &Command) -> u64 {
    let Command::Txn(txn) = command else {
        return COMMAND_COST;
    };
    let compares = txn.compare.iter().map(|Compare::ModRevision(key, _)| key.len() as u64 + COMMAND_COST);
    let ops = txn.ops.iter().map(|op| match op {
        Op::Put { key, value, .. } => (key.len() + value.len()) as u64 + COMMAND_COST,
        Op::Delete { key } => key.len() as u64 + COMMAND_COST,
    });
    COMMAND_COST + compares.sum::<u64>() + ops.sum::<u64>()
}

pub fn check(command: &Command) -> Result<()> {
    let Command::Txn(txn) = command else {
        return Ok(());
    };
    if txn.ops.len() > MAX_OPS || txn.compare.len() > MAX_OPS {
        return Err(Error::Invalid(format!("a transaction has at most {MAX_OPS} comparisons and operations")));
    }
    if size(command) > MAX_BYTES {
        return Err(Error::Invalid(format!("a transaction has at most {MAX_BYTES} bytes")));
    }
    check_keys(txn)
}

fn check_keys(txn: &Txn) -> Result<()> {
    let mut changed = HashSet::new();
    for op in &txn.ops {
        let (Op::Put { key, .. } | Op::Delete { key }) = op;
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(Error::Invalid(format!("a key has between 1 and {MAX_KEY} bytes, this one {}", key.len())));
        }
        if !changed.insert(key) {
            return Err(Error::Invalid(format!("the key {} is changed twice in one transaction", key.escape_ascii())));
        }
    }
    Ok(())
}
