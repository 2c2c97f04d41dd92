//! The store's one public thing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use openraft::{BasicNode, ServerState, SnapshotPolicy};
use parking_lot::Mutex;
use redb::{Database, ReadableDatabase};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::command::{Command, Outcome};
use crate::contract::{Error, KeyValue, List, Result, Revision, Txn, TxnOutcome};
use crate::count::Counts;
use crate::database;
use crate::dir::{Dir, io_error};
use crate::disk::{Disk, Real};
use crate::expiry::{self, Leases};
use crate::history::{self, Keep};
use crate::log::Log;
use crate::machine::{Machine, Shared};
use crate::raft::{Alone, Raft};
use crate::tables::TableError;
use crate::watch::{Hub, Watch};
use crate::writer::Writer;
use crate::{image, read, tables};

/// Items that a list reads on the caller's own thread; longer ones go to a thread that may block.
const LIST_INLINE: usize = 64;
/// A start that takes longer is given up: something is wrong that waiting does not heal.
const START_SECONDS: u64 = 60;
/// How long a watcher without events may not know that time goes on.
const PROGRESS: Duration = Duration::from_millis(100);
/// Raft's own tasks end within a moment of each other.
const LET_GO: Duration = Duration::from_secs(5);
/// Keep-alives arrive late on a busy machine; below this a lease would end under its owner.
const MIN_TTL_SECONDS: u64 = 1;
/// A year; longer is a mistake in the unit.
const MAX_TTL_SECONDS: u64 = 366 * 24 * 3600;

/// Where a store lives and how much of the past it keeps.
#[derive(Debug, Clone)]
pub struct Config {
    pub dir: PathBuf,
    /// This member's number among the voters.
    pub node_id: u64,
    pub keep: Keep,
    pub(crate) disk: Arc<dyn Disk>,
}

impl Config {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), node_id: 1, keep: Keep::default(), disk: Arc::new(Real) }
    }
}

