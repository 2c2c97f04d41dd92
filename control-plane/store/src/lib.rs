//! Revisioned bytes with etcd's contract: one global revision, reads at a revision, transactions that compare
//! modification revisions, gap-free watches, compaction, leases. Embedded on openraft and redb.
//!
//! The store knows no kind, and refuses to interpret a value.

mod types;

pub use types::{Compare, Error, Event, KeyValue, List, Op, Revision, Txn, TxnOutcome};
