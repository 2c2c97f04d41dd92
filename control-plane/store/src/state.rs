//! The pure state machine: what a command does to the rows, what it answers, and what watchers hear of it.
//!
//! No clock, no chance, no IO of its own: the same commands make the same rows on every member and at every replay.

use bytes::Bytes;

use crate::command::{Command, Outcome};
use crate::contract::{Compare, Event, KeyValue, Op, Revision, Txn, TxnOutcome};

/// Changes that one compaction command forgets, so that no write waits long behind it: a few milliseconds of work.
pub const COMPACTION_STEP: usize = 100;

/// The revision of a store that nothing was written to. Not 0, which Kubernetes reads as "any".
pub const FIRST: Revision = Revision(1);

/// A key at one point in history, without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub value: Bytes,
    pub create: Revision,
    pub modified: Revision,
    pub lease: u64,
}

impl Version {
    pub fn into_key_value(self, key: Bytes) -> KeyValue {
        KeyValue {
            key,
            value: self.value,
            create_revision: self.create,
            mod_revision: self.modified,
            lease: self.lease,
        }
    }

    fn cost(&self, key: &[u8]) -> u64 {
        (key.len() + self.value.len()) as u64 + ROW_COST
    }
}

/// What a row of history takes beside its key and value, about.
const ROW_COST: u64 = 100;

/// One key's part in the change that made a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: Bytes,
    /// Revision that the version before was written at; 0 when there was none.
    pub before: Revision,
    pub deleted: bool,
}

/// The few numbers beside the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    pub revision: Revision,
    /// Reads and watches start here at the earliest.
    pub compacted: Revision,
    pub last_lease: u64,
    /// Changes that history holds, and about how many bytes of old versions.
    pub history: u64,
    pub history_bytes: u64,
}

impl Default for Numbers {
    fn default() -> Self {
        Self { revision: FIRST, compacted: FIRST, last_lease: 0, history: 0, history_bytes: 0 }
    }
}

/// Where rows live. Errors are the storage's own.
pub trait Rows {
    type Error;

    fn current(&self, key: &[u8]) -> Result<Option<Version>, Self::Error>;
    fn put_current(&mut self, key: &Bytes, version: &Version) -> Result<(), Self::Error>;
    fn remove_current(&mut self, key: &Bytes) -> Result<(), Self::Error>;

    /// A version that was replaced or deleted at `end`.
    fn put_past(&mut self, key: &Bytes, version: &Version, end: Revision) -> Result<(), Self::Error>;
    /// Bytes that the removed version had as value.
    fn remove_past(&mut self, key: &Bytes, modified: Revision) -> Result<u64, Self::Error>;

    fn put_change(&mut self, at: Revision, index: u32, change: &Change) -> Result<(), Self::Error>;
    /// The oldest changes after a revision, up to and including another: whole revisions, about `limit` changes.
    fn oldest_changes(
        &self,
        after: Revision,
        upto: Revision,
        limit: usize,
    ) -> Result<Vec<(Revision, u32, Change)>, Self::Error>;
    fn remove_change(&mut self, at: Revision, index: u32) -> Result<(), Self::Error>;

    fn put_lease(&mut self, lease: u64, ttl_seconds: u64) -> Result<(), Self::Error>;
    fn remove_lease(&mut self, lease: u64) -> Result<(), Self::Error>;
    fn has_lease(&self, lease: u64) -> Result<bool, Self::Error>;
    fn attach(&mut self, lease: u64, key: &Bytes) -> Result<(), Self::Error>;
    fn detach(&mut self, lease: u64, key: &Bytes) -> Result<(), Self::Error>;
    fn lease_keys(&self, lease: u64) -> Result<Vec<Bytes>, Self::Error>;
}

/// Rows and numbers together.
pub struct State<'a, R: Rows> {
    pub rows: &'a mut R,
    pub numbers: &'a mut Numbers,
}

/// Carries a command out. Events are of one revision, in the order of the operations.
pub fn apply<R: Rows>(state: &mut State<'_, R>, command: &Command) -> Result<(Outcome, Vec<Event>), R::Error> {
    match command {
        Command::Txn(txn) => apply_txn(state, txn),
        Command::Compact(at) => Ok((compact(state, *at)?, Vec::new())),
        Command::Grant { ttl_seconds } => {
            state.numbers.last_lease += 1;
            state.rows.put_lease(state.numbers.last_lease, *ttl_seconds)?;
            Ok((Outcome::Granted(state.numbers.last_lease), Vec::new()))
        }
        Command::Revoke { lease } => revoke(state, *lease),
    }
}

fn apply_txn<R: Rows>(state: &mut State<'_, R>, txn: &Txn) -> Result<(Outcome, Vec<Event>), R::Error> {
    if let Some(current) = conflict(state, &txn.compare)? {
        let revision = state.numbers.revision;
        return Ok((Outcome::Txn(TxnOutcome::Conflict { current, revision }), Vec::new()));
    }
    for op in &txn.ops {
        if let Op::Put { lease, .. } = op
            && *lease != 0
            && !state.rows.has_lease(*lease)?
        {
            return Ok((Outcome::NoLease(*lease), Vec::new()));
        }
    }
    let mut writing = Writing::new(state);
    for op in &txn.ops {
        match op {
            Op::Put { key, value, lease } => writing.put(key, value, *lease)?,
            Op::Delete { key } => writing.delete(key)?,
        }
    }
    let (revision, events) = writing.finish();
    Ok((Outcome::Txn(TxnOutcome::Committed(revision)), events))
}

