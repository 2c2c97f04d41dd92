//! The scheduler beside servers that have a say in its decisions: real HTTP and TLS on loopback, a real apiserver, nodes
//! that are objects alone.

use crate::clients::Api;
use crate::harness::{Running, text, until, wherry};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

const NODES: &str = r#"
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: ServiceAccount, metadata: {name: default}}
  - {apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: important}, value: 10}
  - {apiVersion: v1, kind: Node, metadata: {name: n1}, status: &status {allocatable: {cpu: "4", memory: 8Gi, pods: "110"}, capacity: {cpu: "4", memory: 8Gi, pods: "110"}}}
  - {apiVersion: v1, kind: Node, metadata: {name: n2}, status: *status}
  - {apiVersion: v1, kind: Node, metadata: {name: n3}, status: *status}
"#;

/// Answers a path and what was sent to it; without an answer it stays silent until the client goes.
type Answer = dyn Fn(&str, &Value) -> Option<Value> + Send + Sync;

/// A server for as long as the test lives. Returns its port.
fn served(tls: Option<Arc<rustls::ServerConfig>>, answer: Arc<Answer>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (tls, answer) = (tls.clone(), answer.clone());
            std::thread::spawn(move || match tls {
                None => talk(stream, &*answer),
                Some(config) => {
                    let server = rustls::ServerConnection::new(config).expect("a connection");
                    talk(rustls::StreamOwned::new(server, stream), &*answer);
                }
            });
        }
    });
    port
}

/// Requests of one connection, one after another.
fn talk(stream: impl Read + Write, answer: &Answer) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut first, mut length, mut line) = (String::new(), 0, String::new());
        if stream.read_line(&mut first).is_ok_and(|n| n == 0) || first.is_empty() {
            return;
        }
        while stream.read_line(&mut line).is_ok_and(|n| n > 2) {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            line.clear();
        }
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        let path = first.split(' ').nth(1).expect("a path").to_owned();
        let Some(said) = answer(&path, &serde_json::from_slice(&body).unwrap_or_default()) else {
            // Silent until the other side goes.
            let _ = stream.read(&mut [0]);
            return;
        };
        let said = said.to_string();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", said.len());
        let written = stream.get_mut().write_all((head + &said).as_bytes()).and_then(|()| stream.get_mut().flush());
        if written.is_err() {
            return;
        }
    }
}

fn label<'a>(pod: &'a Value, key: &str) -> &'a str {
    pod["metadata"]["labels"][key].as_str().unwrap_or_default()
}

/// It knows the nodes: keeps pods away from the node of their label `avoid`, likes that of `like`, and spares the pods of
/// node `n1`.
fn knowing(path: &str, args: &Value) -> Option<Value> {
    let pod = &args["Pod"];
    let names = || args["NodeNames"].as_array().expect("names").iter().filter_map(Value::as_str);
    Some(match path {
        "/know/filter" => {
            let (kept, failed): (Vec<&str>, Vec<&str>) = names().partition(|name| label(pod, "avoid") != *name);
            let all = label(pod, "avoid") == "all";
            let kept = if all { vec![] } else { kept };
            let why = failed.into_iter().chain(names().filter(|_| all)).map(|name| (name, "the extender says no"));
            json!({"NodeNames": kept, "FailedNodes": why.collect::<std::collections::BTreeMap<_, _>>()})
        }
        "/know/sort" => names()
            .map(|name| json!({"Host": name, "Score": if label(pod, "like") == name { 10 } else { 0 }}))
            .collect(),
        "/know/preempt" => {
            let mut victims = args["NodeNameToMetaVictims"].clone();
            victims.as_object_mut().expect("victims").remove("n1");
            json!({"NodeNameToMetaVictims": victims})
        }
        other => panic!("asked for {other}"),
    })
}

/// The server's side of TLS and the authority that made it, by the cluster's own authority.
fn tls(dir: &Path) -> Arc<rustls::ServerConfig> {
    let pki = apiserver::pki::open(&dir.join("pki"), &[]).expect("the authority");
    let made = dir.join("extender");
    apiserver::pki::open_kubelet(&made, &pki.authority, "extender", &["127.0.0.1".into()]).expect("a certificate");
    let pem = std::fs::read(made.join("kubelet-serving.pem")).expect("the certificate");
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_slice(&pem).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(config.expect("versions").with_no_client_auth().with_single_cert(chain, key).expect("a configuration"))
}

struct Kubectl<'a>(&'a Api);

impl Kubectl<'_> {
    fn run(&self, args: &[&str], input: &str) -> String {
        let mut command = Command::new(crate::harness::kubectl_program());
        command.arg("--kubeconfig").arg(self.0.kubeconfig()).args(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("kubectl runs");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
        text(&child.wait_with_output().expect("kubectl ends").stdout)
    }

    /// Makes a pod for our scheduler, with more of its spec, and labels.
    fn pod(&self, name: &str, labels: Value, more: Value) {
        let mut spec = json!({"schedulerName": "asking", "containers": [{"name": "c", "image": "i"}]});
        for (key, value) in more.as_object().expect("fields") {
            spec[key] = value.clone();
        }
        let metadata = json!({"name": name, "labels": labels});
        self.run(
            &["create", "-f", "-"],
            &json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}).to_string(),
        );
    }

    fn of(&self, pod: &str, path: &str) -> String {
        self.run(&["get", "pod", pod, "-o", &format!("jsonpath={path}")], "")
    }

    fn is_on(&self, pod: &str, node: &str) {
        until(&format!("{pod} on {node}"), || {
            let on = self.of(pod, "{.spec.nodeName}");
            assert!(on.is_empty() || on == node, "{pod} is on {on}, not {node}");
            on == node
        });
    }
}

