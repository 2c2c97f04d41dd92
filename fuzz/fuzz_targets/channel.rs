//! Messages of a WebSocket's channels: what is read is written back as it was.
#![no_main]

use bytes::Bytes;
use stream::channel;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let message = Bytes::copy_from_slice(bytes);
    if let Ok(read) = channel::decode(&message) {
        let written = channel::encode(&read);
        assert!(message.starts_with(&written));
    }
});
