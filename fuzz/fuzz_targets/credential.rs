//! Credentials that a stranger shows: as a bearer token, and as the protocol of a WebSocket. None of them is believed, and
//! none ends the process.
#![no_main]

use apiserver::{Body, Config, Server};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;
use tokio::runtime::Runtime;
use tower::ServiceExt;

struct Running {
    runtime: Runtime,
    server: Server,
    _dir: tempfile::TempDir,
}

static SERVER: LazyLock<Running> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let config = Config {
        data_dir: dir.path().to_owned(),
        bind: (Ipv4Addr::LOCALHOST, 0).into(),
        advertise: IpAddr::V4(Ipv4Addr::LOCALHOST),
        service_cidr: "10.96.0.0/16".parse().expect("a network"),
        node_port_range: 30000..=32767,
        cluster_domain: "cluster.local".into(),
        external_names: Vec::new(),
        several: false,
        issuer: "https://kubernetes.default.svc.cluster.local".into(),
    };
    let server = runtime.block_on(async {
        let store = store::Store::open(store::Config::new(dir.path().join("store"))).await.expect("a store");
        Server::start(config, store).await.expect("it starts")
    });
    Running { runtime, server, _dir: dir }
});

/// The headers that carry these bytes: as they are, and decoded by the server.
fn headers(token: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let protocol = |text: &[u8]| [b"a, base64url.bearer.authorization.k8s.io.", text].concat();
    vec![
        ("authorization", token.to_vec()),
        ("authorization", [b"Bearer ", token].concat()),
        ("sec-websocket-protocol", protocol(token)),
        ("sec-websocket-protocol", protocol(URL_SAFE_NO_PAD.encode(token).as_bytes())),
    ]
}

libfuzzer_sys::fuzz_target!(|token: &[u8]| {
    let Running { runtime, server, .. } = &*SERVER;
    for (name, value) in headers(token) {
        let Ok(request) = http::Request::get("/api/v1/pods").header(name, value).body(Body::empty()) else { continue };
        let answer = server.to_strangers().oneshot(request);
        let Ok(response) = runtime.block_on(answer);
        assert!(matches!(response.status().as_u16(), 401 | 403), "{name}: {}", response.status());
    }
});
