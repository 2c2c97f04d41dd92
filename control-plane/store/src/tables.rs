//! The rows in redb: what is, what was, what changed when, leases, and how far the log has been applied.

use bytes::{BufMut, Bytes};
use redb::{Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::codec::{get_log_id, get_u64, put_log_id};
use crate::contract::{Error, Revision};
use crate::fresh::Fresh;
use crate::raft::{LogIdOf, StoredMembership};
use crate::state::{Change, Numbers, Version};

pub type Key = &'static [u8];
pub type KeyAt = (&'static [u8], u64);
pub const CURRENT: TableDefinition<Key, Key> = TableDefinition::new("current");
/// By key and the revision that the version was written at; its value starts with the revision that ended it.
pub const PAST: TableDefinition<KeyAt, Key> = TableDefinition::new("past");
pub const CHANGES: TableDefinition<(u64, u32), Key> = TableDefinition::new("changes");
pub const LEASES: TableDefinition<u64, u64> = TableDefinition::new("leases");
pub const LEASE_KEYS: TableDefinition<(u64, &'static [u8]), ()> = TableDefinition::new("lease keys");
pub const META: TableDefinition<&'static str, Key> = TableDefinition::new("meta");

/// The row of [`META`] with the [`Numbers`], the one with the log's position, and the one with the members.
pub const NUMBERS: &str = "numbers";
/// The index of the entry that tables which came from another member were at: the log may end before it.
pub const RECEIVED: &str = "received";
const APPLIED: &str = "applied";
const MEMBERSHIP: &str = "membership";

/// Any of redb's errors, without its size.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TableError(String);

impl TableError {
    pub fn lost(what: &str) -> Self {
        Self(format!("history has lost {what}"))
    }
}

impl<E: Into<redb::Error>> From<E> for TableError {
    fn from(error: E) -> Self {
        Self(error.into().to_string())
    }
}

impl From<TableError> for Error {
    fn from(error: TableError) -> Self {
        Error::Disk(format!("the tables: {error}"))
    }
}

impl From<TableError> for std::io::Error {
    fn from(error: TableError) -> Self {
        std::io::Error::other(format!("the tables: {error}"))
    }
}

pub type RowResult<T> = std::result::Result<T, TableError>;

/// How far the log is in the tables.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    pub log_id: Option<LogIdOf>,
    pub membership: StoredMembership,
}

/// So that readers find every table from the start.
pub fn create(database: &Database) -> std::result::Result<(), TableError> {
    {
        let read = database.begin_read()?;
        if read.open_table(META).is_ok() {
            return Ok(());
        }
    }
    // Not synced: a start that finds nothing makes it again.
    let txn = begin(database, false)?;
    {
        let mut rows = Open::new(&txn)?;
        rows.save(&Numbers::default(), &Applied::default())?;
    }
    txn.commit()?;
    Ok(())
}

/// A transaction that is synced when it commits, or one that the log can rebuild.
pub fn begin(database: &Database, durable: bool) -> RowResult<WriteTransaction> {
    let mut txn = database.begin_write()?;
    if durable {
        // Otherwise a start after a crash walks the whole file.
        txn.set_quick_repair(true);
    } else {
        txn.set_durability(Durability::None).map_err(|error| TableError(error.to_string()))?;
    }
    Ok(txn)
}

/// Where the tables are.
pub fn load(read: &ReadTransaction) -> RowResult<(Numbers, Applied)> {
    let meta = read.open_table(META)?;
    let numbers = numbers(&meta)?;
    let mut applied = Applied::default();
    if let Some(row) = meta.get(APPLIED)? {
        let log_id = get_log_id(&mut Bytes::copy_from_slice(row.value())).map_err(|error| damaged(&error))?;
        applied.log_id = Some(log_id);
    }
    if let Some(row) = meta.get(MEMBERSHIP)? {
        applied.membership = serde_json::from_slice(row.value()).map_err(|error| damaged(&error))?;
    }
    Ok((numbers, applied))
}

/// Whether these tables came from another member, and nothing was applied to them since.
pub fn are_as_received(database: &Database) -> RowResult<bool> {
    let read = database.begin_read()?;
    let (_, applied) = load(&read)?;
    let Some(row) = read.open_table(META)?.get(RECEIVED)? else {
        return Ok(false);
    };
    let received = get_u64(&mut Bytes::copy_from_slice(row.value())).map_err(|error| damaged(&error))?;
    Ok(applied.log_id.map(|log_id| log_id.index) == Some(received))
}

/// Notes that these tables came from another member as they are.
pub fn mark_received(database: &Database) -> RowResult<()> {
    let (_, applied) = load(&database.begin_read()?)?;
    let txn = begin(database, false)?;
    if let Some(log_id) = applied.log_id {
        txn.open_table(META)?.insert(RECEIVED, log_id.index.to_le_bytes().as_slice())?;
    }
    txn.commit()?;
    Ok(())
}

/// The numbers as of the transaction that read the table.
fn numbers(meta: &impl ReadableTable<&'static str, Key>) -> RowResult<Numbers> {
    let Some(row) = meta.get(NUMBERS)? else {
        return Ok(Numbers::default());
    };
    let mut row = Bytes::copy_from_slice(row.value());
    let mut next = || get_u64(&mut row).map_err(|error| damaged(&error));
    Ok(Numbers {
        revision: Revision(next()?),
        compacted: Revision(next()?),
        last_lease: next()?,
        history: next()?,
        history_bytes: next()?,
    })
}

fn damaged(why: &dyn std::fmt::Display) -> TableError {
    TableError(format!("a row cannot be read: {why}"))
}

type Table<'t, K, V> = redb::Table<'t, K, V>;

/// Every table, open for one transaction.
pub struct Open<'t> {
    current: Table<'t, Key, Key>,
    past: Table<'t, KeyAt, Key>,
    changes: Table<'t, (u64, u32), Key>,
    leases: Table<'t, u64, u64>,
    lease_keys: Table<'t, (u64, &'static [u8]), ()>,
    meta: Table<'t, &'static str, Key>,
}

