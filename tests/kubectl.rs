//! What a person does with kubectl, done with the real one (another version: `WHERRY_KUBECTL=/path/to/kubectl`).

use crate::harness::{Cluster, hello_web, possible, text, until};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn commands_of_kubectl() {
    if !possible() {
        return;
    }
    let cluster = Cluster::new();
    let mut cluster = with_tool(cluster);
    cluster.image("hello-web:2", hello_web());
    cluster.up(&[]);
    cluster.ok(&["apply", "-f", &format!("{ROOT}/examples/hello")]);
    cluster.ok(&["apply", "-f", &format!("{ROOT}/tests/kubectl.yaml")]);
    cluster_wide(&cluster);
    mistakes(&cluster);
    for deployment in ["hello-wasm", "hello-web"] {
        cluster.ok(&["rollout", "status", &format!("deployment/{deployment}"), "--timeout=120s"]);
    }
    cluster.ok(&["wait", "--for=condition=Ready", "pod/tool", "--timeout=120s"]);
    shown(&cluster);
    logs(&cluster);
    exec(&cluster);
    forwarded(&cluster);
    changed(&cluster);
    rollouts(&cluster);
    drained(&cluster);
    deleted(&cluster);
}

#[test]
fn a_deployment_of_nginx_runs_through_every_component() {
    if !possible() {
        return;
    }
    let mut cluster = Cluster::new();
    let mut other = Cluster::bare(cluster.host.clone());
    other.image("nginx:latest", hello_web());
    other.up(&[]);
    let said = other.said("registry: ").to_owned();
    let registry = said.split_whitespace().find(|w| w.starts_with("http://127.0.0.1:")).expect("an address");
    let mirrors = format!("mirrors:\n  docker.io:\n    endpoints: [{registry:?}]\n");
    std::fs::write(cluster.dir.path().join("registries.yaml"), mirrors).expect("written");
    cluster.up(&[]);
    cluster.ok(&["create", "deployment", "nginx", "--image=nginx", "--port=8080", "--replicas=2"]);
    cluster.ok(&["rollout", "status", "deployment/nginx", "--timeout=120s"]);
    let pods = cluster.ok(&["get", "pods", "-l", "app=nginx"]);
    assert_eq!(pods.matches("1/1     Running").count(), 2, "{pods}");
    let events = cluster.ok(&["get", "events", "--field-selector=reason=Pulled", "-o", "jsonpath={.items[*].message}"]);
    assert!(events.contains("Successfully pulled image \"nginx\""), "{events}");
    cluster.ok(&["expose", "deployment", "nginx", "--port=80", "--target-port=8080"]);
    let address = cluster.ok(&["get", "service", "nginx", "-o", "jsonpath={.spec.clusterIP}"]);
    until("nginx to answer", || cluster.host.get(&format!("http://{address}/")).is_some_and(|a| a.contains("nginx-")));
}

/// The image `tool:1`.
fn with_tool(cluster: Cluster) -> Cluster {
    let dir = tempfile::tempdir().expect("a directory");
    let built = Command::new(std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into()))
        .args(["--edition=2024", "-Cpanic=abort", "-Ctarget-feature=+crt-static", "-o"])
        .arg(dir.path().join("tool"))
        .arg(Path::new(ROOT).join("tests/guests/tool.rs"))
        .status();
    assert!(built.is_ok_and(|s| s.success()), "the tool builds");
    let mut build = cluster.wherry(&["image", "build", "--tag", "tool:1"]);
    let out = build.arg(dir.path()).args(["--entrypoint", "/tool"]).output().expect("wherry runs");
    assert!(out.status.success(), "image tool:1: {}", text(&out.stderr));
    cluster
}

/// Commands whose output has these parts.
fn says(cluster: &Cluster, cases: &[(&str, &[&str])]) {
    for (command, parts) in cases {
        let out = cluster.ok(&command.split(' ').collect::<Vec<_>>());
        for part in *parts {
            assert!(out.contains(part), "kubectl {command}: no {part:?} in\n{out}");
        }
    }
}

