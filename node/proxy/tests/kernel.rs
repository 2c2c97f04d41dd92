//! The tables in a real kernel: a network namespace of the test's own, with endpoints as addresses of its loopback.
//! Needs root and `ip`; says so where it has none.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use nix::sched::{CloneFlags, unshare};
use proxy::table::{Family, Table, table};
use proxy::{Node, nft, rules};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

const TABLE: &str = "wherry-test";

fn node() -> Node {
    Node { name: "n1".into(), pod_cidrs: vec!["10.244.0.0/16".parse().expect("a network")], zone: None }
}

fn service(extra: serde_json::Value) -> Service {
    let mut spec = json!({
        "clusterIPs": ["10.96.0.10"], "type": "NodePort",
        "ports": [{"name": "web", "port": 80, "targetPort": 8080, "nodePort": 30080, "protocol": "TCP"}],
    });
    spec.as_object_mut().expect("an object").extend(extra.as_object().cloned().unwrap_or_default());
    serde_json::from_value(json!({"metadata": {"namespace": "d", "name": "web"}, "spec": spec})).expect("a Service")
}

fn slice(addresses: &[&str]) -> EndpointSlice {
    let endpoints: Vec<_> =
        addresses.iter().map(|a| json!({"addresses": [a], "conditions": {"ready": true}})).collect();
    serde_json::from_value(json!({
        "metadata": {"namespace": "d", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"name": "web", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints,
    }))
    .expect("a slice")
}

fn tables(service: &Service, slice: &EndpointSlice) -> Table {
    table(&rules([service].into_iter(), [slice].into_iter(), &node()), &node(), Family::V4)
}

fn run(command: &str) {
    let words: Vec<&str> = command.split(' ').collect();
    let done = Command::new(words[0]).args(&words[1..]).status().expect("ip runs");
    assert!(done.success(), "{command}");
}

/// Answers every connection with its own address, for as long as the process lives.
fn listen(address: &'static str) {
    let listener = TcpListener::bind((address, 8080)).expect("the endpoint listens");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::io::Write::write_all(&mut &stream, address.as_bytes()).ok();
        }
    });
}

fn ask(to: &str) -> std::io::Result<String> {
    let to: SocketAddr = to.parse().expect("an address");
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// How often each endpoint answered.
fn ask_often(to: &str, times: usize) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for _ in 0..times {
        *seen.entry(ask(to).expect("an answer")).or_default() += 1;
    }
    seen
}

#[test]
fn services_answer_change_refuse_and_go() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: the kernel test of the proxy needs root");
        return;
    }
    // A thread of its own enters a new namespace, and everything below stays on it.
    std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
        run("ip link set lo up");
        for address in ["10.244.0.1/32", "10.244.0.2/32", "192.168.7.1/32"] {
            run(&format!("ip address add {address} dev lo"));
        }
        run("ip route add 10.96.0.0/16 dev lo src 192.168.7.1");
        listen("10.244.0.1");
        listen("10.244.0.2");
        scenario();
    })
    .join()
    .expect("the scenario");
}

fn scenario() {
    let both = tables(&service(json!({})), &slice(&["10.244.0.1", "10.244.0.2"]));
    nft::send(both.transaction(TABLE, None)).expect("the table is made");
    for front in ["10.96.0.10:80", "192.168.7.1:30080"] {
        let seen = ask_often(front, 60);
        assert_eq!(seen.len(), 2, "{front} spreads over both: {seen:?}");
    }

    let one = tables(&service(json!({})), &slice(&["10.244.0.2"]));
    nft::send(one.transaction(TABLE, Some(&both))).expect("an endpoint less");
    assert_eq!(ask_often("10.96.0.10:80", 20).into_keys().collect::<Vec<_>>(), ["10.244.0.2"]);
    nft::send(one.transaction(TABLE, Some(&one))).expect("no difference is nothing to do");

    let none = tables(&service(json!({})), &slice(&[]));
    nft::send(none.transaction(TABLE, Some(&one))).expect("no endpoint");
    let refused = ask("10.96.0.10:80").expect_err("no endpoint refuses");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

    let sticky = json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}});
    let sticky = tables(&service(sticky), &slice(&["10.244.0.1", "10.244.0.2"]));
    nft::send(sticky.transaction(TABLE, Some(&none))).expect("affinity");
    assert_eq!(ask_often("10.96.0.10:80", 30).len(), 1, "a client stays with its endpoint");

    let error = nft::send(both.transaction("missing", Some(&none))).expect_err("a table that is not there");
    assert!(matches!(error, proxy::Error::Refused { .. }), "{error}");
    assert_eq!(ask_often("10.96.0.10:80", 5).len(), 1, "a refused transaction changes nothing");

    let ports = proxy::HostPorts::new("wherry-test-ports".into(), "none".into());
    let port = |host: &str, port, pod: &str| proxy::HostPort {
        host: host.parse().expect("an address"),
        protocol: proxy::rules::Protocol::Tcp,
        port,
        pod: (pod.parse().expect("an address"), 8080),
    };
    ports.set(&[port("0.0.0.0", 81, "10.244.0.1"), port("192.168.7.1", 82, "10.244.0.2")]).expect("ports");
    assert_eq!(ask("192.168.7.1:81").expect("an answer"), "10.244.0.1");
    assert_eq!(ask("127.0.0.1:81").expect("an answer"), "10.244.0.1");
    assert_eq!(ask("192.168.7.1:82").expect("an answer"), "10.244.0.2");
    assert!(ask("127.0.0.1:82").is_err(), "only at its own address");
    ports.set(&[port("127.0.0.1", 81, "10.244.0.2")]).expect("others");
    assert_eq!(ask("127.0.0.1:81").expect("an answer"), "10.244.0.2");
    assert!(ask("192.168.7.1:81").is_err(), "closed again");
    ports.set(&[]).expect("none");
    assert!(ask("127.0.0.1:81").is_err(), "closed again");

    proxy::remove(TABLE).expect("removed");
    proxy::remove(TABLE).expect("removing twice is fine");
    assert!(ask("10.96.0.10:80").is_err(), "nothing translates any more");
}
