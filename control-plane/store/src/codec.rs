//! The bytes of log records and table rows: little-endian integers and length-prefixed strings.
//!
//! Refuses input it cannot account for to the last byte.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use openraft::{EntryPayload, LogId, Membership};

use crate::command::{Command, Group};
use crate::contract::{Compare, Op, Revision, Txn};
use crate::raft::{Entry, LeaderId, LogIdOf, VoteOf};

/// Why bytes could not be read back.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

type Result<T> = std::result::Result<T, Malformed>;

/// One record of the log.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    Entry(Entry),
    Vote(VoteOf),
    /// Entries after this index are void.
    Truncate(Option<LogIdOf>),
    /// Entries up to here are in the tables and may be missing.
    Purge(LogIdOf),
}

const ENTRY_BLANK: u8 = 1;
const ENTRY_GROUP: u8 = 2;
const ENTRY_MEMBERSHIP: u8 = 3;
const VOTE: u8 = 4;
const TRUNCATE: u8 = 5;
const PURGE: u8 = 6;

pub fn put_record(out: &mut Vec<u8>, record: &Record) {
    match record {
        Record::Entry(entry) => put_entry(out, entry),
        Record::Vote(vote) => {
            out.put_u8(VOTE);
            out.put_u64_le(vote.leader_id.term);
            out.put_u64_le(vote.leader_id.node_id);
            out.put_u8(vote.committed.into());
        }
        Record::Truncate(last) => {
            out.put_u8(TRUNCATE);
            out.put_u8(last.is_some().into());
            if let Some(last) = last {
                put_log_id(out, last);
            }
        }
        Record::Purge(last) => {
            out.put_u8(PURGE);
            put_log_id(out, last);
        }
    }
}

pub fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    let kind = match &entry.payload {
        EntryPayload::Blank => ENTRY_BLANK,
        EntryPayload::Normal(_) => ENTRY_GROUP,
        EntryPayload::Membership(_) => ENTRY_MEMBERSHIP,
    };
    out.put_u8(kind);
    put_log_id(out, &entry.log_id);
    match &entry.payload {
        EntryPayload::Blank => {}
        EntryPayload::Normal(group) => put_group(out, group),
        EntryPayload::Membership(membership) => {
            let json = serde_json::to_vec(membership).expect("a membership is maps of numbers and strings");
            put_bytes(out, &json);
        }
    }
}

pub fn get_record(mut from: Bytes) -> Result<Record> {
    let from = &mut from;
    let record = match get_u8(from)? {
        ENTRY_BLANK => Record::Entry(Entry { log_id: get_log_id(from)?, payload: EntryPayload::Blank }),
        ENTRY_GROUP => {
            Record::Entry(Entry { log_id: get_log_id(from)?, payload: EntryPayload::Normal(get_group(from)?) })
        }
        ENTRY_MEMBERSHIP => {
            let log_id = get_log_id(from)?;
            let membership: Membership<u64, openraft::BasicNode> =
                serde_json::from_slice(&get_bytes(from)?).map_err(|_| Malformed("a membership that is not JSON"))?;
            Record::Entry(Entry { log_id, payload: EntryPayload::Membership(membership) })
        }
        VOTE => {
            let leader_id = LeaderId { term: get_u64(from)?, node_id: get_u64(from)? };
            Record::Vote(VoteOf { leader_id, committed: get_u8(from)? != 0 })
        }
        TRUNCATE => Record::Truncate(match get_u8(from)? {
            0 => None,
            _ => Some(get_log_id(from)?),
        }),
        PURGE => Record::Purge(get_log_id(from)?),
        _ => return Err(Malformed("a record of an unknown kind")),
    };
    if from.has_remaining() {
        return Err(Malformed("bytes after the end of a record"));
    }
    Ok(record)
}

const TXN: u8 = 1;
const COMPACT: u8 = 2;
const GRANT: u8 = 3;
const REVOKE: u8 = 4;
const PUT: u8 = 1;
const DELETE: u8 = 2;

fn put_group(out: &mut Vec<u8>, group: &Group) {
    out.put_u32_le(group.commands.len() as u32);
    for command in group.commands.iter() {
        put_command(out, command);
    }
}

