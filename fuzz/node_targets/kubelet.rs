//! Queries as clients of the kubelet send them: of logs, commands and ports.
#![no_main]

#[path = "../../node/kubelet/src/logs/options.rs"]
mod options;
#[path = "../../node/kubelet/src/server/query.rs"]
mod query;

use jiff::Timestamp;
use std::collections::HashMap;

/// The words that the kubelet knows, for values that a fuzzer has found.
const KNOWN: [&str; 8] =
    ["follow", "timestamps", "tailLines", "sinceSeconds", "sinceTime", "limitBytes", "stream", "previous"];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let commands = query::values(&text, &["command"]);
    assert!(commands.iter().map(String::len).sum::<usize>() <= text.len() * 3);
    let _ = query::on(&text, &["stdin", "input"]);
    if let Some(ports) = query::ports(&text) {
        assert!(ports.iter().all(|port| (0..=65_535).contains(port)));
    }
    let now = Timestamp::UNIX_EPOCH;
    for name in KNOWN {
        for value in [text.as_ref(), "18446744073709551615", "9999-12-31T23:59:59Z"] {
            let asked = HashMap::from([(name.to_owned(), value.to_owned()), ("sinceSeconds".into(), text.to_string())]);
            let _ = options::flag(&asked, name);
            if let Ok(read) = options::options(&asked, now) {
                assert_eq!(read, read.clone());
                assert!(read.since.is_none_or(|since| since <= now || asked.contains_key("sinceTime")));
            }
        }
    }
});
