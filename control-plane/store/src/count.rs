//! How many keys a range holds, without reading them.
//!
//! The keys are cut into blocks of which the size is known. The blocks are made at the first question, and brought up to
//! date at each by the changes since: who does not ask pays nothing.

use std::collections::BTreeMap;
use std::ops::Bound;

use parking_lot::Mutex;
use redb::{Database, ReadOnlyTable, ReadableDatabase};

use crate::contract::{Error, Result, Revision};
use crate::state::Change;
use crate::tables::{self, CHANGES, CURRENT, Key, TableError};

/// Keys of a block; it is cut anew when it has grown to twice that. A question reads about one block's keys at each end.
const BLOCK: u64 = 256;

type RowResult<T> = std::result::Result<T, TableError>;

#[derive(Default)]
pub struct Counts(Mutex<Option<Blocks>>);

impl Counts {
    /// Whether the first question, which reads every key, has been answered.
    pub fn is_ready(&self) -> bool {
        self.0.lock().is_some()
    }

    /// Keys of `[start, end)` at a revision.
    pub fn count(&self, database: &Database, start: &[u8], end: &[u8], at: Revision) -> Result<u64> {
        let mut known = self.0.lock();
        // Begun under the lock, so that it never sees less than the blocks do.
        let txn = database.begin_read().map_err(TableError::from)?;
        let numbers = tables::read_numbers(&txn)?;
        if at < numbers.compacted {
            return Err(Error::Compacted { asked: at, oldest: numbers.compacted });
        }
        let current = txn.open_table(CURRENT).map_err(TableError::from)?;
        let changes = txn.open_table(CHANGES).map_err(TableError::from)?;
        let blocks = match known.take() {
            Some(blocks) if blocks.at >= numbers.compacted => {
                known.insert(blocks.catch_up(&current, &changes, numbers.revision)?)
            }
            _ => known.insert(Blocks::read(&current, numbers.revision)?),
        };
        let now = blocks.rank(&current, end)? - blocks.rank(&current, start)?;
        let mut since = 0;
        each_since(&changes, at, |change| {
            if (start..end).contains(&&*change.key) {
                since += grown(change);
            }
        })?;
        Ok(now.saturating_add_signed(-since))
    }
}

/// By how much a change makes the number of keys grow.
fn grown(change: &Change) -> i64 {
    match (change.before, change.deleted) {
        (_, true) => -1,
        (Revision(0), false) => 1,
        (_, false) => 0,
    }
}

fn each_since(
    changes: &ReadOnlyTable<(u64, u32), Key>,
    after: Revision,
    mut with: impl FnMut(&Change),
) -> RowResult<()> {
    for row in changes.range((after.0 + 1, 0)..)? {
        with(&tables::get_change(row?.1.value())?);
    }
    Ok(())
}

fn through(key: &[u8]) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (Bound::Unbounded, Bound::Included(key))
}

struct Blocks {
    at: Revision,
    /// By the first key that would be in it; the first block starts before every key.
    sizes: BTreeMap<Vec<u8>, u64>,
}

impl Blocks {
    fn read(current: &ReadOnlyTable<Key, Key>, at: Revision) -> RowResult<Self> {
        let mut blocks = Self { at, sizes: BTreeMap::from([(Vec::new(), 0)]) };
        blocks.cut(current, &[])?;
        Ok(blocks)
    }

    fn catch_up(
        mut self,
        current: &ReadOnlyTable<Key, Key>,
        changes: &ReadOnlyTable<(u64, u32), Key>,
        upto: Revision,
    ) -> RowResult<Self> {
        each_since(changes, self.at, |change| {
            if let Some((_, size)) = self.sizes.range_mut::<[u8], _>(through(&change.key)).next_back() {
                *size = size.saturating_add_signed(grown(change));
            }
        })?;
        self.at = upto;
        self.sizes.retain(|first, size| *size > 0 || first.is_empty());
        let grown: Vec<_> =
            self.sizes.iter().filter(|(_, size)| **size > 2 * BLOCK).map(|(first, _)| first.clone()).collect();
        for first in grown {
            self.cut(current, &first)?;
        }
        Ok(self)
    }

    fn after(&self, first: &[u8]) -> Option<&Vec<u8>> {
        let after = (Bound::Excluded(first), Bound::Unbounded);
        self.sizes.range::<[u8], _>(after).next().map(|(next, _)| next)
    }

    /// Cuts one block into pieces of the right size.
    fn cut(&mut self, current: &ReadOnlyTable<Key, Key>, first: &[u8]) -> RowResult<()> {
        let rows = match self.after(first) {
            Some(next) => current.range::<&[u8]>(first..next.as_slice())?,
            None => current.range::<&[u8]>(first..)?,
        };
        let (mut block, mut size) = (first.to_vec(), 0);
        for row in rows {
            if size == BLOCK {
                let next = row?.0.value().to_vec();
                self.sizes.insert(std::mem::replace(&mut block, next), size);
                size = 0;
            } else {
                row?;
            }
            size += 1;
        }
        self.sizes.insert(block, size);
        Ok(())
    }

    /// How many keys come before this one.
    fn rank(&self, current: &ReadOnlyTable<Key, Key>, key: &[u8]) -> RowResult<u64> {
        let mut before: u64 = 0;
        let mut last: Option<(&[u8], u64)> = None;
        for (first, size) in self.sizes.range::<[u8], _>(through(key)) {
            before += last.map_or(0, |(_, size)| size);
            last = Some((first, *size));
        }
        let within = match last {
            Some((first, _)) if first < key => current.range::<&[u8]>(first..key)?.count() as u64,
            _ => 0,
        };
        Ok(before + within)
    }
}
