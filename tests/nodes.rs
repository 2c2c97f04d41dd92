//! Several nodes: pods spread over them reach one another and Services by name, workloads live through what a person
//! does to them, nodes are killed, cut off and come back.
//!
//! One cluster of three nodes serves all of it, since bringing it up is what costs. Scenarios are data: `nodes/all` needs
//! every node, `nodes/one` is played on the first alone while the cluster finds out that it has lost the two others, and
//! `nodes/any` takes long and goes on all the while, its pods on the first node.

use crate::clients;
use crate::harness::{Cluster, ROOT, hello_web, possible, text, until};
use crate::table::{self, Person, Scenario};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Objects of the crowded namespace.
const CROWD: usize = 1000;

/// A server on every node that answers with its node's name, behind one Service.
const SPREAD: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: who}
spec:
  replicas: 3
  selector: {matchLabels: {app: who}}
  template:
    metadata: {labels: {app: who}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations:
        - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 0}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: DoNotSchedule
          labelSelector: {matchLabels: {app: who}}
          matchLabelKeys: [pod-template-hash]
          nodeTaintsPolicy: Honor
      containers:
        - name: who
          image: tool:1
          args: [serve, "8080", $(NODE)]
          env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
---
apiVersion: v1
kind: Service
metadata: {name: who}
spec: {selector: {app: who}, ports: [{port: 80, targetPort: 8080}]}
"#;

/// Of each ready pod: its name and its node.
fn pods(cluster: &Cluster) -> Vec<(String, String)> {
    let columns = "jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName} \
        {.status.conditions[?(@.type=='Ready')].status}{.metadata.deletionTimestamp}\n{end}";
    let lines = cluster.ok(&["get", "pods", "-l", "app=who", "-o", columns]);
    let words = lines.lines().map(|l| l.split(' ').collect::<Vec<_>>());
    words.filter(|w| w.len() == 3 && w[2] == "True").map(|w| (w[0].to_owned(), w[1].to_owned())).collect()
}

/// The nodes with ready pods.
fn served(cluster: &Cluster) -> BTreeSet<String> {
    pods(cluster).into_iter().map(|(_, node)| node).collect()
}

/// The nodes that answer to a pod by the Service's name.
fn answers(cluster: &Cluster, pod: &str) -> Option<String> {
    let out = cluster.kubectl(&["exec", pod, "--", "/tool", "ask", "who.default.svc.cluster.local:80"]);
    out.status.success().then(|| text(&out.stdout).trim().to_owned()).filter(|answer| !answer.is_empty())
}

fn every_pod_reaches_every_node(cluster: &Cluster, nodes: &BTreeSet<String>) {
    for (pod, node) in pods(cluster) {
        let mut heard = BTreeSet::new();
        until(&format!("every node's answer to the pod on {node}"), || {
            heard.extend(answers(cluster, &pod));
            heard == *nodes
        });
    }
}

fn is_ready(cluster: &Cluster, node: &str) -> bool {
    let path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
    cluster.ok(&["get", "node", node, "-o", path]) == "True"
}

fn machine(cluster: &Cluster, verb: &str, name: &str) {
    let out = cluster.wherry(&["machine", verb, name]).output().expect("wherry runs");
    assert!(out.status.success(), "machine {verb} {name}: {}", text(&out.stderr));
}

/// What the machine still has of the cluster's nodes.
fn left(cluster: &Cluster) -> Vec<String> {
    let links = cluster.host.command("ip").args(["-br", "link"]).output().expect("ip runs");
    let mut left: Vec<String> =
        text(&links.stdout).lines().filter(|l| l.starts_with("wh")).map(str::to_owned).collect();
    let dir = cluster.dir.path().display().to_string();
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("the mounts");
    left.extend(mounts.lines().filter(|l| l.contains(&dir)).map(str::to_owned));
    for entry in std::fs::read_dir("/proc").expect("the processes").flatten() {
        let line = text(&std::fs::read(entry.path().join("cmdline")).unwrap_or_default()).replace('\0', " ");
        if line.contains(&format!("{dir}/nodes/")) {
            left.push(line);
        }
    }
    left
}

