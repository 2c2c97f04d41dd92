//! Revisioned bytes with etcd's contract: one global revision, reads at a revision, transactions that compare
//! modification revisions, gap-free watches, compaction, leases. Embedded on openraft and redb.
//!
//! A write is a command in a checksummed log ([`log`]); commands are applied by a pure function ([`state`]) to layers
//! of rows ([`layers`]): the newest in memory, the others in redb ([`tables`]). The log is synced, once for every group of
//! waiting writes; rows, which the log can rebuild, reach the disk only when a piece of the log is about to be dropped.
//!
//! The store knows no kind, and refuses to interpret a value.

mod blocking;
mod clock;
mod codec;
mod command;
mod contract;
mod count;
mod database;
mod dir;
mod disk;
mod expiry;
mod flush;
mod fresh;
mod history;
mod image;
mod layers;
mod log;
mod look;
mod machine;
mod member;
mod message;
mod network;
pub mod offline;
mod outgoing;
#[cfg(test)]
#[expect(unexpected_cfgs, reason = "tokio's chance can be seeded in builds with --cfg tokio_unstable only")]
mod proof;
mod raft;
mod read;
#[doc(hidden)]
pub mod readers;
pub mod remote;
mod saving;
mod segment;
mod start;
mod state;
mod store;
mod tables;
mod watch;
mod wire;
mod writer;

pub use contract::{Compare, Error, Event, KeyValue, List, Op, Result, Revision, Txn, TxnOutcome};
pub use history::Keep;
pub use store::{Cluster, Config, MemberInfo, Store, Timing};
pub use watch::Watch;
pub use wire::{Connection, Dial, Listen, Stream};
