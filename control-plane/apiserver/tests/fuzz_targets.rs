//! The targets of `fuzz/` stay right: they are compiled here, with a stand-in for libFuzzer, and each gets a few thousand inputs.
//! `docs/fuzzing.md` says how they are run for longer.

#![expect(clippy::duplicate_mod, reason = "each target is a program of its own, and two of them need a server")]

// The targets call libFuzzer's macro by its crate's name.
extern crate self as libfuzzer_sys;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// A target as a function of bytes, as libFuzzer's macro makes one.
#[macro_export]
macro_rules! fuzz_target {
    (|$data:ident: &[u8]| $body:expr) => {
        pub fn run($data: &[u8]) {
            $body
        }
    };
    (|$data:ident: &str| $body:expr) => {
        pub fn run(bytes: &[u8]) {
            if let Ok($data) = std::str::from_utf8(bytes) {
                $body
            }
        }
    };
    (|$data:ident: $kind:ty| $body:expr) => {
        pub fn run(bytes: &[u8]) {
            let $data = <$kind as $crate::FromBytes<'_>>::from_bytes(bytes);
            $body
        }
    };
}

/// Inputs that are more than bytes.
pub trait FromBytes<'a> {
    fn from_bytes(bytes: &'a [u8]) -> Self;
}

/// Pieces end where a byte is above 127.
impl FromBytes<'_> for Vec<Vec<u8>> {
    fn from_bytes(bytes: &[u8]) -> Self {
        bytes.split_inclusive(|b| *b > 127).map(<[u8]>::to_vec).collect()
    }
}

/// A number, and the halves of what text follows.
impl<'a> FromBytes<'a> for (i64, &'a str, &'a str) {
    fn from_bytes(bytes: &'a [u8]) -> Self {
        let (number, text) = bytes.split_at(bytes.len().min(8));
        let text = std::str::from_utf8(text).unwrap_or("");
        let (first, second) = text.split_once('/').unwrap_or((text, ""));
        (number.iter().fold(0, |n, byte| n << 8 | i64::from(*byte)), first, second)
    }
}

macro_rules! targets {
    ($($name:ident: $file:literal,)*) => {
        $(
            #[path = $file]
            #[expect(unused_attributes, reason = "libFuzzer brings `main`, where it is linked")]
            mod $name;
        )*
        const TARGETS: &[(&str, fn(&[u8]))] = &[$((stringify!($name), $name::run),)*];
    };
}

targets! {
    channel: "../../../fuzz/fuzz_targets/channel.rs",
    credential: "../../../fuzz/fuzz_targets/credential.rs",
    expression: "../../../fuzz/fuzz_targets/expression.rs",
    fields: "../../../fuzz/fuzz_targets/fields.rs",
    json: "../../../fuzz/fuzz_targets/json.rs",
    log: "../../../fuzz/fuzz_targets/log.rs",
    page: "../../../fuzz/fuzz_targets/page.rs",
    patch: "../../../fuzz/fuzz_targets/patch.rs",
    peer: "../../../fuzz/fuzz_targets/peer.rs",
    protobuf: "../../../fuzz/fuzz_targets/protobuf.rs",
    request: "../../../fuzz/fuzz_targets/request.rs",
    schedule: "../../../fuzz/fuzz_targets/schedule.rs",
    selector: "../../../fuzz/fuzz_targets/selector.rs",
    snapshot: "../../../fuzz/fuzz_targets/snapshot.rs",
    spdy: "../../../fuzz/fuzz_targets/spdy.rs",
    yaml: "../../../fuzz/fuzz_targets/yaml.rs",
}

/// Bytes of any kind, and text that parsers care about.
fn input() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "[\\[\\]{}<>a-z0-9/:;,.=!\"' \n-]{0,120}".prop_map(String::into_bytes),
        "(GET|POST|PUT|PATCH|DELETE) /api(s/apps)?/v1/(namespaces/[a-z]{1,3}/)?[a-z]{1,9}(\\?[a-zA-Z]{1,9}=[a-z0-9%]{0,4})?\n\n[{}\":a-z]{0,20}"
            .prop_map(String::into_bytes),
    ]
}

#[test]
fn every_target_takes_what_comes() {
    for (name, run) in TARGETS {
        // Whole servers answer these, one request after another.
        let cases = if matches!(*name, "request" | "credential") { 100 } else { 1000 };
        let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
        let result = runner.run(&input(), |bytes| {
            run(&bytes);
            Ok(())
        });
        assert!(result.is_ok(), "{name}: {result:?}");
    }
}

#[test]
fn every_target_is_here_and_in_the_manifest() {
    let fuzz = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("the manifest");
    let files = std::fs::read_dir(fuzz.join("fuzz_targets")).expect("the targets");
    let mut names: Vec<String> =
        files.map(|f| f.expect("a file").path().file_stem().expect("a name").to_string_lossy().into_owned()).collect();
    names.sort();
    let here: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, here);
    for name in names {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} has no [[bin]]");
    }
}
