//! The life of a cluster: it survives the sudden end of any of its processes, and its own end and next start.

use crate::harness::{COUNTER, Cluster, Host, NODE, possible, text, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const HELLO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello");

/// Of every pod: its address, its container's id, when that started, how often it was restarted and why.
const FACTS: &str = "jsonpath={range .items[*]}{.metadata.name}={.status.podIP} {.status.containerStatuses[0].containerID} \
    {.status.containerStatuses[0].state.running.startedAt} {.status.containerStatuses[0].restartCount} \
    {.status.containerStatuses[0].lastState.terminated.reason}\n{end}";

fn facts(cluster: &Cluster) -> BTreeMap<String, String> {
    let lines = cluster.ok(&["get", "pods", "-o", FACTS]);
    lines.lines().filter_map(|l| l.split_once('=')).map(|(name, facts)| (name.into(), facts.into())).collect()
}

/// Both Services of the example answer at the node's own address.
fn both_answer(cluster: &Cluster) {
    for service in ["hello-wasm", "hello-web"] {
        let port = cluster.ok(&["get", "service", service, "-o", "jsonpath={.spec.ports[0].nodePort}"]);
        let url = format!("http://{NODE}:{port}");
        until(service, || cluster.host.get(&url).is_some_and(|a| a.contains("Hello from Wherry")));
    }
}

/// The processes whose command line has both parts.
fn processes(parts: [&str; 2]) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("the processes").flatten();
    let pids = all.filter_map(|p| p.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = text(&line);
        parts.iter().all(|part| line.split('\0').any(|word| word.starts_with(part)))
    })
    .collect()
}

/// The one process of this cluster that runs `role`.
fn process(cluster: &Cluster, role: &str) -> u32 {
    let found = processes([role, cluster.dir.path().to_str().expect("a path")]);
    assert_eq!(found.len(), 1, "one {role}: {found:?}");
    found[0]
}

fn kill_now(pid: u32) {
    kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGKILL).expect("killed");
}

/// A thread that stayed in a pod's network would make the next pod's traffic leave from there.
fn every_thread_is_at_home(pid: u32) {
    let home = std::fs::read_link(format!("/proc/{pid}/ns/net")).expect("a namespace");
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).expect("threads").flatten() {
        // A thread that has ended meanwhile is nowhere.
        let Ok(there) = std::fs::read_link(task.path().join("ns/net")) else { continue };
        assert_eq!(there, home, "{} is in another network namespace", task.path().display());
    }
}

#[test]
fn no_sudden_end_disturbs_what_runs() {
    if !possible() {
        return;
    }
    let mut cluster = Cluster::new();
    let busybox = cluster.busybox();
    cluster.up(&["--apply", HELLO]);
    cluster.says("Ctrl-C stops");
    if busybox {
        cluster.apply(COUNTER);
        cluster.ok(&["wait", "pod/counter", "--for=condition=Ready", "--timeout=300s"]);
    }
    let before = facts(&cluster);
    every_thread_is_at_home(cluster.pid());
    every_thread_is_at_home(process(&cluster, "shim"));

    cluster.end(Signal::SIGKILL);
    cluster.up(&[]);
    both_answer(&cluster);
    assert_eq!(facts(&cluster), before, "after the end of up");

    let shim = process(&cluster, "shim");
    kill_now(shim);
    until("another shim", || {
        let now = processes(["shim", cluster.dir.path().to_str().expect("a path")]);
        now.len() == 1 && now[0] != shim
    });
    until("a command in a container", || {
        !busybox || text(&cluster.kubectl(&["exec", "counter", "--", "sh", "-c", "echo here"]).stdout) == "here\n"
    });
    both_answer(&cluster);
    assert_eq!(facts(&cluster), before, "after the end of the shim");

    kill_now(process(&cluster, "wasm-host"));
    until("new instances", || {
        let now = facts(&cluster);
        now.iter().filter(|(name, f)| name.starts_with("hello-wasm") && f.ends_with(" 1 WasmHostExited")).count() == 2
    });
    both_answer(&cluster);
    for (name, facts) in facts(&cluster).iter().filter(|(name, _)| !name.starts_with("hello-wasm")) {
        assert_eq!(facts, &before[name], "{name} after the end of the Wasm host");
    }
    if busybox {
        let lines = cluster.counted();
        until("more lines", || cluster.counted() > lines);
    }
    every_thread_is_at_home(cluster.pid());
    every_thread_is_at_home(process(&cluster, "shim"));
}

#[test]
fn a_stopped_cluster_carries_on() {
    if !possible() {
        return;
    }
    let mut cluster = Cluster::new();
    // Ranges of its own: the default ones may be taken by another cluster while this one is stopped.
    cluster.up(&["--service-cidr", "10.180.0.0/16", "--pod-cidr", "10.181.0.0/16", "--apply", HELLO]);
    cluster.says("Ctrl-C stops");
    for round in 0..3 {
        if round == 1 {
            // Whoever stops the cluster needs the shim, whether or not it has been missed yet.
            kill_now(process(&cluster, "shim"));
        }
        let (status, took) = cluster.end(Signal::SIGINT);
        assert!(status.success() && took < Duration::from_secs(20), "round {round}: {status} after {took:?}");
        cluster.up(&[]);
        both_answer(&cluster);
    }
    let pods = cluster.ok(&["get", "pods"]);
    assert_eq!(pods.lines().count(), 5, "no pod is left over or missing: {pods}");
}

#[test]
fn two_clusters_do_not_notice_each_other() {
    if !possible() {
        return;
    }
    let host = Arc::new(Host::new());
    let mut clusters = [Cluster::on(host.clone()), Cluster::on(host)];
    for cluster in &mut clusters {
        cluster.up(&["--apply", HELLO]);
        cluster.says("Ctrl-C stops");
    }
    let [mut first, second] = clusters;
    let settings = |c: &Cluster| std::fs::read_to_string(c.dir.path().join("cluster.json")).expect("the settings");
    let (one, two) = (settings(&first), settings(&second));
    for line in one.lines().filter(|l| ["secure_port", "service_cidr", "pod_cidr", "tag"].iter().any(|k| l.contains(k)))
    {
        assert!(!two.contains(line.trim()), "both have {line}");
    }
    let before = facts(&second);
    let (status, _) = first.end(Signal::SIGINT);
    assert!(status.success(), "{status}");
    drop(first);
    both_answer(&second);
    assert_eq!(facts(&second), before, "after the end of the first cluster");
    assert_eq!(second.ok(&["get", "--raw", "/readyz"]), "ok");
}
