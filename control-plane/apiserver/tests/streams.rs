//! Logs, streams and proxies through the listener, with a kubelet that tells what it was asked: `streams/cases.json`, then what
//! becomes another protocol.

mod served;

use apiserver::{Body, InternalUser, Server, pki};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use served::{start, stop};
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tower::ServiceExt;

const CASES: &str = include_str!("streams/cases.json");
const PODS: &str = "/api/v1/namespaces/t/pods";
/// What is sent there is thrown away (RFC 6666), where it is sent at all: nobody answers.
const NOWHERE: &str = "100::1";

/// A kubelet of this authority on loopback.
async fn kubelet(dir: &Path, authority: &pki::Authority) -> u16 {
    let credentials = pki::open_kubelet(dir, authority, "n1", &["127.0.0.1".into()]).expect("certificates");
    let (chain, key) = credentials.serving.to_rustls().expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.expect("versions").with_no_client_auth().with_single_cert(chain, key).expect("a certificate");
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(socket).await else { return };
                let service = service_fn(|r| async { Ok::<_, Infallible>(answer(r).await) });
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), service);
                let _ = connection.with_upgrades().await;
            });
        }
    });
    port
}

/// What was asked, or what the path stands for; after an upgrade what came, backwards.
async fn answer(mut request: Request<Incoming>) -> Response<Body> {
    let headers = request.headers().clone();
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    let respond = |code: u16, name: &str, value: &str, body: &str| {
        let response = Response::builder().status(code).header(name, value);
        response.body(Body::from(body.to_owned())).expect("a response")
    };
    let uri = request.uri().clone();
    match (uri.path(), header("upgrade").as_str()) {
        ("/teapot", _) => return respond(418, "x-a", "b", "short and stout"),
        ("/redirect", _) => return respond(302, "location", "/login?next=/x", ""),
        ("/page", _) => return respond(200, "content-type", "text/html", "<a href=\"/x\">x</a>"),
        ("/containerLogs/t/refused/c", _) => {
            let why = "container \"c\" in pod \"refused\" is waiting to start: ContainerCreating";
            return respond(400, "content-type", "text/plain", why);
        }
        ("/headers", _) => {
            let seen = [("authorization", ""), ("cookie", ""), ("for", "x-forwarded-"), ("uri", "x-forwarded-")];
            let seen = seen.map(|(name, before)| format!("{name}={}", header(&format!("{before}{name}"))));
            return respond(200, "content-type", "text/plain", &seen.join(" "));
        }
        (_, "") => {}
        (_, protocol) => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgrade.await.expect("upgraded"));
                let mut bytes = [0; 5];
                stream.read_exact(&mut bytes).await.expect("five bytes");
                bytes.reverse();
                stream.write_all(&bytes).await.expect("written");
                stream.shutdown().await.expect("ended");
            });
            let response = Response::builder().status(101).header("connection", "Upgrade").header("upgrade", protocol);
            let response = response.header("x-seen", uri.to_string());
            return response.header("x-protocols", header("sec-websocket-protocol")).body(Body::empty()).expect("one");
        }
    }
    let (method, host) = (request.method().clone(), header("host"));
    let body = request.into_body().collect().await.expect("a body").to_bytes();
    let seen = format!("{method} {uri} host={host} body={}", String::from_utf8_lossy(&body));
    respond(200, "content-type", "text/plain", &seen)
}

/// The server, and how to reach it as its administrator.
struct World {
    server: Server,
    tls: TlsConnector,
    kubelet: u16,
}

impl World {
    async fn connect(&self) -> hyper::client::conn::http1::SendRequest<Body> {
        let socket = TcpStream::connect(self.server.local_addr()).await.expect("it listens");
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let tls = self.tls.connect(name, socket).await.expect("TLS");
        let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.expect("HTTP");
        tokio::spawn(driver.with_upgrades());
        sender
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response<Incoming> {
        let mut request = Request::builder().method(method).uri(path).header("host", "front.example");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        self.connect().await.send_request(request).await.expect("an answer")
    }

    /// Creates an object in this process.
    async fn create(&self, path: &str, object: Value) {
        let request =
            Request::post(path).header("content-type", "application/json").body(Body::from(object.to_string()));
        let response = self.server.in_process(InternalUser::Admin).oneshot(request.expect("a request")).await;
        let Ok(response) = response;
        let code = response.status();
        let said = response.into_body().collect().await.expect("a body").to_bytes();
        assert!(code.is_success(), "{path}: {}", String::from_utf8_lossy(&said));
    }

    async fn put_status(&self, path: &str, status: Value) {
        let body = json!({"status": status}).to_string();
        let request = Request::patch(format!("{path}/status")).header("content-type", "application/merge-patch+json");
        let request = request.body(Body::from(body)).expect("a request");
        let Ok(response) = self.server.in_process(InternalUser::Admin).oneshot(request).await;
        assert!(response.status().is_success(), "{path}");
    }
}

fn connector(pki: &pki::Pki) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(pki.authority.cert_der().clone()).expect("a root");
    let (chain, key) = pki.admin.to_rustls().expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.expect("versions").with_root_certificates(roots).with_client_auth_cert(chain, key).expect("a key");
    TlsConnector::from(Arc::new(tls))
}

