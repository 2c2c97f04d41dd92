//! All rows as a stream of checksummed blocks: what a snapshot file holds, what a new member is sent, and how the tables
//! are written anew without their holes.
//!
//! Refuses a stream that is damaged, or ends before its last block.

use std::io;

use bytes::{Buf, BufMut, Bytes};
use redb::{
    Database, Key, ReadTransaction, ReadableDatabase, ReadableTable, Table, TableDefinition, Value, WriteTransaction,
};

use crate::contract::{Error, Result};
use crate::tables::{self, CHANGES, CURRENT, LEASE_KEYS, LEASES, META, PAST, TableError};

/// What a snapshot file starts with.
pub const MAGIC: &[u8; 8] = b"WHRYIMG1";
/// Rows of a block, about: one message to another member.
const BLOCK: usize = 512 << 10;
/// Far above a block with one largest value; a longer length is damage.
pub const MAX_BLOCK: usize = 32 << 20;
/// Length and checksum.
pub const FRAME: usize = 8;

const ROW_CURRENT: u8 = 1;
const ROW_PAST: u8 = 2;
const ROW_CHANGE: u8 = 3;
const ROW_LEASE: u8 = 4;
const ROW_LEASE_KEY: u8 = 5;
const ROW_META: u8 = 6;
const END: u8 = 0xff;

/// Takes one framed block.
pub type Sink<'a> = dyn FnMut(Bytes) -> Result<()> + 'a;

/// Every row of a transaction, in blocks; how many rows.
pub fn write(read: &ReadTransaction, sink: &mut Sink<'_>) -> Result<u64> {
    let mut out = Out { block: empty(), rows: 0, sink };
    out.table(read, META, ROW_META, |key, out| out.put_slice(key.as_bytes()), |value, out| out.put_slice(value))?;
    out.table(read, LEASES, ROW_LEASE, |key, out| out.put_u64_le(key), |value, out| out.put_u64_le(value))?;
    let lease_key = |(lease, key): (u64, &[u8]), out: &mut Vec<u8>| {
        out.put_u64_le(lease);
        out.put_slice(key);
    };
    out.table(read, LEASE_KEYS, ROW_LEASE_KEY, lease_key, |(), _| ())?;
    out.table(read, CURRENT, ROW_CURRENT, |key, out| out.put_slice(key), |value, out| out.put_slice(value))?;
    let past = |(key, at): (&[u8], u64), out: &mut Vec<u8>| {
        out.put_u64_le(at);
        out.put_slice(key);
    };
    out.table(read, PAST, ROW_PAST, past, |value, out| out.put_slice(value))?;
    let change = |(at, index): (u64, u32), out: &mut Vec<u8>| {
        out.put_u64_le(at);
        out.put_u32_le(index);
    };
    out.table(read, CHANGES, ROW_CHANGE, change, |value, out| out.put_slice(value))?;
    out.finish()
}

fn empty() -> Vec<u8> {
    vec![0; FRAME]
}

struct Out<'a, 's> {
    block: Vec<u8>,
    rows: u64,
    sink: &'a mut Sink<'s>,
}

