//! A member among others: what it answers them, how it reaches the one that leads, who belongs to the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared as SharedFuture};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, LinearizableReadError, RaftError};
use openraft::{BasicNode, ChangeMembers, ReadPolicy, ServerState};
use parking_lot::Mutex;

use crate::clock::{Instant, sleep, timeout};
use crate::command::{Command, Outcome};
use crate::contract::{Error, Result};
use crate::disk::{DiskFile, Opening};
use crate::expiry::Leases;
use crate::log::Log;
use crate::machine::{Image, Shared};
use crate::message::{self, Letter, Piece, Request, Response};
use crate::network::{self, ask};
use crate::outgoing::Outgoing;
use crate::raft::{LeaderId, Raft, Snapshot, SnapshotMeta, Types};
use crate::tables;
use crate::wire::{Answer, Wire};
use crate::{blocking, writer};

/// How long a request waits for a leader to be elected: a few elections.
const LEADER: Duration = Duration::from_secs(5);
/// Between two questions to a leader that does not answer as one, and between two tries to change the members.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// A request to the leader; a write waits for a quorum's disks.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a leader waits for a quorum's disks: less than who asked it does.
const QUORUM: Duration = Duration::from_secs(8);
/// How long a member waits to see its own write, which comes with the leader's next message.
const SEE: Duration = Duration::from_secs(2);
/// How long a leader whose disk is full waits for another to lead, and how soon it tries again.
const GIVE_WAY: Duration = Duration::from_secs(2);
const GIVE_WAY_AGAIN: Duration = Duration::from_secs(10);
/// A new member gets the whole state before it counts.
const JOIN: Duration = Duration::from_secs(600);

pub struct Member {
    pub id: u64,
    pub raft: Raft,
    pub log: Log,
    pub shared: Arc<Shared>,
    pub leases: Arc<Leases>,
    pub wire: Option<Arc<dyn Wire>>,
    /// The image that is being received.
    incoming: tokio::sync::Mutex<Option<Incoming>>,
    outgoing: Outgoing,
    /// Reads that wait for the next round of asking whether this is the newest state.
    round: Mutex<Option<Round>>,
    rounds: tokio::sync::Mutex<()>,
    /// When the lead was last handed over for want of space.
    gave_way: Mutex<Option<Instant>>,
}

type Round = SharedFuture<BoxFuture<'static, std::result::Result<(), Arc<Error>>>>;

struct Incoming {
    meta: SnapshotMeta,
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    next: u64,
    length: u64,
}

impl Member {
    pub fn new(
        id: u64,
        raft: Raft,
        log: Log,
        shared: Arc<Shared>,
        leases: Arc<Leases>,
        wire: Option<Arc<dyn Wire>>,
    ) -> Self {
        let (incoming, outgoing, round, rounds, gave_way) = Default::default();
        Self { id, raft, log, shared, leases, wire, incoming, outgoing, round, rounds, gave_way }
    }

    /// Has the leader carry commands out, wherever it is. An error other than `Invalid` and `Disk` leaves it open
    /// whether they were.
    pub async fn propose(&self, commands: Vec<Command>) -> Result<Vec<Outcome>> {
        let commands = Arc::new(commands);
        let until = Instant::now() + LEADER;
        loop {
            let leader = match self.try_propose(&commands).await? {
                writer::Proposed::Done(outcomes, _) => return Ok(outcomes),
                writer::Proposed::NotLeader(leader) => leader,
            };
            if let (Some(leader), Some(wire)) = (leader, &self.wire) {
                let request = Request::Write(commands.to_vec());
                match ask(&**wire, &leader, &request, ANSWER).await.map_err(|error| lost(&leader, &error))? {
                    Response::Written(outcomes, index) => {
                        self.see(index).await;
                        return Ok(outcomes);
                    }
                    Response::NotLeader(_) => {}
                    Response::Failed(error) => return Err(error),
                    other => return Err(unexpected(&other)),
                }
            }
            self.wait_for_leader(until).await?;
        }
    }

