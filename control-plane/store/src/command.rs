//! What the log carries: groups of commands, and what each of them answers.

use std::fmt;
use std::sync::Arc;

use crate::contract::{Revision, Txn, TxnOutcome};

/// One change that every member applies in the same way.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Command {
    Txn(Txn),
    /// Forget what only revisions before this one need, at most one step's worth.
    Compact(Revision),
    Grant {
        ttl_seconds: u64,
    },
    /// Ends a lease and removes its keys.
    Revoke {
        lease: u64,
    },
}

/// Every write that waited when the previous group was on its way to the disk: one log entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Group {
    pub commands: Arc<Vec<Command>>,
}

impl Group {
    /// Whether every writer in it agreed to be acknowledged before the disk has it.
    pub fn is_volatile(&self) -> bool {
        self.commands.iter().all(|command| match command {
            Command::Txn(txn) => txn.volatile,
            // What a crash forgets of a compaction is compacted again.
            Command::Compact(_) => true,
            Command::Grant { .. } | Command::Revoke { .. } => false,
        })
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands", self.commands.len())
    }
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Outcome {
    Txn(TxnOutcome),
    /// History now starts here.
    Compacted(Revision),
    Granted(u64),
    Revoked(Revision),
    NoLease(u64),
}
