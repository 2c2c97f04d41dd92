//! Reads at a revision: what is now, corrected by what was then. And the events of history, for watchers.

use std::iter::Peekable;

use bytes::Bytes;
use redb::{AccessGuard, Database, ReadTransaction, ReadableDatabase};

use crate::contract::{Error, Event, KeyValue, List, Result, Revision};
use crate::count::Counts;
use crate::state::{Change, Numbers, Version};
use crate::tables::{self, CHANGES, CURRENT, Key, KeyAt, PAST, TableError};

/// A transaction of the tables, and the revision to read at in it.
struct Reader {
    txn: ReadTransaction,
    at: Revision,
    numbers: Numbers,
}

impl Reader {
    fn open(database: &Database, at: Option<Revision>) -> Result<Self> {
        let txn = database.begin_read().map_err(TableError::from)?;
        let numbers = tables::read_numbers(&txn)?;
        let at = at.unwrap_or(numbers.revision);
        if at > numbers.revision {
            return Err(Error::Future { asked: at, newest: numbers.revision });
        }
        if at < numbers.compacted {
            return Err(Error::Compacted { asked: at, oldest: numbers.compacted });
        }
        Ok(Self { txn, at, numbers })
    }

    fn is_newest(&self) -> bool {
        self.at == self.numbers.revision
    }
}

pub fn get(database: &Database, key: &[u8], at: Option<Revision>) -> Result<Option<KeyValue>> {
    let reader = Reader::open(database, at)?;
    Ok(get_at(&reader, key)?.map(|version| version.into_key_value(Bytes::copy_from_slice(key))))
}

fn get_at(reader: &Reader, key: &[u8]) -> std::result::Result<Option<Version>, TableError> {
    let current = reader.txn.open_table(CURRENT)?;
    if let Some(row) = current.get(key)?
        && tables::modified_of(row.value())? <= reader.at
    {
        return tables::get_version(row.value()).map(Some);
    }
    if reader.is_newest() {
        return Ok(None);
    }
    let past = reader.txn.open_table(PAST)?;
    let Some(row) = past.range((key, 0)..=(key, reader.at.0))?.next_back() else {
        return Ok(None);
    };
    let (end, version) = tables::get_past(row?.1.value())?;
    Ok((end > reader.at).then_some(version))
}

/// A limit of 0 is none.
pub fn list(
    database: &Database,
    counts: &Counts,
    start: &[u8],
    end: &[u8],
    at: Option<Revision>,
    limit: usize,
) -> Result<List> {
    let reader = Reader::open(database, at)?;
    let mut list = List { revision: reader.at, ..List::default() };
    if start < end {
        fill(&reader, start, end, limit, &mut list)?;
    }
    list.count = match list.more {
        true => counts.count(database, start, end, reader.at)?,
        false => list.items.len() as u64,
    };
    Ok(list)
}

fn fill(
    reader: &Reader,
    start: &[u8],
    end: &[u8],
    limit: usize,
    list: &mut List,
) -> std::result::Result<(), TableError> {
    let current = reader.txn.open_table(CURRENT)?;
    let mut past = None;
    if !reader.is_newest() {
        let table = reader.txn.open_table(PAST)?;
        past = Some(Past { at: reader.at, rows: table.range((start, 0)..(end, 0))?.peekable() });
    }
    for row in current.range(start..end)? {
        let (key, row) = row?;
        if let Some(past) = &mut past
            && add_past(past, Some(key.value()), limit, list)?
        {
            return Ok(());
        }
        if tables::modified_of(row.value())? <= reader.at && add(key.value(), row.value(), limit, list)? {
            return Ok(());
        }
    }
    if let Some(past) = &mut past {
        add_past(past, None, limit, list)?;
    }
    Ok(())
}

/// Adds a current row, unless the page is full; whether it is.
fn add(key: &[u8], row: &[u8], limit: usize, list: &mut List) -> std::result::Result<bool, TableError> {
    if is_full(limit, list) {
        return Ok(true);
    }
    list.items.push(tables::get_version(row)?.into_key_value(Bytes::copy_from_slice(key)));
    Ok(false)
}

/// Adds the past rows of keys up to this one, unless the page is full; whether it is.
fn add_past(
    past: &mut Past,
    upto: Option<&[u8]>,
    limit: usize,
    list: &mut List,
) -> std::result::Result<bool, TableError> {
    while let Some((key, row)) = past.next_upto(upto)? {
        if is_full(limit, list) {
            return Ok(true);
        }
        let version = tables::get_past(row.value())?.1;
        list.items.push(version.into_key_value(Bytes::copy_from_slice(key.value().0)));
    }
    Ok(false)
}