async fn node(world: &World, name: &str, port: u16) {
    world.create("/api/v1/nodes", json!({"metadata": {"name": name}})).await;
    let status = json!({
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    });
    world.put_status(&format!("/api/v1/nodes/{name}"), status).await;
}

async fn world(dir: &Path) -> (World, store::Store) {
    let (server, store) = start(dir).await;
    let port = kubelet(&dir.join("kubelet"), &server.pki().authority).await;
    let world = World { tls: connector(server.pki()), server, kubelet: port };
    world.create("/api/v1/namespaces", json!({"metadata": {"name": "t"}})).await;
    world.create("/api/v1/namespaces/t/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    node(&world, "n1", port).await;
    let other = pki::open(&dir.join("other-pki"), &[]).expect("another authority");
    node(&world, "n2", kubelet(&dir.join("other-kubelet"), &other.authority).await).await;
    for (name, node, containers, ip) in [
        ("one", "n1", &["c"][..], ""),
        ("two", "n1", &["a", "b"], ""),
        ("waits", "", &["c"], ""),
        ("refused", "n1", &["c"], ""),
        ("elsewhere", "n2", &["c"], ""),
        ("liar", "n1", &["c"], "127.0.0.1"),
        ("far", "n1", &["c"], NOWHERE),
    ] {
        let container = |name: &&str| json!({"name": name, "image": "i"});
        let mut spec = json!({"containers": containers.iter().map(container).collect::<Vec<_>>()});
        if !node.is_empty() {
            spec["nodeName"] = json!(node);
        }
        if name == "two" {
            spec["initContainers"] = json!([container(&"i")]);
        }
        world.create(PODS, json!({"metadata": {"name": name}, "spec": spec})).await;
        if !ip.is_empty() {
            world.put_status(&format!("{PODS}/{name}"), json!({"podIP": ip, "podIPs": [{"ip": ip}]})).await;
        }
    }
    services(&world).await;
    rights(&world).await;
    (world, store)
}

/// `web` has no endpoints, those of `fake` belong to nobody, and `real` has one pod.
async fn services(world: &World) {
    for (name, target) in [
        ("web", None),
        ("fake", Some(json!(null))),
        ("real", Some(json!({"kind": "Pod", "namespace": "t", "name": "far"}))),
    ] {
        let port = if name == "real" { json!({"name": "named", "port": 80}) } else { json!({"port": 80}) };
        let service = json!({"metadata": {"name": name}, "spec": {"ports": [port]}});
        world.create("/api/v1/namespaces/t/services", service).await;
        let Some(target) = target else { continue };
        let port =
            if name == "real" { json!({"name": "named", "port": 8080}) } else { json!({"name": "", "port": 8080}) };
        let slice = json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv6", "ports": [port],
            "endpoints": [{"addresses": [NOWHERE], "targetRef": target}],
        });
        world.create("/apis/discovery.k8s.io/v1/namespaces/t/endpointslices", slice).await;
    }
}

async fn rights(world: &World) {
    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/t";
    for (user, verbs) in [("reader", &["get"][..]), ("runner", &["get", "create"])] {
        let rule = json!({"apiGroups": [""], "resources": ["pods/exec"], "verbs": verbs});
        world.create(&format!("{RBAC}/roles"), json!({"metadata": {"name": user}, "rules": [rule]})).await;
        let binding = json!({
            "metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
        });
        world.create(&format!("{RBAC}/rolebindings"), binding).await;
    }
}

/// What does not agree with the case.
fn wrong(case: &Value, code: u16, headers: &HeaderMap, body: &str) -> Option<String> {
    let text = |key: &str| case[key].as_str().unwrap_or("");
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
    let status: Value = serde_json::from_str(body).unwrap_or_default();
    let good = case["code"] == code
        && status["reason"].as_str().unwrap_or("").contains(text("reason"))
        && status["message"].as_str().unwrap_or("").contains(text("message"))
        && (code < 400 || case["seen"].is_string() || status["code"] == code)
        && header("content-type").starts_with(text("type"))
        && header("location").starts_with(text("location"))
        && body.contains(text("seen"));
    (!good).then(|| format!("{}: {code} {headers:?} {body}", case["what"]))
}

#[tokio::test]
async fn requests_reach_their_peer_or_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (world, store) = world(dir.path()).await;
    let cases: Vec<Value> = serde_json::from_str(CASES).expect("cases");
    let mut found = Vec::new();
    for case in &cases {
        let text = |key: &str| case[key].as_str().unwrap_or("");
        let path = text("path").replacen("PODS", PODS, 1).replacen("PORT", &world.kubelet.to_string(), 1);
        let mut headers: Vec<(&str, &str)> = Vec::new();
        for (name, value) in case["headers"].as_object().into_iter().flatten() {
            headers.push((name, value.as_str().expect("text")));
        }
        if case["as"].is_string() {
            headers.push(("impersonate-user", text("as")));
        }
        let method = case["method"].as_str().unwrap_or("GET");
        let response = world.ask(method, &path, &headers, text("body")).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        found.extend(wrong(case, parts.status.as_u16(), &parts.headers, &String::from_utf8_lossy(&body)));
    }
    stop(world.server, store).await;
    assert!(found.is_empty(), "{} of {}:\n{}", found.len(), cases.len(), found.join("\n"));
}

