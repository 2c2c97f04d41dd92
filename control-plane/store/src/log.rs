//! Raft's log: segments on disk, an index of them in memory, and the newest entries as they are.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{EntryPayload, LogState, RaftLogReader};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::codec::Record;
use crate::contract::{Error, Result};
use crate::dir::{self, io_error};
use crate::disk::Disk;
use crate::flush::{Done, Flusher};
use crate::raft::{Entry, LogIdOf, Types, VoteOf};
use crate::segment::{self, HEADER, Placed, SEGMENT, Segment, name};

/// Entries kept as they are, for applying without reading them back. What is not on disk yet stays above it.
const CACHE_BYTES: usize = 1 << 20;
/// Space beside what writers ask for: votes, blank entries, membership.
const RESERVE: u64 = 64 << 10;

/// A handle on the log.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    /// There are other members: what they were told must not be forgotten, volatile or not.
    several: bool,
    flusher: Flusher,
    index: Mutex<Index>,
}

#[derive(Debug)]
struct Slot {
    log_id: LogIdOf,
    segment: Arc<Segment>,
    offset: u64,
    length: u32,
    entry: Option<Entry>,
}

struct Index {
    vote: Option<VoteOf>,
    purged: Option<LogIdOf>,
    slots: VecDeque<Slot>,
    /// How many slots, from the oldest, have given up their entry; and the bytes of those that have not.
    cold: usize,
    cached: usize,
    segments: VecDeque<Arc<Segment>>,
    /// Where the next record goes, in the newest segment.
    end: u64,
    spare: Option<Arc<Segment>>,
}

