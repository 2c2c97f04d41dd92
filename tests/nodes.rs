//! Several nodes: pods spread over them reach one another and Services by name, nodes are killed, cut off and come back.

use crate::harness::{Cluster, possible, text, until};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;

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
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: DoNotSchedule
          labelSelector: {matchLabels: {app: who}}
      containers:
        - name: who
          image: busybox:1
          command: [sh, -c, "while true; do echo $NODE | nc -l -p 8080; done"]
          env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
---
apiVersion: v1
kind: Service
metadata: {name: who}
spec: {selector: {app: who}, ports: [{port: 80, targetPort: 8080}]}
"#;

/// Of each ready pod: its name and its node.
fn pods(cluster: &Cluster) -> Vec<(String, String)> {
    let columns = "jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName} {.status.conditions[?(@.type=='Ready')].status}\n{end}";
    let lines = cluster.ok(&["get", "pods", "-l", "app=who", "-o", columns]);
    let words = lines.lines().map(|l| l.split(' ').collect::<Vec<_>>());
    words.filter(|w| w.len() == 3 && w[2] == "True").map(|w| (w[0].to_owned(), w[1].to_owned())).collect()
}

/// The nodes that answer to a pod by the Service's name.
fn answers(cluster: &Cluster, pod: &str) -> Option<String> {
    let out = cluster.kubectl(&["exec", pod, "--", "sh", "-c", "nc -w 5 who.default.svc.cluster.local 80 </dev/null"]);
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

#[test]
fn three_nodes_are_one_cluster() {
    if !possible() {
        return;
    }
    let mut cluster = Cluster::new();
    if !cluster.busybox() {
        return;
    }
    cluster.up(&["--nodes", "3"]);
    let names = cluster.ok(&["get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"]);
    let nodes: BTreeSet<String> = names.split(' ').map(str::to_owned).collect();
    assert_eq!(nodes.len(), 3, "{names}");
    cluster.apply(SPREAD);
    until("a pod on every node", || pods(&cluster).into_iter().map(|(_, node)| node).collect::<BTreeSet<_>>() == nodes);
    every_pod_reaches_every_node(&cluster, &nodes);

    let lost = nodes.iter().find(|n| n.ends_with("-2")).expect("the second node").clone();
    machine(&cluster, "kill", &lost);
    let cut = nodes.iter().find(|n| n.ends_with("-3")).expect("the third node").clone();
    machine(&cluster, "cut", &cut);
    until("the loss of both", || !is_ready(&cluster, &lost) && !is_ready(&cluster, &cut));
    machine(&cluster, "start", &lost);
    machine(&cluster, "heal", &cut);
    until("both back", || is_ready(&cluster, &lost) && is_ready(&cluster, &cut));
    until("a pod on every node again", || {
        pods(&cluster).into_iter().map(|(_, node)| node).collect::<BTreeSet<_>>() == nodes
    });
    every_pod_reaches_every_node(&cluster, &nodes);

    let (status, _) = cluster.end(Signal::SIGINT);
    assert!(status.success(), "{status}");
    assert_eq!(left(&cluster), Vec::<String>::new(), "after the end of up");
}
