//! The types that openraft is configured with, and the network of a cluster of one.

use std::future::Future;
use std::io;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{BasicNode, RaftNetworkFactory, RaftNetworkV2};

use crate::command::{Group, Outcome};
use crate::machine::{Image, Machine};

openraft::declare_raft_types!(
    /// Commands in, outcomes out; members are numbered.
    pub Types:
        D = Group,
        R = Vec<Outcome>,
);

pub type Raft = openraft::Raft<Types, Machine>;
pub type Entry = openraft::type_config::alias::EntryOf<Types>;
pub type VoteOf = openraft::type_config::alias::VoteOf<Types>;
pub type LogIdOf = openraft::type_config::alias::LogIdOf<Types>;
pub type LeaderId = openraft::type_config::alias::LeaderIdOf<Types>;
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;
pub type Snapshot = openraft::type_config::alias::SnapshotOf<Types, Image>;

/// Reaches nobody: there is one voter, and no transport between members yet.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

impl RaftNetworkFactory<Types> for Alone {
    type Network = Alone;

    async fn new_client(&mut self, _target: u64, _node: &BasicNode) -> Self::Network {
        Alone
    }
}

fn unreachable() -> Unreachable<Types> {
    Unreachable::new(&io::Error::new(io::ErrorKind::NotConnected, "this store has one member and no peers"))
}

impl RaftNetworkV2<Types> for Alone {
    type SnapshotData = Image;

    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        Err(RPCError::Unreachable(unreachable()))
    }

    async fn vote(
        &mut self,
        _rpc: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Err(RPCError::Unreachable(unreachable()))
    }

    async fn full_snapshot(
        &mut self,
        _vote: VoteOf,
        _snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        Err(StreamingError::Unreachable(unreachable()))
    }
}
