//! Applies committed entries to the tables, tells the watchers, and decides when the tables are synced.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, RaftSnapshotBuilder};
use redb::{Database, ReadTransaction, ReadableDatabase};
use tokio::sync::mpsc;

use crate::blocking;
use crate::command::{Command, Group, Outcome};
use crate::contract::Revision;
use crate::count::Counts;
use crate::database::{self, Current};
use crate::dir::{Dir, io_error};
use crate::disk::Reading;
use crate::expiry::Leases;
use crate::image::{self, Part};
use crate::log::Log;
use crate::raft::{Entry, LogIdOf, Snapshot, SnapshotMeta, StoredMembership, Types};
use crate::state::{self, Numbers, State};
use crate::tables::{self, Applied, Open};
use crate::watch::{Batch, Hub};

/// Bytes of log after which the tables are synced and the log before is dropped. It bounds the log's files, and the
/// time that a start spends on applying again.
const CHECKPOINT_BYTES: u64 = 4 << 20;
/// Transactions of the tables after which it happens too: each rewrites about ten pages, which can be used again only
/// when the tables have been synced.
const CHECKPOINT_COMMITS: u64 = 1000;
/// Entries that are applied in one transaction of the tables at most.
const ENTRIES_AT_ONCE: usize = 64;

/// What readers may look at.
pub struct Shared {
    pub database: Current,
    pub counts: Counts,
    pub hub: Hub,
    pub history: AtomicU64,
    pub history_bytes: AtomicU64,
    pub log: Log,
    /// Held until the tables are closed.
    pub dir: Arc<Dir>,
}

impl Drop for Shared {
    /// Closing the tables makes everything in them durable, and they must not know more than the log. Where the log has
    /// failed they may: then they are left open until the process ends, and a start applies the log to what they last made
    /// durable.
    fn drop(&mut self) {
        self.log.close();
        if self.log.failure().is_some() {
            std::mem::forget(self.database.get());
        }
    }
}

/// The state machine as openraft drives it.
pub struct Machine {
    shared: Arc<Shared>,
    log: Log,
    leases: Arc<Leases>,
    numbers: Numbers,
    applied: Applied,
    /// What the tables have on disk.
    durable: Applied,
    since_checkpoint: u64,
    commits: u64,
    checkpoints: mpsc::UnboundedSender<()>,
}

/// The tables, for another member.
pub enum Image {
    /// As they are on this one.
    Here(Box<ReadTransaction>),
    /// As they came from another one: blocks in a file.
    Received(PathBuf),
}

impl Machine {
    /// `checkpoints` hears whenever the log up to a point is no longer needed.
    pub fn new(
        shared: Arc<Shared>,
        log: Log,
        leases: Arc<Leases>,
        numbers: Numbers,
        applied: Applied,
        checkpoints: mpsc::UnboundedSender<()>,
    ) -> Self {
        let durable = applied.clone();
        Self { shared, log, leases, numbers, applied, durable, since_checkpoint: 0, commits: 0, checkpoints }
    }

    async fn apply_some(&mut self, entries: Vec<EntryResponder<Types>>) -> io::Result<()> {
        let checkpoint = self.since_checkpoint >= CHECKPOINT_BYTES || self.commits >= CHECKPOINT_COMMITS;
        self.commits += 1;
        if checkpoint {
            // The tables must not know more than the log: what was acknowledged unsynced is synced first.
            self.log.sync().await?;
        }
        let plain: Vec<&Entry> = entries.iter().map(|(entry, _)| entry).collect();
        let (outcomes, batches) = self.write(&plain, checkpoint)?;
        if checkpoint {
            self.durable = self.applied.clone();
            self.since_checkpoint = 0;
            self.commits = 0;
            // The receiver is gone only when the store closes.
            let _ = self.checkpoints.send(());
        }
        self.shared.history.store(self.numbers.history, Ordering::Relaxed);
        self.shared.history_bytes.store(self.numbers.history_bytes, Ordering::Relaxed);
        self.shared.hub.publish(self.numbers.revision, batches);
        for ((_, responder), outcomes) in entries.into_iter().zip(outcomes) {
            if let Some(responder) = responder {
                responder.send(outcomes);
            }
        }
        Ok(())
    }

