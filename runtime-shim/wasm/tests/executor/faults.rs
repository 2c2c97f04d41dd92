//! What goes wrong: guests that are none, guests that misbehave, a host that is killed, a shim that restarts.

use crate::harness::{HELLO, Node, executor};
use container::{Error, Executor as _, Resources, State};
use std::path::Path;

const LOOP: &str = include_str!("../guests/loop.wat");
const HOG: &str = include_str!("../guests/hog.wat");
const TRAP: &str = include_str!("../guests/trap.wat");
const LIBRARY: &str = include_str!("../guests/library.wat");
const FOREIGN: &str = include_str!("../guests/foreign.wat");
const ARGS: &str = include_str!("../guests/args.wat");

#[tokio::test]
async fn what_cannot_run_is_refused_with_what_to_do() {
    let node = Node::new();
    let cases = [
        (node.spec_of("text", b"#!/bin/sh"), "is not WebAssembly"),
        (node.spec("library", LIBRARY), "without a function \"_start\""),
        (node.spec("foreign", FOREIGN), "whose world we do not offer: it exports acme:queue/consumer@1.0.0"),
        (
            node.spec("import", "(module (import \"acme\" \"f\" (func)) (func (export \"_start\")))"),
            "is for a world we do not offer: unknown import: `acme::f`",
        ),
    ];
    for (spec, says) in cases {
        let Err(Error::Invalid(message)) = node.executor.create(&spec).await else { panic!("{} was created", spec.id) };
        assert!(message.contains("example.com/guests/demo:v1") && message.contains(says), "{message}");
        assert!(matches!(node.executor.state(&spec.id).await, Err(Error::NotFound(_))));
    }
}

#[tokio::test]
async fn a_guest_over_its_memory_limit_and_one_that_traps_end_alone() {
    let node = Node::new();
    node.run(&node.spec("bystander", LOOP)).await;
    let mut spec = node.spec("hog", HOG);
    spec.resources = Resources { memory_limit_bytes: 8 << 20, ..Resources::default() };
    let exit = node.finish(&spec).await;
    assert_eq!((exit.code, exit.reason.as_str()), (137, "OOMKilled"));
    assert!(exit.message.contains("limit is 8388608"), "{}", exit.message);
    assert_eq!(node.executor.stats("hog").await.unwrap().usage_bytes, 0);
    let exit = node.finish(&node.spec("trap", TRAP)).await;
    assert_eq!((exit.code, exit.reason.as_str()), (134, "WasmTrap"));
    assert!(exit.message.contains("unreachable") && exit.message.contains("oops"), "{}", exit.message);
    assert!(node.log("trap").contains("unreachable"));
    assert!(matches!(node.executor.state("bystander").await.unwrap(), State::Running { .. }));
}

#[tokio::test]
async fn when_the_host_is_killed_its_guests_end_with_a_reason_and_it_is_there_again() {
    let node = Node::new();
    node.run(&node.spec("loop", LOOP)).await;
    node.executor.create(&node.spec("waiting", ARGS)).await.unwrap();
    let pid = node.host_pid();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
    let exit = node.exit("loop").await;
    assert_eq!((exit.code, exit.reason.as_str()), (255, "WasmHostExited"));
    assert_ne!(node.host_pid(), pid);
    node.executor.start("waiting").await.unwrap();
    assert_eq!(node.exit("waiting").await.code, 0, "what had not started can start in the next host");
}

#[tokio::test]
async fn a_restarted_shim_finds_what_runs_and_what_ended_meanwhile() {
    let node = Node::new();
    assert!(node.executor.recover().await.unwrap().is_empty());
    assert!(!Path::new(&node.dir.path().join("wasm/host.lock")).exists(), "a host was started for nothing");
    node.run(&node.spec("loop", LOOP)).await;
    node.finish(&node.spec("args", ARGS)).await;
    let second = executor(node.dir.path());
    let mut exits = second.exits();
    let mut found = second.recover().await.unwrap();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(matches!(found[0], (ref id, State::Exited { .. }) if id == "args"), "{found:?}");
    assert!(matches!(found[1], (ref id, State::Running { .. }) if id == "loop"), "{found:?}");
    second.close_sandbox("pod-loop").await.unwrap();
    let (id, exit) = tokio::time::timeout(crate::harness::PATIENCE, exits.recv()).await.unwrap().unwrap();
    assert_eq!((id.as_str(), exit.code), ("loop", 137));
    second.close_sandbox("pod-args").await.unwrap();
    assert!(second.recover().await.unwrap().is_empty());
    second.shutdown().await.unwrap();
    node.executor.create(&node.spec("hello", HELLO)).await.unwrap();
}

#[tokio::test]
async fn what_is_deleted_leaves_no_descriptor_in_the_host() {
    if !crate::harness::root() {
        return;
    }
    let node = Node::new();
    let netns = crate::harness::Netns::new(&node, "leak");
    let mut spec = node.spec("c", HELLO);
    let sandbox = container::Sandbox { netns: Some(netns.0.clone()), ..(*spec.sandbox).clone() };
    spec.sandbox = std::sync::Arc::new(sandbox);
    let once = async || {
        node.run(&spec).await;
        assert!(netns.get(8080, "/").unwrap().starts_with("HTTP/1.1 200 "));
        node.executor.kill("c", 15).await.unwrap();
        assert_eq!(node.exit("c").await.code, 0);
        node.executor.delete("c").await.unwrap();
    };
    let open = || std::fs::read_dir(format!("/proc/{}/fd", node.host_pid())).unwrap().count();
    once().await;
    let before = open();
    for _ in 0..20 {
        once().await;
    }
    // A call's own connection is closed a moment after its reply.
    crate::harness::eventually("as many descriptors as before", async || open() <= before).await;
}
