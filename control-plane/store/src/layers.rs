//! Where rows live: new ones in memory, until there are enough to be worth a synced transaction of the tables. Meanwhile
//! others are written in memory, and readers see all of them.
//!
//! INVARIANT: what the tables have is in the log on disk, and what they do not have the log has. So nothing here is lost
//! with the process, and a start applies the log from where the tables are.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use redb::{Database, ReadTransaction, ReadableDatabase};
use tokio::sync::Notify;

use crate::contract::Revision;
use crate::fresh::Fresh;
use crate::look::{Base, Look, Row};
use crate::state::{Change, Numbers, Rows, Version};
use crate::tables::{self, Applied, RowResult, TableError};

/// Weight of fresh rows that are worth a transaction of the tables, and bytes of log that are then dropped. It bounds the
/// log's files, the memory, and the time that a start spends on applying again.
pub const ENOUGH: u64 = 4 << 20;
/// So many times as much, together with what is on its way into the tables, and writes wait for that. A burst goes on at
/// its own pace meanwhile, unless the disk is slower for long.
const TOO_MUCH: u64 = 4;

/// One state of all rows, which stays as it is.
#[derive(Clone)]
pub struct View {
    base: Arc<Base>,
    /// On their way into the tables.
    frozen: Option<Arc<Fresh>>,
    fresh: Arc<Fresh>,
}

impl View {
    fn of(base: Base) -> Self {
        let fresh = Fresh::after(base.numbers, base.applied.clone());
        Self { base: Arc::new(base), frozen: None, fresh: Arc::new(fresh) }
    }

    pub fn look(&self) -> Look<'_> {
        Look { fresh: &self.fresh, frozen: self.frozen.as_deref(), base: &self.base }
    }

    pub fn numbers(&self) -> Numbers {
        self.fresh.numbers
    }

    fn weight(&self) -> u64 {
        self.fresh.weight() + self.frozen.as_ref().map_or(0, |frozen| frozen.weight())
    }

    pub fn applied(&self) -> &Applied {
        &self.fresh.applied
    }
}

pub struct Layers {
    seen: RwLock<View>,
    /// Held by who changes what is fresh, or takes it away.
    turn: Mutex<()>,
    /// Held by who writes to the tables.
    writing: Mutex<()>,
    enough: u64,
    /// Somebody is about to write what is fresh to the tables, or does.
    is_flushing: AtomicBool,
    flushed: Notify,
    failed: Mutex<Option<String>>,
}

impl Layers {
    pub fn new(database: Database, enough: u64) -> RowResult<Self> {
        let base = Base::read(Arc::new(database))?;
        Ok(Self {
            seen: RwLock::new(View::of(base)),
            turn: Mutex::default(),
            writing: Mutex::default(),
            enough,
            is_flushing: AtomicBool::new(false),
            flushed: Notify::new(),
            failed: Mutex::default(),
        })
    }

    pub fn view(&self) -> View {
        self.seen.read().clone()
    }

    /// The tables alone, as they are on disk.
    pub fn read_tables(&self) -> RowResult<ReadTransaction> {
        let base = self.seen.read().base.clone();
        Ok(base.database.begin_read()?)
    }

    /// Changes rows. Readers see all of it at once, or after an error nothing.
    pub fn change<T>(&self, with: impl FnOnce(&mut Working<'_>) -> io::Result<T>) -> io::Result<T> {
        let _turn = self.turn.lock();
        let view = self.view();
        let mut working = Working { fresh: Fresh::clone(&view.fresh), view: &view };
        let answer = with(&mut working)?;
        let fresh = Arc::new(working.fresh);
        self.seen.write().fresh = fresh;
        Ok(answer)
    }

    /// Whether there is enough for [`Layers::flush`], and nobody is about to call it: the caller is to.
    pub fn is_due(&self) -> bool {
        let enough = self.seen.read().fresh.weight() >= self.enough;
        enough && !self.is_flushing.swap(true, Ordering::AcqRel)
    }

    /// Writes what is fresh to the tables, and has the disk keep it. `sync_log` returns when the disk has the log of
    /// everything that was applied before. Readers and writers go on meanwhile.
    pub fn flush(&self, sync_log: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let _writing = self.writing.lock();
        let flushed = match self.failure() {
            Some(why) => Err(io::Error::other(why)),
            None => self.write(sync_log),
        };
        if let Err(error) = &flushed {
            self.failed.lock().get_or_insert_with(|| error.to_string());
        }
        self.is_flushing.store(false, Ordering::Release);
        self.flushed.notify_waiters();
        flushed
    }

    fn write(&self, sync_log: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let Some(frozen) = self.freeze() else { return Ok(()) };
        sync_log()?;
        let database = self.seen.read().base.database.clone();
        tables::store(&database, &frozen)?;
        let base = Arc::new(Base::read(database)?);
        let before = {
            let mut seen = self.seen.write();
            (std::mem::replace(&mut seen.base, base), seen.frozen.take())
        };
        // Freeing thousands of rows takes its time: not under the lock.
        drop((before, frozen));
        Ok(())
    }

    fn freeze(&self) -> Option<Arc<Fresh>> {
        let _turn = self.turn.lock();
        let mut seen = self.seen.write();
        if seen.fresh.is_stored(&seen.base.applied) {
            return None;
        }
        let next = Arc::new(Fresh::after(seen.fresh.numbers, seen.fresh.applied.clone()));
        let frozen = std::mem::replace(&mut seen.fresh, next);
        seen.frozen = Some(frozen.clone());
        Some(frozen)
    }

    /// Returns when more rows may be written: memory is bounded by the pace of the tables.
    pub async fn room(&self) -> io::Result<()> {
        self.lighter_than(self.enough * TOO_MUCH).await
    }

    /// The same for who is in no hurry, and must not make others wait.
    pub async fn room_to_spare(&self) -> io::Result<()> {
        self.lighter_than(self.enough * TOO_MUCH / 2).await
    }

    async fn lighter_than(&self, weight: u64) -> io::Result<()> {
        loop {
            let flushed = self.flushed.notified();
            if let Some(why) = self.failure() {
                return Err(io::Error::other(why));
            }
            if !self.is_flushing.load(Ordering::Acquire) || self.seen.read().weight() < weight {
                return Ok(());
            }
            flushed.await;
        }
    }

    /// Why nothing reaches the tables any more.
    fn failure(&self) -> Option<String> {
        self.failed.lock().clone()
    }

    /// Returns when nothing reaches the tables any more, with the reason.
    pub async fn failed(&self) -> String {
        loop {
            let flushed = self.flushed.notified();
            if let Some(why) = self.failure() {
                return why;
            }
            flushed.await;
        }
    }

    /// Goes on with other tables. Who reads keeps what it began with.
    pub fn replace(&self, database: Database) -> RowResult<View> {
        let view = View::of(Base::read(Arc::new(database))?);
        let (_writing, _turn) = (self.writing.lock(), self.turn.lock());
        let before = std::mem::replace(&mut *self.seen.write(), view.clone());
        drop(before);
        Ok(view)
    }
}

/// Rows as a command sees and changes them.
pub struct Working<'v> {
    pub fresh: Fresh,
    view: &'v View,
}

