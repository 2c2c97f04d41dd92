//! Reads of rows wherever they are: the fresh ones, those on their way into the tables, the tables.

use std::borrow::Borrow;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use redb::{AccessGuard, Database, ReadOnlyTable, ReadTransaction, ReadableDatabase};

use crate::contract::Revision;
use crate::fresh::{Fresh, Map};
use crate::state::{Change, Numbers, Version};
use crate::tables::{self, Applied, CHANGES, CURRENT, Key, KeyAt, LEASE_KEYS, LEASES, PAST, RowResult};

/// The tables as one transaction sees them.
pub struct Base {
    current: ReadOnlyTable<Key, Key>,
    past: ReadOnlyTable<KeyAt, Key>,
    changes: ReadOnlyTable<(u64, u32), Key>,
    leases: ReadOnlyTable<u64, u64>,
    lease_keys: ReadOnlyTable<(u64, &'static [u8]), ()>,
    pub numbers: Numbers,
    pub applied: Applied,
    /// Dropped after its tables.
    pub database: Arc<Database>,
}

impl Base {
    pub fn read(database: Arc<Database>) -> RowResult<Self> {
        let txn: ReadTransaction = database.begin_read()?;
        let (numbers, applied) = tables::load(&txn)?;
        Ok(Self {
            current: txn.open_table(CURRENT)?,
            past: txn.open_table(PAST)?,
            changes: txn.open_table(CHANGES)?,
            leases: txn.open_table(LEASES)?,
            lease_keys: txn.open_table(LEASE_KEYS)?,
            numbers,
            applied,
            database,
        })
    }
}

/// A row, copied out of its page only when it is wanted.
pub enum Row<'v, V> {
    Fresh(&'v V),
    Stored(AccessGuard<'static, Key>),
}

/// With its key.
pub type Found<'v, K, V> = (K, Row<'v, V>);

/// A version, and the revision that ended it.
pub type Past = (Revision, Version);

impl Row<'_, Version> {
    pub fn modified(&self) -> RowResult<Revision> {
        match self {
            Row::Fresh(version) => Ok(version.modified),
            Row::Stored(row) => tables::modified_of(row.value()),
        }
    }

    pub fn version(self) -> RowResult<Version> {
        match self {
            Row::Fresh(version) => Ok(version.clone()),
            Row::Stored(row) => tables::get_version(row.value()),
        }
    }
}

impl Row<'_, Past> {
    pub fn end(&self) -> RowResult<Revision> {
        match self {
            Row::Fresh((end, _)) => Ok(*end),
            Row::Stored(row) => tables::end_of(row.value()),
        }
    }

    pub fn past(self) -> RowResult<Past> {
        match self {
            Row::Fresh(past) => Ok(past.clone()),
            Row::Stored(row) => tables::get_past(row.value()),
        }
    }

    pub fn value_bytes(&self) -> u64 {
        match self {
            Row::Fresh((_, version)) => version.value.len() as u64,
            Row::Stored(row) => tables::past_value_bytes(row.value()),
        }
    }
}

impl Row<'_, Change> {
    pub fn change(self) -> RowResult<Change> {
        match self {
            Row::Fresh(change) => Ok(change.clone()),
            Row::Stored(row) => tables::get_change(row.value()),
        }
    }
}

/// One state of all rows.
#[derive(Clone, Copy)]
pub struct Look<'v> {
    pub fresh: &'v Fresh,
    pub frozen: Option<&'v Fresh>,
    pub base: &'v Base,
}