impl Log {
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, several: bool) -> Result<Self> {
        dir::create(&*disk, dir)?;
        let index = read_all(&*disk, dir)?;
        let flusher = Flusher::start().map_err(|error| io_error("start the writer of", dir, &error))?;
        Ok(Self { shared: Arc::new(Shared { dir: dir.to_owned(), disk, several, flusher, index: Mutex::new(index) }) })
    }

    /// Makes sure that this many bytes can be appended, and that the disk keeps `free` bytes for the tables. A full
    /// disk is met here, before anything is logged, and forgotten as soon as there is space again.
    pub fn reserve(&self, bytes: u64, free: u64) -> Result<()> {
        if let Some(why) = self.shared.flusher.failure() {
            return Err(Error::Disk(why));
        }
        let dir = &self.shared.dir;
        let available = self.shared.disk.available(dir).map_err(|error| io_error("look for space in", dir, &error))?;
        if available < free {
            return Err(Error::Disk(format!(
                "{} has {} MiB free, and {} MiB are needed; free some space",
                dir.display(),
                available >> 20,
                free >> 20
            )));
        }
        let mut index = self.shared.index.lock();
        let wanted = bytes + RESERVE;
        let newest = index.newest();
        if newest.size >= index.end + wanted || index.spare.as_ref().is_some_and(|spare| spare.size >= wanted + HEADER)
        {
            return Ok(());
        }
        let sequence = newest.sequence + 1;
        let spare = Segment::create(&*self.shared.disk, &self.shared.dir, sequence, SEGMENT.max(wanted + HEADER))
            .map_err(|error| io_error("reserve space for the log in", &self.shared.dir, &error))?;
        index.spare = Some(Arc::new(spare));
        Ok(())
    }

    /// Returns when everything appended so far is on the disk. Blocks.
    pub fn sync(&self) -> io::Result<()> {
        let (send, flushed) = std::sync::mpsc::sync_channel(1);
        {
            let index = self.shared.index.lock();
            // Who asked waits below.
            let done: Done = Box::new(move |result| drop(send.send(result)));
            self.shared.flusher.push(index.newest(), index.end, Vec::new(), true, done);
        }
        self.shared.flusher.hurry();
        flushed.recv().unwrap_or_else(|_| Err(io::Error::other("the log's writer ended")))
    }

    pub fn syncs(&self) -> u64 {
        self.shared.flusher.syncs()
    }

    pub fn failure(&self) -> Option<String> {
        self.shared.flusher.failure()
    }

    pub fn last_index(&self) -> Option<u64> {
        let index = self.shared.index.lock();
        index.last_log_id().map(|last| last.index)
    }

    /// The newest entry that has at least this many bytes of entries behind it.
    pub fn older_than(&self, bytes: u64) -> Option<u64> {
        let index = self.shared.index.lock();
        let mut behind = 0;
        let mut older = index.slots.iter().rev().skip_while(|slot| {
            behind += u64::from(slot.length);
            behind <= bytes
        });
        older.next().map(|slot| slot.log_id.index)
    }

    /// Entries from one index up to, without, another, as far as there are any.
    pub fn entries(&self, from: u64, upto: u64) -> io::Result<Vec<Entry>> {
        self.shared.index.lock().entries((from, upto))
    }

    pub fn close(&self) {
        self.shared.flusher.stop();
    }

    /// Writes a record that is no entry, and returns when it is on the disk.
    async fn write(&self, record: Record) -> io::Result<()> {
        let (done, flushed) = waiter();
        {
            let mut index = self.shared.index.lock();
            self.append_record(&mut index, &record, true, done)?;
        }
        flushed.await.unwrap_or_else(|_| Err(io::Error::other("the log's writer ended")))
    }

    fn append_record(&self, index: &mut Index, record: &Record, durable: bool, done: Done) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(256);
        index.newest().frame(&mut bytes, record);
        if index.newest().size < index.end + bytes.len() as u64 {
            self.turn_over(index, bytes.len() as u64)?;
            bytes.clear();
            index.newest().frame(&mut bytes, record);
        }
        let offset = index.end;
        index.end += bytes.len() as u64;
        let segment = index.newest().clone();
        if let Record::Entry(entry) = record {
            let slot = Slot {
                log_id: entry.log_id,
                segment: segment.clone(),
                offset,
                length: bytes.len() as u32,
                entry: Some(entry.clone()),
            };
            index.cached += bytes.len();
            index.slots.push_back(slot);
            index.cool();
        }
        self.shared.flusher.push(&segment, offset, bytes, durable, done);
        Ok(())
    }

    /// Goes on in a new segment, which starts with what must not be forgotten with the old ones.
    fn turn_over(&self, index: &mut Index, bytes: u64) -> io::Result<()> {
        let needed = bytes + RESERVE + HEADER;
        let next = match index.spare.take() {
            Some(spare) if spare.size >= needed => spare,
            _ => {
                let sequence = index.newest().sequence + 1;
                let dir = &self.shared.dir;
                let made = Segment::create(&*self.shared.disk, dir, sequence, SEGMENT.max(needed));
                Arc::new(made.map_err(|error| named("make a segment in", dir, &error))?)
            }
        };
        index.segments.push_back(next);
        index.end = HEADER;
        let head = [index.vote.map(Record::Vote), index.purged.map(Record::Purge)];
        for record in head.into_iter().flatten() {
            self.append_record(index, &record, true, Box::new(|_| ()))?;
        }
        Ok(())
    }
}

fn waiter() -> (Done, oneshot::Receiver<io::Result<()>>) {
    let (send, receive) = oneshot::channel();
    // Nobody waits any more: fine.
    (Box::new(move |result| drop(send.send(result))), receive)
}