impl Working<'_> {
    fn look(&self) -> Look<'_> {
        Look { fresh: &self.fresh, ..self.view.look() }
    }
}

impl Rows for Working<'_> {
    type Error = TableError;

    fn current(&self, key: &[u8]) -> RowResult<Option<Version>> {
        self.look().current(key)?.map(Row::version).transpose()
    }

    fn put_current(&mut self, key: &Bytes, version: &Version) -> RowResult<()> {
        self.fresh.note_row(key.len() + version.value.len());
        self.fresh.current.insert_mut(key.clone(), Some(version.clone()));
        Ok(())
    }

    fn remove_current(&mut self, key: &Bytes) -> RowResult<()> {
        self.fresh.note_row(key.len());
        self.fresh.current.insert_mut(key.clone(), None);
        Ok(())
    }

    fn put_past(&mut self, key: &Bytes, version: &Version, end: Revision) -> RowResult<()> {
        self.fresh.note_row(key.len() + version.value.len());
        self.fresh.past.insert_mut((key.clone(), version.modified.0), Some((end, version.clone())));
        Ok(())
    }

    fn remove_past(&mut self, key: &Bytes, modified: Revision) -> RowResult<u64> {
        let bytes = self.look().past(key, modified)?.map_or(0, |row| row.value_bytes());
        self.fresh.note_row(key.len());
        self.fresh.past.insert_mut((key.clone(), modified.0), None);
        Ok(bytes)
    }

    fn put_change(&mut self, at: Revision, index: u32, change: &Change) -> RowResult<()> {
        self.fresh.note_row(change.key.len());
        self.fresh.changes.insert_mut((at.0, index), Some(change.clone()));
        Ok(())
    }

    fn oldest_changes(&self, after: Revision, upto: Revision, limit: usize) -> RowResult<Vec<(Revision, u32, Change)>> {
        let mut changes: Vec<(Revision, u32, Change)> = Vec::new();
        for row in self.look().changes(after)? {
            let ((revision, index), row) = row?;
            let of_another = changes.last().is_some_and(|(last, _, _)| last.0 != revision);
            if revision > upto.0 || changes.len() >= limit && of_another {
                break;
            }
            changes.push((Revision(revision), index, row.change()?));
        }
        Ok(changes)
    }

    fn remove_change(&mut self, at: Revision, index: u32) -> RowResult<()> {
        self.fresh.note_row(0);
        self.fresh.changes.insert_mut((at.0, index), None);
        Ok(())
    }

    fn put_lease(&mut self, lease: u64, ttl_seconds: u64) -> RowResult<()> {
        self.fresh.note_row(0);
        self.fresh.leases.insert_mut(lease, Some(ttl_seconds));
        Ok(())
    }

    fn remove_lease(&mut self, lease: u64) -> RowResult<()> {
        self.fresh.note_row(0);
        self.fresh.leases.insert_mut(lease, None);
        Ok(())
    }

    fn has_lease(&self, lease: u64) -> RowResult<bool> {
        Ok(self.look().lease(lease)?.is_some())
    }

    fn attach(&mut self, lease: u64, key: &Bytes) -> RowResult<()> {
        self.fresh.note_row(key.len());
        self.fresh.lease_keys.insert_mut((lease, key.clone()), Some(()));
        Ok(())
    }

    fn detach(&mut self, lease: u64, key: &Bytes) -> RowResult<()> {
        self.fresh.note_row(key.len());
        self.fresh.lease_keys.insert_mut((lease, key.clone()), None);
        Ok(())
    }

    fn lease_keys(&self, lease: u64) -> RowResult<Vec<Bytes>> {
        self.look().lease_keys(lease)
    }
}