fn cluster_wide(cluster: &Cluster) {
    says(
        cluster,
        &[
            ("version", &["Server Version: v1.36.0"]),
            ("cluster-info", &["is running at"]),
            ("api-resources --api-group=apps", &["deployments", "deploy", "apps/v1", "ReplicaSet"]),
            ("api-versions", &["apps/v1\n", "v1\n"]),
            (
                "explain pod.spec.containers",
                &["KIND:       Pod", "List of containers belonging to", "image\t<string>", "name\t<string> -required-"],
            ),
            ("explain deployments.spec.strategy", &["GROUP:      apps", "rollingUpdate\t<RollingUpdateDeployment>"]),
            ("auth can-i create pods", &["yes"]),
            ("auth whoami", &["kubernetes-super-admin", "system:masters"]),
            ("get nodes -o wide", &["Ready", "wherry://"]),
            ("get --raw /readyz", &["ok"]),
        ],
    );
    let out = cluster.kubectl(&["auth", "can-i", "list", "secrets", "--as=bob"]);
    assert_eq!((out.status.success(), text(&out.stdout).trim()), (false, "no"));
}

/// Each mistake with what the person must read.
fn mistakes(cluster: &Cluster) {
    let pod = |spec: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: wrong}}\nspec: {spec}\n");
    let cases = [
        (
            "apiVersion: v1\nkind: Podd\nmetadata: {name: wrong}\n".to_owned(),
            "no matches for kind \"Podd\" in version \"v1\"",
        ),
        ("apiVersion: nowhere/v1\nkind: Pod\nmetadata: {name: wrong}\n".into(), "no matches for kind \"Pod\""),
        (pod("{containers: [{name: c, image: i, ports: [{containerPort: eighty}]}]}"), "containerPort"),
        (pod("{containers: [{name: c, imagee: i}]}"), "unknown field \"spec.containers[0].imagee\""),
        ("kind: Pod\nmetadata: [\n".into(), "error converting YAML"),
    ];
    for (manifest, part) in cases {
        let error = fed(cluster, &["apply", "-f", "-"], &manifest);
        assert!(!error.status.success(), "{manifest} was taken");
        assert!(text(&error.stderr).contains(part), "{manifest}: {}", text(&error.stderr));
    }
    for (command, part) in [
        ("get podds", "the server doesn't have a resource type \"podds\""),
        ("get pod nobody", "Error from server (NotFound): pods \"nobody\" not found"),
        ("create namespace default", "Error from server (AlreadyExists): namespaces \"default\" already exists"),
        ("get pods --as=bob", "Error from server (Forbidden): pods is forbidden: User \"bob\" cannot list resource"),
        ("logs nobody", "pods \"nobody\" not found"),
        ("get pods --server=https://127.0.0.1:1", "connection refused"),
    ] {
        let error = cluster.fails(&command.split(' ').collect::<Vec<_>>());
        assert!(error.contains(part), "kubectl {command}: {error}");
    }
}

/// kubectl with an input.
fn fed(cluster: &Cluster, args: &[&str], input: &str) -> Output {
    let mut command = cluster.kubectl_command(args);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("kubectl runs");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("kubectl reads");
    child.wait_with_output().expect("kubectl ends")
}

fn shown(cluster: &Cluster) {
    says(
        cluster,
        &[
            ("get pods -o wide", &["READINESS GATES", "1/1     Running", "10.24"]),
            (
                "get pod tool -o yaml",
                &["kind: Pod", "phase: Running", "kubectl.kubernetes.io/last-applied-configuration"],
            ),
            ("get pod tool -o json", &["\"kind\": \"Pod\"", "\"containerID\": \"wherry://"]),
            ("get deployments,replicasets,services,configmaps -A", &["deployment.apps/hello-web", "service/kube-dns"]),
            ("get pods --field-selector=status.phase=Running -l app=tool -o name", &["pod/tool\n"]),
            ("describe pod tool", &["Image ID:", "State:          Running", "QoS Class:", "Started container tool"]),
            ("describe pods -l app=hello-wasm", &["Controlled By:  ReplicaSet/hello-wasm-", "Readiness:"]),
            ("describe deployment hello-web", &["NewReplicaSetAvailable", "Scaled up replica set"]),
            ("describe service hello-web", &["Endpoints:", "NodePort:", ":8080"]),
            ("describe node", &["KubeletReady", "Non-terminated Pods:", "Allocated resources:"]),
            ("get events", &["Successfully assigned default/tool", "SuccessfulCreate"]),
        ],
    );
}

