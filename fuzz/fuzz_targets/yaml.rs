//! YAML of a body: what is read is printed and read again as the same.
#![no_main]

use api::codec::{json, yaml};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(decoded) = yaml::decode(bytes) {
        let printed = yaml::encode(&decoded.value);
        let again = yaml::decode(&printed).expect("what was printed").value;
        assert_eq!(json::encode(&again), json::encode(&decoded.value));
    }
});
