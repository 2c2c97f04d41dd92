//! The targets of `fuzz/fuzz_targets`, compiled with a stand-in for libFuzzer and fed.

#![expect(clippy::duplicate_mod, reason = "each target is a program of its own, and some of them need a server")]

// The targets call libFuzzer's macro by its crate's name.
extern crate self as libfuzzer_sys;

#[path = "../../../fuzz/harness.rs"]
#[macro_use]
mod harness;
#[path = "../../../fuzz/inputs.rs"]
mod inputs;

use proptest::prelude::*;

targets! {
    certificate: "../../../fuzz/fuzz_targets/certificate.rs",
    channel: "../../../fuzz/fuzz_targets/channel.rs",
    credential: "../../../fuzz/fuzz_targets/credential.rs",
    definition: "../../../fuzz/fuzz_targets/definition.rs",
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

const REQUEST: &str = "(GET|POST|PUT|PATCH|DELETE) /api(s/apps)?/v1/(namespaces/[a-z]{1,3}/)?[a-z]{1,9}(\\?[a-zA-Z]{1,9}=[a-z0-9%]{0,4})?\n\n[{}\":a-z]{0,20}";

/// Schemas and objects by them.
const SCHEMAS: &[&str] = &[
    "{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"minimum\":1,\"default\":3}}}}}\0{\"a\":0,\"b\":[]}",
    "{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"set\",\"items\":{\"type\":\"string\",\"pattern\":\"^a\"}}}}\0[\"a\",\"a\",1]",
    "{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true,\"properties\":{\"spec\":{\"x-kubernetes-int-or-string\":true}}}\0\"5%\"",
];

#[test]
fn every_target_takes_what_comes() {
    // Whole servers answer these, one request after another.
    let cases = |name: &str| if matches!(name, "certificate" | "request" | "credential") { 100 } else { 1000 };
    let known = prop_oneof![REQUEST, proptest::sample::select(SCHEMAS).prop_map(str::to_owned)];
    harness::feed(TARGETS, known.boxed(), cases);
}

#[test]
fn every_target_is_here_and_in_the_manifest() {
    let fuzz = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    harness::all_are_here(TARGETS, &fuzz, "fuzz_targets");
}