    fn write(&mut self, entries: &[&Entry], durable: bool) -> io::Result<(Vec<Vec<Outcome>>, Vec<Batch>)> {
        let mut outcomes = Vec::with_capacity(entries.len());
        let mut batches = Vec::new();
        let database = self.shared.database.get();
        let txn = tables::begin(&database, durable)?;
        {
            let mut rows = Open::new(&txn)?;
            for entry in entries {
                self.applied.log_id = Some(entry.log_id);
                outcomes.push(match &entry.payload {
                    EntryPayload::Blank => Vec::new(),
                    EntryPayload::Normal(group) => self.apply_group(&mut rows, group, &mut batches)?,
                    EntryPayload::Membership(membership) => {
                        self.applied.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                        rows.save_membership(&self.applied.membership)?;
                        Vec::new()
                    }
                });
                self.since_checkpoint += cost(entry);
            }
            rows.save(&self.numbers, &self.applied)?;
        }
        txn.commit().map_err(tables::TableError::from)?;
        Ok((outcomes, batches))
    }

    fn apply_group(
        &mut self,
        rows: &mut Open<'_>,
        group: &Group,
        batches: &mut Vec<Batch>,
    ) -> io::Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(group.commands.len());
        for command in group.commands.iter() {
            let mut state = State { rows: &mut *rows, numbers: &mut self.numbers };
            let (outcome, events) = state::apply(&mut state, command)?;
            if !events.is_empty() {
                batches.push(Batch { revision: self.numbers.revision, events: events.into() });
            }
            match (command, &outcome) {
                (Command::Grant { ttl_seconds }, Outcome::Granted(lease)) => self.leases.add(*lease, *ttl_seconds),
                (Command::Revoke { lease }, _) => self.leases.remove(*lease),
                _ => {}
            }
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }
}

/// About what the entry takes in the log, beside its frame.
fn cost(entry: &Entry) -> u64 {
    match &entry.payload {
        EntryPayload::Normal(group) => group.commands.iter().map(crate::writer::size).sum(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Image;
    type SnapshotBuilder = Checkpoint;

    async fn applied_state(&mut self) -> io::Result<(Option<LogIdOf>, StoredMembership)> {
        Ok((self.applied.log_id, self.applied.membership.clone()))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + Send,
    {
        let mut chunks = entries.ready_chunks(ENTRIES_AT_ONCE);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.into_iter().collect::<io::Result<Vec<_>>>()?;
            self.apply_some(chunk).await?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Checkpoint {
        Checkpoint { shared: self.shared.clone(), durable: self.durable.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Image) -> io::Result<()> {
        let Image::Received(path) = snapshot else {
            return Err(io::Error::other("an image of this member's own tables is not installed"));
        };
        let dir = self.shared.dir.clone();
        let filling = blocking::run("installing an image", move || fill(&dir, &path));
        let database = filling.await.map_err(io::Error::other)?;
        let (numbers, applied) = tables::load(&database)?;
        if applied.log_id != meta.last_log_id {
            return Err(io::Error::other("an image is not of the entry that it was announced with"));
        }
        self.leases.set(tables::leases(&database)?);
        self.shared.database.set(database);
        (self.numbers, self.durable, self.applied) = (numbers, applied.clone(), applied);
        (self.since_checkpoint, self.commits) = (0, 0);
        self.shared.hub.jump(numbers.revision);
        Ok(())
    }

    /// Newer than the last checkpoint, and sent from a transaction that sees it unchanged.
    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        if self.applied.log_id.is_none() {
            return Ok(None);
        }
        let read = self.shared.database.get().begin_read().map_err(tables::TableError::from)?;
        Ok(Some(snapshot(&self.applied, read)))
    }
}

/// Takes the tables out of a file of blocks into the place of the old ones.
fn fill(dir: &Dir, path: &Path) -> crate::contract::Result<Database> {
    let blocks = Reading::open(&**dir.disk(), path).map_err(|error| io_error("read", path, &error))?;
    let filled = database::replace(dir, |database| {
        image::load(database, Part::All, &mut image::blocks(blocks))?;
        Ok(tables::mark_received(database)?)
    })?;
    dir.disk().remove(path).map_err(|error| io_error("remove", path, &error))?;
    Ok(filled)
}

/// The tables as they are on disk: all that a snapshot is, for who has them.
pub struct Checkpoint {
    shared: Arc<Shared>,
    durable: Applied,
}

impl RaftSnapshotBuilder<Types> for Checkpoint {
    type SnapshotData = Image;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let read = self.shared.database.get().begin_read().map_err(tables::TableError::from)?;
        Ok(snapshot(&self.durable, read))
    }
}

fn snapshot(applied: &Applied, read: ReadTransaction) -> Snapshot {
    let meta = SnapshotMeta { last_log_id: applied.log_id, last_membership: applied.membership.clone() };
    Snapshot { meta, snapshot: Image::Here(Box::new(read)) }
}

impl Shared {
    pub fn revision(&self) -> Revision {
        self.hub.revision()
    }
}
