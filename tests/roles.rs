//! Every role in a process of its own: together they are a cluster, and each may end at any time and come back.

use crate::harness::{COUNTER, Cluster, NODE, Running, possible, until};
use nix::sys::signal::Signal;
use std::path::Path;

const NODE_NAME: &str = "roles";
/// What `up` would choose for itself.
const POD_CIDR: &str = "10.183.0.0/16";

/// Of both pods: address, container, start, restarts.
const FACTS: &str = "jsonpath={range .items[*]}{.metadata.name} {.status.podIP} {.status.containerStatuses[0].containerID} \
    {.status.containerStatuses[0].state.running.startedAt} {.status.containerStatuses[0].restartCount}\n{end}";

const GUEST: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: guest}
spec: {containers: [{name: guest, image: "hello-wasm:1"}]}
"#;

/// Starts a role of the cluster on the cluster's host.
fn start(cluster: &Cluster, role: &str, args: &[&str]) -> Running {
    let mut command = cluster.host.command(crate::harness::wherry());
    Running::spawn(command.arg(role).args(args))
}

/// The credentials of a node, as its administrator would make them with the cluster's authority.
fn kubelet_files(dir: &Path) -> (String, String) {
    let pki = apiserver::pki::open(&dir.join("pki"), &[]).expect("the authority");
    let made = apiserver::pki::open_kubelet(&dir.join("pki/node"), &pki.authority, NODE_NAME, &[NODE.into()]);
    let client = made.expect("credentials").client;
    let user = format!("system:node:{NODE_NAME}");
    let admin = std::fs::read_to_string(dir.join("admin.kubeconfig")).expect("a kubeconfig");
    let server = admin.lines().find_map(|l| l.trim().strip_prefix("server: ")).expect("an address");
    let text = apiserver::pki::kubeconfig::text(server.trim_matches('"'), &pki.authority, &user, &client);
    let file = dir.join("kubelet.kubeconfig");
    apiserver::pki::kubeconfig::write(&file, &text).expect("written");
    let serving = dir.join("pki/node/kubelet-serving.pem");
    (file.display().to_string(), serving.display().to_string())
}

#[test]
fn each_role_ends_and_comes_back_alone() {
    if !possible() {
        return;
    }
    let cluster = Cluster::new();
    let busybox = cluster.busybox();
    let dir = cluster.dir.path().to_owned();
    let at = |part: &str| dir.join(part).display().to_string();
    let admin = at("admin.kubeconfig");
    let data = ["--data-dir", &at("")].map(str::to_owned);
    let data = data.each_ref().map(String::as_str);

    let api = [&data[..], &["--service-cidr", "10.182.0.0/16", "--pod-cidr", POD_CIDR]].concat();
    let mut apiserver = start(&cluster, "apiserver", &api);
    until("the API", || {
        cluster.kubeconfig().exists() && cluster.kubectl(&["get", "--raw", "/readyz"]).status.success()
    });
    let managed = ["--kubeconfig", &admin, "--cluster-cidr", POD_CIDR, "--node-cidr-mask-size", "20"];
    let mut controllers = start(&cluster, "controller-manager", &managed);
    let mut scheduler = start(&cluster, "scheduler", &["--kubeconfig", &admin]);
    let mut shim = start(&cluster, "shim", &data);
    let (kubeconfig, serving) = kubelet_files(&dir);
    let kubelet_args = [
        ["--kubeconfig", &kubeconfig],
        ["--root-dir", &at("kubelet")],
        ["--cri-endpoint", &at("shim/cri.sock")],
        ["--node-name", NODE_NAME],
        ["--node-ip", NODE],
        ["--tls-cert", &serving],
        ["--tls-key", &serving],
        ["--client-ca", &at("pki/ca.crt")],
    ]
    .map(|pair| pair.map(str::to_owned))
    .concat();
    let kubelet_args: Vec<&str> = kubelet_args.iter().map(String::as_str).collect();
    let mut kubelet = start(&cluster, "kubelet", &kubelet_args);

    until("the namespace's account", || cluster.kubectl(&["get", "serviceaccount", "default"]).status.success());
    cluster.apply(GUEST);
    let mut pods = vec!["pod/guest"];
    if busybox {
        cluster.apply(COUNTER);
        pods.push("pod/counter");
    }
    let ready = || {
        for pod in &pods {
            cluster.ok(&["wait", pod, "--for=condition=Ready", "--timeout=300s"]);
        }
        cluster.ok(&["get", "pods", "-o", FACTS])
    };
    let before = ready();

    kubelet.end(Signal::SIGKILL);
    let lines = if busybox { cluster.counted_in_file() } else { 0 };
    until("lines while there is no kubelet", || !busybox || cluster.counted_in_file() > lines);
    kubelet = start(&cluster, "kubelet", &kubelet_args);
    until("the kubelet's answers", || !busybox || cluster.kubectl(&["logs", "counter"]).status.success());
    assert_eq!(ready(), before, "after the end of the kubelet");

    // Each stands for election: a second one waits, and does the work once the first is gone.
    let holders = || {
        let path = "jsonpath={range .items[*]}{.metadata.name}={.spec.holderIdentity} {end}";
        cluster.ok(&["-n", "kube-system", "get", "lease", "kube-controller-manager", "kube-scheduler", "-o", path])
    };
    let first = holders();
    let mut second = start(&cluster, "scheduler", &["--kubeconfig", &admin]);

    for (role, process, args) in [
        ("controller-manager", &mut controllers, &managed[..]),
        ("scheduler", &mut scheduler, &["--kubeconfig", &admin]),
        ("shim", &mut shim, &data),
        ("apiserver", &mut apiserver, &api),
    ] {
        process.end(Signal::SIGKILL);
        *process = start(&cluster, role, args);
    }
    until("the API again", || cluster.kubectl(&["get", "--raw", "/readyz"]).status.success());
    assert_eq!(ready(), before, "after the end of every other role");
    cluster.ok(&["create", "deployment", "more", "--image=hello-wasm:1", "--replicas=2"]);
    cluster.ok(&["rollout", "status", "deployment/more", "--timeout=300s"]);
    let second_leads = holders();
    for (before, now) in first.split_whitespace().zip(second_leads.split_whitespace()) {
        assert_ne!(before, now, "the lead has moved from a process that was killed");
    }
    if busybox {
        cluster.counted();
    }
    second.end(Signal::SIGTERM);
    for (what, process) in [("kubelet", kubelet), ("shim", shim), ("apiserver", apiserver)] {
        let mut process = process;
        let status = process.end(Signal::SIGTERM);
        assert!(status.success(), "{what}: {status}");
    }
}
