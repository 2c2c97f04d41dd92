//! The targets of `fuzz/node_targets`, compiled with a stand-in for libFuzzer and fed; those of the control plane are
//! compiled by its crates.

// The targets call libFuzzer's macro by its crate's name.
extern crate self as libfuzzer_sys;

#[path = "../fuzz/harness.rs"]
#[macro_use]
mod harness;

use proptest::prelude::*;

targets! {
    cni: "../fuzz/node_targets/cni.rs",
    dns: "../fuzz/node_targets/dns.rs",
    image: "../fuzz/node_targets/image.rs",
    join: "../fuzz/node_targets/join.rs",
    kubelet: "../fuzz/node_targets/kubelet.rs",
    lookup: "../fuzz/node_targets/lookup.rs",
    pull: "../fuzz/node_targets/pull.rs",
    registry: "../fuzz/node_targets/registry.rs",
    terminal: "../fuzz/node_targets/terminal.rs",
}

const KNOWN: &[&str] = &[
    r#"{"secret":"s"}"#,
    r#"{"Refused":"no"}"#,
    r#"{"Welcome":{"service_cidr":"10.96.0.0/16","pod_cidr":"10.244.0.0/16","members":["a:1"],"files":[["a","b"]]}}"#,
    r#"{"server":"a:1","authority":"sha256:0","secret":"s"}"#,
    r#"{"cniVersion":"1.1.0","name":"pods","bridge":"b0","podCidr":"10.244.3.0/24","mtu":1500}"#,
    r#"{"schemaVersion":2,"config":{"digest":"sha256:0","size":1},"layers":[]}"#,
    "follow=true&tailLines=5&sinceSeconds=60&command=a&ports=80,81&stdin=1",
    r#"{"manifests":[{"digest":"x","size":1,"platform":{"architecture":"amd64"}}]}"#,
    r#"{"config":{"Entrypoint":["/a.wasm"],"User":"1:1","StopSignal":"SIGTERM"},"architecture":"wasm"}"#,
    "Bearer realm=\"http://REGISTRY/token\",service=\"s\",scope=\"repository:a:pull\"\u{1}{\"token\":\"t\"}\u{1}{}",
    "{\"Width\":80,\"Height\":24}\n{\"Width\":132,\"Height\":43}",
];

#[test]
fn every_target_takes_what_comes() {
    // A store on disk is made for each input of these.
    let cases = |name: &str| match name {
        "pull" => 60,
        "image" | "registry" => 200,
        _ => 1000,
    };
    harness::feed(TARGETS, proptest::sample::select(KNOWN).prop_map(str::to_owned).boxed(), cases);
}

#[test]
fn every_target_is_here_and_in_the_manifest() {
    let fuzz = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    harness::all_are_here(TARGETS, &fuzz, "node_targets");
}