/// A cheap handle. The store closes with [`Store::close`]; dropped without it, nothing acknowledged is lost.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    raft: Raft,
    log: Log,
    writer: Writer,
    leases: Arc<Leases>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Ends after raft has let go of the tables.
    purging: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens or creates the store in a directory, and returns when it serves.
    pub async fn open(config: Config) -> Result<Store> {
        let dir = Arc::new(Dir::open(config.disk.clone(), &config.dir)?);
        let (log, database) = open_files(&dir).await?;
        let (shared, raft, checkpoints) = start_raft(&config, &dir, &log, database).await?;
        lead(&raft, config.node_id, &log).await?;
        let writer = Writer::start(raft.clone(), log.clone());
        let leases = Arc::new(Leases::default());
        for (lease, ttl_seconds) in tables::leases(&shared.database)? {
            leases.add(lease, ttl_seconds);
        }
        let tasks = Mutex::new(start_tasks(&shared, &writer, &leases, config.keep));
        let purging = Mutex::new(Some(tokio::spawn(purge(raft.clone(), checkpoints))));
        let inner = Inner { shared, raft, log, writer, leases, tasks, purging };
        Ok(Store { inner: Arc::new(inner) })
    }

    /// The newest revision that is applied, and that a read without a revision sees at least.
    pub fn revision(&self) -> Revision {
        self.inner.shared.revision()
    }

    #[cfg(test)]
    pub(crate) fn tables(&self) -> &Shared {
        &self.inner.shared
    }

    /// A key as it is, or as it was.
    pub async fn get(&self, key: &[u8], at: Option<Revision>) -> Result<Option<KeyValue>> {
        read::get(&self.inner.shared.database, key, at)
    }

    /// Keys of `[start, end)` in order. A limit of 0 is none.
    pub async fn list(&self, start: &[u8], end: &[u8], at: Option<Revision>, limit: usize) -> Result<List> {
        let shared = self.inner.shared.clone();
        if (1..=LIST_INLINE).contains(&limit) && shared.counts.is_ready() {
            return read::list(&shared.database, &shared.counts, start, end, at, limit);
        }
        let (start, end) = (start.to_vec(), end.to_vec());
        let reading =
            tokio::task::spawn_blocking(move || read::list(&shared.database, &shared.counts, &start, &end, at, limit));
        reading.await.map_err(|error| Error::Unavailable(format!("listing: {error}")))?
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
        let newest = self.revision();
        if after > newest {
            return Err(Error::Future { asked: after, newest });
        }
        read::is_kept(&self.inner.shared.database, after)?;
        Ok(Watch::new(self.inner.shared.clone(), prefix, after))
    }

    /// Has every watch report how far it is, now rather than in a while.
    pub fn request_progress(&self) {
        self.inner.shared.hub.request_progress();
    }

    /// Writes everything that is there now to a file, for [`crate::offline::restore`]. Its revision.
    pub async fn save(&self, path: &Path) -> Result<Revision> {
        let (shared, path) = (self.inner.shared.clone(), path.to_owned());
        let saving = tokio::task::spawn_blocking(move || save(&shared.database, &path));
        saving.await.map_err(|error| Error::Unavailable(format!("saving: {error}")))?
    }

    /// Forgets what only revisions before `at` need.
    pub async fn compact(&self, at: Revision) -> Result<()> {
        let newest = self.revision();
        if at > newest {
            return Err(Error::Future { asked: at, newest });
        }
        history::compact(&self.inner.writer, at).await
    }

    /// A lease that ends, with the keys put under it, unless it is kept alive.
    pub async fn grant_lease(&self, ttl_seconds: u64) -> Result<u64> {
        if !(MIN_TTL_SECONDS..=MAX_TTL_SECONDS).contains(&ttl_seconds) {
            return Err(Error::Invalid(format!(
                "a lease lives between {MIN_TTL_SECONDS} and {MAX_TTL_SECONDS} seconds, not {ttl_seconds}"
            )));
        }
        match self.inner.writer.write(Command::Grant { ttl_seconds }).await? {
            Outcome::Granted(lease) => {
                self.inner.leases.add(lease, ttl_seconds);
                Ok(lease)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Gives a lease its whole time again; that time in seconds.
    pub async fn keep_alive(&self, lease: u64) -> Result<u64> {
        self.inner.leases.renew(lease)
    }

    /// Ends a lease now, and removes its keys at the returned revision.
    pub async fn revoke(&self, lease: u64) -> Result<Revision> {
        match self.inner.writer.write(Command::Revoke { lease }).await? {
            Outcome::Revoked(revision) => {
                self.inner.leases.remove(lease);
                Ok(revision)
            }
            Outcome::NoLease(lease) => Err(expiry::unknown(lease)),
            other => Err(unexpected(&other)),
        }
    }

    /// Syncs of the log since the store was opened.
    pub fn syncs(&self) -> u64 {
        self.inner.log.syncs()
    }

    /// Ends watches and refuses writes; everything acknowledged is on the disk when it returns.
    pub async fn close(&self) -> Result<()> {
        self.inner.shared.hub.close();
        let tasks: Vec<_> = self.inner.tasks.lock().drain(..).collect();
        for task in tasks {
            task.abort();
            // Aborted, which is what was asked for.
            let _ = task.await;
        }
        let stopped = self.inner.raft.shutdown().await;
        let purging = self.inner.purging.lock().take();
        if let Some(purging) = purging
            && tokio::time::timeout(LET_GO, purging).await.is_err()
        {
            tracing::warn!("raft still holds the tables after it was stopped");
        }
        let log = self.inner.log.clone();
        let flushed = tokio::task::spawn_blocking(move || log.close()).await;
        stopped.map_err(|error| Error::Unavailable(format!("closing: {error}")))?;
        flushed.map_err(|error| Error::Unavailable(format!("closing: {error}")))
    }
}

fn unexpected(outcome: &Outcome) -> Error {
    Error::Unavailable(format!("the state machine answered out of turn: {outcome:?}"))
}

fn raft_config() -> Result<Arc<openraft::Config>> {
    let config = openraft::Config {
        cluster_name: "wherry".into(),
        heartbeat_interval: 100,
        election_timeout_min: 1000,
        election_timeout_max: 2000,
        // One voter has nobody to fail over to, and an idle store should not tick.
        enable_tick: false,
        enable_heartbeat: false,
        // A start always begins a new term, so that what the log has is committed anew before it is served.
        enable_leader_restore: Some(false),
        // Checkpoints are decided by the state machine.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        ..openraft::Config::default()
    };
    let config = config.validate().map_err(|error| Error::Unavailable(format!("its configuration: {error}")))?;
    Ok(Arc::new(config))
}

/// Under another name until it is whole.
fn save(database: &Database, path: &Path) -> Result<Revision> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".part");
    let temporary = PathBuf::from(temporary);
    let failed = |error: io::Error| io_error("write the snapshot", &temporary, &error);
    let file = File::options().create_new(true).write(true).mode(0o600).open(&temporary).map_err(failed)?;
    let mut out = BufWriter::new(file);
    let read = database.begin_read().map_err(TableError::from)?;
    let revision = tables::read_numbers(&read)?.revision;
    let written = (|| {
        out.write_all(image::MAGIC).map_err(failed)?;
        image::write(&read, &mut |block| out.write_all(&block).map_err(failed))?;
        out.flush().map_err(failed)?;
        out.get_ref().sync_all().map_err(failed)?;
        std::fs::rename(&temporary, path).map_err(|error| io_error("name the snapshot", path, &error))
    })();
    if written.is_err() {
        // The error that matters is the first.
        let _ = std::fs::remove_file(&temporary);
    }
    written.map(|()| revision)
}

