//! The targets of `fuzz/node_targets` stay right: they are compiled here, with a stand-in for libFuzzer, and each gets some
//! hundred inputs. `docs/fuzzing.md` says how they are run for longer; those of the control plane are compiled by its crates.

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
    cni: "../fuzz/node_targets/cni.rs",
    dns: "../fuzz/node_targets/dns.rs",
    image: "../fuzz/node_targets/image.rs",
    join: "../fuzz/node_targets/join.rs",
    kubelet: "../fuzz/node_targets/kubelet.rs",
    registry: "../fuzz/node_targets/registry.rs",
}

/// Bytes of any kind, text that parsers care about, and what these readers know.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let known = prop_oneof![
        Just(r#"{"secret":"s"}"#),
        Just(r#"{"Refused":"no"}"#),
        Just(
            r#"{"Welcome":{"service_cidr":"10.96.0.0/16","pod_cidr":"10.244.0.0/16","members":["a:1"],"files":[["a","b"]]}}"#
        ),
        Just(r#"{"server":"a:1","authority":"sha256:0","secret":"s"}"#),
        Just(r#"{"cniVersion":"1.1.0","name":"pods","bridge":"b0","podCidr":"10.244.3.0/24","mtu":1500}"#),
        Just(r#"{"schemaVersion":2,"config":{"digest":"sha256:0","size":1},"layers":[]}"#),
        Just("follow=true&tailLines=5&sinceSeconds=60&command=a&ports=80,81&stdin=1"),
        Just(r#"{"manifests":[{"digest":"x","size":1,"platform":{"architecture":"amd64"}}]}"#),
        Just(r#"{"config":{"Entrypoint":["/a.wasm"],"User":"1:1","StopSignal":"SIGTERM"},"architecture":"wasm"}"#),
    ];
    // One byte of it is another.
    let near = (known, any::<proptest::sample::Index>(), any::<u8>()).prop_map(|(text, at, byte)| {
        let mut bytes = text.as_bytes().to_vec();
        let at = at.index(bytes.len() * 2);
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

#[test]
fn every_target_takes_what_comes() {
    for (name, run) in TARGETS {
        // A store on disk is made for each input of these.
        let cases = if matches!(*name, "image" | "registry") { 200 } else { 1000 };
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
    let fuzz = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("the manifest");
    let files = std::fs::read_dir(fuzz.join("node_targets")).expect("the targets");
    let mut names: Vec<String> =
        files.map(|f| f.expect("a file").path().file_stem().expect("a name").to_string_lossy().into_owned()).collect();
    names.sort();
    let here: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, here);
    for name in names {
        assert!(manifest.contains(&format!("path = \"node_targets/{name}.rs\"")), "{name} has no [[bin]]");
    }
}