fn read_all(disk: &dyn Disk, dir: &Path) -> Result<Index> {
    let mut index = Index {
        vote: None,
        purged: None,
        slots: VecDeque::new(),
        cold: 0,
        cached: 0,
        segments: VecDeque::new(),
        end: HEADER,
        spare: None,
    };
    let mut opened = Vec::new();
    for (path, sequence, last) in list(disk, dir)? {
        opened.push(segment::open(disk, &path, sequence, last)?);
    }
    while opened.len() > 1 && opened.last().is_some_and(|(_, records)| records.is_empty()) {
        index.spare = opened.pop().map(|(segment, _)| Arc::new(segment));
    }
    // The newest word on what may be missing stands behind the entries that it speaks of.
    let purges = opened.iter().flat_map(|(_, records)| records).filter_map(|placed| match &placed.record {
        Record::Purge(upto) => Some(*upto),
        Record::Entry(_) | Record::Vote(_) | Record::Truncate(_) => None,
    });
    index.purged = purges.max();
    for (segment, records) in opened {
        let segment = Arc::new(segment);
        index.end = segment.written.load(Ordering::Acquire);
        index.segments.push_back(segment.clone());
        for placed in records {
            index.replay(&segment, placed)?;
        }
    }
    if index.segments.is_empty() {
        let first =
            Segment::create(disk, dir, 1, SEGMENT).map_err(|error| io_error("create the log in", dir, &error))?;
        index.segments.push_back(Arc::new(first));
    }
    Ok(index)
}

/// The segments in order, with whether each is the last that counts: a spare is a segment without a record.
pub fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<(PathBuf, u64, bool)>> {
    let names = disk.list(dir).map_err(|error| io_error("list", dir, &error))?;
    let sequence = |name: &String| u64::from_str_radix(name.strip_suffix(".log")?, 16).ok();
    let mut sequences: Vec<u64> = names.iter().filter_map(sequence).collect();
    sequences.sort_unstable();
    let mut segments = Vec::with_capacity(sequences.len());
    for (position, sequence) in sequences.iter().enumerate() {
        let last = match sequences.get(position + 1) {
            Some(next) => {
                let next = dir.join(name(*next));
                segment::is_blank(disk, &next).map_err(|error| io_error("read", &next, &error))?
            }
            None => true,
        };
        segments.push((dir.join(name(*sequence)), *sequence, last));
    }
    Ok(segments)
}

impl Index {
    fn newest(&self) -> &Arc<Segment> {
        self.segments.back().expect("INVARIANT: a log has at least one segment, from its first moment on")
    }

    fn last_log_id(&self) -> Option<LogIdOf> {
        self.slots.back().map(|slot| slot.log_id).or(self.purged)
    }

    /// The index of the oldest entry that is here, or would be.
    fn first(&self) -> u64 {
        self.purged.map_or(0, |purged| purged.index + 1)
    }

    fn replay(&mut self, segment: &Arc<Segment>, placed: Placed) -> Result<()> {
        match placed.record {
            Record::Vote(vote) => self.vote = Some(vote),
            Record::Truncate(last) => self.truncate(last.as_ref()),
            Record::Purge(upto) => self.purge(upto),
            Record::Entry(entry) if entry.log_id.index < self.first() => {}
            Record::Entry(entry) => {
                let log_id = entry.log_id;
                let expected = self.slots.back().map_or(self.first(), |slot| slot.log_id.index + 1);
                if log_id.index != expected {
                    return Err(Error::Data(format!(
                        "{} holds entry {} at byte {} where {expected} belongs: a file of the log is missing. Restore \
                         the data directory from a copy",
                        segment.path.display(),
                        log_id.index,
                        placed.offset,
                    )));
                }
                self.cached += placed.length as usize;
                self.slots.push_back(Slot {
                    log_id,
                    segment: segment.clone(),
                    offset: placed.offset,
                    length: placed.length,
                    entry: Some(entry),
                });
                self.cool();
            }
        }
        Ok(())
    }

    /// Gives up the oldest entries that can be read back from their files.
    fn cool(&mut self) {
        while self.cached > CACHE_BYTES && self.cold + 1 < self.slots.len() {
            let slot = &mut self.slots[self.cold];
            if slot.segment.written.load(Ordering::Acquire) < slot.offset + u64::from(slot.length) {
                return;
            }
            if slot.entry.take().is_some() {
                self.cached -= slot.length as usize;
            }
            self.cold += 1;
        }
    }

