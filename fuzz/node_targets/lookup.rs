//! Answers of name servers to the lookups of WebAssembly guests: read, or none.
#![no_main]

#[path = "../../runtime-shim/wasm/src/dns.rs"]
mod dns;

use dns::{Answer, Kind, answer, candidates, question};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    for kind in [Kind::A, Kind::Aaaa] {
        if let Some(asked) = question(7, &text, kind) {
            assert!(asked.len() <= 12 + 255 + 4, "a question of {} bytes", asked.len());
        }
        let asked = question(7, "a.example", kind).expect("a name");
        let _ = answer(&asked, bytes, kind);
        // What belongs to the question, and then anything.
        for header in [[0x81, 0x80, 0, 1, 0, 9], [0x81, 0x83, 0, 1, 0, 0], [0x83, 0x80, 0, 1, 0, 1]] {
            let message = [&asked[..2], &header, &[0; 4], &asked[12..], bytes].concat();
            if let Some(Answer::Addresses(found)) = answer(&asked, &message, kind) {
                assert!(found.len() <= 9);
            }
        }
    }
    let searches = [text.to_string(), "svc.cluster.local".to_owned()];
    assert!(!candidates(&text, &searches, 5).is_empty());
});
