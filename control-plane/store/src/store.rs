//! The store's one public thing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::command::{Command, Outcome};
use crate::contract::{Error, KeyValue, List, Result, Revision, Txn, TxnOutcome};
use crate::disk::{Disk, Real};
use crate::history::{self, Keep};
use crate::machine::Shared;
use crate::member::Member;
use crate::message::{Request, Response};
use crate::raft::Types;
use crate::watch::Watch;
use crate::wire::{self, Answer, Dial, Framed, Listen, Wire};
use crate::writer::{Writer, stopped};
use crate::{blocking, clock, expiry, layers, read, saving, start};

/// Items that a list reads on the caller's own thread; longer ones go to a thread that may block.
const LIST_INLINE: usize = 64;
/// Raft's own tasks end within a moment of each other.
const LET_GO: Duration = Duration::from_secs(5);
/// How long a store that is closed waits for another member to lead. An election takes longer.
const HAND_OVER: Duration = Duration::from_secs(1);
/// Longer, and the lease would have ended before the answer comes.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Keep-alives arrive late on a busy machine; below this a lease would end under its owner.
const MIN_TTL_SECONDS: u64 = 1;
/// A year; longer is a mistake in the unit.
const MAX_TTL_SECONDS: u64 = 366 * 24 * 3600;

/// Where a store lives and how much of the past it keeps.
pub struct Config {
    pub dir: PathBuf,
    /// This member's number among the voters, for ever.
    pub node_id: u64,
    pub keep: Keep,
    /// Without it the store is alone.
    pub cluster: Option<Cluster>,
    /// Weight of fresh rows that are written to the tables.
    pub(crate) enough: u64,
    pub(crate) disk: Arc<dyn Disk>,
}

impl Config {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            node_id: 1,
            keep: Keep::default(),
            cluster: None,
            enough: layers::ENOUGH,
            disk: Arc::new(Real),
        }
    }
}

/// A store's place among others.
pub struct Cluster {
    /// Where the other members reach this one.
    pub address: String,
    /// Members of the cluster that a new store joins; a new store without any founds one.
    pub join: Vec<String>,
    pub timing: Timing,
    pub(crate) wire: Arc<dyn Wire>,
    pub(crate) serve: Serve,
}

/// Answers the other members for as long as it is polled.
pub(crate) type Serve = Box<dyn FnOnce(Arc<dyn Answer>) -> BoxFuture<'static, ()> + Send>;

impl Cluster {
    /// The streams carry no credentials of their own: whoever is dialled or accepted is believed.
    pub fn new(address: impl Into<String>, dial: Arc<dyn Dial>, listen: Box<dyn Listen>) -> Self {
        Self {
            address: address.into(),
            join: Vec::new(),
            timing: Timing::default(),
            wire: Arc::new(Framed::new(dial)),
            serve: Box::new(move |answer| Box::pin(wire::serve(listen, answer))),
        }
    }
}

/// etcd's two times, with etcd's defaults.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    pub heartbeat: Duration,
    /// Without a heartbeat for this long a member asks to lead, up to as long again later.
    pub election: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { heartbeat: Duration::from_millis(100), election: Duration::from_secs(1) }
    }
}

/// One of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberInfo {
    pub id: u64,
    pub address: String,
    /// Or else is still catching up.
    pub votes: bool,
}