    fn truncate(&mut self, last: Option<&LogIdOf>) {
        while self.slots.back().is_some_and(|slot| last.is_none_or(|last| slot.log_id.index > last.index)) {
            let slot = self.slots.pop_back().expect("looked at above");
            self.cached -= slot.entry.map_or(0, |_| slot.length as usize);
        }
        self.cold = self.cold.min(self.slots.len());
    }

    fn purge(&mut self, upto: LogIdOf) {
        while self.slots.front().is_some_and(|slot| slot.log_id.index <= upto.index) {
            let slot = self.slots.pop_front().expect("looked at above");
            self.cached -= slot.entry.map_or(0, |_| slot.length as usize);
            self.cold = self.cold.saturating_sub(1);
        }
        self.purged = self.purged.max(Some(upto));
    }

    /// Takes out the segments that hold nothing that is still needed.
    fn take_spent(&mut self) -> Vec<Arc<Segment>> {
        let needed = self.slots.front().map_or(u64::MAX, |slot| slot.segment.sequence);
        let mut spent = Vec::new();
        while self.segments.len() > 1 && self.segments[0].sequence < needed {
            spent.extend(self.segments.pop_front());
        }
        spent
    }

    fn entries(&self, range: (u64, u64)) -> io::Result<Vec<Entry>> {
        let first = self.slots.front().map_or(0, |slot| slot.log_id.index);
        let from = range.0.saturating_sub(first) as usize;
        let upto = (range.1.saturating_sub(first) as usize).min(self.slots.len());
        let mut entries = Vec::new();
        for slot in self.slots.iter().take(upto).skip(from) {
            entries.push(match &slot.entry {
                Some(entry) => entry.clone(),
                None => match slot.segment.read(slot.offset, slot.length)? {
                    Record::Entry(entry) => entry,
                    Record::Vote(_) | Record::Truncate(_) | Record::Purge(_) => {
                        return Err(io::Error::other("the log's index points at a record that is no entry"));
                    }
                },
            });
        }
        Ok(entries)
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.shared.index.lock().entries((start, end))
    }

    async fn read_vote(&mut self) -> io::Result<Option<VoteOf>> {
        Ok(self.shared.index.lock().vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let index = self.shared.index.lock();
        Ok(LogState { last_purged_log_id: index.purged, last_log_id: index.last_log_id() })
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf) -> io::Result<()> {
        self.shared.index.lock().vote = Some(*vote);
        self.write(Record::Vote(*vote)).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let mut entries = entries.into_iter().peekable();
        let mut callback = Some(callback);
        let mut durable = false;
        let mut index = self.shared.index.lock();
        while let Some(entry) = entries.next() {
            durable |= match &entry.payload {
                EntryPayload::Normal(group) => self.shared.several || !group.is_volatile(),
                EntryPayload::Blank | EntryPayload::Membership(_) => true,
            };
            let done: Done = match entries.peek() {
                Some(_) => Box::new(|_| ()),
                None => {
                    let callback = callback.take();
                    Box::new(move |result| {
                        if let Some(callback) = callback {
                            callback.io_completed(result);
                        }
                    })
                }
            };
            self.append_record(&mut index, &Record::Entry(entry), durable, done)?;
        }
        drop(index);
        if let Some(nothing_appended) = callback {
            nothing_appended.io_completed(Ok(()));
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf>) -> io::Result<()> {
        self.shared.index.lock().truncate(last.as_ref());
        self.write(Record::Truncate(last)).await
    }

    async fn purge(&mut self, upto: LogIdOf) -> io::Result<()> {
        self.shared.index.lock().purge(upto);
        // Durable before a file goes: a start must never meet a gap that nothing explains.
        self.write(Record::Purge(upto)).await?;
        let spent = self.shared.index.lock().take_spent();
        for segment in spent {
            let removed = self.shared.disk.remove(&segment.path);
            removed.map_err(|error| named("remove", &segment.path, &error))?;
        }
        Ok(())
    }
}

fn named(what: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}
