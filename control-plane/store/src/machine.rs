//! Applies committed entries to the rows, tells the watchers, and has rows written to the tables when there are enough.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, RaftSnapshotBuilder};
use redb::{Database, ReadTransaction};
use tokio::sync::mpsc;

use crate::blocking;
use crate::clock;
use crate::command::{Command, Group, Outcome};
use crate::contract::{Result, Revision};
use crate::count::Counts;
use crate::database;
use crate::dir::{Dir, io_error};
use crate::disk::Reading;
use crate::expiry::Leases;
use crate::image::{self, Part};
use crate::layers::{Layers, Working};
use crate::log::Log;
use crate::raft::{Entry, LogIdOf, Snapshot, SnapshotMeta, StoredMembership, Types};
use crate::state::{self, Numbers, State};
use crate::tables::{self, Applied};
use crate::watch::{Batch, Hub};

/// Entries that are applied at once at most.
const ENTRIES_AT_ONCE: usize = 64;

/// What readers may look at.
pub struct Shared {
    pub layers: Layers,
    pub counts: Counts,
    pub hub: Hub,
    pub history: AtomicU64,
    pub history_bytes: AtomicU64,
    pub log: Log,
    /// Held until the tables are closed.
    pub dir: Arc<Dir>,
}

/// The state machine as openraft drives it.
pub struct Machine {
    shared: Arc<Shared>,
    leases: Arc<Leases>,
    numbers: Numbers,
    applied: Applied,
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
    pub fn new(shared: Arc<Shared>, leases: Arc<Leases>, checkpoints: mpsc::UnboundedSender<()>) -> Self {
        let view = shared.layers.view();
        let (numbers, applied) = (view.numbers(), view.applied().clone());
        Self { shared, leases, numbers, applied, checkpoints }
    }

    async fn apply_some(&mut self, entries: Vec<EntryResponder<Types>>) -> io::Result<()> {
        self.shared.layers.room().await?;
        let plain: Vec<&Entry> = entries.iter().map(|(entry, _)| entry).collect();
        let (outcomes, batches) = self.write(&plain).map_err(|error| self.shared.of_tables(&error))?;
        if self.shared.layers.is_due() {
            clock::spawn(checkpoint(self.shared.clone(), self.checkpoints.clone()));
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

    fn write(&mut self, entries: &[&Entry]) -> io::Result<(Vec<Vec<Outcome>>, Vec<Batch>)> {
        let mut outcomes = Vec::with_capacity(entries.len());
        let mut batches = Vec::new();
        let shared = self.shared.clone();
        shared.layers.change(|rows| {
            for entry in entries {
                self.applied.log_id = Some(entry.log_id);
                outcomes.push(match &entry.payload {
                    EntryPayload::Blank => Vec::new(),
                    EntryPayload::Normal(group) => self.apply_group(rows, group, &mut batches)?,
                    EntryPayload::Membership(membership) => {
                        self.applied.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                        Vec::new()
                    }
                });
                rows.fresh.note_logged(cost(entry));
            }
            (rows.fresh.numbers, rows.fresh.applied) = (self.numbers, self.applied.clone());
            Ok(())
        })?;
        Ok((outcomes, batches))
    }

    fn apply_group(
        &mut self,
        rows: &mut Working<'_>,
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

/// Has the tables keep what is fresh, so that the log before can be dropped.
async fn checkpoint(shared: Arc<Shared>, checkpoints: mpsc::UnboundedSender<()>) {
    #[cfg(test)]
    if crate::proof::is_simulated() {
        crate::proof::disk_time().await;
    }
    match shared.into_tables().await {
        // The receiver is gone only when the store closes.
        Ok(()) => drop(checkpoints.send(())),
        Err(error) => tracing::error!(%error, "the tables cannot be written; the store serves reads only"),
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
        Checkpoint { shared: self.shared.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Image) -> io::Result<()> {
        let Image::Received(path) = snapshot else {
            return Err(io::Error::other("an image of this member's own tables is not installed"));
        };
        let dir = self.shared.dir.clone();
        let filling = blocking::run("installing an image", move || fill(&dir, &path));
        let shared = self.shared.clone();
        let replacing = async move {
            let database = filling.await?;
            // Waits for who writes to the tables of before.
            blocking::run("going on with an image", move || Ok(shared.layers.replace(database)?)).await
        };
        let view = replacing.await.map_err(io::Error::other)?;
        (self.numbers, self.applied) = (view.numbers(), view.applied().clone());
        if self.applied.log_id != meta.last_log_id {
            return Err(io::Error::other("an image is not of the entry that it was announced with"));
        }
        self.leases.set(view.look().leases()?);
        self.shared.hub.jump(self.numbers.revision);
        Ok(())
    }

    /// Newer than the last checkpoint, and sent from a transaction that sees it unchanged: nothing is applied meanwhile.
    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        if self.applied.log_id.is_none() {
            return Ok(None);
        }
        self.shared.clone().into_tables().await.map_err(io::Error::other)?;
        Ok(Some(snapshot(&self.shared)?))
    }
}

/// Takes the tables out of a file of blocks into the place of the old ones.
fn fill(dir: &Dir, path: &Path) -> Result<Database> {
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
}

impl RaftSnapshotBuilder<Types> for Checkpoint {
    type SnapshotData = Image;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        snapshot(&self.shared)
    }
}

fn snapshot(shared: &Shared) -> io::Result<Snapshot> {
    let reading = shared.layers.read_tables().and_then(|read| Ok((tables::load(&read)?.1, read)));
    let (Applied { log_id, membership }, read) = reading.map_err(|error| shared.of_tables(&error))?;
    let meta = SnapshotMeta { last_log_id: log_id, last_membership: membership };
    Ok(Snapshot { meta, snapshot: Image::Here(Box::new(read)) })
}

impl Shared {
    pub fn revision(&self) -> Revision {
        self.hub.revision()
    }

    /// Names the file: who reads of it has no other way to know.
    fn of_tables(&self, error: &dyn std::fmt::Display) -> io::Error {
        io::Error::other(format!("{}: {error}", self.dir.tables().display()))
    }

    /// Writes every row to the tables that was there when it was called.
    pub async fn into_tables(self: Arc<Self>) -> Result<()> {
        let path = self.dir.tables();
        let write = move || self.layers.flush(|| self.log.sync()).map_err(|error| io_error("write", &path, &error));
        blocking::alone("store-tables", write).await
    }
}
