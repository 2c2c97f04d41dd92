//! Addresses and ports stay right across restarts, whatever a crash left behind.

#[path = "served/calls.rs"]
mod calls;
mod served;

use apiserver::{Config, Server};
use calls::call;
use serde_json::{Value, json};
use served::{start, stop};

fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
}

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";

async fn claims(server: &Server) -> Vec<String> {
    let (_, list) = call(server, "GET", ADDRESSES, Value::Null).await;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
    let parent = |c: &Value| format!("{} {}", text(&c["metadata"]["name"]), text(&c["spec"]["parentRef"]["name"]));
    items.iter().map(parent).collect()
}

#[tokio::test]
async fn what_a_crash_left_behind_is_put_right_at_the_next_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let (server, store) = start(dir.path()).await;
    let (code, made) =
        call(&server, "POST", SERVICES, service("a", json!({"type": "NodePort", "ports": [{"port": 80}]}))).await;
    assert_eq!(code, 201, "{made}");
    let address = made["spec"]["clusterIP"].as_str().expect("an address").to_owned();
    let port = made["spec"]["ports"][0]["nodePort"].as_i64().expect("a port");
    // A crash between the claim and its Service leaves this; one before the claim was there can't happen any more, but
    // somebody may delete it.
    let orphan = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {"name": "10.96.77.77", "labels": {
            "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io", "ipaddress.kubernetes.io/ip-family": "IPv4"}},
        "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "gone"}},
    });
    assert_eq!(call(&server, "POST", ADDRESSES, orphan).await.0, 201);
    assert_eq!(call(&server, "DELETE", &format!("{ADDRESSES}/{address}"), Value::Null).await.0, 200);
    stop(server, store).await;

    let (server, store) = start(dir.path()).await;
    let mut expected = vec!["10.96.0.1 kubernetes".to_owned(), format!("{address} a")];
    expected.sort();
    assert_eq!(claims(&server).await, expected);
    let taken = service("b", json!({"clusterIP": address, "ports": [{"port": 80}]}));
    let (code, status) = call(&server, "POST", SERVICES, taken).await;
    assert_eq!(code, 422);
    assert!(status["message"].as_str().is_some_and(|m| m.contains("provided IP is already allocated")), "{status}");
    let taken = service("b", json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}));
    let (code, status) = call(&server, "POST", SERVICES, taken).await;
    assert_eq!(code, 422);
    assert!(status["message"].as_str().is_some_and(|m| m.contains("provided port is already allocated")), "{status}");
    stop(server, store).await;
}

#[tokio::test]
async fn what_is_deleted_or_refused_is_given_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let (server, store) = start(dir.path()).await;
    let spec = json!({"clusterIP": "10.96.5.5", "type": "NodePort", "ports": [{"port": 80, "nodePort": 30005}]});
    assert_eq!(call(&server, "POST", SERVICES, service("a", spec.clone())).await.0, 201);
    let (code, status) = call(&server, "POST", SERVICES, service("a", json!({"ports": [{"port": 80}]}))).await;
    assert_eq!(code, 409, "{status}");
    assert_eq!(call(&server, "DELETE", &format!("{SERVICES}/a"), Value::Null).await.0, 200);
    let (code, again) = call(&server, "POST", SERVICES, service("b", spec)).await;
    assert_eq!(code, 201, "{again}");
    stop(server, store).await;

    let (server, store) = start(dir.path()).await;
    assert_eq!(claims(&server).await, ["10.96.0.1 kubernetes", "10.96.5.5 b"]);
    stop(server, store).await;
}

#[tokio::test]
async fn many_at_once_get_each_their_own() {
    let dir = tempfile::tempdir().expect("a folder");
    let (server, store) = start(dir.path()).await;
    let make = |i: usize| {
        let server = &server;
        async move {
            let spec = json!({"type": "NodePort", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]});
            call(server, "POST", SERVICES, service(&format!("s{i}"), spec)).await.1
        }
    };
    let made = futures::future::join_all((0..40).map(make)).await;
    let addresses: std::collections::BTreeSet<&str> =
        made.iter().filter_map(|s| s["spec"]["clusterIP"].as_str()).collect();
    let ports: std::collections::BTreeSet<i64> = made
        .iter()
        .filter_map(|s| s["spec"]["ports"].as_array())
        .flatten()
        .filter_map(|p| p["nodePort"].as_i64())
        .collect();
    assert_eq!((addresses.len(), ports.len()), (40, 80));
    stop(server, store).await;
}

fn node_port(port: i64) -> Value {
    json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]})
}

#[tokio::test]
async fn servers_of_one_store_give_nothing_out_twice() {
    const PORTS: usize = 10;
    let dir = tempfile::tempdir().expect("a folder");
    let store = store::Store::open(store::Config::new(dir.path().join("store"))).await.expect("the folder is ours");
    let config = Config { several: true, node_port_range: 30000..=30009, ..Config::on_loopback(dir.path()) };
    let one = Server::start(config.clone(), store.clone()).await.expect("it starts");
    let two = Server::start(config, store.clone()).await.expect("it starts");
    let creates = (0..PORTS).map(|i| {
        let (server, body) =
            (if i % 2 == 0 { &one } else { &two }, json!({"type": "NodePort", "ports": [{"port": 80}]}));
        async move { call(server, "POST", SERVICES, service(&format!("s{i}"), body)).await }
    });
    let made = futures::future::join_all(creates).await;
    let mut ports: Vec<i64> =
        made.iter().filter_map(|(_, made)| made["spec"]["ports"][0]["nodePort"].as_i64()).collect();
    ports.sort_unstable();
    assert_eq!(ports, (30000..30010).collect::<Vec<i64>>(), "{made:?}");
    let mut addresses: Vec<&str> = made.iter().filter_map(|(_, made)| made["spec"]["clusterIP"].as_str()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), PORTS);

    let (code, refused) = call(&two, "POST", SERVICES, service("chosen", node_port(30000))).await;
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(code == 422 && message.contains("provided port is already allocated"), "{code} {message}");
    let holder = made.iter().position(|(_, made)| made["spec"]["ports"][0]["nodePort"] == 30000).expect("a holder");
    assert_eq!(call(&one, "DELETE", &format!("{SERVICES}/s{holder}"), Value::Null).await.0, 200);
    let (code, given) = call(&two, "POST", SERVICES, service("chosen", node_port(30000))).await;
    assert_eq!(code, 201, "what one server gave back, the other gives out: {given}");
    two.shutdown().await;
    stop(one, store).await;
}