/// Called with one more row at hand.
fn is_full(limit: usize, list: &mut List) -> bool {
    list.more = limit != 0 && list.items.len() >= limit;
    list.more
}

/// The versions of the past that were valid at a revision, by key.
struct Past {
    at: Revision,
    rows: Peekable<redb::Range<'static, KeyAt, Key>>,
}

type PastRow = (AccessGuard<'static, KeyAt>, AccessGuard<'static, Key>);

impl Past {
    fn next_upto(&mut self, key: Option<&[u8]>) -> std::result::Result<Option<PastRow>, TableError> {
        loop {
            let in_reach = |row: &std::result::Result<PastRow, redb::StorageError>| match row {
                Ok((at, _)) => key.is_none_or(|key| at.value().0 <= key),
                Err(_) => true,
            };
            let Some(row) = self.rows.next_if(in_reach) else {
                return Ok(None);
            };
            let (at, row) = row?;
            if at.value().1 <= self.at.0 && tables::end_of(row.value())? > self.at {
                return Ok(Some((at, row)));
            }
        }
    }
}

/// Whether everything after a revision can still be told.
pub fn is_kept(database: &Database, after: Revision) -> Result<()> {
    let txn = database.begin_read().map_err(TableError::from)?;
    let numbers = tables::read_numbers(&txn)?;
    if after < numbers.compacted {
        return Err(Error::Compacted { asked: after, oldest: numbers.compacted });
    }
    Ok(())
}

/// A piece of history: events under a prefix, and the revision up to which they are complete.
pub struct Piece {
    pub events: Vec<Event>,
    pub upto: Revision,
}

/// Events after a revision, about `limit` of them, never part of a revision's.
pub fn events(database: &Database, prefix: &[u8], after: Revision, limit: usize) -> Result<Piece> {
    let reader = Reader::open(database, None)?;
    if after < reader.numbers.compacted {
        return Err(Error::Compacted { asked: after, oldest: reader.numbers.compacted });
    }
    Ok(events_in(&reader, prefix, after, limit)?)
}

fn events_in(reader: &Reader, prefix: &[u8], after: Revision, limit: usize) -> std::result::Result<Piece, TableError> {
    let changes = reader.txn.open_table(CHANGES)?;
    let lookup = Lookup { current: reader.txn.open_table(CURRENT)?, past: reader.txn.open_table(PAST)? };
    let mut piece = Piece { events: Vec::new(), upto: after };
    for row in changes.range((after.0 + 1, 0)..)? {
        let (at, row) = row?;
        let revision = Revision(at.value().0);
        if revision != piece.upto && piece.events.len() >= limit {
            return Ok(piece);
        }
        piece.upto = revision;
        let change = tables::get_change(row.value())?;
        if change.key.starts_with(prefix) {
            piece.events.push(lookup.event(revision, change)?);
        }
    }
    piece.upto = reader.numbers.revision;
    Ok(piece)
}

struct Lookup {
    current: redb::ReadOnlyTable<Key, Key>,
    past: redb::ReadOnlyTable<KeyAt, Key>,
}

impl Lookup {
    fn event(&self, revision: Revision, change: Change) -> std::result::Result<Event, TableError> {
        let prev = match change.before {
            Revision(0) => None,
            before => Some(self.written_at(&change.key, before)?.into_key_value(change.key.clone())),
        };
        if change.deleted {
            let prev = prev.ok_or_else(|| lost(&change.key, change.before))?;
            return Ok(Event::Delete { key: change.key, prev, revision });
        }
        let kv = self.written_at(&change.key, revision)?.into_key_value(change.key);
        Ok(Event::Put { kv, prev })
    }

    /// INVARIANT: a version that a change names is current, or in the past as long as the change is kept.
    fn written_at(&self, key: &Bytes, revision: Revision) -> std::result::Result<Version, TableError> {
        if let Some(row) = self.current.get(key.as_ref())?
            && tables::modified_of(row.value())? == revision
        {
            return tables::get_version(row.value());
        }
        match self.past.get((key.as_ref(), revision.0))? {
            Some(row) => Ok(tables::get_past(row.value())?.1),
            None => Err(lost(key, revision)),
        }
    }
}

fn lost(key: &Bytes, revision: Revision) -> TableError {
    TableError::lost(&format!("{} at revision {}", key.escape_ascii(), revision.0))
}
