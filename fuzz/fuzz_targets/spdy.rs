//! SPDY/3.1 frames, in whatever pieces they arrive.
#![no_main]

use stream::spdy::Decoder;

libfuzzer_sys::fuzz_target!(|pieces: Vec<Vec<u8>>| {
    let mut decoder = Decoder::default();
    for piece in pieces {
        decoder.push(&piece);
        while let Ok(Some(_)) = decoder.next_frame() {}
    }
});