impl<'v> Look<'v> {
    pub fn current(self, key: &[u8]) -> RowResult<Option<Row<'v, Version>>> {
        if let Some(found) = self.find(|fresh| &fresh.current, key) {
            return Ok(found.map(Row::Fresh));
        }
        Ok(self.base.current.get(key)?.map(Row::Stored))
    }

    /// The current rows from one key up to, without, another.
    pub fn currents<'b>(
        self,
        start: &'b [u8],
        end: Option<&'b [u8]>,
    ) -> RowResult<impl Iterator<Item = RowResult<Found<'v, Bytes, Version>>> + use<'v, 'b>> {
        let range = (Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded));
        let stored = self.base.current.range::<&[u8]>(range)?.map(|row| {
            let (key, row) = row?;
            Ok((Bytes::copy_from_slice(key.value()), Some(Row::Stored(row))))
        });
        let fresh = move |fresh: &'v Fresh| fresh.current.range::<[u8], _>(range).map(fresh_row);
        Ok(merged(fresh(self.fresh), self.frozen.into_iter().flat_map(fresh), stored))
    }

    /// The version that was written at a revision and is not current any more.
    pub fn past(self, key: &Bytes, modified: Revision) -> RowResult<Option<Row<'v, Past>>> {
        if let Some(found) = self.find(|fresh| &fresh.past, &(key.clone(), modified.0)) {
            return Ok(found.map(Row::Fresh));
        }
        Ok(self.base.past.get((key.as_ref(), modified.0))?.map(Row::Stored))
    }

    /// The version of the past that was valid at a revision that is not compacted.
    pub fn past_at(self, key: &[u8], at: Revision) -> RowResult<Option<Version>> {
        // INVARIANT: of such versions none is removed, and the last one that began by then is the one, or none is: what is
        // removed in one layer and still there in one below had ended before. So each layer can be asked by itself.
        let mut last: Option<(u64, Row<'v, Past>)> = None;
        if let Some(row) = self.base.past.range((key, 0)..=(key, at.0))?.next_back() {
            let (written, row) = row?;
            last = Some((written.value().1, Row::Stored(row)));
        }
        let key = Bytes::copy_from_slice(key);
        for fresh in self.frozen.into_iter().chain([self.fresh]) {
            let rows = fresh.past.range((key.clone(), 0)..=(key.clone(), at.0)).rev();
            let found =
                rows.into_iter().find_map(|((_, modified), past)| Some((*modified, Row::Fresh(past.as_ref()?))));
            last = match (last, found) {
                (Some(below), Some(found)) if below.0 > found.0 => Some(below),
                (below, found) => found.or(below),
            };
        }
        let Some((_, row)) = last else { return Ok(None) };
        if row.end()? > at { row.past().map(|(_, version)| Some(version)) } else { Ok(None) }
    }

    /// All versions of the past of a range of keys, by key and the revision they were written at.
    pub fn pasts(
        self,
        start: &[u8],
        end: &[u8],
    ) -> RowResult<impl Iterator<Item = RowResult<Found<'v, (Bytes, u64), Past>>> + use<'v>> {
        let stored = self.base.past.range((start, 0)..(end, 0))?.map(|row| {
            let (at, row) = row?;
            let (key, modified) = at.value();
            Ok(((Bytes::copy_from_slice(key), modified), Some(Row::Stored(row))))
        });
        let range = (Bytes::copy_from_slice(start), 0)..(Bytes::copy_from_slice(end), 0);
        let fresh = move |fresh: &'v Fresh| fresh.past.range(range.clone()).map(fresh_row);
        Ok(merged(fresh(self.fresh), self.frozen.into_iter().flat_map(fresh), stored))
    }

    /// Changes after a revision, by revision and their place in it.
    pub fn changes(
        self,
        after: Revision,
    ) -> RowResult<impl Iterator<Item = RowResult<Found<'v, (u64, u32), Change>>> + use<'v>> {
        let range = (after.0 + 1, 0)..;
        let stored = self.base.changes.range(range.clone())?.map(|row| {
            let (at, row) = row?;
            Ok((at.value(), Some(Row::Stored(row))))
        });
        let fresh = move |fresh: &'v Fresh| fresh.changes.range(range.clone()).map(fresh_row);
        Ok(merged(fresh(self.fresh), self.frozen.into_iter().flat_map(fresh), stored))
    }

    pub fn lease(self, lease: u64) -> RowResult<Option<u64>> {
        if let Some(found) = self.find(|fresh| &fresh.leases, &lease) {
            return Ok(found.copied());
        }
        Ok(self.base.leases.get(lease)?.map(|ttl| ttl.value()))
    }

    /// Every lease, and its time in seconds.
    pub fn leases(self) -> RowResult<Vec<(u64, u64)>> {
        let stored = self.base.leases.range::<u64>(..)?.map(|row| {
            let (lease, ttl) = row?;
            Ok((lease.value(), Some(ttl.value())))
        });
        let fresh = |fresh: &'v Fresh| fresh.leases.iter().map(|(lease, ttl)| (*lease, *ttl));
        merged(fresh(self.fresh), self.frozen.into_iter().flat_map(fresh), stored).collect()
    }

    pub fn lease_keys(self, lease: u64) -> RowResult<Vec<Bytes>> {
        let stored = self.base.lease_keys.range((lease, &[] as &[u8])..(lease + 1, &[] as &[u8]))?.map(|row| {
            let (at, _) = row?;
            Ok((Bytes::copy_from_slice(at.value().1), Some(())))
        });
        let fresh = move |fresh: &'v Fresh| {
            let rows = fresh.lease_keys.range((lease, Bytes::new())..(lease + 1, Bytes::new()));
            rows.map(|((_, key), row)| (key.clone(), *row))
        };
        let keys = merged(fresh(self.fresh), self.frozen.into_iter().flat_map(fresh), stored);
        keys.map(|row| row.map(|(key, ())| key)).collect()
    }

    /// What the fresh layers say of a row; `None` where they say nothing.
    fn find<K, Q, V>(self, map: impl for<'a> Fn(&'a Fresh) -> &'a Map<K, V>, key: &Q) -> Option<Option<&'v V>>
    where
        K: Borrow<Q> + Ord + 'v,
        Q: Ord + ?Sized,
    {
        let find = |fresh: &'v Fresh| map(fresh).get(key).map(Option::as_ref);
        find(self.fresh).or_else(|| self.frozen.and_then(find))
    }
}

