//! Against a kubelet of our own on loopback.

use super::*;
use crate::pki;
use crate::server::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::service::service_fn;
use std::convert::Infallible;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves TLS with a kubelet's certificate; answers with what it was asked, and echoes bytes after an upgrade.
async fn kubelet_on_loopback(dir: &std::path::Path, authority: &pki::Authority) -> SocketAddr {
    let credentials = pki::open_kubelet(dir, authority, "n1", &["127.0.0.1".into()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.cert_der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let (chain, key) = credentials.serving.to_rustls().unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(socket).await else { return };
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(tls), service_fn(|r| async { Ok::<_, Infallible>(answer(r)) }));
                let _ = connection.with_upgrades().await;
            });
        }
    });
    address
}

fn answer(mut request: Request<hyper::body::Incoming>) -> http::Response<Body> {
    if !request.headers().contains_key("upgrade") {
        let seen =
            format!("{} {} auth={}", request.method(), request.uri(), request.headers().contains_key("authorization"));
        return http::Response::new(Body::from(seen));
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgrade.await.unwrap());
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).await.unwrap();
        bytes.reverse();
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let response = http::Response::builder().status(101).header("connection", "Upgrade").header("upgrade", "SPDY/3.1");
    response.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_request_reaches_the_kubelet_without_the_clients_credentials() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::on_loopback(dir.path());
    let pki = Pki::open(&config).unwrap();
    let address = kubelet_on_loopback(&dir.path().join("kubelet"), &pki.authority).await;
    let outbound = Outbound::open(&config, &pki).unwrap();
    let peer = Peer { host: "127.0.0.1".into(), port: address.port(), tls: Tls::Kubelet };
    let request = Request::get("/x").header("authorization", "Bearer t").body(Body::empty()).unwrap();
    let path = "/containerLogs/default/p/c?follow=true";
    let response = forward(&outbound, &peer, For::Kubelet, path, request, &CancellationToken::new()).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&body[..], b"GET /containerLogs/default/p/c?follow=true auth=false");
}

#[tokio::test]
async fn bytes_flow_both_ways_after_an_upgrade() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::on_loopback(dir.path());
    let pki = Pki::open(&config).unwrap();
    let address = kubelet_on_loopback(&dir.path().join("kubelet"), &pki.authority).await;
    let outbound = Arc::new(Outbound::open(&config, &pki).unwrap());
    // A front server that passes everything on, as the apiserver does.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let outbound = outbound.clone();
            async move {
                let peer = Peer { host: "127.0.0.1".into(), port: address.port(), tls: Tls::Kubelet };
                let request = request.map(Body::new);
                let path = "/exec/a/b/c?command=x";
                let answer = forward(&outbound, &peer, For::Kubelet, path, request, &CancellationToken::new()).await;
                Ok::<_, Infallible>(answer.unwrap())
            }
        });
        let builder = hyper::server::conn::http1::Builder::new();
        let _ = builder.serve_connection(TokioIo::new(socket), service).with_upgrades().await;
    });
    let socket = TcpStream::connect(front).await.unwrap();
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(driver.with_upgrades());
    let request = Request::post("/").header("connection", "Upgrade").header("upgrade", "SPDY/3.1");
    let mut response = sender.send_request(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()["upgrade"], "SPDY/3.1");
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    stream.write_all(b"hello").await.unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, b"olleh");
}

#[tokio::test]
async fn a_kubelet_of_another_cluster_is_refused() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (config, other) = (Config::on_loopback(ours.path()), Pki::open(&Config::on_loopback(theirs.path())).unwrap());
    let address = kubelet_on_loopback(&theirs.path().join("kubelet"), &other.authority).await;
    let outbound = Outbound::open(&config, &Pki::open(&config).unwrap()).unwrap();
    let peer = Peer { host: "127.0.0.1".into(), port: address.port(), tls: Tls::Kubelet };
    let why = outbound.dial(&peer).await.err().expect("it is not one of ours");
    assert!(why.contains("invalid peer certificate"), "{why}");
    let trusting = Peer { tls: Tls::AnyKubelet, ..peer };
    let why = match outbound.dial(&trusting).await {
        // TLS 1.3: the peer looks at our certificate after we are done.
        Ok(_) => String::new(),
        Err(why) => why,
    };
    assert!(!why.contains("invalid peer certificate"), "{why}");
}

#[test]
fn a_node_says_where_its_kubelet_is() {
    let node = |json: &str| {
        let Value::Map(map) = api::codec::json::decode(json.as_bytes()).unwrap().value else { panic!("{json}") };
        kubelet(&Object(map)).map(|p| format!("{}:{}", p.host, p.port)).map_err(|s| s.code)
    };
    let cases = [
        (
            r#"{"status":{"addresses":[{"type":"Hostname","address":"h"},{"type":"InternalIP","address":"10.0.0.7"}],"daemonEndpoints":{"kubeletEndpoint":{"Port":4000}}}}"#,
            Ok("10.0.0.7:4000".to_owned()),
        ),
        (r#"{"status":{"addresses":[{"type":"Hostname","address":"h"}]}}"#, Ok("h:10250".to_owned())),
        (r#"{}"#, Err(500)),
    ];
    for (json, expected) in cases {
        assert_eq!(node(json), expected, "{json}");
    }
}
