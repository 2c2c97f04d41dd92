//! What members say to each other.

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};

use crate::command::{Command, Outcome};
use crate::contract::{Error, Revision};
use crate::raft::{SnapshotMeta, Types, VoteOf};

/// A request on its way.
#[derive(Debug, Serialize, Deserialize)]
pub struct Letter<R> {
    /// The member that it is meant for. Addresses change hands; what raft counts one member's answer for must not be
    /// another's. `None` where any member may answer.
    pub to: Option<u64>,
    pub request: R,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    TransferLeader(TransferLeaderRequest<Types>),
    Snapshot(Piece),
    /// Carry these out, if you lead.
    Write(Vec<Command>),
    /// Which log entry must I have applied, to read what is true now?
    ReadIndex,
    KeepAlive(u64),
    /// Take me in, or note where I am now.
    Join {
        id: u64,
        address: String,
    },
    /// Who belongs to the cluster, as far as you know?
    Members,
    /// Go on without this member.
    Leave {
        id: u64,
    },
    /// The tables as they are now: the first block begins, for a taker who has chosen a number by chance.
    Copy {
        taker: u64,
        number: u64,
    },
}

/// One block of the tables' image.
#[derive(Debug, Serialize, Deserialize)]
pub struct Piece {
    pub vote: VoteOf,
    pub meta: SnapshotMeta,
    pub number: u64,
    pub last: bool,
    pub block: Bytes,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Response {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    TransferLeader(TransferLeaderResponse<Types>),
    /// The last piece is answered by raft.
    Snapshot(Option<SnapshotResponse<Types>>),
    /// What became of it, and the log entry that holds it.
    Written(Vec<Outcome>, u64),
    ReadIndex(u64),
    KeptAlive(u64),
    /// Number, address and whether it votes.
    Members {
        members: Vec<(u64, String, bool)>,
        leader: Option<u64>,
    },
    Done,
    /// Ask this one, if it is known.
    NotLeader(Option<String>),
    Failed(Error),
    /// `None` after the last.
    Block {
        block: Option<Bytes>,
        revision: Revision,
    },
}

/// The bytes of a message.
pub fn encode<T: Serialize>(message: &T) -> std::io::Result<Bytes> {
    let bytes = postcard::to_allocvec(message).map_err(std::io::Error::other)?;
    Ok(bytes.into())
}

/// Refuses what is no message, and what has bytes left over.
pub fn decode<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> std::io::Result<T> {
    let malformed =
        |why: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, format!("a message of a member: {why}"));
    let (message, rest) = postcard::take_from_bytes(bytes).map_err(|error| malformed(&error.to_string()))?;
    if !rest.is_empty() {
        return Err(malformed("bytes after its end"));
    }
    Ok(message)
}
