//! What can be done to a data directory that no process uses: look at it, check it, write its tables anew, make one from
//! a snapshot.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use crate::contract::{Error, Result, Revision};
use crate::database;
use crate::dir::{self, Dir, io_error};
use crate::disk::{Opening, Real};
use crate::image::{self, Part};
use crate::layers::{self, Layers};
use crate::segment::{self, Look};
use crate::tables::{self, Applied, CURRENT, LEASE_KEYS, LEASES, Open, PAST, TableError};
use crate::{log, read, saving};

/// By how much a restored store's revisions are ahead of the snapshot's: more than were ever given out after it was
/// taken, so that a client which saw those is told to start anew instead of being shown another history.
const RESTORE_AHEAD: u64 = 1_000_000_000;
/// Changes that a check looks at in one go.
const CHECKED_AT_ONCE: usize = 1000;

/// What a data directory holds.
#[derive(Debug, Clone)]
pub struct Status {
    /// As the tables have it; the log may know of more.
    pub revision: Revision,
    pub compacted: Revision,
    pub keys: u64,
    pub leases: u64,
    /// Changes that are remembered, and about how many bytes of old values.
    pub history: u64,
    pub history_bytes: u64,
    /// The log entry that the tables are at, and the newest one that the log has.
    pub applied: Option<u64>,
    pub logged: Option<u64>,
    pub members: Vec<(u64, String)>,
    pub tables_bytes: u64,
    pub tables_used_bytes: u64,
    pub log_bytes: u64,
    pub log_files: usize,
}

/// What a check found wrong, each with the file and the place; nothing is changed.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    pub problems: Vec<String>,
    /// Ends of the log that a crash cut short, as they may be: the next start drops them.
    pub unfinished: Vec<String>,
    pub keys: u64,
    pub changes: u64,
    pub records: usize,
}

/// Whether a process has this store open now.
pub fn is_in_use(path: &Path) -> Result<bool> {
    dir::is_in_use(&Real, path)
}

pub fn status(path: &Path) -> Result<Status> {
    let dir = existing(path)?;
    let looks = look(&dir).into_iter().map(|(_, look)| look).collect::<Result<Vec<_>>>()?;
    let database = open(&dir)?;
    let used = tables::begin(&database, false)?.stats().map_err(TableError::from)?;
    let txn = database.begin_read().map_err(TableError::from)?;
    let (numbers, applied) = tables::load(&txn)?;
    let members = applied.membership.nodes().map(|(id, node)| (*id, node.addr.clone())).collect();
    Ok(Status {
        revision: numbers.revision,
        compacted: numbers.compacted,
        keys: length(&txn, CURRENT)?,
        leases: length(&txn, LEASES)?,
        history: numbers.history,
        history_bytes: numbers.history_bytes,
        applied: applied.log_id.map(|log_id| log_id.index),
        logged: looks.iter().filter_map(|look| look.ends_at).max(),
        members,
        tables_bytes: bytes(&dir, &dir.tables())?,
        tables_used_bytes: used.stored_bytes() + used.metadata_bytes(),
        log_bytes: looks.iter().map(|look| look.size).sum(),
        log_files: looks.len(),
    })
}

/// Reads everything that there is, and compares what must agree.
pub fn check(path: &Path) -> Result<Checked> {
    let dir = existing(path)?;
    let mut checked = Checked::default();
    for (path, look) in look(&dir) {
        match look {
            Ok(look) => {
                checked.records += look.records;
                if look.torn {
                    checked.unfinished.push(format!("{} from byte {} on", path.display(), look.used));
                }
            }
            Err(error) => checked.problems.push(error.to_string()),
        }
    }
    let tables = dir.tables();
    match open(&dir) {
        Ok(mut database) => {
            match database.check_integrity() {
                Ok(true) => {}
                Ok(false) => checked.problems.push(format!("{}: a page did not match its checksum", tables.display())),
                Err(error) => checked.problems.push(database::refused(&tables, &error).to_string()),
            }
            if let Err(error) = rows(database, &mut checked) {
                checked.problems.push(format!("{}: {error}", tables.display()));
            }
        }
        Err(error) => checked.problems.push(error.to_string()),
    }
    Ok(checked)
}

/// Writes the tables anew, without the holes that removed rows left; the file's bytes before and after.
pub fn defrag(path: &Path) -> Result<(u64, u64)> {
    let dir = existing(path)?;
    let before = bytes(&dir, &dir.tables())?;
    let old = open(&dir)?;
    drop(database::replace(&dir, |new| image::copy(&old, new))?);
    Ok((before, bytes(&dir, &dir.tables())?))
}

/// Writes what a member's files have, which does not run, to a file for [`restore`]: the way out when the others are gone
/// for good. Of the newest writes some may not have been acknowledged. Its revision.
pub fn save(path: &Path, to: &Path) -> Result<Revision> {
    saving::save_stopped(path, to)
}