    async fn try_propose(&self, commands: &Arc<Vec<Command>>) -> Result<writer::Proposed> {
        if self.wire.is_none() {
            writer::reserve(&self.log, commands)?;
            return writer::propose(&self.raft, &self.log, commands).await;
        }
        if !self.raft.is_leader() {
            return Ok(writer::Proposed::NotLeader(self.leader_address()));
        }
        if let Err(full) = writer::reserve(&self.log, commands) {
            return if self.give_way().await { Ok(writer::Proposed::NotLeader(None)) } else { Err(full) };
        }
        let late = |_| Error::Unavailable("no quorum took the write in time; it may be carried out later".into());
        timeout(QUORUM, writer::propose(&self.raft, &self.log, commands)).await.map_err(late)?
    }

    /// A leader whose disk is full hands the lead over, lest nobody can write; whether it tried. Not again and again:
    /// the others' disks may be full too.
    async fn give_way(&self) -> bool {
        {
            let mut last = self.gave_way.lock();
            if last.is_some_and(|last| last.elapsed() < GIVE_WAY_AGAIN) {
                return false;
            }
            *last = Some(Instant::now());
        }
        tracing::warn!("the disk is full: another member shall lead");
        self.hand_over(GIVE_WAY).await;
        true
    }

    /// The lead, if this member has it: another one in each term. All of one look, lest the term be of another time.
    pub fn lead(&self) -> Option<LeaderId> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        (metrics.state == ServerState::Leader).then_some(metrics.vote.leader_id)
    }

    /// Gives a lease its whole time again where this member leads, and has led since before it was asked: then no other
    /// has ended it meanwhile, and every end by another from before is known here.
    pub async fn keep_alive(&self, lease: u64) -> Result<Option<u64>> {
        let Some(lead) = self.lead() else { return Ok(None) };
        if self.wire.is_some() {
            self.catch_up().await?;
            if self.lead() != Some(lead) {
                return Ok(None);
            }
        }
        self.leases.renew(lease).map(Some)
    }

    /// Ends a lease by what this member knows of it as the leader of a term. Another leader knows better.
    pub async fn expire(&self, lease: u64, lead: LeaderId) -> Result<()> {
        let commands = Arc::new(vec![Command::Revoke { lease }]);
        writer::reserve(&self.log, &commands)?;
        let late = |_| Error::Unavailable("no quorum took it in time; it may be carried out later".into());
        match timeout(QUORUM, writer::propose_in(&self.raft, &self.log, &commands, lead)).await.map_err(late)?? {
            writer::Proposed::Done(..) => Ok(()),
            writer::Proposed::NotLeader(_) => Err(Error::Unavailable("this member does not lead any more".into())),
        }
    }

    /// Waits until this member has applied what the leader has carried out for it: who writes here reads it here. The
    /// write is done either way.
    async fn see(&self, index: u64) {
        let wait = self.raft.wait(Some(SEE));
        if let Err(error) = wait.applied_index_at_least(Some(index), "a write of this member's").await {
            tracing::debug!(%error, "this member lags behind its own write");
        }
    }

    /// Returns when this member has applied everything that was acknowledged anywhere before the call.
    pub async fn barrier(self: &Arc<Self>) -> Result<()> {
        if self.wire.is_none() {
            return Ok(());
        }
        let round = {
            let mut next = self.round.lock();
            match &*next {
                // It has not begun, so that it sees what this read must see.
                Some(round) => round.clone(),
                None => {
                    let member = self.clone();
                    let round = async move {
                        let _one_at_a_time = member.rounds.lock().await;
                        member.round.lock().take();
                        member.catch_up().await.map_err(Arc::new)
                    };
                    next.insert(round.boxed().shared()).clone()
                }
            }
        };
        round.await.map_err(|error| writer::again(&error))
    }

    async fn catch_up(&self) -> Result<()> {
        let until = Instant::now() + LEADER;
        loop {
            if let Some(index) = self.read_index(until).await? {
                let wait = self.raft.wait(Some(LEADER));
                return match wait.applied_index_at_least(Some(index), "a consistent read").await {
                    Ok(_) => Ok(()),
                    Err(error) => Err(Error::Unavailable(format!("this member lags behind: {error}"))),
                };
            }
            self.wait_for_leader(until).await?;
        }
    }

    /// What must be applied for a read of now; `None` when nobody leads at the moment.
    async fn read_index(&self, until: Instant) -> Result<Option<u64>> {
        let within = until.saturating_duration_since(Instant::now());
        let reading = timeout(within, self.raft.get_read_linearizer(ReadPolicy::ReadIndex));
        let no_quorum = || Error::Unavailable("no quorum answers this member".into());
        let leader = match reading.await.map_err(|_| no_quorum())? {
            Ok(linearizer) => return Ok(Some(linearizer.read_log_id().index())),
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => return Err(no_quorum()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => forward.leader_node,
            Err(RaftError::Fatal(fatal)) => return Err(writer::stopped(&self.log, &fatal)),
        };
        let (Some(leader), Some(wire)) = (leader, &self.wire) else { return Ok(None) };
        match ask(&**wire, &leader.addr, &Request::ReadIndex, within).await {
            Ok(Response::ReadIndex(index)) => Ok(Some(index)),
            Ok(Response::NotLeader(_)) | Err(_) => Ok(None),
            Ok(Response::Failed(error)) => Err(error),
            Ok(other) => Err(unexpected(&other)),
        }
    }

    async fn wait_for_leader(&self, until: Instant) -> Result<()> {
        if self.wire.is_none() || Instant::now() >= until {
            return Err(Error::Unavailable("no member leads, or this one cannot reach it".into()));
        }
        let now = self.raft.metrics().borrow_watched().clone();
        if let Err(fatal) = &now.running_state {
            return Err(writer::stopped(&self.log, fatal));
        }
        let seen = |metrics: &openraft::RaftMetrics<Types>| (metrics.current_leader, metrics.current_term);
        let known = seen(&now);
        let news = |metrics: &openraft::RaftMetrics<Types>| {
            metrics.current_leader.is_some() && seen(metrics) != known || metrics.running_state.is_err()
        };
        // That nothing changes in that time is fine: who was asked may answer now.
        let _ = self.raft.wait(Some(LOOK_AGAIN)).metrics(news, "a leader").await;
        Ok(())
    }

    /// Asks the leader for something, following it where it moves.
    pub async fn ask_leader(&self, request: Request, known: &[String], within: Duration) -> Result<Response> {
        let Some(wire) = &self.wire else {
            return Err(Error::Unavailable("this store has one member".into()));
        };
        let until = Instant::now() + within;
        let mut hint = None;
        loop {
            let own = self.leader_address();
            for address in hint.take().into_iter().chain(own).chain(known.iter().cloned()) {
                match ask(&**wire, &address, &request, within).await {
                    Ok(Response::NotLeader(leader)) => hint = leader.or(hint),
                    Ok(Response::Failed(error)) => return Err(error),
                    Ok(answer) => return Ok(answer),
                    Err(error) => tracing::debug!(%error, %address, "a member did not answer"),
                }
            }
            self.wait_for_leader(until).await?;
        }
    }

    fn leader_address(&self) -> Option<String> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let leader = metrics.current_leader.filter(|leader| *leader != self.id)?;
        metrics.membership_config.membership().get_node(&leader).map(|node| node.addr.clone())
    }

    /// Who belongs to the cluster: number, address, and whether it votes.
    pub fn members(&self) -> Vec<(u64, String, bool)> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let voters: BTreeSet<u64> = metrics.membership_config.membership().voter_ids().collect();
        let nodes = metrics.membership_config.membership().nodes();
        nodes.map(|(id, node)| (*id, node.addr.clone(), voters.contains(id))).collect()
    }

    /// Gives the lead to the member that is nearest, when this one has it.
    pub async fn hand_over(&self, within: Duration) {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let Some(replication) = metrics.replication.filter(|_| self.raft.is_leader()) else { return };
        let voters: BTreeSet<u64> = metrics.membership_config.membership().voter_ids().collect();
        let others = replication.into_iter().filter(|(id, _)| *id != self.id && voters.contains(id));
        let Some((to, _)) = others.max_by_key(|(_, matching)| *matching) else { return };
        if let Err(error) = self.raft.trigger().transfer_leader(to).await {
            return tracing::warn!(%error, "the lead could not be handed over");
        }
        let led =
            |metrics: &openraft::RaftMetrics<Types>| metrics.current_leader.is_some_and(|leader| leader != self.id);
        if let Err(error) = self.raft.wait(Some(within)).metrics(led, "another member leads").await {
            tracing::warn!(%error, "no other member took the lead in time");
        }
    }

    async fn handle(&self, request: Request) -> Result<Response> {
        let fatal = |error: RaftError<Types>| Error::Unavailable(error.to_string());
        Ok(match request {
            Request::Append(rpc) => {
                // Refused while raft does not know of it, a full disk is met again with the next try; later it is the end.
                writer::reserve_entries(&self.log, &rpc.entries)?;
                Response::Append(self.raft.append_entries(rpc).await.map_err(fatal)?)
            }
            Request::Vote(rpc) => Response::Vote(self.raft.vote(rpc).await.map_err(fatal)?),
            Request::PreVote(rpc) => Response::Vote(self.raft.pre_vote(rpc).await.map_err(fatal)?),
            Request::TransferLeader(rpc) => {
                let answer = self.raft.handle_transfer_leader(rpc).await;
                Response::TransferLeader(answer.map_err(|error| Error::Unavailable(error.to_string()))?)
            }
            Request::Snapshot(piece) => self.receive(piece).await?,
            Request::Write(commands) => {
                commands.iter().try_for_each(writer::check)?;
                match self.try_propose(&Arc::new(commands)).await? {
                    writer::Proposed::Done(outcomes, index) => Response::Written(outcomes, index),
                    writer::Proposed::NotLeader(leader) => Response::NotLeader(leader),
                }
            }
            Request::ReadIndex => match self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
                Ok(linearizer) => Response::ReadIndex(linearizer.read_log_id().index()),
                Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                    Response::NotLeader(forward.leader_node.map(|node| node.addr))
                }
                Err(error) => return Err(Error::Unavailable(error.to_string())),
            },
            Request::Join { .. } | Request::Leave { .. } if !self.raft.is_leader() => {
                Response::NotLeader(self.leader_address())
            }
            Request::Members => Response::Members { members: self.members(), leader: self.raft.current_leader().await },
            Request::Copy { taker, number } => self.give(taker, number).await?,
            Request::KeepAlive(lease) => match self.keep_alive(lease).await? {
                Some(ttl_seconds) => Response::KeptAlive(ttl_seconds),
                None => Response::NotLeader(self.leader_address()),
            },
            Request::Join { id, address } => self.join(id, address).await?,
            Request::Leave { id } => self.change(ChangeMembers::RemoveVoters(BTreeSet::from([id])), false).await?,
        })
    }

    /// A block of the tables, which have everything that was acknowledged before the first one was asked for.
    async fn give(&self, taker: u64, number: u64) -> Result<Response> {
        if number == 0 {
            self.catch_up().await?;
            self.shared.clone().into_tables().await?;
            let read = self.shared.layers.read_tables()?;
            let revision = tables::load(&read)?.0.revision;
            self.outgoing.begin(taker, revision, network::blocks(Image::Here(Box::new(read)))).await?;
        }
        let (block, revision) = self.outgoing.block(taker, number).await?;
        Ok(Response::Block { block, revision })
    }

    /// A learner until it has everything, then a voter. One that is known gets its new address.
    async fn join(&self, id: u64, address: String) -> Result<Response> {
        let known = self.members().into_iter().find(|(member, _, _)| *member == id);
        let node = BasicNode::new(&address);
        match known {
            Some((_, at, true)) if at == address => return Ok(Response::Done),
            Some((_, at, _)) if at != address => {
                let moved = ChangeMembers::SetNodes(BTreeMap::from([(id, node.clone())]));
                if let other @ (Response::NotLeader(_) | Response::Failed(_)) = self.change(moved, true).await? {
                    return Ok(other);
                }
            }
            Some(_) | None => {}
        }
        match self.one_by_one(|| self.raft.add_learner(id, node.clone(), true)).await? {
            Response::Done => self.change(ChangeMembers::AddVoterIds(BTreeSet::from([id])), true).await,
            other => Ok(other),
        }
    }

    async fn change(&self, change: ChangeMembers<u64, BasicNode>, retain: bool) -> Result<Response> {
        self.one_by_one(|| self.raft.change_membership(change.clone(), retain)).await
    }

    /// Raft changes its members in one way at a time: another change is waited for.
    async fn one_by_one<T, F>(&self, change: impl Fn() -> F) -> Result<Response>
    where
        F: Future<Output = std::result::Result<T, RaftError<Types, ClientWriteError<Types>>>>,
    {
        let until = Instant::now() + ANSWER;
        loop {
            match change().await {
                Ok(_) => return Ok(Response::Done),
                // The second: another change came between the two steps of this one.
                Err(RaftError::APIError(
                    ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_))
                    | ClientWriteError::PreconditionFailed(_),
                )) if Instant::now() < until => sleep(LOOK_AGAIN).await,
                Err(error) => return answered(error),
            }
        }
    }

    /// Collects an image in a file, and installs it with its last block.
    async fn receive(&self, piece: Piece) -> Result<Response> {
        let mut incoming = self.incoming.lock().await;
        if piece.number == 0 {
            let dir = self.shared.dir.clone();
            let path = dir.path().join("incoming.image");
            let file = dir.disk().open(&path, Opening::Emptied).map_err(|error| failed(&path, &error))?;
            *incoming = Some(Incoming { meta: piece.meta.clone(), file, path, next: 0, length: 0 });
        }
        let Some(image) = incoming.as_mut().filter(|image| image.next == piece.number && image.meta == piece.meta)
        else {
            return Err(Error::Unavailable(format!("block {} of an image came out of turn", piece.number)));
        };
        let (file, at, block) = (image.file.clone(), image.length, piece.block.clone());
        blocking::run("writing an image", move || {
            file.write_at(at, &block).map_err(|error| Error::Disk(format!("write an image: {error}")))
        })
        .await?;
        image.next += 1;
        image.length += piece.block.len() as u64;
        if !piece.last {
            return Ok(Response::Snapshot(None));
        }
        let snapshot = Snapshot { meta: piece.meta, snapshot: Image::Received(image.path.clone()) };
        let installed = self.raft.install_full_snapshot(piece.vote, snapshot).await;
        *incoming = None;
        let answer = installed.map_err(|error| Error::Unavailable(format!("installing an image: {error}")))?;
        Ok(Response::Snapshot(Some(answer)))
    }

    pub async fn join_through(&self, known: &[String], address: &str) -> Result<()> {
        self.manage(Request::Join { id: self.id, address: address.to_owned() }, known, JOIN).await
    }

    pub async fn remove(&self, id: u64) -> Result<()> {
        self.manage(Request::Leave { id }, &[], ANSWER).await
    }

    /// Has the leader change the members, which may be this one.
    async fn manage(&self, request: Request, known: &[String], within: Duration) -> Result<()> {
        let answer = match self.raft.is_leader() {
            true => self.handle(request).await?,
            false => self.ask_leader(request, known, within).await?,
        };
        match answer {
            Response::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

impl Answer for Member {
    fn answer(&self, request: Bytes) -> BoxFuture<'_, io::Result<Bytes>> {
        Box::pin(async move {
            let Letter { to, request }: Letter<Request> = message::decode(&request)?;
            let answer = match to.filter(|to| *to != self.id) {
                None => self.handle(request).await,
                Some(to) => Err(Error::Unavailable(format!("this is member {}, not {to}", self.id))),
            };
            message::encode(&answer.unwrap_or_else(Response::Failed))
        })
    }
}

fn answered(error: RaftError<Types, ClientWriteError<Types>>) -> Result<Response> {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            Ok(Response::NotLeader(forward.leader_node.map(|node| node.addr)))
        }
        error => Err(Error::Unavailable(format!("changing the members: {error}"))),
    }
}

fn failed(path: &std::path::Path, error: &io::Error) -> Error {
    crate::dir::io_error("make", path, error)
}

fn lost(leader: &str, error: &io::Error) -> Error {
    Error::Unavailable(format!("the leader at {leader} did not answer: {error}"))
}

fn unexpected(answer: &Response) -> Error {
    Error::Unavailable(format!("a member answered out of turn: {answer:?}"))
}
