//! One file of the log: preallocated, append-only, a checksum on every record.
//!
//! A record that is not whole at the very end of the log is a write that a crash cut short: it was never acknowledged,
//! and is cut off. Anything else that does not add up is damage, and stops the start: it is never guessed at.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes};

use crate::codec::{self, Record};
use crate::contract::{Error, Result};
use crate::dir::io_error;
use crate::disk::{Disk, DiskFile, Opening};

/// Bytes of a segment. Small, since two or three of them are on disk at any time, and read at every start.
pub const SEGMENT: u64 = 4 << 20;

const MAGIC: &[u8; 8] = b"WHRYLOG1";
/// Magic and sequence number.
pub const HEADER: u64 = 16;
/// Length, checksum, how far the segment was known to be on disk, low half of the sequence number.
const FRAME: usize = 16;
const ALIGN: usize = 8;
const ZEROS: [u8; 4096] = [0; 4096];
/// Far above a group with one largest transaction; a longer length is damage.
const MAX_RECORD: usize = 64 << 20;

#[derive(Debug)]
pub struct Segment {
    pub sequence: u64,
    pub path: PathBuf,
    file: Arc<dyn DiskFile>,
    pub size: u64,
    /// Bytes that were handed to the system, and bytes that are known to be on the disk.
    pub written: AtomicU64,
    pub synced: AtomicU64,
}

/// A record and where it stands.
#[derive(Debug)]
pub struct Placed {
    pub offset: u64,
    pub length: u32,
    pub record: Record,
}

/// What a segment holds.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub records: usize,
    pub used: u64,
    pub size: u64,
    /// Its end is a write that was never finished.
    pub torn: bool,
    /// The newest log index that it speaks of.
    pub ends_at: Option<u64>,
}

impl Segment {
    /// A new file with its whole space reserved: appending to it cannot find the disk full.
    pub fn create(disk: &dyn Disk, dir: &Path, sequence: u64, size: u64) -> io::Result<Self> {
        let path = dir.join(name(sequence));
        let temporary = dir.join("new.log");
        let prepare = || -> io::Result<_> {
            let file = disk.open(&temporary, Opening::Emptied)?;
            file.reserve(size)?;
            file.write_at(0, &header(sequence))?;
            file.sync()?;
            disk.rename(&temporary, &path)?;
            disk.sync_dir(dir)?;
            Ok(file)
        };
        match prepare() {
            Ok(file) => Ok(Self { sequence, path, file, size, written: HEADER.into(), synced: HEADER.into() }),
            Err(error) => {
                // The reserved space must not stay behind; the error that matters is the first.
                let _ = disk.remove(&temporary);
                Err(error)
            }
        }
    }

    pub fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)?;
        self.written.store(offset + bytes.len() as u64, Ordering::Release);
        Ok(())
    }

    pub fn sync(&self) -> io::Result<()> {
        let written = self.written.load(Ordering::Acquire);
        self.file.sync()?;
        self.synced.store(written, Ordering::Release);
        Ok(())
    }

    /// Appends a framed record to `out`; its length in the file.
    pub fn frame(&self, out: &mut Vec<u8>, record: &Record) -> u32 {
        let start = out.len();
        out.extend_from_slice(&[0; FRAME]);
        codec::put_record(out, record);
        let length = (out.len() - start - FRAME) as u32;
        let synced = self.synced.load(Ordering::Acquire) as u32;
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        out[start + 8..start + 12].copy_from_slice(&synced.to_le_bytes());
        out[start + 12..start + 16].copy_from_slice(&(self.sequence as u32).to_le_bytes());
        let sum = checksum(&out[start..]);
        out[start + 4..start + 8].copy_from_slice(&sum.to_le_bytes());
        out.resize(start + (out.len() - start).next_multiple_of(ALIGN), 0);
        (out.len() - start) as u32
    }

    /// One record that is known to be here.
    pub fn read(&self, offset: u64, length: u32) -> io::Result<Record> {
        let mut bytes = vec![0; length as usize];
        self.file.read_at(offset, &mut bytes)?;
        let frame = Frame::parse(&bytes, self.sequence).ok_or_else(|| self.damage(offset))?;
        let payload = Bytes::from(bytes).slice(FRAME..FRAME + frame.length);
        codec::get_record(payload).map_err(|_| self.damage(offset))
    }

    fn damage(&self, offset: u64) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, damage(&self.path, offset).to_string())
    }
}

/// The file name of a segment. Its order is the log's.
pub fn name(sequence: u64) -> String {
    format!("{sequence:016x}.log")
}

pub fn header(sequence: u64) -> [u8; HEADER as usize] {
    let mut header = [0; HEADER as usize];
    header[..8].copy_from_slice(MAGIC);
    header[8..].copy_from_slice(&sequence.to_le_bytes());
    header
}

/// Of everything in the frame but the checksum itself.
fn checksum(framed: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&framed[..4]);
    hasher.update(&framed[8..]);
    hasher.finalize()
}

/// A frame whose checksum is right.
struct Frame {
    length: usize,
    synced: u64,
}

impl Frame {
    fn parse(bytes: &[u8], sequence: u64) -> Option<Self> {
        let mut head = bytes.get(..FRAME)?;
        let (length, sum, synced, salt) =
            (head.get_u32_le() as usize, head.get_u32_le(), head.get_u32_le(), head.get_u32_le());
        if length == 0 || length > MAX_RECORD || salt != sequence as u32 {
            return None;
        }
        let whole = bytes.get(..FRAME + length)?;
        (checksum(whole) == sum).then_some(Self { length, synced: synced.into() })
    }