/// Both at once: what a new store spends here is waiting for the disk.
async fn open_files(dir: &Arc<Dir>) -> Result<(Log, Database)> {
    let (of_log, of_tables) = (dir.clone(), dir.clone());
    let log = tokio::task::spawn_blocking(move || Log::open(of_log.disk().clone(), &of_log.log()));
    let database = tokio::task::spawn_blocking(move || database::open(&of_tables));
    let joined = |error| Error::Unavailable(format!("opening its files: {error}"));
    let (log, database) = (log.await.map_err(joined)?, database.await.map_err(joined)?);
    Ok((log?, database?))
}

async fn start_raft(
    config: &Config,
    dir: &Arc<Dir>,
    log: &Log,
    database: Database,
) -> Result<(Arc<Shared>, Raft, mpsc::UnboundedReceiver<()>)> {
    let (numbers, applied) = tables::load(&database)?;
    let logged = log.last_index();
    if let Some(applied) = applied.log_id
        && logged < Some(applied.index)
    {
        return Err(Error::Data(format!(
            "{} ends at entry {}, and {} has applied {}: the end of the log is missing. Restore the data directory \
             from a copy",
            dir.log().display(),
            logged.map_or_else(|| "none".into(), |last| last.to_string()),
            dir.tables().display(),
            applied.index,
        )));
    }
    let shared = Arc::new(Shared {
        database,
        counts: Counts::default(),
        log: log.clone(),
        _dir: dir.clone(),
        hub: Hub::new(numbers.revision),
        history: numbers.history.into(),
        history_bytes: numbers.history_bytes.into(),
    });
    let (checkpoint, checkpoints) = mpsc::unbounded_channel();
    let machine = Machine::new(shared.clone(), log.clone(), numbers, applied, checkpoint);
    let raft = Raft::new(config.node_id, raft_config()?, Alone, log.clone(), machine)
        .await
        .map_err(|error| Error::Unavailable(format!("starting: {error}")))?;
    Ok((shared, raft, checkpoints))
}

/// The only voter elects itself at once, and applies what the log has before it serves.
async fn lead(raft: &Raft, node_id: u64, log: &Log) -> Result<()> {
    let unavailable = |error: &dyn std::fmt::Display| Error::Unavailable(format!("starting: {error}"));
    if raft.is_initialized().await.map_err(|error| unavailable(&error))? {
        raft.trigger().elect(false).await.map_err(|error| unavailable(&error))?;
    } else {
        let members = BTreeMap::from([(node_id, BasicNode::default())]);
        raft.initialize(members).await.map_err(|error| unavailable(&error))?;
    }
    let serves = |metrics: &openraft::RaftMetrics<crate::raft::Types>| {
        metrics.running_state.is_err()
            || metrics.state == ServerState::Leader
                && metrics.last_applied.map(|applied| applied.index) >= log.last_index()
    };
    let wait = raft.wait(Some(Duration::from_secs(START_SECONDS)));
    let metrics = wait.metrics(serves, "the log is applied").await.map_err(|error| unavailable(&error))?;
    metrics.running_state.map_err(|error| match log.failure() {
        Some(why) => Error::Disk(why),
        None => unavailable(&error),
    })
}

fn start_tasks(shared: &Arc<Shared>, writer: &Writer, leases: &Arc<Leases>, keep: Keep) -> Vec<JoinHandle<()>> {
    let (expiring, expirer) = (leases.clone(), writer.clone());
    let (aging, compacter) = (shared.clone(), writer.clone());
    let progressing = shared.clone();
    vec![
        tokio::spawn(async move { expiring.run(&expirer).await }),
        tokio::spawn(async move { history::run(&aging, &compacter, keep).await }),
        tokio::spawn(async move {
            loop {
                progressing.hub.behind().await;
                tokio::time::sleep(PROGRESS).await;
                progressing.hub.request_progress();
            }
        }),
    ]
}

/// Drops the log that a checkpoint has made superfluous, until the state machine is gone.
async fn purge(raft: Raft, mut checkpoints: mpsc::UnboundedReceiver<()>) {
    while checkpoints.recv().await.is_some() {
        // Raft drops the log up to its snapshot, which the tables on disk are.
        if let Err(error) = raft.trigger().snapshot().await {
            tracing::debug!(%error, "the log is not purged any more");
        }
    }
}