fn get_group(from: &mut Bytes) -> Result<Group> {
    let count = get_u32(from)?;
    let mut commands = Vec::new();
    for _ in 0..count {
        commands.push(get_command(from)?);
    }
    Ok(Group { commands: Arc::new(commands) })
}

fn put_command(out: &mut Vec<u8>, command: &Command) {
    match command {
        Command::Txn(txn) => {
            out.put_u8(TXN);
            put_txn(out, txn);
        }
        Command::Compact(at) => {
            out.put_u8(COMPACT);
            out.put_u64_le(at.0);
        }
        Command::Grant { ttl_seconds } => {
            out.put_u8(GRANT);
            out.put_u64_le(*ttl_seconds);
        }
        Command::Revoke { lease } => {
            out.put_u8(REVOKE);
            out.put_u64_le(*lease);
        }
    }
}

fn get_command(from: &mut Bytes) -> Result<Command> {
    Ok(match get_u8(from)? {
        TXN => Command::Txn(get_txn(from)?),
        COMPACT => Command::Compact(Revision(get_u64(from)?)),
        GRANT => Command::Grant { ttl_seconds: get_u64(from)? },
        REVOKE => Command::Revoke { lease: get_u64(from)? },
        _ => return Err(Malformed("a command of an unknown kind")),
    })
}

fn put_txn(out: &mut Vec<u8>, txn: &Txn) {
    out.put_u8(txn.volatile.into());
    out.put_u32_le(txn.compare.len() as u32);
    for Compare::ModRevision(key, revision) in &txn.compare {
        put_bytes(out, key);
        out.put_u64_le(revision.0);
    }
    out.put_u32_le(txn.ops.len() as u32);
    for op in &txn.ops {
        match op {
            Op::Put { key, value, lease } => {
                out.put_u8(PUT);
                put_bytes(out, key);
                put_bytes(out, value);
                out.put_u64_le(*lease);
            }
            Op::Delete { key } => {
                out.put_u8(DELETE);
                put_bytes(out, key);
            }
        }
    }
}

fn get_txn(from: &mut Bytes) -> Result<Txn> {
    let mut txn = Txn { volatile: get_u8(from)? != 0, ..Txn::default() };
    for _ in 0..get_u32(from)? {
        txn.compare.push(Compare::ModRevision(get_bytes(from)?, Revision(get_u64(from)?)));
    }
    for _ in 0..get_u32(from)? {
        txn.ops.push(match get_u8(from)? {
            PUT => Op::Put { key: get_bytes(from)?, value: get_bytes(from)?, lease: get_u64(from)? },
            DELETE => Op::Delete { key: get_bytes(from)? },
            _ => return Err(Malformed("an operation of an unknown kind")),
        });
    }
    Ok(txn)
}

pub fn put_log_id(out: &mut Vec<u8>, log_id: &LogIdOf) {
    out.put_u64_le(log_id.leader_id.term);
    out.put_u64_le(log_id.leader_id.node_id);
    out.put_u64_le(log_id.index);
}

pub fn get_log_id(from: &mut Bytes) -> Result<LogIdOf> {
    let leader_id = LeaderId { term: get_u64(from)?, node_id: get_u64(from)? };
    Ok(LogId { leader_id, index: get_u64(from)? })
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32_le(bytes.len() as u32);
    out.put_slice(bytes);
}

fn get_bytes(from: &mut Bytes) -> Result<Bytes> {
    let length = get_u32(from)? as usize;
    if from.remaining() < length {
        return Err(Malformed("a string that ends too early"));
    }
    Ok(from.split_to(length))
}

pub fn get_u64(from: &mut Bytes) -> Result<u64> {
    from.try_get_u64_le().map_err(|_| Malformed("a number that ends too early"))
}

fn get_u32(from: &mut Bytes) -> Result<u32> {
    from.try_get_u32_le().map_err(|_| Malformed("a length that ends too early"))
}

fn get_u8(from: &mut Bytes) -> Result<u8> {
    from.try_get_u8().map_err(|_| Malformed("a record that ends too early"))
}

#[cfg(test)]
mod tests;