impl Out<'_, '_> {
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        read: &ReadTransaction,
        table: TableDefinition<K, V>,
        kind: u8,
        mut key: impl FnMut(K::SelfType<'_>, &mut Vec<u8>),
        mut value: impl FnMut(V::SelfType<'_>, &mut Vec<u8>),
    ) -> Result<()> {
        let table = read.open_table(table).map_err(TableError::from)?;
        for row in table.iter().map_err(TableError::from)? {
            let (at, row) = row.map_err(TableError::from)?;
            self.block.put_u8(kind);
            self.string(|out| key(at.value(), out));
            self.string(|out| value(row.value(), out));
            self.rows += 1;
            if self.block.len() >= BLOCK {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn string(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        let start = self.block.len();
        self.block.put_u32_le(0);
        put(&mut self.block);
        let length = (self.block.len() - start - 4) as u32;
        self.block[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn flush(&mut self) -> Result<()> {
        let mut block = std::mem::replace(&mut self.block, empty());
        let length = (block.len() - FRAME) as u32;
        let sum = crc32fast::hash(&block[FRAME..]);
        block[..4].copy_from_slice(&length.to_le_bytes());
        block[4..8].copy_from_slice(&sum.to_le_bytes());
        (self.sink)(block.into())
    }

    fn finish(mut self) -> Result<u64> {
        if self.block.len() > FRAME {
            self.flush()?;
        }
        self.block.put_u8(END);
        self.block.put_u64_le(self.rows);
        self.flush()?;
        Ok(self.rows)
    }
}

/// Which rows of an image are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    All,
    /// What is now, without what was, and without the log's position.
    Present,
}

/// Fills empty tables from blocks.
pub struct Loader<'t> {
    part: Part,
    rows: u64,
    ended: bool,
    current: Table<'t, tables::Key, tables::Key>,
    past: Table<'t, tables::KeyAt, tables::Key>,
    changes: Table<'t, (u64, u32), tables::Key>,
    leases: Table<'t, u64, u64>,
    lease_keys: Table<'t, (u64, &'static [u8]), ()>,
    meta: Table<'t, &'static str, tables::Key>,
}

impl<'t> Loader<'t> {
    pub fn new(txn: &'t WriteTransaction, part: Part) -> std::result::Result<Self, TableError> {
        Ok(Self {
            part,
            rows: 0,
            ended: false,
            current: txn.open_table(CURRENT)?,
            past: txn.open_table(PAST)?,
            changes: txn.open_table(CHANGES)?,
            leases: txn.open_table(LEASES)?,
            lease_keys: txn.open_table(LEASE_KEYS)?,
            meta: txn.open_table(META)?,
        })
    }

    /// One framed block; whether it was the last.
    pub fn block(&mut self, framed: &[u8]) -> Result<bool> {
        let mut rows = unframe(framed)?;
        while rows.has_remaining() && !self.ended {
            self.row(&mut rows)?;
        }
        Ok(self.ended)
    }

    fn row(&mut self, rows: &mut &[u8]) -> Result<()> {
        let kind = rows.get_u8();
        if kind == END {
            let said = rows.try_get_u64_le().map_err(|_| damaged("its last block is short"))?;
            if said != self.rows {
                return Err(damaged(&format!("it has {} rows and says {said}", self.rows)));
            }
            self.ended = true;
            return Ok(());
        }
        let (key, value) = (string(rows)?, string(rows)?);
        self.rows += 1;
        self.insert(kind, key, value)
    }

    fn insert(&mut self, kind: u8, mut key: &[u8], mut value: &[u8]) -> Result<()> {
        let short = |_| damaged("a row is too short");
        let all = self.part == Part::All;
        let put = match kind {
            ROW_CURRENT => self.current.insert(key, value).map(drop),
            ROW_PAST if all => {
                let at = key.try_get_u64_le().map_err(short)?;
                self.past.insert((key, at), value).map(drop)
            }
            ROW_CHANGE if all => {
                let at = (key.try_get_u64_le().map_err(short)?, key.try_get_u32_le().map_err(short)?);
                self.changes.insert(at, value).map(drop)
            }
            ROW_LEASE => {
                let (lease, ttl) = (key.try_get_u64_le().map_err(short)?, value.try_get_u64_le().map_err(short)?);
                self.leases.insert(lease, ttl).map(drop)
            }
            ROW_LEASE_KEY => {
                let lease = key.try_get_u64_le().map_err(short)?;
                self.lease_keys.insert((lease, key), ()).map(drop)
            }
            ROW_META => {
                let key = std::str::from_utf8(key).map_err(|_| damaged("a name is not text"))?;
                if all || key == tables::NUMBERS { self.meta.insert(key, value).map(drop) } else { Ok(()) }
            }
            ROW_PAST | ROW_CHANGE => Ok(()),
            other => return Err(damaged(&format!("a row is of the unknown kind {other}"))),
        };
        Ok(put.map_err(TableError::from)?)
    }
}

/// The rows of a block whose checksum is right.
pub fn unframe(framed: &[u8]) -> Result<&[u8]> {
    let mut head = framed;
    let (Ok(length), Ok(sum)) = (head.try_get_u32_le(), head.try_get_u32_le()) else {
        return Err(damaged("a block is too short"));
    };
    if head.len() != length as usize || crc32fast::hash(head) != sum {
        return Err(damaged("a block's checksum does not match"));
    }
    Ok(head)
}

fn string<'a>(rows: &mut &'a [u8]) -> Result<&'a [u8]> {
    let length = rows.try_get_u32_le().map_err(|_| damaged("a row is too short"))? as usize;
    let (string, rest) = rows.split_at_checked(length).ok_or_else(|| damaged("a row is too short"))?;
    *rows = rest;
    Ok(string)
}

fn damaged(why: &str) -> Error {
    Error::Data(format!("the snapshot is damaged: {why}"))
}

/// Fills empty tables from a source of framed blocks, which ends with `None`.
pub fn load(database: &Database, part: Part, source: &mut dyn FnMut() -> Result<Option<Bytes>>) -> Result<()> {
    let txn = tables::begin(database, false)?;
    {
        let mut loader = Loader::new(&txn, part)?;
        while !loader.ended {
            let block = source()?.ok_or_else(|| damaged("it ends too early"))?;
            loader.block(&block)?;
        }
    }
    txn.commit().map_err(TableError::from)?;
    Ok(())
}

/// Every row of one database into another that is empty.
pub fn copy(from: &Database, to: &Database) -> Result<()> {
    let read = from.begin_read().map_err(TableError::from)?;
    let txn = tables::begin(to, false)?;
    {
        let mut loader = Loader::new(&txn, Part::All)?;
        write(&read, &mut |block| loader.block(&block).map(drop))?;
    }
    txn.commit().map_err(TableError::from)?;
    Ok(())
}

/// Reads framed blocks from a stream of bytes.
pub fn blocks(mut from: impl io::Read) -> impl FnMut() -> Result<Option<Bytes>> {
    move || {
        let mut head = [0; FRAME];
        match from.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(Error::Disk(format!("reading the snapshot: {error}"))),
        }
        let length = (&head[..]).get_u32_le() as usize;
        if length > MAX_BLOCK {
            return Err(damaged("a block is longer than any"));
        }
        let mut block = vec![0; FRAME + length];
        block[..FRAME].copy_from_slice(&head);
        match from.read_exact(&mut block[FRAME..]) {
            Ok(()) => Ok(Some(block.into())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(damaged("it ends too early")),
            Err(error) => Err(Error::Disk(format!("reading the snapshot: {error}"))),
        }
    }
}
