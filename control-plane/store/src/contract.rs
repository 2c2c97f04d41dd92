//! The words of the store's contract.

use bytes::Bytes;

/// A point in the store's one history. 0 is "before everything".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Revision(pub u64);

/// One key at one point in history. Clones share the bytes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeyValue {
    pub key: Bytes,
    pub value: Bytes,
    pub create_revision: Revision,
    pub mod_revision: Revision,
    /// The lease that removes the key when it ends; 0 is none.
    pub lease: u64,
}

/// A page of a list.
#[derive(Debug, Clone, Default)]
pub struct List {
    pub items: Vec<KeyValue>,
    /// The revision that the page was read at: the asked one, else the newest applied.
    pub revision: Revision,
    /// Whether keys of the range remain after the last item.
    pub more: bool,
    /// How many keys the range holds at that revision, this page included.
    pub count: u64,
}

/// What must hold for a transaction to be carried out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Compare {
    /// The key's modification revision is this one; revision 0 means that the key is absent.
    ModRevision(Bytes, Revision),
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Op {
    Put { key: Bytes, value: Bytes, lease: u64 },
    Delete { key: Bytes },
}

/// Compares and then changes, atomically, at one new revision.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Txn {
    pub compare: Vec<Compare>,
    pub ops: Vec<Op>,
    /// Acknowledged before it is durable; after a power cut an older value may be back. For lease renewals only.
    pub volatile: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum TxnOutcome {
    /// Carried out at this revision.
    Committed(Revision),
    /// A comparison did not hold. The keys of all comparisons, in order, as they are now.
    Conflict { current: Vec<Option<KeyValue>>, revision: Revision },
}

/// One change, as a watcher sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// `prev` is the key's value before, `None` when this creates it.
    Put {
        kv: KeyValue,
        prev: Option<KeyValue>,
    },
    Delete {
        key: Bytes,
        prev: KeyValue,
        revision: Revision,
    },
    /// Everything up to this revision has been delivered.
    Progress(Revision),
}

#[derive(Debug, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum Error {
    /// The asked revision is older than the history that is kept.
    #[error("revision {asked:?} has been compacted; the oldest is {oldest:?}")]
    Compacted { asked: Revision, oldest: Revision },
    /// The asked revision has not happened yet.
    #[error("revision {asked:?} is in the future; the newest is {newest:?}")]
    Future { asked: Revision, newest: Revision },
    /// No quorum, not the leader, or shutting down: the outcome of a write is unknown.
    #[error("the store cannot serve the request now: {0}")]
    Unavailable(String),
    /// The disk is full, or refuses.
    #[error("the store cannot write: {0}")]
    Disk(String),
    /// The request itself is wrong: a key twice in one transaction, an unknown lease, more than the limits allow.
    #[error("the store refuses the request: {0}")]
    Invalid(String),
    /// The data directory is of another version, or damaged; the message names the file and says what to do.
    #[error("{0}")]
    Data(String),
}

pub type Result<T> = std::result::Result<T, Error>;
