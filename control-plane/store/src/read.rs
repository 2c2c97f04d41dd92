//! Reads at a revision: what is now, corrected by what was then. And the events of history, for watchers.

use std::iter::Peekable;

use bytes::Bytes;

use crate::contract::{Error, Event, KeyValue, List, Result, Revision};
use crate::count::Counts;
use crate::layers::{Layers, View};
use crate::look::{Look, Past, Row};
use crate::state::{Change, Numbers, Version};
use crate::tables::{RowResult, TableError};

/// One state of the rows, and the revision to read at in it.
struct Reader {
    view: View,
    at: Revision,
    numbers: Numbers,
}

impl Reader {
    fn open(layers: &Layers, at: Option<Revision>) -> Result<Self> {
        let view = layers.view();
        let numbers = view.numbers();
        let at = at.unwrap_or(numbers.revision);
        if at > numbers.revision {
            return Err(Error::Future { asked: at, newest: numbers.revision });
        }
        if at < numbers.compacted {
            return Err(Error::Compacted { asked: at, oldest: numbers.compacted });
        }
        Ok(Self { view, at, numbers })
    }

    fn is_newest(&self) -> bool {
        self.at == self.numbers.revision
    }
}

pub fn get(layers: &Layers, key: &[u8], at: Option<Revision>) -> Result<Option<KeyValue>> {
    let reader = Reader::open(layers, at)?;
    Ok(get_at(&reader, key)?.map(|version| version.into_key_value(Bytes::copy_from_slice(key))))
}

fn get_at(reader: &Reader, key: &[u8]) -> RowResult<Option<Version>> {
    let look = reader.view.look();
    if let Some(row) = look.current(key)?
        && row.modified()? <= reader.at
    {
        return row.version().map(Some);
    }
    if reader.is_newest() { Ok(None) } else { look.past_at(key, reader.at) }
}

/// A limit of 0 is none.
pub fn list(
    layers: &Layers,
    counts: &Counts,
    start: &[u8],
    end: &[u8],
    at: Option<Revision>,
    limit: usize,
) -> Result<List> {
    let reader = Reader::open(layers, at)?;
    let mut list = List { revision: reader.at, ..List::default() };
    if start < end {
        fill(&reader, start, end, limit, &mut list)?;
    }
    list.count = match list.more {
        true => counts.count(layers, start, end, reader.at)?,
        false => list.items.len() as u64,
    };
    Ok(list)
}

fn fill(reader: &Reader, start: &[u8], end: &[u8], limit: usize, list: &mut List) -> RowResult<()> {
    let look = reader.view.look();
    let mut past = None;
    if !reader.is_newest() {
        let rows: PastRows<'_> = Box::new(look.pasts(start, end)?);
        past = Some(Pasts { at: reader.at, rows: rows.peekable() });
    }
    for row in look.currents(start, Some(end))? {
        let (key, row) = row?;
        if let Some(past) = &mut past
            && add_past(past, Some(&key), limit, list)?
        {
            return Ok(());
        }
        if row.modified()? <= reader.at && add(key, row, limit, list)? {
            return Ok(());
        }
    }
    if let Some(past) = &mut past {
        add_past(past, None, limit, list)?;
    }
    Ok(())
}

/// Adds a current row, unless the page is full; whether it is.
fn add(key: Bytes, row: Row<'_, Version>, limit: usize, list: &mut List) -> RowResult<bool> {
    if is_full(limit, list) {
        return Ok(true);
    }
    list.items.push(row.version()?.into_key_value(key));
    Ok(false)
}

/// Adds the past rows of keys up to this one, unless the page is full; whether it is.
fn add_past(past: &mut Pasts<'_>, upto: Option<&[u8]>, limit: usize, list: &mut List) -> RowResult<bool> {
    while let Some((key, row)) = past.next_upto(upto)? {
        if is_full(limit, list) {
            return Ok(true);
        }
        let (_, version) = row.past()?;
        list.items.push(version.into_key_value(key));
    }
    Ok(false)
}

/// Called with one more row at hand.
fn is_full(limit: usize, list: &mut List) -> bool {
    list.more = limit != 0 && list.items.len() >= limit;
    list.more
}

type PastRow<'v> = ((Bytes, u64), Row<'v, Past>);
type PastRows<'v> = Box<dyn Iterator<Item = RowResult<PastRow<'v>>> + 'v>;

/// The versions of the past that were valid at a revision, by key.
struct Pasts<'v> {
    at: Revision,
    rows: Peekable<PastRows<'v>>,
}

impl<'v> Pasts<'v> {
    fn next_upto(&mut self, key: Option<&[u8]>) -> RowResult<Option<(Bytes, Row<'v, Past>)>> {
        loop {
            let in_reach = |row: &RowResult<PastRow<'v>>| match row {
                Ok(((at, _), _)) => key.is_none_or(|key| at.as_ref() <= key),
                Err(_) => true,
            };
            let Some(row) = self.rows.next_if(in_reach) else {
                return Ok(None);
            };
            let ((key, modified), row) = row?;
            if modified <= self.at.0 && row.end()? > self.at {
                return Ok(Some((key, row)));
            }
        }
    }
}

/// Whether everything after a revision can still be told.
pub fn is_kept(layers: &Layers, after: Revision) -> Result<()> {
    let numbers = layers.view().numbers();
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
pub fn events(layers: &Layers, prefix: &[u8], after: Revision, limit: usize) -> Result<Piece> {
    let reader = Reader::open(layers, None)?;
    if after < reader.numbers.compacted {
        return Err(Error::Compacted { asked: after, oldest: reader.numbers.compacted });
    }
    Ok(events_in(&reader, prefix, after, limit)?)
}

fn events_in(reader: &Reader, prefix: &[u8], after: Revision, limit: usize) -> RowResult<Piece> {
    let look = reader.view.look();
    let mut piece = Piece { events: Vec::new(), upto: after };
    for row in look.changes(after)? {
        let ((revision, _), row) = row?;
        let revision = Revision(revision);
        if revision != piece.upto && piece.events.len() >= limit {
            return Ok(piece);
        }
        piece.upto = revision;
        let change = row.change()?;
        if change.key.starts_with(prefix) {
            piece.events.push(event(look, revision, change)?);
        }
    }
    piece.upto = reader.numbers.revision;
    Ok(piece)
}

fn event(look: Look<'_>, revision: Revision, change: Change) -> RowResult<Event> {
    let prev = match change.before {
        Revision(0) => None,
        before => Some(written_at(look, &change.key, before)?.into_key_value(change.key.clone())),
    };
    if change.deleted {
        let prev = prev.ok_or_else(|| lost(&change.key, change.before))?;
        return Ok(Event::Delete { key: change.key, prev, revision });
    }
    let kv = written_at(look, &change.key, revision)?.into_key_value(change.key);
    Ok(Event::Put { kv, prev })
}

/// INVARIANT: a version that a change names is current, or in the past as long as the change is kept.
fn written_at(look: Look<'_>, key: &Bytes, revision: Revision) -> RowResult<Version> {
    if let Some(row) = look.current(key)?
        && row.modified()? == revision
    {
        return row.version();
    }
    match look.past(key, revision)? {
        Some(row) => Ok(row.past()?.1),
        None => Err(lost(key, revision)),
    }
}

fn lost(key: &Bytes, revision: Revision) -> TableError {
    TableError::lost(&format!("{} at revision {}", key.escape_ascii(), revision.0))
}
