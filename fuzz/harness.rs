//! What `cargo test` gives the targets in libFuzzer's place, so that they stay right: each is compiled and fed some inputs.
//! `docs/fuzzing.md` says how they are run for longer.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::path::Path;

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
            let $data = <$kind as $crate::inputs::FromBytes<'_>>::from_bytes(bytes);
            $body
        }
    };
}

/// The targets of a folder by their names, compiled as modules of the test.
#[macro_export]
macro_rules! targets {
    ($($name:ident: $file:literal,)*) => {
        $(
            #[path = $file]
            #[expect(unused_attributes, reason = "libFuzzer brings `main`, where it is linked")]
            mod $name;
        )*
        const TARGETS: &[$crate::harness::Target] = &[$((stringify!($name), $name::run),)*];
    };
}

pub type Target = (&'static str, fn(&[u8]));

/// Bytes of any kind, text that parsers care about, and what these readers know.
fn input(known: BoxedStrategy<String>) -> impl Strategy<Value = Vec<u8>> {
    // One byte of it is another.
    let near = (known, any::<proptest::sample::Index>(), any::<u8>()).prop_map(|(text, at, byte)| {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len() * 2 + 1);
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        bytes
    });
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        "[\\[\\]{}<>a-z0-9/:;,.=!\"' \n-]{0,120}".prop_map(String::into_bytes),
        near,
    ]
}

/// Gives each target so many inputs, of which a third are like the `known`.
pub fn feed(targets: &[Target], known: BoxedStrategy<String>, cases: impl Fn(&str) -> u32) {
    let input = input(known);
    for (name, run) in targets {
        let config = Config { cases: cases(name), failure_persistence: None, ..Config::default() };
        let result = TestRunner::new(config).run(&input, |bytes| {
            run(&bytes);
            Ok(())
        });
        assert!(result.is_ok(), "{name}: {result:?}");
    }
}

/// Each file of the folder is a target here, and a program in the manifest of `fuzz`.
pub fn all_are_here(targets: &[Target], fuzz: &Path, folder: &str) {
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("the manifest");
    let files = std::fs::read_dir(fuzz.join(folder)).expect("the targets");
    let mut names: Vec<String> =
        files.map(|f| f.expect("a file").path().file_stem().expect("a name").to_string_lossy().into_owned()).collect();
    names.sort();
    let here: Vec<&str> = targets.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, here);
    for name in names {
        assert!(manifest.contains(&format!("path = \"{folder}/{name}.rs\"")), "{name} has no [[bin]]");
    }
}