fn asks(resource: &str, much: &str) -> Value {
    json!([{"name": "c", "image": "i", "resources": {"requests": {resource: much}, "limits": {resource: much}}}])
}

#[test]
fn extenders_have_their_say() {
    if Command::new(crate::harness::kubectl_program()).arg("version").arg("--client").output().is_err() {
        eprintln!("SKIPPED: kubectl is needed");
        return;
    }
    let api = Api::new();
    let kubectl = Kubectl(&api);
    kubectl.run(&["apply", "-f", "-"], NODES);
    // Nobody here says that they are ready.
    kubectl.run(&["taint", "nodes", "--all", "node.kubernetes.io/not-ready-"], "");
    let dir = api.kubeconfig().parent().expect("its directory").to_owned();
    let knows = served(None, Arc::new(knowing));
    let kubeconfig = api.kubeconfig();
    // Given whole nodes; binds itself, always to the last one it was left.
    let binds = served(
        Some(tls(&dir)),
        Arc::new(move |path: &str, args: &Value| match path {
            "/own/filter" => Some(json!({"nodes": {"items": [args["Nodes"]["items"].as_array()?.last()?]}})),
            "/own/bind" => {
                let (name, namespace) = (args["PodName"].as_str()?, args["PodNamespace"].as_str()?);
                let target = json!({"apiVersion": "v1", "kind": "Node", "name": args["Node"]});
                let metadata = json!({"name": name, "namespace": namespace, "uid": args["PodUID"], "annotations": {"by": "extender"}});
                let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target});
                let at = format!("/api/v1/namespaces/{namespace}/pods/{name}/binding");
                let mut command = Command::new(crate::harness::kubectl_program());
                command.arg("--kubeconfig").arg(&kubeconfig).args(["create", "--raw", &at, "-f", "-"]);
                let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().ok()?;
                child.stdin.take()?.write_all(binding.to_string().as_bytes()).ok()?;
                Some(json!({"Error": if child.wait().ok()?.success() { "" } else { "not bound" }}))
            }
            _ => None,
        }),
    );
    let silent = served(None, Arc::new(|_: &str, _: &Value| None));
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let config = format!(
        r#"
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
podMaxBackoffSeconds: 1
profiles: [{{schedulerName: asking}}]
extenders:
  - {{urlPrefix: "http://127.0.0.1:{knows}/know", filterVerb: filter, prioritizeVerb: sort, preemptVerb: preempt, weight: 5, nodeCacheCapable: true}}
  - {{urlPrefix: "http://127.0.0.1:{closed}", filterVerb: filter, ignorable: true}}
  - urlPrefix: https://127.0.0.1:{binds}/own
    enableHTTPS: true
    tlsConfig: {{caFile: "{ca}"}}
    filterVerb: filter
    bindVerb: bind
    managedResources: [{{name: example.com/own, ignoredByScheduler: true}}]
  - {{urlPrefix: "http://127.0.0.1:{silent}", filterVerb: filter, httpTimeout: 200ms, managedResources: [{{name: example.com/slow, ignoredByScheduler: true}}]}}
"#,
        ca = dir.join("pki/ca.crt").display()
    );
    let file = dir.join("scheduler.yaml");
    std::fs::write(&file, config).expect("written");
    let mut command = Command::new(wherry());
    command.args(["scheduler", "--kubeconfig"]).arg(api.kubeconfig()).arg("--config").arg(&file);
    let _scheduler = Running::spawn(&mut command);

    for node in ["n1", "n2", "n3"] {
        let name = format!("likes-{node}");
        kubectl.pod(&name, json!({"like": node}), json!({}));
        kubectl.is_on(&name, node);
    }
    kubectl.pod("avoids", json!({"like": "n1", "avoid": "n1"}), json!({}));
    until("avoids somewhere", || !kubectl.of("avoids", "{.spec.nodeName}").is_empty());
    assert_ne!(kubectl.of("avoids", "{.spec.nodeName}"), "n1");
    kubectl.pod("refused", json!({"avoid": "all"}), json!({}));
    until("the extender's words", || {
        kubectl
            .of("refused", "{.status.conditions[0].message}")
            .starts_with("0/3 nodes are available: 3 the extender says no.")
    });
    // No plugin looks at a resource that is an extender's; the binding is its own.
    kubectl.pod("own", json!({}), json!({"containers": asks("example.com/own", "1")}));
    until("the extender's binding", || kubectl.of("own", "{.metadata.annotations.by}") == "extender");
    until("its event", || {
        kubectl
            .run(&["get", "events", "--field-selector=reason=Scheduled,involvedObject.name=own"], "")
            .contains("Successfully assigned")
    });
    kubectl.pod("slow", json!({}), json!({"containers": asks("example.com/slow", "1")}));
    until("the time that ran out", || {
        kubectl
            .run(&["get", "events", "--field-selector=involvedObject.name=slow"], "")
            .contains("no answer within 200ms")
    });
    assert_eq!(kubectl.of("slow", "{.spec.nodeName}"), "");
    // Every node is full; the extender spares n1.
    for node in ["n1", "n2", "n3"] {
        kubectl.pod(&format!("fills-{node}"), json!({"like": node}), json!({"containers": asks("cpu", "3")}));
        kubectl.is_on(&format!("fills-{node}"), node);
    }
    kubectl.pod("more", json!({}), json!({"priorityClassName": "important", "containers": asks("cpu", "2")}));
    until("a node made free", || {
        matches!(&*kubectl.of("more", "{.status.nominatedNodeName}{.spec.nodeName}"), "n2" | "n3" | "n2n2" | "n3n3")
    });
}
