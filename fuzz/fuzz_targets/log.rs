//! The store's log: files with records and what a crash or a bad disk left, and the records behind their checksums.
#![no_main]

use store::readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    readers::record(bytes);
    let _ = readers::segment(bytes, bytes.len().is_multiple_of(2));
});