fn logs(cluster: &Cluster) {
    assert_eq!(cluster.ok(&["logs", "tool"]), "waiting\n");
    assert_eq!(cluster.ok(&["logs", "-f", "ends"]), "one\ntwo\nthree\n");
    assert_eq!(cluster.ok(&["logs", "ends", "--tail=1"]), "three\n");
    let stamped = cluster.ok(&["logs", "ends", "--timestamps"]);
    assert!(stamped.lines().all(|l| l.split_once('Z').is_some_and(|(t, _)| t.contains('T'))), "{stamped}");
    until("a restart", || {
        let count = cluster.ok(&["get", "pod", "crash", "-o", "jsonpath={.status.containerStatuses[0].restartCount}"]);
        count.parse::<u32>().is_ok_and(|c| c > 0)
    });
    assert_eq!(cluster.ok(&["logs", "crash", "--previous"]), "one\ntwo\nthree\n");
    says(cluster, &[("describe pod crash", &["Last State:     Terminated", "Exit Code:    3", "Reason:       Error"])]);
    until("requests in the log", || cluster.ok(&["logs", "deployment/hello-web"]).contains("listening on port 8080"));
}

fn exec(cluster: &Cluster) {
    assert_eq!(cluster.ok(&["exec", "tool", "--", "/tool", "echo", "a", "b"]), "a b\n");
    let out = cluster.kubectl(&["exec", "tool", "--", "/tool", "exit", "7"]);
    assert_eq!(out.status.code(), Some(7), "{}", text(&out.stderr));
    let out = fed(cluster, &["exec", "-i", "tool", "--", "/tool", "cat"], "through and back");
    assert_eq!(text(&out.stdout), "through and back", "{}", text(&out.stderr));
    assert_eq!(cluster.ok(&["exec", "tool", "--", "/tool", "tty"]), "terminal: false\n");
    let out = in_terminal(&cluster.kubectl_command(&["exec", "-it", "tool", "--", "/tool", "tty"]));
    assert!(text(&out.stdout).contains("terminal: true\r\n"), "{}", text(&out.stdout));
    let error = cluster.fails(&["exec", "tool", "--", "/nowhere"]);
    assert!(error.contains("/nowhere"), "{error}");
    let error = cluster.fails(&["exec", "deployment/hello-wasm", "--", "sh"]);
    assert!(error.contains("no shell"), "{error}");
    let run = ["run", "once", "-i", "--rm", "--restart=Never", "--image=tool:1", "--image-pull-policy=Never", "--"];
    let out = cluster.ok(&[&run[..], &["count", "0"]].concat());
    assert!(out.contains("three\n") && out.contains("pod \"once\" deleted"), "{out}");
}

/// The command in a terminal of its own, by util-linux's `script`.
fn in_terminal(command: &Command) -> Output {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let line: Vec<_> = words.map(|w| w.to_str().expect("text")).collect();
    let script = Command::new("script").args(["-qec", &line.join(" "), "/dev/null"]).stdin(Stdio::null()).output();
    script.expect("script runs")
}