/// Makes a store of one member from a snapshot, in a directory that holds none. Its revision.
pub fn restore(snapshot: &Path, path: &Path) -> Result<Revision> {
    let file = std::fs::File::open(snapshot).map_err(|error| io_error("open", snapshot, &error))?;
    let mut from = std::io::BufReader::new(file);
    let mut magic = [0; image::MAGIC.len()];
    let read = std::io::Read::read_exact(&mut from, &mut magic);
    if read.is_err() || magic != *image::MAGIC {
        return Err(Error::Data(format!("{} is no snapshot of a store", snapshot.display())));
    }
    let dir = Dir::open(Arc::new(Real), path)?;
    for there in [dir.tables(), dir.log()] {
        if dir.disk().exists(&there).map_err(|error| io_error("look for", &there, &error))? {
            return Err(Error::Data(format!(
                "{} is there already; restore into a directory without a store, or move that one away",
                there.display()
            )));
        }
    }
    let mut revision = Revision::default();
    drop(database::replace(&dir, |database| {
        image::load(database, Part::Present, &mut image::blocks(from))?;
        revision = start_anew(database)?;
        Ok(())
    })?);
    Ok(revision)
}

/// Leaves what is, forgets how it came to be.
fn start_anew(database: &Database) -> Result<Revision> {
    let read = database.begin_read().map_err(TableError::from)?;
    let (mut numbers, _) = tables::load(&read)?;
    drop(read);
    numbers.revision.0 += RESTORE_AHEAD;
    numbers.compacted = numbers.revision;
    (numbers.history, numbers.history_bytes) = (0, 0);
    let txn = tables::begin(database, false)?;
    Open::new(&txn)?.save(&numbers, &Applied::default())?;
    txn.commit().map_err(TableError::from)?;
    Ok(numbers.revision)
}

fn existing(path: &Path) -> Result<Dir> {
    Dir::existing(Arc::new(Real), path)
}

fn open(dir: &Dir) -> Result<Database> {
    let path = dir.tables();
    if !dir.disk().exists(&path).map_err(|error| io_error("look for", &path, &error))? {
        return Err(Error::Data(format!("{} is missing", path.display())));
    }
    database::open(dir)
}

fn look(dir: &Dir) -> Vec<(PathBuf, Result<Look>)> {
    match log::list(&**dir.disk(), &dir.log()) {
        Ok(files) => files
            .into_iter()
            .map(|(path, sequence, last)| {
                let look = segment::look(&**dir.disk(), &path, sequence, last);
                (path, look)
            })
            .collect(),
        Err(error) => vec![(dir.log(), Err(error))],
    }
}

fn bytes(dir: &Dir, path: &Path) -> Result<u64> {
    let file = dir.disk().open(path, Opening::Existing);
    file.and_then(|file| file.len()).map_err(|error| io_error("measure", path, &error))
}

fn length<K: redb::Key + 'static, V: redb::Value + 'static>(
    txn: &redb::ReadTransaction,
    table: redb::TableDefinition<K, V>,
) -> Result<u64> {
    let table = txn.open_table(table).map_err(TableError::from)?;
    Ok(table.len().map_err(TableError::from)?)
}

/// Whether the rows agree with each other and with the numbers.
pub(crate) fn rows(database: Database, checked: &mut Checked) -> Result<()> {
    let layers = Layers::new(database, layers::ENOUGH)?;
    let numbers = layers.view().numbers();
    let mut after = numbers.compacted;
    loop {
        // Reading history looks up both versions of every change.
        let piece = read::events(&layers, b"", after, CHECKED_AT_ONCE)?;
        checked.changes += piece.events.len() as u64;
        if piece.upto == after || piece.upto == numbers.revision {
            break;
        }
        after = piece.upto;
    }
    if checked.changes != numbers.history {
        checked.problems.push(format!("history has {} changes and says {}", checked.changes, numbers.history));
    }
    let read = layers.read_tables()?;
    current_rows(&read, numbers.revision, checked)?;
    past_rows(&read, numbers.revision, checked)
}

fn current_rows(txn: &ReadTransaction, newest: Revision, checked: &mut Checked) -> Result<()> {
    let lease_keys = txn.open_table(LEASE_KEYS).map_err(TableError::from)?;
    for row in txn.open_table(CURRENT).map_err(TableError::from)?.iter().map_err(TableError::from)? {
        let (key, row) = row.map_err(TableError::from)?;
        let version = tables::get_version(row.value())?;
        let name = || key.value().escape_ascii().to_string();
        if version.create > version.modified || version.modified > newest {
            checked.problems.push(format!("{} is of the revision {}, after the newest", name(), version.modified.0));
        }
        let attached = || lease_keys.get((version.lease, key.value())).map_err(TableError::from);
        if version.lease != 0 && attached()?.is_none() {
            checked.problems.push(format!("{} is not among the keys of its lease {}", name(), version.lease));
        }
        checked.keys += 1;
    }
    Ok(())
}

fn past_rows(txn: &ReadTransaction, newest: Revision, checked: &mut Checked) -> Result<()> {
    for row in txn.open_table(PAST).map_err(TableError::from)?.iter().map_err(TableError::from)? {
        let (at, row) = row.map_err(TableError::from)?;
        let (end, version) = tables::get_past(row.value())?;
        if version.modified.0 != at.value().1 || end <= version.modified || end > newest {
            let name = at.value().0.escape_ascii();
            checked.problems.push(format!("{name} was from {} to {}, which cannot be", version.modified.0, end.0));
        }
    }
    Ok(())
}
