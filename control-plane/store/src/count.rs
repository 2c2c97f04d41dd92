//! How many keys a range holds, without reading them.
//!
//! The keys are cut into blocks of which the size is known. The blocks are made at the first question, and brought up to
//! date at each by the changes since: who does not ask pays nothing.

use std::collections::BTreeMap;
use std::ops::Bound;

use parking_lot::Mutex;

use crate::contract::{Error, Result, Revision};
use crate::layers::Layers;
use crate::look::Look;
use crate::state::Change;
use crate::tables::RowResult;

/// Keys of a block; it is cut anew when it has grown to twice that. A question reads about one block's keys at each end.
const BLOCK: u64 = 256;

#[derive(Default)]
pub struct Counts(Mutex<Option<Blocks>>);

impl Counts {
    /// Whether the first question, which reads every key, has been answered.
    pub fn is_ready(&self) -> bool {
        self.0.lock().is_some()
    }

    /// Keys of `[start, end)` at a revision.
    pub fn count(&self, layers: &Layers, start: &[u8], end: &[u8], at: Revision) -> Result<u64> {
        let mut known = self.0.lock();
        // Taken under the lock, so that it never sees less than the blocks do.
        let view = layers.view();
        let (look, numbers) = (view.look(), view.numbers());
        if at < numbers.compacted {
            return Err(Error::Compacted { asked: at, oldest: numbers.compacted });
        }
        let blocks = match known.take() {
            Some(blocks) if blocks.at >= numbers.compacted => known.insert(blocks.catch_up(look, numbers.revision)?),
            _ => known.insert(Blocks::read(look, numbers.revision)?),
        };
        let now = blocks.rank(look, end)? - blocks.rank(look, start)?;
        let mut since = 0;
        each_since(look, at, |change| {
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

fn each_since(look: Look<'_>, after: Revision, mut with: impl FnMut(&Change)) -> RowResult<()> {
    for row in look.changes(after)? {
        with(&row?.1.change()?);
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
    fn read(look: Look<'_>, at: Revision) -> RowResult<Self> {
        let mut blocks = Self { at, sizes: BTreeMap::from([(Vec::new(), 0)]) };
        blocks.cut(look, &[])?;
        Ok(blocks)
    }

    fn catch_up(mut self, look: Look<'_>, upto: Revision) -> RowResult<Self> {
        each_since(look, self.at, |change| {
            if let Some((_, size)) = self.sizes.range_mut::<[u8], _>(through(&change.key)).next_back() {
                *size = size.saturating_add_signed(grown(change));
            }
        })?;
        self.at = upto;
        self.sizes.retain(|first, size| *size > 0 || first.is_empty());
        let grown: Vec<_> =
            self.sizes.iter().filter(|(_, size)| **size > 2 * BLOCK).map(|(first, _)| first.clone()).collect();
        for first in grown {
            self.cut(look, &first)?;
        }
        Ok(self)
    }

    fn after(&self, first: &[u8]) -> Option<&Vec<u8>> {
        let after = (Bound::Excluded(first), Bound::Unbounded);
        self.sizes.range::<[u8], _>(after).next().map(|(next, _)| next)
    }

    /// Cuts one block into pieces of the right size.
    fn cut(&mut self, look: Look<'_>, first: &[u8]) -> RowResult<()> {
        let end = self.after(first).cloned();
        let (mut block, mut size) = (first.to_vec(), 0);
        for row in look.currents(first, end.as_deref())? {
            let (key, _) = row?;
            if size == BLOCK {
                self.sizes.insert(std::mem::replace(&mut block, key.to_vec()), size);
                size = 0;
            }
            size += 1;
        }
        self.sizes.insert(block, size);
        Ok(())
    }

    /// How many keys come before this one.
    fn rank(&self, look: Look<'_>, key: &[u8]) -> RowResult<u64> {
        let mut before: u64 = 0;
        let mut last: Option<(&[u8], u64)> = None;
        for (first, size) in self.sizes.range::<[u8], _>(through(key)) {
            before += last.map_or(0, |(_, size)| size);
            last = Some((first, *size));
        }
        let within = match last {
            Some((first, _)) if first < key => look.currents(first, Some(key))?.count() as u64,
            _ => 0,
        };
        Ok(before + within)
    }
}
