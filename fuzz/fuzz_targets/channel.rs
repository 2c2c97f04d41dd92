//! Messages of a WebSocket's channels: what is read is written back as it was.
#![no_main]

use bytes::Bytes;
use stream::channel::{self, Framing};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let message = Bytes::copy_from_slice(bytes);
    for framing in [Framing::Binary, Framing::Base64] {
        if let Ok(read) = channel::decode(&message, framing) {
            let written = channel::encode(&read, framing);
            assert!(message.starts_with(&written));
        }
    }
});
