//! Snapshots of the store: files, and the rows of a block behind its checksum; what is taken in is checked.
#![no_main]

use store::readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = readers::snapshot(bytes);
    let _ = readers::snapshot_rows(bytes);
});