fn fresh_row<'v, K: Clone, V>((key, row): (&'v K, &'v Option<V>)) -> (K, Option<Row<'v, V>>) {
    (key.clone(), row.as_ref().map(Row::Fresh))
}

/// The rows that are there of three layers, in the order of their keys.
fn merged<K: Ord, V>(
    fresh: impl Iterator<Item = (K, Option<V>)>,
    frozen: impl Iterator<Item = (K, Option<V>)>,
    stored: impl Iterator<Item = RowResult<(K, Option<V>)>>,
) -> impl Iterator<Item = RowResult<(K, V)>> {
    let frozen = Over { upper: frozen.peekable(), lower: stored.peekable() };
    let rows = Over { upper: fresh.peekable(), lower: frozen.peekable() };
    rows.filter_map(|row| match row {
        Ok((key, row)) => row.map(|row| Ok((key, row))),
        Err(error) => Some(Err(error)),
    })
}

/// Rows of two layers; where both have one, the upper one's counts.
struct Over<U: Iterator, L: Iterator> {
    upper: Peekable<U>,
    lower: Peekable<L>,
}

impl<K: Ord, V, U, L> Iterator for Over<U, L>
where
    U: Iterator<Item = (K, V)>,
    L: Iterator<Item = RowResult<(K, V)>>,
{
    type Item = RowResult<(K, V)>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some((upper, _)) = self.upper.peek() else { return self.lower.next() };
        match self.lower.peek() {
            Some(Err(_)) => return self.lower.next(),
            Some(Ok((lower, _))) if lower < upper => return self.lower.next(),
            Some(Ok((lower, _))) if lower == upper => drop(self.lower.next()),
            Some(Ok(_)) | None => {}
        }
        self.upper.next().map(Ok)
    }
}
