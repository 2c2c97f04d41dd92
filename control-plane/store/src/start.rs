//! How a store comes up: its files, raft on them, its place among the members, and the tasks beside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::{BasicNode, ServerState, SnapshotPolicy};
use parking_lot::Mutex;
use redb::{Database, ReadableDatabase};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::blocking;
use crate::clock::{self, Instant};
use crate::contract::{Error, Result};
use crate::count::Counts;
use crate::database;
use crate::dir::Dir;
use crate::expiry::Leases;
use crate::history::{self, Keep};
use crate::layers::Layers;
use crate::log::Log;
use crate::machine::{Machine, Shared};
use crate::member::Member;
use crate::network::Network;
use crate::raft::{Raft, Types};
use crate::store::{Cluster, Config, Inner, Timing};
use crate::tables::{self, TableError};
use crate::watch::Hub;
use crate::writer::Writer;

/// A start that takes longer is given up: something is wrong that waiting does not heal.
const START: Duration = Duration::from_secs(60);
/// How long a watcher without events may not know that time goes on.
const PROGRESS: Duration = Duration::from_millis(100);
/// Log that is kept behind a checkpoint where there are other members: one that was away for a moment catches up by it,
/// instead of by an image of everything.
const KEEP_FOR_OTHERS: u64 = 64 << 20;

pub async fn start(config: Config) -> Result<Inner> {
    let dir = Arc::new(Dir::open(config.disk.clone(), &config.dir)?);
    let (log, database) = open_files(&dir, config.cluster.is_some()).await?;
    agree(&dir, &log, &database)?;
    let leases = Arc::new(Leases::default());
    let (member, checkpoints) = start_raft(&config, &dir, &log, database, &leases).await?;
    let mut tasks = Vec::new();
    // From here on raft runs: a failure must not leave it behind.
    let keep_log = if config.cluster.is_some() { KEEP_FOR_OTHERS } else { 0 };
    let purging = clock::spawn(purge(member.raft.clone(), log.clone(), keep_log, checkpoints));
    let entered = match config.cluster {
        Some(cluster) => {
            tasks.push(clock::spawn((cluster.serve)(member.clone())));
            enter(&member, &cluster.address, &cluster.join).await
        }
        None => lead(&member.raft, config.node_id, &log).await,
    };
    if let Err(error) = entered {
        for task in tasks {
            task.abort();
        }
        // The error that matters is the first.
        let _ = member.raft.shutdown().await;
        let _ = purging.await;
        return Err(error);
    }
    let (writer, writing) = Writer::start(member.clone());
    tasks.push(writing);
    tasks.extend(start_tasks(&member, &writer, config.keep));
    let shared = member.shared.clone();
    Ok(Inner { shared, member, writer, tasks: Mutex::new(tasks), purging: Mutex::new(Some(purging)) })
}

/// Both at once: what a new store spends here is waiting for the disk.
async fn open_files(dir: &Arc<Dir>, several: bool) -> Result<(Log, Database)> {
    let (of_log, of_tables) = (dir.clone(), dir.clone());
    let log = blocking::run("opening the log", move || Log::open(of_log.disk().clone(), &of_log.log(), several));
    let database = blocking::run("opening the tables", move || database::open(&of_tables));
    let (log, database) = futures::future::join(log, database).await;
    Ok((log?, database?))
}

/// The tables never know more than the log, unless they came from another member.
fn agree(dir: &Dir, log: &Log, database: &Database) -> Result<()> {
    let read = database.begin_read().map_err(TableError::from)?;
    let (_, applied) = tables::load(&read)?;
    let logged = log.last_index();
    let Some(applied) = applied.log_id.filter(|applied| logged < Some(applied.index)) else { return Ok(()) };
    if tables::are_as_received(database)? {
        return Ok(());
    }
    Err(Error::Data(format!(
        "{} ends at entry {}, and {} has applied {}: the end of the log is missing. Restore the data directory from a \
         copy",
        dir.log().display(),
        logged.map_or_else(|| "none".into(), |last| last.to_string()),
        dir.tables().display(),
        applied.index,
    )))
}

fn raft_config(cluster: Option<&Timing>) -> Result<Arc<openraft::Config>> {
    let Timing { heartbeat, election } = cluster.copied().unwrap_or_default();
    let millis = |time: Duration| time.as_millis() as u64;
    let config = openraft::Config {
        cluster_name: "wherry".into(),
        heartbeat_interval: millis(heartbeat),
        election_timeout_min: millis(election),
        election_timeout_max: millis(election) * 2,
        // One voter has nobody to fail over to, and an idle store should not tick.
        enable_tick: cluster.is_some(),
        enable_heartbeat: cluster.is_some(),
        // One that was cut off must not unseat a leader when it comes back.
        enable_pre_vote: Some(true),
        // A start always begins a new term, so that what the log has is committed anew before it is served.
        enable_leader_restore: Some(false),
        install_snapshot_timeout: 60_000,
        // Checkpoints are decided by the state machine, and what log they leave by its bytes.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: if cluster.is_some() { u64::MAX } else { 0 },
        ..openraft::Config::default()
    };
    let config = config.validate().map_err(|error| Error::Unavailable(format!("its configuration: {error}")))?;
    Ok(Arc::new(config))
}

