//! What reads bytes that another process or another time wrote, bare: for fuzzing and its property tests, and no part of
//! the contract. Each reads or refuses; none may panic, or take memory for a length that is only said.

use std::path::Path;

use bytes::{BufMut, Bytes};
use redb::Database;
use redb::backends::InMemoryBackend;

use crate::contract::Result;
use crate::image::{self, FRAME, Part};
use crate::message::{Letter, Request, Response, decode, encode};
use crate::offline::{self, Checked};
use crate::segment::{self, SEGMENT};
use crate::tables::{self, TableError};
use crate::{codec, wire};

/// A file of the log, from after its header on; how many records it has.
pub fn segment(bytes: &[u8], last: bool) -> Result<usize> {
    let mut file = segment::header(1).to_vec();
    file.extend_from_slice(bytes);
    file.resize(file.len().max(SEGMENT as usize), 0);
    segment::records(Path::new("fuzzed"), 1, &file.into(), last)
}

/// A record of the log, without the checksum that no fuzzer finds. What is read is written and read again as the same.
pub fn record(bytes: &[u8]) -> bool {
    let Ok(record) = codec::get_record(Bytes::copy_from_slice(bytes)) else { return false };
    let mut again = Vec::new();
    codec::put_record(&mut again, &record);
    let read = codec::get_record(again.into()).expect("what was written is read");
    assert_eq!(format!("{read:?}"), format!("{record:?}"));
    true
}

/// A snapshot file as it is.
pub fn snapshot(bytes: &[u8]) -> Result<Checked> {
    filled(&mut image::blocks(bytes))
}

/// One block of a snapshot, given its length and checksum here, and the end after it.
pub fn snapshot_rows(rows: &[u8]) -> Result<Checked> {
    let framed = |rows: &[u8]| -> Bytes {
        let mut block = Vec::with_capacity(FRAME + rows.len());
        block.put_u32_le(rows.len() as u32);
        block.put_u32_le(crc32fast::hash(rows));
        block.put_slice(rows);
        block.into()
    };
    let mut blocks = vec![framed(rows)].into_iter();
    filled(&mut || Ok(blocks.next()))
}

fn filled(source: &mut dyn FnMut() -> Result<Option<Bytes>>) -> Result<Checked> {
    let database = Database::builder().create_with_backend(InMemoryBackend::new()).map_err(TableError::from)?;
    tables::create(&database)?;
    image::load(&database, Part::All, source)?;
    let mut checked = Checked::default();
    offline::rows(database, &mut checked)?;
    Ok(checked)
}

/// A message of a member, and an answer: what is read is sent and read again as the same.
pub fn message(bytes: &[u8]) -> bool {
    let request = decode::<Letter<Request>>(bytes).ok().map(|letter| {
        let sent = encode(&letter).expect("what was read is sent");
        let again: Letter<Request> = decode(&sent).expect("what was sent is read");
        assert_eq!(format!("{again:?}"), format!("{letter:?}"));
    });
    let answer = decode::<Response>(bytes).ok().map(|answer| {
        let sent = encode(&answer).expect("what was read is sent");
        let again: Response = decode(&sent).expect("what was sent is read");
        assert_eq!(format!("{again:?}"), format!("{answer:?}"));
    });
    request.is_some() || answer.is_some()
}

/// The frames of a connection; how many there are.
pub async fn frames(bytes: Vec<u8>) -> std::io::Result<usize> {
    wire::count_frames(bytes).await
}