impl<'t> Open<'t> {
    pub fn new(txn: &'t WriteTransaction) -> RowResult<Self> {
        Ok(Self {
            current: txn.open_table(CURRENT)?,
            past: txn.open_table(PAST)?,
            changes: txn.open_table(CHANGES)?,
            leases: txn.open_table(LEASES)?,
            lease_keys: txn.open_table(LEASE_KEYS)?,
            meta: txn.open_table(META)?,
        })
    }

    pub fn save(&mut self, numbers: &Numbers, applied: &Applied) -> RowResult<()> {
        let mut row = Vec::with_capacity(40);
        let Numbers { revision, compacted, last_lease, history, history_bytes } = *numbers;
        for number in [revision.0, compacted.0, last_lease, history, history_bytes] {
            row.put_u64_le(number);
        }
        self.meta.insert(NUMBERS, row.as_slice())?;
        if let Some(log_id) = &applied.log_id {
            row.clear();
            put_log_id(&mut row, log_id);
            self.meta.insert(APPLIED, row.as_slice())?;
        }
        Ok(())
    }

    fn save_membership(&mut self, membership: &StoredMembership) -> RowResult<()> {
        let json = serde_json::to_vec(membership).map_err(|error| damaged(&error))?;
        self.meta.insert(MEMBERSHIP, json.as_slice())?;
        Ok(())
    }