/// The compared keys as they are, when a comparison does not hold.
fn conflict<R: Rows>(state: &State<'_, R>, compare: &[Compare]) -> Result<Option<Vec<Option<KeyValue>>>, R::Error> {
    let mut holds = true;
    let mut current = Vec::with_capacity(compare.len());
    for Compare::ModRevision(key, expected) in compare {
        let version = state.rows.current(key)?;
        holds &= version.as_ref().map(|version| version.modified).unwrap_or_default() == *expected;
        current.push(version.map(|version| version.into_key_value(key.clone())));
    }
    Ok((!holds).then_some(current))
}

fn revoke<R: Rows>(state: &mut State<'_, R>, lease: u64) -> Result<(Outcome, Vec<Event>), R::Error> {
    if !state.rows.has_lease(lease)? {
        return Ok((Outcome::NoLease(lease), Vec::new()));
    }
    let keys = state.rows.lease_keys(lease)?;
    let mut writing = Writing::new(state);
    for key in &keys {
        writing.delete(key)?;
    }
    let (revision, events) = writing.finish();
    state.rows.remove_lease(lease)?;
    Ok((Outcome::Revoked(revision), events))
}

fn compact<R: Rows>(state: &mut State<'_, R>, at: Revision) -> Result<Outcome, R::Error> {
    let at = at.min(state.numbers.revision);
    if at <= state.numbers.compacted {
        return Ok(Outcome::Compacted(state.numbers.compacted));
    }
    // Nothing of before is left, and what was removed lately may still have to be stepped over.
    let changes = state.rows.oldest_changes(state.numbers.compacted, at, COMPACTION_STEP)?;
    let reached = match changes.last() {
        Some((last, _, _)) if changes.len() >= COMPACTION_STEP => *last,
        _ => at,
    };
    for (revision, index, change) in &changes {
        if change.before != Revision(0) {
            let freed = state.rows.remove_past(&change.key, change.before)? + change.key.len() as u64;
            state.numbers.history_bytes = state.numbers.history_bytes.saturating_sub(freed + ROW_COST);
        }
        state.rows.remove_change(*revision, *index)?;
    }
    state.numbers.history = state.numbers.history.saturating_sub(changes.len() as u64);
    state.numbers.compacted = reached;
    Ok(Outcome::Compacted(reached))
}

/// A transaction under way. It takes a revision only when it changes something.
struct Writing<'s, 'a, R: Rows> {
    state: &'s mut State<'a, R>,
    revision: Revision,
    events: Vec<Event>,
}

impl<'s, 'a, R: Rows> Writing<'s, 'a, R> {
    fn new(state: &'s mut State<'a, R>) -> Self {
        let revision = Revision(state.numbers.revision.0 + 1);
        Self { state, revision, events: Vec::new() }
    }

    fn put(&mut self, key: &Bytes, value: &Bytes, lease: u64) -> Result<(), R::Error> {
        let before = self.state.rows.current(key)?;
        let create = before.as_ref().map_or(self.revision, |before| before.create);
        let version = Version { value: value.clone(), create, modified: self.revision, lease };
        self.retire(key, before.as_ref(), false)?;
        self.state.rows.put_current(key, &version)?;
        if lease != 0 {
            self.state.rows.attach(lease, key)?;
        }
        let prev = before.map(|before| before.into_key_value(key.clone()));
        self.events.push(Event::Put { kv: version.into_key_value(key.clone()), prev });
        Ok(())
    }

    fn delete(&mut self, key: &Bytes) -> Result<(), R::Error> {
        let Some(before) = self.state.rows.current(key)? else {
            return Ok(());
        };
        self.retire(key, Some(&before), true)?;
        self.state.rows.remove_current(key)?;
        let prev = before.into_key_value(key.clone());
        self.events.push(Event::Delete { key: key.clone(), prev, revision: self.revision });
        Ok(())
    }

    /// Moves the version that was into history, and writes the change down.
    fn retire(&mut self, key: &Bytes, before: Option<&Version>, deleted: bool) -> Result<(), R::Error> {
        if let Some(before) = before {
            self.state.rows.put_past(key, before, self.revision)?;
            self.state.numbers.history_bytes += before.cost(key);
            if before.lease != 0 {
                self.state.rows.detach(before.lease, key)?;
            }
        }
        let before = before.map(|before| before.modified).unwrap_or_default();
        let change = Change { key: key.clone(), before, deleted };
        self.state.rows.put_change(self.revision, self.events.len() as u32, &change)?;
        self.state.numbers.history += 1;
        Ok(())
    }

    fn finish(self) -> (Revision, Vec<Event>) {
        if !self.events.is_empty() {
            self.state.numbers.revision = self.revision;
        }
        (self.state.numbers.revision, self.events)
    }
}

#[cfg(test)]
mod tests;
