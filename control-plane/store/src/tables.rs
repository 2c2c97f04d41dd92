//! The rows in redb: what is, what was, what changed when, leases, and how far the log has been applied.

use bytes::{BufMut, Bytes};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::codec::{get_log_id, get_u64, put_log_id};
use crate::contract::{Error, Revision};
use crate::raft::{LogIdOf, StoredMembership};
use crate::state::{Change, Numbers, Rows, Version};

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

type RowResult<T> = std::result::Result<T, TableError>;

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

pub fn load(database: &Database) -> RowResult<(Numbers, Applied)> {
    let read = database.begin_read()?;
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
    let (_, applied) = load(database)?;
    let read = database.begin_read()?;
    let Some(row) = read.open_table(META)?.get(RECEIVED)? else {
        return Ok(false);
    };
    let received = get_u64(&mut Bytes::copy_from_slice(row.value())).map_err(|error| damaged(&error))?;
    Ok(applied.log_id.map(|log_id| log_id.index) == Some(received))
}

/// Notes that these tables came from another member as they are.
pub fn mark_received(database: &Database) -> RowResult<()> {
    let (_, applied) = load(database)?;
    let txn = begin(database, false)?;
    if let Some(log_id) = applied.log_id {
        txn.open_table(META)?.insert(RECEIVED, log_id.index.to_le_bytes().as_slice())?;
    }
    txn.commit()?;
    Ok(())
}

/// The numbers as of the transaction that read the table.
pub fn numbers(meta: &impl ReadableTable<&'static str, Key>) -> RowResult<Numbers> {
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

pub fn read_numbers(read: &redb::ReadTransaction) -> RowResult<Numbers> {
    numbers(&read.open_table(META)?)
}

pub fn leases(database: &Database) -> RowResult<Vec<(u64, u64)>> {
    let read = database.begin_read()?;
    let table = read.open_table(LEASES)?;
    let mut leases = Vec::new();
    for row in table.iter()? {
        let (lease, ttl) = row?;
        leases.push((lease.value(), ttl.value()));
    }
    Ok(leases)
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

    pub fn save_membership(&mut self, membership: &StoredMembership) -> RowResult<()> {
        let json = serde_json::to_vec(membership).map_err(|error| damaged(&error))?;
        self.meta.insert(MEMBERSHIP, json.as_slice())?;
        Ok(())
    }
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

impl Rows for Open<'_> {
    type Error = TableError;

    fn current(&self, key: &[u8]) -> RowResult<Option<Version>> {
        self.current.get(key)?.map(|row| get_version(row.value())).transpose()
    }

    fn put_current(&mut self, key: &[u8], version: &Version) -> RowResult<()> {
        let mut row = Vec::with_capacity(24 + version.value.len());
        put_version(&mut row, version);
        self.current.insert(key, row.as_slice())?;
        Ok(())
    }

    fn remove_current(&mut self, key: &[u8]) -> RowResult<()> {
        self.current.remove(key)?;
        Ok(())
    }

    fn put_past(&mut self, key: &[u8], version: &Version, end: Revision) -> RowResult<()> {
        let mut row = Vec::with_capacity(32 + version.value.len());
        row.put_u64_le(end.0);
        put_version(&mut row, version);
        self.past.insert((key, version.modified.0), row.as_slice())?;
        Ok(())
    }

    fn remove_past(&mut self, key: &[u8], modified: Revision) -> RowResult<u64> {
        let removed = self.past.remove((key, modified.0))?;
        Ok(removed.map_or(0, |row| (row.value().len() as u64).saturating_sub(32)))
    }

    fn put_change(&mut self, at: Revision, index: u32, change: &Change) -> RowResult<()> {
        let mut row = Vec::with_capacity(9 + change.key.len());
        put_change(&mut row, change);
        self.changes.insert((at.0, index), row.as_slice())?;
        Ok(())
    }

    fn oldest_changes(&self, upto: Revision, limit: usize) -> RowResult<Vec<(Revision, u32, Change)>> {
        let mut changes: Vec<(Revision, u32, Change)> = Vec::new();
        for row in self.changes.range((0, 0)..=(upto.0, u32::MAX))? {
            let (at, row) = row?;
            let (revision, index) = at.value();
            if changes.len() >= limit && changes.last().is_some_and(|(last, _, _)| last.0 != revision) {
                break;
            }
            changes.push((Revision(revision), index, get_change(row.value())?));
        }
        Ok(changes)
    }

    fn remove_change(&mut self, at: Revision, index: u32) -> RowResult<()> {
        self.changes.remove((at.0, index))?;
        Ok(())
    }

    fn put_lease(&mut self, lease: u64, ttl_seconds: u64) -> RowResult<()> {
        self.leases.insert(lease, ttl_seconds)?;
        Ok(())
    }

    fn remove_lease(&mut self, lease: u64) -> RowResult<bool> {
        Ok(self.leases.remove(lease)?.is_some())
    }

    fn has_lease(&self, lease: u64) -> RowResult<bool> {
        Ok(self.leases.get(lease)?.is_some())
    }

    fn attach(&mut self, lease: u64, key: &[u8]) -> RowResult<()> {
        self.lease_keys.insert((lease, key), ())?;
        Ok(())
    }

    fn detach(&mut self, lease: u64, key: &[u8]) -> RowResult<()> {
        self.lease_keys.remove((lease, key))?;
        Ok(())
    }

    fn lease_keys(&self, lease: u64) -> RowResult<Vec<Bytes>> {
        let mut keys = Vec::new();
        for row in self.lease_keys.range((lease, &[] as &[u8])..(lease + 1, &[] as &[u8]))? {
            let (at, _) = row?;
            keys.push(Bytes::copy_from_slice(at.value().1));
        }
        Ok(keys)
    }
}
