//! What members of the store say to each other: frames of a connection, messages and answers.
#![no_main]

use store::readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    readers::message(bytes);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let _ = runtime.block_on(readers::frames(bytes.to_vec()));
});