async fn start_raft(
    config: &Config,
    dir: &Arc<Dir>,
    log: &Log,
    database: Database,
    leases: &Arc<Leases>,
) -> Result<(Arc<Member>, mpsc::UnboundedReceiver<()>)> {
    let layers = Layers::new(database, config.enough)?;
    let numbers = layers.view().numbers();
    leases.set(layers.view().look().leases()?);
    let shared = Arc::new(Shared {
        layers,
        counts: Counts::default(),
        log: log.clone(),
        dir: dir.clone(),
        hub: Hub::new(numbers.revision),
        history: numbers.history.into(),
        history_bytes: numbers.history_bytes.into(),
    });
    let (checkpoint, checkpoints) = mpsc::unbounded_channel();
    let machine = Machine::new(shared.clone(), leases.clone(), checkpoint);
    let wire = config.cluster.as_ref().map(|cluster| cluster.wire.clone());
    let network = Network { id: config.node_id, wire: wire.clone() };
    let settings = raft_config(config.cluster.as_ref().map(|cluster: &Cluster| &cluster.timing))?;
    let raft = Raft::new(config.node_id, settings, network, log.clone(), machine)
        .await
        .map_err(|error| Error::Unavailable(format!("starting: {error}")))?;
    let member = Member::new(config.node_id, raft, log.clone(), shared, leases.clone(), wire);
    Ok((Arc::new(member), checkpoints))
}

fn unavailable(error: &dyn std::fmt::Display) -> Error {
    Error::Unavailable(format!("starting: {error}"))
}

/// The only voter elects itself at once, and applies what the log has before it serves.
async fn lead(raft: &Raft, node_id: u64, log: &Log) -> Result<()> {
    if raft.is_initialized().await.map_err(|error| unavailable(&error))? {
        raft.trigger().elect(false).await.map_err(|error| unavailable(&error))?;
    } else {
        let members = BTreeMap::from([(node_id, BasicNode::default())]);
        raft.initialize(members).await.map_err(|error| unavailable(&error))?;
    }
    let serves = |metrics: &openraft::RaftMetrics<Types>| {
        metrics.running_state.is_err()
            || metrics.state == ServerState::Leader
                && metrics.last_applied.map(|applied| applied.index) >= log.last_index()
    };
    let metrics = raft.wait(Some(START)).metrics(serves, "the log is applied").await;
    let metrics = metrics.map_err(|error| unavailable(&error))?;
    metrics.running_state.map_err(|error| match log.failure() {
        Some(why) => Error::Disk(why),
        None => unavailable(&error),
    })
}

/// Founds a cluster, joins one, or takes its place again; returns when it has caught up.
async fn enter(member: &Arc<Member>, address: &str, join: &[String]) -> Result<()> {
    let known = member.raft.is_initialized().await.map_err(|error| unavailable(&error))?;
    if !known && join.is_empty() {
        let members = BTreeMap::from([(member.id, BasicNode::new(address))]);
        member.raft.initialize(members).await.map_err(|error| unavailable(&error))?;
    } else if !known {
        member.join_through(join, address).await?;
    }
    let until = Instant::now() + START;
    while let Err(error) = member.barrier().await {
        if Instant::now() >= until {
            return Err(error);
        }
    }
    let moved = member.members().into_iter().any(|(id, at, _)| id == member.id && at != address);
    if moved { member.join_through(join, address).await } else { Ok(()) }
}

fn start_tasks(member: &Arc<Member>, writer: &Writer, keep: Keep) -> Vec<JoinHandle<()>> {
    let expirer = member.clone();
    let (aging, compacter, leading) = (member.shared.clone(), writer.clone(), member.raft.clone());
    let progressing = member.shared.clone();
    vec![
        clock::spawn(async move { expirer.leases.run(&expirer).await }),
        clock::spawn(async move { history::run(&aging, &compacter, || leading.is_leader(), keep).await }),
        clock::spawn(async move {
            loop {
                progressing.hub.behind().await;
                clock::sleep(PROGRESS).await;
                progressing.hub.request_progress();
            }
        }),
    ]
}

/// Drops the log that a checkpoint has made superfluous, until the state machine is gone.
async fn purge(raft: Raft, log: Log, keep: u64, mut checkpoints: mpsc::UnboundedReceiver<()>) {
    while checkpoints.recv().await.is_some() {
        // Raft drops the log up to its snapshot, which the tables on disk are.
        let mut purging = raft.trigger().snapshot().await;
        if keep > 0
            && let Some(upto) = log.older_than(keep)
            && purging.is_ok()
        {
            purging = raft.trigger().purge_log(upto).await;
        }
        if let Err(error) = purging {
            tracing::debug!(%error, "the log is not purged any more");
        }
    }
}