    fn space(&self) -> usize {
        (FRAME + self.length).next_multiple_of(ALIGN)
    }
}

/// Reads a segment that a process before this one wrote. `last` says that no segment follows.
pub fn open(disk: &dyn Disk, path: &Path, sequence: u64, last: bool) -> Result<(Segment, Vec<Placed>)> {
    let (file, bytes) = read(disk, path).map_err(|error| io_error("read", path, &error))?;
    let Examined { placed, end, torn } = examine(path, sequence, &bytes, last)?;
    if torn {
        tracing::warn!(file = %path.display(), offset = end, "cut off a write that was never finished");
        cut(&*file, end, &bytes).map_err(|error| io_error("cut the torn end of", path, &error))?;
    }
    // What a killed process wrote may be in the system's memory only, and is about to be shown to readers.
    file.sync().map_err(|error| io_error("sync", path, &error))?;
    let segment = Segment {
        sequence,
        path: path.to_owned(),
        file,
        size: bytes.len() as u64,
        written: (end as u64).into(),
        synced: (end as u64).into(),
    };
    Ok((segment, placed))
}

/// Every record of a segment, without changing it.
pub fn look(disk: &dyn Disk, path: &Path, sequence: u64, last: bool) -> Result<Look> {
    let (_, bytes) = read(disk, path).map_err(|error| io_error("read", path, &error))?;
    let Examined { placed, end, torn } = examine(path, sequence, &bytes, last)?;
    let ends_at = placed.iter().rev().find_map(|placed| match &placed.record {
        Record::Entry(entry) => Some(entry.log_id.index),
        Record::Purge(upto) => Some(upto.index),
        Record::Vote(_) | Record::Truncate(_) => None,
    });
    Ok(Look { records: placed.len(), used: end as u64, size: bytes.len() as u64, torn, ends_at })
}

/// How many records a file's bytes hold.
pub fn records(path: &Path, sequence: u64, bytes: &Bytes, last: bool) -> Result<usize> {
    examine(path, sequence, bytes, last).map(|examined| examined.placed.len())
}

struct Examined {
    placed: Vec<Placed>,
    /// Where the last whole record ends, and whether something that is none follows.
    end: usize,
    torn: bool,
}

fn examine(path: &Path, sequence: u64, bytes: &Bytes, last: bool) -> Result<Examined> {
    if bytes.get(..HEADER as usize) != Some(&header(sequence)) {
        return Err(damage(path, 0));
    }
    if (bytes.len() as u64) < SEGMENT {
        // Its whole length was on the disk before its first record.
        return Err(damage(path, bytes.len() as u64));
    }
    let (placed, end) = scan(path, sequence, bytes)?;
    let torn = !is_zero(&bytes[end..]);
    if torn && (!last || is_damage(bytes, sequence, end)) {
        return Err(damage(path, end as u64));
    }
    Ok(Examined { placed, end, torn })
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<(Arc<dyn DiskFile>, Bytes)> {
    let file = disk.open(path, Opening::Existing)?;
    let mut bytes = vec![0; file.len()? as usize];
    file.read_at(0, &mut bytes)?;
    Ok((file, bytes.into()))
}

fn scan(path: &Path, sequence: u64, bytes: &Bytes) -> Result<(Vec<Placed>, usize)> {
    let mut placed = Vec::new();
    let mut at = HEADER as usize;
    while let Some(frame) = bytes.get(at..).and_then(|rest| Frame::parse(rest, sequence)) {
        let payload = bytes.slice(at + FRAME..at + FRAME + frame.length);
        // Copied: a short key must not hold the whole segment in memory.
        let record = codec::get_record(Bytes::copy_from_slice(&payload)).map_err(|_| damage(path, at as u64))?;
        placed.push(Placed { offset: at as u64, length: frame.space() as u32, record });
        at += frame.space();
    }
    Ok((placed, at.min(bytes.len())))
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(ZEROS.len()).all(|chunk| chunk == &ZEROS[..chunk.len()])
}

/// Whether a segment holds no record, and was never begun.
pub fn is_blank(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    let mut first = [0; FRAME];
    disk.open(path, Opening::Existing)?.read_at(HEADER, &mut first)?;
    Ok(is_zero(&first))
}

/// Whether a whole record further on says that `end` had been on the disk already when it was written.
fn is_damage(bytes: &[u8], sequence: u64, end: usize) -> bool {
    // No record begins behind the last byte that is not zero.
    let chunk = bytes.chunks(ZEROS.len()).rposition(|chunk| chunk != &ZEROS[..chunk.len()]);
    let used = chunk.map_or(0, |last| ((last + 1) * ZEROS.len()).min(bytes.len()));
    let mut at = end;
    while at < used && at + FRAME <= bytes.len() {
        if let Some(frame) = Frame::parse(&bytes[at..], sequence) {
            if frame.synced > end as u64 {
                return true;
            }
            at += frame.space();
        } else {
            at += ALIGN;
        }
    }
    false
}

/// Zeroes the torn end, so that no later start reads pieces of it.
fn cut(file: &dyn DiskFile, end: usize, bytes: &[u8]) -> io::Result<()> {
    let length = bytes[end..].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    file.write_at(end as u64, &vec![0; length])?;
    file.sync()
}

fn damage(path: &Path, offset: u64) -> Error {
    Error::Data(format!(
        "{} is damaged at byte {offset}: what was written there had reached the disk and is not what is read back. \
         Restore the data directory from a copy; the rest of it is left untouched",
        path.display()
    ))
}