    fn save_rows(&mut self, fresh: &Fresh) -> RowResult<()> {
        let mut row = Vec::new();
        for (key, version) in &fresh.current {
            row.clear();
            match version {
                Some(version) => {
                    put_version(&mut row, version);
                    self.current.insert(key.as_ref(), row.as_slice())?;
                }
                None => drop(self.current.remove(key.as_ref())?),
            }
        }
        for ((key, modified), past) in &fresh.past {
            row.clear();
            match past {
                Some((end, version)) => {
                    row.put_u64_le(end.0);
                    put_version(&mut row, version);
                    self.past.insert((key.as_ref(), *modified), row.as_slice())?;
                }
                None => drop(self.past.remove((key.as_ref(), *modified))?),
            }
        }
        for (at, change) in &fresh.changes {
            row.clear();
            match change {
                Some(change) => {
                    put_change(&mut row, change);
                    self.changes.insert(*at, row.as_slice())?;
                }
                None => drop(self.changes.remove(*at)?),
            }
        }
        self.save_leases(fresh)
    }

    fn save_leases(&mut self, fresh: &Fresh) -> RowResult<()> {
        for (lease, ttl) in &fresh.leases {
            match ttl {
                Some(ttl) => drop(self.leases.insert(*lease, *ttl)?),
                None => drop(self.leases.remove(*lease)?),
            }
        }
        for ((lease, key), attached) in &fresh.lease_keys {
            match attached {
                Some(()) => drop(self.lease_keys.insert((*lease, key.as_ref()), ())?),
                None => drop(self.lease_keys.remove((*lease, key.as_ref()))?),
            }
        }
        Ok(())
    }
}

/// Puts fresh rows into the tables, and returns when the disk has them.
pub fn store(database: &Database, fresh: &Fresh) -> RowResult<()> {
    let txn = begin(database, true)?;
    {
        let mut tables = Open::new(&txn)?;
        tables.save_rows(fresh)?;
        tables.save(&fresh.numbers, &fresh.applied)?;
        tables.save_membership(&fresh.applied.membership)?;
    }
    txn.commit()?;
    Ok(())
}

fn put_version(out: &mut Vec<u8>, version: &Version) {
    out.put_u64_le(version.create.0);
    out.put_u64_le(version.modified.0);
    out.put_u64_le(version.lease);
    out.put_slice(&version.value);
}

pub fn get_version(row: &[u8]) -> RowResult<Version> {
    let mut row = Bytes::copy_from_slice(row);
    get_version_owned(&mut row)
}

fn get_version_owned(row: &mut Bytes) -> RowResult<Version> {
    let mut next = || get_u64(row).map_err(|error| damaged(&error));
    let (create, modified, lease) = (Revision(next()?), Revision(next()?), next()?);
    Ok(Version { value: row.clone(), create, modified, lease })
}

/// A version of the past, and the revision that ended it.
pub fn get_past(row: &[u8]) -> RowResult<(Revision, Version)> {
    let mut row = Bytes::copy_from_slice(row);
    let end = Revision(get_u64(&mut row).map_err(|error| damaged(&error))?);
    Ok((end, get_version_owned(&mut row)?))
}

/// Only the revisions of a current row.
pub fn modified_of(row: &[u8]) -> RowResult<Revision> {
    number_at(row, 8)
}

/// Only how long the value of a past row is.
pub fn past_value_bytes(row: &[u8]) -> u64 {
    (row.len() as u64).saturating_sub(32)
}

/// Only the end of a past row.
pub fn end_of(row: &[u8]) -> RowResult<Revision> {
    number_at(row, 0)
}

fn number_at(row: &[u8], at: usize) -> RowResult<Revision> {
    let bytes = row.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map(|bytes| Revision(u64::from_le_bytes(bytes))).ok_or_else(|| damaged(&"it is too short"))
}

fn put_change(out: &mut Vec<u8>, change: &Change) {
    out.put_u64_le(change.before.0);
    out.put_u8(change.deleted.into());
    out.put_slice(&change.key);
}

pub fn get_change(row: &[u8]) -> RowResult<Change> {
    let mut row = Bytes::copy_from_slice(row);
    let before = Revision(get_u64(&mut row).map_err(|error| damaged(&error))?);
    if row.is_empty() {
        return Err(damaged(&"it is too short"));
    }
    let deleted = row.split_to(1)[0] != 0;
    Ok(Change { key: row, before, deleted })
}
