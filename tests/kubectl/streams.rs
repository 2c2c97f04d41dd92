//! What kubectl keeps open: forwarded ports, a proxy, a watch.

use crate::table::{Person, over};
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A kubectl that runs until it is dropped.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn new(person: &Person, line: &str) -> Running {
        Running::start(person.command(line))
    }

    fn start(mut command: Command) -> Running {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("kubectl runs");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Running { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("another line").expect("text")
    }

    /// The address in its first line.
    fn address(&mut self) -> String {
        let line = self.line();
        let address = line.split_whitespace().find(|w| w.starts_with("127.0.0.1:"));
        address.unwrap_or_else(|| panic!("no address in {line:?}")).to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn forwarded(person: &Person) {
    let wasm = person.ok("get pods -l app=wasm -o name");
    let wasm = wasm.lines().next().expect("a pod");
    for (target, port) in [(wasm, ":8080"), ("deployment/web", ":8080"), ("service/web", ":80")] {
        for websockets in [false, true] {
            let mut command = person.command(&format!("port-forward {target} {port}"));
            over(&mut command, websockets);
            let mut kubectl = Running::start(command);
            let url = format!("http://{}/", kubectl.address());
            for answer in [person.cluster.host.get(&url), person.cluster.host.get(&url)] {
                assert!(answer.as_ref().is_some_and(|a| a.contains("Hello")), "{target} {websockets}: {answer:?}");
            }
        }
    }
}

pub(super) fn proxied(person: &Person) {
    let mut kubectl = Running::new(person, "proxy --port=0");
    let address = kubectl.address();
    let (pod, node) =
        (person.ok("get pods -l app=web -o name"), person.ok("get nodes -o jsonpath={.items[0].metadata.name}"));
    let pod = pod.lines().next().expect("a pod").replacen("pod/", "pods/", 1);
    let namespace = person.ok("config view --minify -o jsonpath={.contexts[0].context.namespace}");
    for (path, part) in [
        ("version".to_owned(), "\"major\""),
        (format!("api/v1/namespaces/{namespace}/pods/tool"), "\"kind\": \"Pod\""),
        (format!("api/v1/namespaces/{namespace}/services/web:80/proxy/"), "Hello"),
        (format!("api/v1/namespaces/{namespace}/services/http:web:80/proxy/"), "Hello"),
        (format!("api/v1/namespaces/{namespace}/{pod}:8080/proxy/"), "Hello"),
        (format!("api/v1/nodes/{node}/proxy/healthz"), "ok"),
        (format!("api/v1/nodes/{node}/proxy/metrics"), "kubelet_running_pods"),
    ] {
        let answer = person.cluster.host.get(&format!("http://{address}/{path}"));
        assert!(answer.as_ref().is_some_and(|a| a.contains(part)), "{path}: {answer:?}");
    }
}

pub(super) fn watched(person: &Person) {
    person.ok("create configmap watched --from-literal=a=b");
    let mut kubectl = Running::new(person, "get configmap watched --watch --output-watch-events --no-headers");
    let mut event = || kubectl.line().split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    assert_eq!(event(), "ADDED watched");
    person.ok("label configmap watched a=b");
    assert_eq!(event(), "MODIFIED watched");
    person.ok("delete configmap watched");
    assert_eq!(event(), "DELETED watched");
}
