//! The types that openraft is configured with.

use crate::command::{Group, Outcome};
use crate::machine::{Image, Machine};

#[cfg(not(test))]
type Runtime = openraft::TokioRuntime;
/// Elections that repeat with their seed.
#[cfg(test)]
type Runtime = crate::proof::Runtime;

openraft::declare_raft_types!(
    /// Commands in, outcomes out; members are numbered.
    pub Types:
        D = Group,
        R = Vec<Outcome>,
        AsyncRuntime = Runtime,
);

pub type Raft = openraft::Raft<Types, Machine>;
pub type Entry = openraft::type_config::alias::EntryOf<Types>;
pub type VoteOf = openraft::type_config::alias::VoteOf<Types>;
pub type LogIdOf = openraft::type_config::alias::LogIdOf<Types>;
pub type LeaderId = openraft::type_config::alias::LeaderIdOf<Types>;
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;
pub type Snapshot = openraft::type_config::alias::SnapshotOf<Types, Image>;
