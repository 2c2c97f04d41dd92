//! Who may import whom, and where heavy dependencies may stand: held against the manifests.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// A crate of ours and the crates of ours that it may use. `wherry` itself may use every role.
const LAYERS: &[(&str, &[&str])] = &[
    ("pattern", &[]),
    ("api", &["pattern"]),
    ("expr", &["pattern"]),
    ("stream", &[]),
    ("rpc", &[]),
    ("store", &[]),
    ("base2histogram", &[]),
    ("container", &[]),
    ("cni", &[]),
    ("client", &["api"]),
    ("apiserver", &["api", "expr", "stream", "store"]),
    ("fit", &["api"]),
    ("scheduler", &["api", "client", "expr", "fit"]),
    ("controllers", &["api", "client", "fit"]),
    ("proxy", &["api", "client"]),
    ("policy", &["api", "client"]),
    ("dns", &["api", "client"]),
    ("kubelet", &["api", "client", "fit", "rpc", "stream"]),
    ("oci", &["container"]),
    ("wasm", &["container"]),
    ("cri", &["rpc", "stream", "container", "oci", "wasm", "cni"]),
];

/// A dependency that is heavy to compile or to trust, and the only crates that may name it.
const HEAVY: &[(&str, &[&str])] = &[
    ("openraft", &["store"]),
    ("redb", &["store"]),
    ("wasmtime", &["wasm"]),
    ("wasmtime-wasi", &["wasm"]),
    ("wasmtime-wasi-http", &["wasm"]),
    ("libcontainer", &["oci"]),
    ("tonic", &["rpc"]),
    ("cel", &["expr"]),
    ("axum", &["apiserver", "kubelet", "cri"]),
    ("rtnetlink", &["cni", "proxy", "policy"]),
    ("clap", &["wherry"]),
    ("anyhow", &["wherry"]),
];

/// Every crate of ours with the crates that its code (not its tests) names.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let out = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    let metadata: Value = serde_json::from_slice(&out.stdout).expect("metadata");
    let packages = metadata["packages"].as_array().expect("packages");
    let normal = |p: &Value| {
        let all = p["dependencies"].as_array().expect("dependencies").iter();
        all.filter(|d| d["kind"].is_null()).map(|d| d["name"].as_str().expect("a name").to_owned()).collect()
    };
    packages.iter().map(|p| (p["name"].as_str().expect("a name").to_owned(), normal(p))).collect()
}

#[test]
fn roles_import_only_what_is_below_them() {
    let all = dependencies();
    let ours: BTreeSet<&str> = LAYERS.iter().map(|(name, _)| *name).collect();
    let known: BTreeSet<&str> = ours.iter().copied().chain(["wherry"]).collect();
    let found: BTreeSet<&str> = all.keys().map(String::as_str).collect();
    assert_eq!(found, known, "every crate has its line in LAYERS");
    for (name, allowed) in LAYERS {
        let used: Vec<&str> = all[*name].iter().map(String::as_str).filter(|d| ours.contains(d)).collect();
        let wrong: Vec<&&str> = used.iter().filter(|d| !allowed.contains(d)).collect();
        assert!(wrong.is_empty(), "{name} may not import {wrong:?}");
    }
}

#[test]
fn heavy_dependencies_stay_in_their_crate() {
    for (name, uses) in dependencies() {
        for (heavy, homes) in HEAVY {
            assert!(!uses.contains(*heavy) || homes.contains(&name.as_str()), "{name} may not name {heavy}");
        }
    }
}