fn forwarded(cluster: &Cluster) {
    let wasm = cluster.ok(&["get", "pods", "-l", "app=hello-wasm", "-o", "name"]);
    let wasm = wasm.lines().next().expect("a pod");
    for (target, port) in [(wasm, ":8080"), ("deployment/hello-web", ":8080"), ("service/hello-web", ":80")] {
        let mut command = cluster.kubectl_command(&["port-forward", target, port]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("kubectl runs");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
        let address = line.split_whitespace().find(|w| w.starts_with("127.0.0.1:"));
        let url = format!("http://{}/", address.unwrap_or_else(|| panic!("port-forward {target}: {line:?}")));
        let answers = [cluster.host.get(&url), cluster.host.get(&url)];
        child.kill().expect("it runs still");
        child.wait().expect("ended");
        for answer in answers {
            assert!(answer.as_ref().is_some_and(|a| a.contains("Hello from Wherry")), "{target}: {answer:?}");
        }
    }
}

fn changed(cluster: &Cluster) {
    cluster.ok(&["label", "pod", "tool", "a=1", "b=2", "c=3"]);
    cluster.ok(&["annotate", "pod", "tool", "note=here"]);
    cluster.ok(&["patch", "pod", "tool", "-p", r#"{"metadata":{"labels":{"a":"strategic"}}}"#]);
    cluster.ok(&["patch", "pod", "tool", "--type=merge", "-p", r#"{"metadata":{"labels":{"b":null}}}"#]);
    let replace = r#"[{"op":"replace","path":"/metadata/labels/c","value":"json"}]"#;
    cluster.ok(&["patch", "pod", "tool", "--type=json", "-p", replace]);
    let labels = cluster.ok(&["get", "pod", "tool", "-o", "jsonpath={.metadata.labels} {.metadata.annotations.note}"]);
    assert_eq!(labels, r#"{"a":"strategic","app":"tool","c":"json"} here"#);
    cluster.ok(&["expose", "pod", "tool", "--port=80", "--target-port=8080", "--name=exposed"]);
    until("its endpoint", || cluster.ok(&["get", "endpointslices"]).contains("exposed-"));
    let file = format!("{ROOT}/tests/kubectl.yaml");
    says(cluster, &[("get service exposed", &["80/TCP"]), (&format!("diff -f {file}"), &[])]);
    let again = cluster.ok(&["apply", "-f", &file]);
    assert!(again.contains("pod/tool unchanged"), "{again}");
}

fn rollouts(cluster: &Cluster) {
    let status = ["rollout", "status", "deployment/hello-web", "--timeout=120s"];
    let image = || {
        let path = "jsonpath={.spec.template.spec.containers[0].image} {.status.readyReplicas}";
        cluster.ok(&["get", "deployment", "hello-web", "-o", path])
    };
    cluster.ok(&["scale", "deployment/hello-web", "--replicas=3"]);
    cluster.ok(&status);
    assert_eq!(image(), "hello-web:1 3");
    cluster.ok(&["set", "image", "deployment/hello-web", "hello=hello-web:2"]);
    cluster.ok(&status);
    assert_eq!(image(), "hello-web:2 3");
    says(
        cluster,
        &[
            ("rollout history deployment/hello-web", &["REVISION", "1 ", "2 "]),
            ("rollout history deployment/hello-web --revision=2", &["hello-web:2"]),
        ],
    );
    cluster.ok(&["rollout", "undo", "deployment/hello-web"]);
    cluster.ok(&status);
    assert_eq!(image(), "hello-web:1 3");
    cluster.ok(&["rollout", "restart", "deployment/hello-wasm"]);
    cluster.ok(&["rollout", "status", "deployment/hello-wasm", "--timeout=120s"]);
}

fn drained(cluster: &Cluster) {
    let node = cluster.ok(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    cluster.ok(&["taint", "node", &node, "test=yes:NoSchedule"]);
    says(cluster, &[("describe node", &["test=yes:NoSchedule"])]);
    cluster.ok(&["taint", "node", &node, "test-"]);
    cluster.ok(&[
        "drain",
        &node,
        "--force",
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--grace-period=1",
        "--timeout=120s",
    ]);
    says(cluster, &[("get nodes", &["Ready,SchedulingDisabled"])]);
    let running = cluster.ok(&["get", "pods", "--field-selector=status.phase=Running", "-o", "name"]);
    assert_eq!(running, "", "drained");
    cluster.ok(&["uncordon", &node]);
    cluster.ok(&["rollout", "status", "deployment/hello-web", "--timeout=120s"]);
}

fn deleted(cluster: &Cluster) {
    cluster.ok(&["delete", "-f", &format!("{ROOT}/examples/hello")]);
    until("the pods' end", || {
        cluster.ok(&["delete", "pods", "--all", "--now"]);
        cluster.ok(&["get", "pods", "-o", "name"]).is_empty()
    });
    cluster.ok(&["create", "namespace", "short"]);
    cluster.ok(&["create", "configmap", "in-it", "--from-literal=a=b", "-n", "short"]);
    cluster.ok(&["delete", "namespace", "short", "--timeout=120s"]);
    assert!(cluster.fails(&["get", "namespace", "short"]).contains("NotFound"));
}