/// A cheap handle. The store closes with [`Store::close`]; dropped without it, nothing acknowledged is lost.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub shared: Arc<Shared>,
    pub member: Arc<Member>,
    pub writer: Writer,
    pub tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Ends after raft has let go of the tables.
    pub purging: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens or creates the store in a directory, and returns when it serves.
    pub async fn open(config: Config) -> Result<Store> {
        start::start(config).await.map(|inner| Store { inner: Arc::new(inner) })
    }

    /// The newest revision that is applied, and that a read without a revision sees at least.
    pub fn revision(&self) -> Revision {
        self.inner.shared.revision()
    }

    #[cfg(test)]
    pub(crate) fn tables(&self) -> &Shared {
        &self.inner.shared
    }

    /// The newest revision anywhere: everything acknowledged before the call is in it, and applied here.
    pub async fn current_revision(&self) -> Result<Revision> {
        self.inner.member.barrier().await?;
        Ok(self.revision())
    }

    /// A key as it is, or as it was. Without a revision the answer is never stale, whichever member is asked.
    pub async fn get(&self, key: &[u8], at: Option<Revision>) -> Result<Option<KeyValue>> {
        self.reach(at).await?;
        read::get(&self.inner.shared.layers, key, at)
    }

    /// Keys of `[start, end)` in order. A limit of 0 is none. Without a revision the answer is never stale.
    pub async fn list(&self, start: &[u8], end: &[u8], at: Option<Revision>, limit: usize) -> Result<List> {
        self.reach(at).await?;
        let shared = self.inner.shared.clone();
        if (1..=LIST_INLINE).contains(&limit) && shared.counts.is_ready() {
            return read::list(&shared.layers, &shared.counts, start, end, at, limit);
        }
        let (start, end) = (start.to_vec(), end.to_vec());
        let list = move || read::list(&shared.layers, &shared.counts, &start, &end, at, limit);
        blocking::run("listing", list).await
    }

    /// Catches up with the other members, unless what is asked for is here already.
    async fn reach(&self, at: Option<Revision>) -> Result<()> {
        match at {
            Some(at) if at <= self.revision() => Ok(()),
            Some(_) | None => self.inner.member.barrier().await,
        }
    }

    /// Compares and writes. After an error other than [`Error::Invalid`] and [`Error::Disk`] the outcome is unknown.
    pub async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        match self.inner.writer.write(Command::Txn(txn)).await? {
            Outcome::Txn(outcome) => Ok(outcome),
            Outcome::NoLease(lease) => Err(expiry::unknown(lease)),
            other => Err(unexpected(&other)),
        }
    }

    /// Events of keys that start with `prefix`, of revisions after `after`, without a gap.
    pub async fn watch(&self, prefix: &[u8], after: Revision) -> Result<Watch> {
        self.reach(Some(after)).await?;
        let newest = self.revision();
        if after > newest {
            return Err(Error::Future { asked: after, newest });
        }
        read::is_kept(&self.inner.shared.layers, after)?;
        Ok(Watch::new(self.inner.shared.clone(), prefix, after))
    }

    /// Has every watch report how far it is, now rather than in a while.
    pub fn request_progress(&self) {
        self.inner.shared.hub.request_progress();
    }

    /// Writes everything that is there now to a file, for [`crate::offline::restore`]. Its revision.
    pub async fn save(&self, path: &Path) -> Result<Revision> {
        let (shared, path) = (self.inner.shared.clone(), path.to_owned());
        shared.clone().into_tables().await?;
        let saving = tokio::task::spawn_blocking(move || saving::save(&shared.layers.read_tables()?, &path));
        saving.await.map_err(|error| Error::Unavailable(format!("saving: {error}")))?
    }

    /// Forgets what only revisions before `at` need.
    pub async fn compact(&self, at: Revision) -> Result<()> {
        self.reach(Some(at)).await?;
        let newest = self.revision();
        if at > newest {
            return Err(Error::Future { asked: at, newest });
        }
        history::compact(&self.inner.shared.layers, &self.inner.writer, at).await
    }

    /// A lease that ends, with the keys put under it, unless it is kept alive.
    pub async fn grant_lease(&self, ttl_seconds: u64) -> Result<u64> {
        if !(MIN_TTL_SECONDS..=MAX_TTL_SECONDS).contains(&ttl_seconds) {
            return Err(Error::Invalid(format!(
                "a lease lives between {MIN_TTL_SECONDS} and {MAX_TTL_SECONDS} seconds, not {ttl_seconds}"
            )));
        }
        match self.inner.writer.write(Command::Grant { ttl_seconds }).await? {
            Outcome::Granted(lease) => Ok(lease),
            other => Err(unexpected(&other)),
        }
    }

    /// Gives a lease its whole time again; that time in seconds.
    pub async fn keep_alive(&self, lease: u64) -> Result<u64> {
        let member = &self.inner.member;
        if let Some(ttl_seconds) = member.keep_alive(lease).await? {
            return Ok(ttl_seconds);
        }
        match member.ask_leader(Request::KeepAlive(lease), &[], KEEP_ALIVE).await? {
            Response::KeptAlive(ttl_seconds) => Ok(ttl_seconds),
            other => Err(Error::Unavailable(format!("a member answered out of turn: {other:?}"))),
        }
    }

    /// Ends a lease now, and removes its keys at the returned revision.
    pub async fn revoke(&self, lease: u64) -> Result<Revision> {
        match self.inner.writer.write(Command::Revoke { lease }).await? {
            Outcome::Revoked(revision) => Ok(revision),
            Outcome::NoLease(lease) => Err(expiry::unknown(lease)),
            other => Err(unexpected(&other)),
        }
    }

    /// Syncs of the log since the store was opened.
    pub fn syncs(&self) -> u64 {
        self.inner.member.log.syncs()
    }

    /// Who belongs to the cluster.
    pub fn members(&self) -> Vec<MemberInfo> {
        let member = |(id, address, votes)| MemberInfo { id, address, votes };
        self.inner.member.members().into_iter().map(member).collect()
    }

    /// The member that leads, as far as this one knows.
    pub async fn leader(&self) -> Option<u64> {
        self.inner.member.raft.current_leader().await
    }

    /// Has the others go on without a member: one that is gone for good, or this one before it is closed.
    pub async fn remove_member(&self, id: u64) -> Result<()> {
        let member = &self.inner.member;
        if id == member.id {
            member.hand_over(HAND_OVER).await;
        }
        member.remove(id).await
    }

    /// Returns when the store can do nothing any more but be opened again: its disk has failed it.
    pub async fn failed(&self) -> Error {
        let member = &self.inner.member;
        let ended = |metrics: &openraft::RaftMetrics<Types>| metrics.running_state.is_err();
        let raft = member.raft.wait(None);
        tokio::select! {
            biased;
            ended = raft.metrics(ended, "the end of raft") => match ended.map(|last| last.running_state) {
                Ok(Err(fatal)) => stopped(&member.log, &fatal),
                Ok(Ok(())) | Err(_) => Error::Unavailable("it is closed".into()),
            },
            // The next write would be refused, and the log could never be dropped.
            why = self.inner.shared.layers.failed() => Error::Disk(why),
        }
    }

    /// Hands the lead over, ends watches and refuses writes; everything acknowledged is on the disk when it returns.
    pub async fn close(&self) -> Result<()> {
        self.inner.member.hand_over(HAND_OVER).await;
        self.inner.shared.hub.close();
        let tasks: Vec<_> = self.inner.tasks.lock().drain(..).collect();
        for task in tasks {
            task.abort();
            // Aborted, which is what was asked for.
            let _ = task.await;
        }
        let stopped = self.inner.member.raft.shutdown().await;
        let purging = self.inner.purging.lock().take();
        if let Some(purging) = purging
            && clock::timeout(LET_GO, purging).await.is_err()
        {
            tracing::warn!("raft still holds the tables after it was stopped");
        }
        let log = self.inner.member.log.clone();
        let shared = self.inner.shared.clone();
        // So that the next start has nothing to apply. Where the log has failed nothing may reach the tables any more.
        let flushed = match log.failure() {
            Some(_) => Ok(()),
            None => shared.into_tables().await,
        };
        let closed = blocking::run("closing the log", move || {
            log.close();
            Ok(())
        });
        closed.await?;
        stopped.map_err(|error| Error::Unavailable(format!("closing: {error}")))?;
        flushed
    }
}

fn unexpected(outcome: &Outcome) -> Error {
    Error::Unavailable(format!("the state machine answered out of turn: {outcome:?}"))
}