const WEBSOCKET: [(&str, &str); 4] = [
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

async fn upgraded(response: Response<Incoming>) -> TokioIo<Upgraded> {
    assert_eq!(response.status(), 101, "{:?}", response.headers());
    TokioIo::new(hyper::upgrade::on(response).await.expect("upgraded"))
}

#[tokio::test]
async fn upgrades_join_both_sides() {
    let dir = tempfile::tempdir().expect("a directory");
    let (world, store) = world(dir.path()).await;
    let spdy = [("connection", "Upgrade"), ("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "v4.channel.k8s.io")];
    let token = ("sec-websocket-protocol", "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.eA");
    let socket = [&WEBSOCKET[..], &[token]].concat();
    for (method, path, headers, seen) in [
        (
            "POST",
            "PODS/one/exec?command=ls&command=-l&stdout=1",
            &spdy[..],
            "/exec/t/one/c?output=1&command=ls&command=-l",
        ),
        ("GET", "PODS/one/exec?command=ls&stdin=true&tty=1", &socket, "/exec/t/one/c?input=1&tty=1&command=ls"),
        ("POST", "PODS/two/attach?container=b&stdin=1", &spdy, "/attach/t/two/b?input=1"),
        ("GET", "PODS/two/attach?container=b&stdout=1", &socket, "/attach/t/two/b?output=1"),
        ("POST", "PODS/one/portforward", &spdy, "/portForward/t/one"),
        ("GET", "PODS/one/portforward?ports=80,81", &socket, "/portForward/t/one?port=80&port=81"),
        ("GET", "/api/v1/nodes/n1/proxy/ws?a=b", &socket, "/ws?a=b"),
        ("GET", "/api/v1/nodes/n1/proxy", &socket, "/"),
    ] {
        let response = world.ask(method, &path.replacen("PODS", PODS, 1), headers, "").await;
        assert_eq!(response.status(), 101, "{path}");
        assert_eq!(response.headers()["x-seen"], seen, "{path}");
        let protocols = if headers == spdy { "" } else { "v5.channel.k8s.io" };
        assert_eq!(response.headers()["x-protocols"], protocols, "{path}");
        let mut stream = upgraded(response).await;
        stream.write_all(b"hello").await.expect("written");
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.expect("read");
        assert_eq!(back, b"olleh", "{path}");
    }
    // A peer that refuses says so itself; one that does something else has failed.
    for (path, code, part) in [
        ("/api/v1/nodes/n1/proxy/teapot", 418, "short and stout"),
        ("/api/v1/nodes/n1/proxy/page", 500, "invalid upgrade response: status code 200"),
    ] {
        let response = world.ask("GET", path, &socket, "").await;
        assert_eq!(response.status(), code, "{path}");
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        assert!(String::from_utf8_lossy(&body).contains(part), "{path}: {body:?}");
    }
    stop(world.server, store).await;
}

#[tokio::test]
async fn a_log_is_read_over_a_websocket() {
    let dir = tempfile::tempdir().expect("a directory");
    let (world, store) = world(dir.path()).await;
    let log = "GET /containerLogs/t/one/c?follow=true host=";
    for (protocol, text) in [("", false), ("binary.k8s.io", false), ("base64.binary.k8s.io", true)] {
        let mut headers = WEBSOCKET.to_vec();
        if !protocol.is_empty() {
            headers.push(("sec-websocket-protocol", protocol));
        }
        let response = world.ask("GET", &format!("{PODS}/one/log?follow=true"), &headers, "").await;
        let agreed = response.headers().get("sec-websocket-protocol").map_or("", |v| v.to_str().expect("text"));
        assert_eq!(agreed, protocol);
        let mut socket = WebSocketStream::from_raw_socket(upgraded(response).await, Role::Client, None).await;
        let (mut said, mut messages) = (Vec::new(), 0);
        while let Some(Ok(message)) = socket.next().await {
            match message {
                Message::Text(piece) => said.extend(STANDARD.decode(piece.as_bytes()).expect("base64")),
                Message::Binary(piece) => said.extend_from_slice(&piece),
                _ => continue,
            }
            assert_eq!(messages == 0, said.is_empty(), "an empty message comes first");
            messages += 1;
        }
        assert!(String::from_utf8_lossy(&said).starts_with(log), "{text}: {said:?}");
    }
    let headers = [&WEBSOCKET[..], &[("sec-websocket-protocol", "v4.channel.k8s.io")]].concat();
    let refused = world.ask("GET", &format!("{PODS}/one/log"), &headers, "").await;
    assert_eq!(refused.status(), 400);
    stop(world.server, store).await;
}
