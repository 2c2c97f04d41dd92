//! Pods reach Services, whoever calls and whoever serves, and nothing stays of pods that are gone.

use crate::harness::{Cluster, guest, possible, text, until};
use std::path::{Path, PathBuf};

/// A Wasm guest that calls the Service `db` of its namespace, and beside it what else the pod has.
fn caller(namespace: &str, labels: &str, beside: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: caller, namespace: {namespace}, labels: {{{labels}}}}}\n\
         spec: {{restartPolicy: OnFailure, containers: [{{name: caller, image: \"connect:1\"}}{beside}]}}\n"
    )
}

/// What the Service `db` leads to.
fn server(namespace: &str, image: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: db, namespace: {namespace}, labels: {{app: db}}}}\n\
         spec: {{containers: [{{name: db, image: \"{image}\"}}]}}\n"
    )
}

/// For each kind of server a caller; the last one is behind its own Service.
fn pods() -> String {
    [
        server("to-wasm", "hello-wasm:1"),
        caller("to-wasm", "", ""),
        server("to-container", "hello-web:1"),
        caller("to-container", "", ""),
        caller("to-itself", "app: db", ", {name: db, image: \"hello-wasm:1\"}"),
    ]
    .concat()
}

/// A container to call from, and the server of its own Service beside it.
const BOX: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: box, namespace: default, labels: {app: db}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - {name: box, image: "busybox:1", command: [sleep, infinity]}
    - {name: db, image: "hello-web:1"}
"#;

fn service(namespace: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: db, namespace: {namespace}}}\n\
         spec: {{selector: {{app: db}}, publishNotReadyAddresses: true, ports: [{{port: 7777, targetPort: 8080}}]}}\n"
    )
}

#[test]
fn every_pairing_reaches_its_service() {
    if !possible() {
        return;
    }
    let mut cluster = Cluster::new();
    let busybox = cluster.busybox();
    cluster.image("connect:1", &guest("connect.wat"));
    cluster.up(&[]);
    let namespaces = ["to-wasm", "to-container", "to-itself"];
    for namespace in namespaces {
        cluster.ok(&["create", "namespace", namespace]);
    }
    let services: String = namespaces.iter().chain([&"default"]).map(|n| service(n)).collect();
    cluster.apply(&services);
    cluster.apply(&pods());
    for namespace in namespaces {
        let args = ["get", "pod", "caller", "-n", namespace, "-o"];
        let exit = "jsonpath={.status.containerStatuses[?(@.name=='caller')].state.terminated.exitCode}";
        until(&format!("the guest that calls {namespace}"), || cluster.ok(&[&args[..], &[exit]].concat()) == "0");
    }
    if !busybox {
        return;
    }
    cluster.apply(BOX);
    cluster.ok(&["wait", "pod/box", "--for=condition=Ready", "--timeout=300s"]);
    for name in ["db.to-wasm", "db.to-container.svc.cluster.local", "db"] {
        let call =
            format!("printf 'GET / HTTP/1.1\\r\\nHost: db\\r\\nConnection: close\\r\\n\\r\\n' | nc -w 5 {name} 7777");
        let exec = ["exec", "box", "-c", "box", "--", "sh", "-c", &call];
        until(name, || text(&cluster.kubectl(&exec).stdout).contains("200 OK"));
    }
}

/// Every path below `dir`, to that depth.
fn below(dir: &Path, depth: usize) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let more = |p: PathBuf| {
        let inner = if depth > 1 && p.is_dir() { below(&p, depth - 1) } else { Vec::new() };
        std::iter::once(p).chain(inner)
    };
    entries.flat_map(more).collect()
}

/// What this machine holds for the cluster's pods, as lines: mounts, processes, links, control groups, files.
fn held(cluster: &Cluster, uids: &[String]) -> Vec<String> {
    let dir = cluster.dir.path();
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("the mounts");
    let shim = dir.join("shim").display().to_string();
    let mut held: Vec<String> = mounts.lines().filter(|l| l.contains(&shim)).map(|l| format!("mount {l}")).collect();
    let links = cluster.host.command("ip").args(["-br", "link"]).output().expect("ip runs");
    held.extend(text(&links.stdout).lines().filter(|l| l.starts_with("wv")).map(|l| format!("link {l}")));
    let of_a_pod = |path: &Path| uids.iter().any(|uid| path.display().to_string().contains(uid.as_str()));
    let groups = below(Path::new("/sys/fs/cgroup"), 4);
    held.extend(groups.iter().filter(|g| of_a_pod(g)).map(|g| format!("group {}", g.display())));
    for part in ["shim/sandboxes", "shim/containers", "shim/netns", "kubelet/pods", "shim/wasm/containers"] {
        held.extend(below(&dir.join(part), 1).iter().map(|f| format!("file {}", f.display())));
    }
    let leases = below(&dir.join("shim/network"), 3);
    let leases = leases.iter().filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("10.")));
    held.extend(leases.map(|l| format!("lease {}", l.display())));
    held
}

#[test]
fn nothing_stays_of_deleted_pods() {
    if !possible() {
        return;
    }
    let mut cluster = Cluster::new();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello");
    cluster.up(&["--apply", example]);
    cluster.says("Ctrl-C stops");
    let uids = cluster.ok(&["get", "pods", "-o", "jsonpath={.items[*].metadata.uid}"]);
    let uids: Vec<String> = uids.split(' ').map(str::to_owned).collect();
    let before = held(&cluster, &uids);
    for kind in ["mount", "link", "group", "file"] {
        assert!(before.iter().any(|h| h.starts_with(kind)), "a {kind} is held: {before:#?}");
    }
    let services =
        cluster.ok(&["get", "services", "-o", "jsonpath={.items[?(@.spec.type=='NodePort')].spec.clusterIP}"]);
    let addresses: Vec<String> = services.split(' ').map(hexadecimal).collect();
    let rules = |c: &Cluster| c.host.command("nft").args(["list", "ruleset"]).output().map(|o| text(&o.stdout));
    let nft = rules(&cluster).is_ok();
    let ruled = |c: &Cluster| rules(c).is_ok_and(|r| addresses.iter().any(|a| r.contains(a.as_str())));
    assert!(!nft || ruled(&cluster), "the Services have rules");

    cluster.ok(&["delete", "-f", example, "--timeout=300s"]);
    let mut left = Vec::new();
    until("everything to go", || {
        left = held(&cluster, &uids);
        left.is_empty() && !ruled(&cluster)
    });
    cluster.end(nix::sys::signal::Signal::SIGKILL);
    let out = cluster.wherry(&["reset"]).output().expect("wherry runs");
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(!cluster.dir.path().exists(), "the directory is gone");
    let tables = rules(&cluster).unwrap_or_default();
    assert!(!tables.contains("wherry"), "{tables}");
    let links = cluster.host.command("ip").args(["-br", "link"]).output().expect("ip runs");
    let links = text(&links.stdout);
    assert!(!links.contains("wh-"), "{links}");
}

/// An address as nft shows it in the elements of a map whose type it does not know.
fn hexadecimal(address: &str) -> String {
    let address: std::net::Ipv4Addr = address.parse().expect("an address");
    format!("{:x}", u32::from(address))
}
