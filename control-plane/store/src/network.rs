//! Raft's requests to other members.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::{BasicNode, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use tokio::sync::mpsc;

use crate::contract::Error;
use crate::machine::Image;
use crate::message::{self, Letter, Piece, Request, Response};
use crate::raft::{Snapshot, SnapshotMeta, Types, VoteOf};
use crate::wire::Wire;
use crate::{blocking, clock, image};

/// Blocks of an image that wait for their turn.
const BLOCKS_AHEAD: usize = 2;
/// Heartbeats that an append may take: the other side's disk is in it.
const APPEND: u32 = 10;
/// One block, the last one included, after which the other side fills its tables.
const PIECE: Duration = Duration::from_secs(60);

/// Sends a message to whoever is at an address, and reads the answer.
pub async fn ask(wire: &dyn Wire, address: &str, request: &Request, within: Duration) -> io::Result<Response> {
    send(wire, address, &Letter { to: None, request }, within).await
}

async fn send(wire: &dyn Wire, address: &str, letter: &Letter<&Request>, within: Duration) -> io::Result<Response> {
    let request = message::encode(letter)?;
    let answer = clock::timeout(within, wire.call(address, request)).await??;
    message::decode(&answer)
}

/// Makes links; without a wire there are no other members.
#[derive(Clone)]
pub struct Network {
    pub id: u64,
    pub wire: Option<Arc<dyn Wire>>,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Link {
        Link { id: self.id, target, address: node.addr.clone(), wire: self.wire.clone() }
    }
}

/// To one member.
pub struct Link {
    id: u64,
    target: u64,
    address: String,
    wire: Option<Arc<dyn Wire>>,
}

impl Link {
    async fn ask(&self, what: RPCTypes, request: Request, within: Duration) -> Result<Response, RPCError<Types>> {
        let Some(wire) = &self.wire else {
            let error = io::Error::new(io::ErrorKind::NotConnected, "this store has one member and no peers");
            return Err(RPCError::Unreachable(Unreachable::new(&error)));
        };
        let letter = Letter { to: Some(self.target), request: &request };
        match send(&**wire, &self.address, &letter, within).await {
            Ok(Response::Failed(error)) => Err(RPCError::Network(NetworkError::new(&error))),
            Ok(answer) => Ok(answer),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                Err(RPCError::Timeout(Timeout { action: what, id: self.id, target: self.target, timeout: within }))
            }
            Err(error) => Err(RPCError::Unreachable(Unreachable::new(&error))),
        }
    }
}

fn unexpected(answer: &Response) -> RPCError<Types> {
    RPCError::Network(NetworkError::from_string(format!("a member answered out of turn: {answer:?}")))
}

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = Image;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        match self.ask(RPCTypes::AppendEntries, Request::Append(rpc), option.hard_ttl() * APPEND).await? {
            Response::Append(answer) => Ok(answer),
            other => Err(unexpected(&other)),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.ask(RPCTypes::Vote, Request::Vote(rpc), option.hard_ttl()).await? {
            Response::Vote(answer) => Ok(answer),
            other => Err(unexpected(&other)),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.ask(RPCTypes::Vote, Request::PreVote(rpc), option.hard_ttl()).await? {
            Response::Vote(answer) => Ok(answer),
            other => Err(unexpected(&other)),
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        match self.ask(RPCTypes::TransferLeader, Request::TransferLeader(rpc), option.hard_ttl()).await? {
            Response::TransferLeader(answer) => Ok(answer),
            other => Err(unexpected(&other)),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send(vote, snapshot) => Ok(sent?),
        }
    }
}

impl Link {
    async fn send(&self, vote: VoteOf, snapshot: Snapshot) -> Result<SnapshotResponse<Types>, RPCError<Types>> {
        let mut blocks = blocks(snapshot.snapshot);
        let (mut number, mut next) = (0, received(blocks.recv().await)?);
        loop {
            let following = blocks.recv().await;
            let last = following.is_none();
            let answer = self.piece(vote, &snapshot.meta, number, last, next).await?;
            match (answer, following) {
                (Response::Snapshot(Some(answer)), None) => return Ok(answer),
                (Response::Snapshot(None), Some(following)) => next = received(Some(following))?,
                (other, _) => return Err(unexpected(&other)),
            }
            number += 1;
        }
    }

    async fn piece(
        &self,
        vote: VoteOf,
        meta: &SnapshotMeta,
        number: u64,
        last: bool,
        block: Bytes,
    ) -> Result<Response, RPCError<Types>> {
        let piece = Piece { vote, meta: meta.clone(), number, last, block };
        self.ask(RPCTypes::InstallSnapshot, Request::Snapshot(piece), PIECE).await
    }
}

fn received(block: Option<Result<Bytes, Error>>) -> Result<Bytes, RPCError<Types>> {
    match block {
        Some(Ok(block)) => Ok(block),
        Some(Err(error)) => Err(RPCError::Network(NetworkError::new(&error))),
        None => Err(RPCError::Network(NetworkError::from_string("the tables' image ended before it began"))),
    }
}

/// The blocks of an image as they are made.
pub fn blocks(image: Image) -> mpsc::Receiver<Result<Bytes, Error>> {
    let (send, receive) = mpsc::channel(BLOCKS_AHEAD);
    clock::spawn(async move {
        let Image::Here(read) = image else {
            let why = Error::Unavailable("a member's image is its own, and is not passed on".into());
            return drop(send.send(Err(why)).await);
        };
        let failed = send.clone();
        let making = blocking::run("reading the tables", move || {
            let gone = |_| Error::Unavailable("nobody waits for the image any more".into());
            // In a simulation there is one thread, which must not wait for itself.
            #[cfg(test)]
            if crate::proof::is_simulated() {
                let mut made = Vec::new();
                image::write(&read, &mut |block| {
                    made.push(block);
                    Ok(())
                })?;
                clock::spawn(async move {
                    for block in made {
                        if send.send(Ok(block)).await.is_err() {
                            return;
                        }
                    }
                });
                return Ok(());
            }
            image::write(&read, &mut |block| send.blocking_send(Ok(block)).map_err(gone)).map(drop)
        });
        if let Err(error) = making.await {
            // Nobody waits any more: fine.
            let _ = failed.send(Err(error)).await;
        }
    });
    receive
}