/// Plays every scenario of a folder at once, each in a namespace of its own; what went wrong.
fn played(cluster: &Cluster, folder: &str, known: &[(&str, &str)]) -> Vec<String> {
    let kubectl = clients::kubectls(&["1.32"]).remove(0);
    let folder = Path::new(ROOT).join("tests/nodes").join(folder);
    let files = std::fs::read_dir(folder).expect("the scenarios").map(|entry| entry.expect("a scenario").path());
    let files: Vec<PathBuf> = files.collect();
    std::thread::scope(|scope| {
        let kubectl = &kubectl;
        let players: Vec<_> =
            files.iter().map(|file| scope.spawn(move || play(cluster, kubectl, file, known))).collect();
        players.into_iter().filter_map(|player| player.join().expect("a scenario panics")).collect()
    })
}

fn play(
    cluster: &Cluster,
    (version, program): &(String, PathBuf),
    file: &Path,
    known: &[(&str, &str)],
) -> Option<String> {
    let since = Instant::now();
    let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
    let person = Person::new(cluster, (version, program), &name, known);
    let result = person.plays(&table::read::<Scenario>(file));
    eprintln!("{name}: {:?}", since.elapsed());
    let error = format!("{name}: {}\n{}", result.err()?, person.tells());
    eprintln!("{error}");
    Some(error)
}

/// A manifest of many objects.
fn crowd(cluster: &Cluster) -> PathBuf {
    let mut manifest = String::new();
    for n in 1..=CROWD {
        let _ = writeln!(manifest, "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: object-{n}}}\n---");
    }
    let file = cluster.dir.path().join("crowd.yaml");
    std::fs::write(&file, manifest).expect("written");
    file
}

#[test]
fn three_nodes_are_one_cluster() {
    if !possible() {
        return;
    }
    let mut cluster = Cluster::new();
    cluster.tool();
    cluster.image("hello-wasm:2", &Path::new(ROOT).join("examples/hello/guest.wat"));
    cluster.image("hello-web:2", hello_web());
    let since = Instant::now();
    cluster.up(&["--nodes", "3"]);
    let names = cluster.ok(&["get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"]);
    let nodes: BTreeSet<String> = names.split(' ').map(str::to_owned).collect();
    let listed: Vec<&String> = nodes.iter().collect();
    let [first, lost, cut] = listed[..] else { panic!("three nodes, not {names}") };
    let objects = crowd(&cluster);
    let objects = objects.to_str().expect("a path");
    let known = [("node1", first.as_str()), ("node2", lost), ("node3", cut), ("objects", objects)];

    cluster.apply(SPREAD);
    until("a pod on every node", || served(&cluster) == nodes);
    every_pod_reaches_every_node(&cluster, &nodes);
    let wrong = std::thread::scope(|scope| {
        let long = scope.spawn(|| played(&cluster, "any", &known));
        let mut wrong = played(&cluster, "all", &known);
        eprintln!("with all nodes: {:?}", since.elapsed());
        // What is made meanwhile belongs on the node that stays.
        cluster.ok(&["cordon", lost, cut]);
        machine(&cluster, "kill", lost);
        machine(&cluster, "cut", cut);
        wrong.extend(played(&cluster, "one", &known));
        wrong.extend(long.join().expect("a scenario panics"));
        wrong
    });
    until("the loss of both", || !is_ready(&cluster, lost) && !is_ready(&cluster, cut));
    until("replacements on the node that is left", || {
        let left = pods(&cluster);
        left.len() == 3 && left.iter().all(|(_, node)| node == first)
    });
    eprintln!("with one node: {:?}", since.elapsed());

    machine(&cluster, "start", lost);
    machine(&cluster, "heal", cut);
    until("both back", || is_ready(&cluster, lost) && is_ready(&cluster, cut));
    cluster.ok(&["uncordon", lost, cut]);
    until("the end of what was replaced", || {
        let path = "jsonpath={.items[*].metadata.deletionTimestamp}";
        cluster.ok(&["get", "pods", "-l", "app=who", "-o", path]).is_empty()
    });
    cluster.ok(&["rollout", "restart", "deployment/who"]);
    cluster.ok(&["rollout", "status", "deployment/who", "--timeout=90s"]);
    until("a pod on every node again", || served(&cluster) == nodes);
    every_pod_reaches_every_node(&cluster, &nodes);
    eprintln!("with all nodes again: {:?}", since.elapsed());
    assert!(wrong.is_empty(), "{} scenarios went wrong:\n\n{}", wrong.len(), wrong.join("\n\n"));

    let (status, _) = cluster.end(Signal::SIGINT);
    assert!(status.success(), "{status}");
    assert_eq!(left(&cluster), Vec::<String>::new(), "after the end of up");
}
