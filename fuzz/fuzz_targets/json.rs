//! JSON of a body: what is read is printed and read again as the same.
#![no_main]

use api::codec::json;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut paths = vec!["spec.containers[0].image".to_owned(), "a".to_owned()];
    json::sort_paths(bytes, &mut paths);
    if let Ok(decoded) = json::decode(bytes) {
        let text = json::encode(&decoded.value);
        let again = json::decode(&text).expect("what was printed").value;
        assert_eq!(json::encode(&again), text);
    }
});
