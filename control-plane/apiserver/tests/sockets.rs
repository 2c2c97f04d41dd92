//! A watch over WebSocket: the events of a plain watch, each a message of its own, and its end.

mod served;

use apiserver::{Body, InternalUser, Server};
use futures::StreamExt;
use http::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use served::{start, stop};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tower::ServiceExt;

const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";
/// More than a socket takes before its reader must follow.
const PIPE: usize = 64 << 10;

async fn create(server: &Server, name: &str) {
    let body = format!("{{\"metadata\":{{\"name\":{name:?},\"labels\":{{\"part\":\"socket\"}}}}}}");
    let request = Request::post(CONFIGMAPS).header("content-type", "application/json").body(Body::from(body));
    let answer = server.in_process(InternalUser::Admin).oneshot(request.expect("a request")).await;
    assert_eq!(answer.expect("it is answered").status(), StatusCode::CREATED);
}

/// Opens a WebSocket to the server over a connection of its own.
async fn open(server: &Server, path: &str, accept: &str) -> WebSocketStream<TokioIo<hyper::upgrade::Upgraded>> {
    let (near, far) = tokio::io::duplex(PIPE);
    let service = server.in_process(InternalUser::Admin);
    let service = hyper::service::service_fn(move |request| service.clone().oneshot(request));
    tokio::spawn(
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service).with_upgrades(),
    );
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(near)).await.expect("a connection");
    tokio::spawn(connection.with_upgrades());
    let request = Request::get(path)
        .header(header::HOST, "here")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==")
        .header(header::ACCEPT, accept);
    let response = sender.send_request(request.body(Body::empty()).expect("a request")).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    // The example of RFC 6455, 1.3.
    assert_eq!(response.headers()[header::SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let upgraded = hyper::upgrade::on(response).await.expect("an upgrade");
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await
}

/// `ADDED name`.
fn event(message: &Message) -> String {
    let event: Value = serde_json::from_str(message.to_text().expect("text")).expect("JSON");
    format!("{} {}", event["type"].as_str().unwrap_or(""), event["object"]["metadata"]["name"].as_str().unwrap_or(""))
}

#[tokio::test]
async fn a_watch_runs_over_websocket() {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, store) = start(dir.path()).await;
    create(&server, "first").await;
    let path = format!("{CONFIGMAPS}?watch=1&labelSelector=part%3Dsocket&timeoutSeconds=2");
    let mut text = open(&server, &path, "application/json").await;
    let mut binary = open(&server, &path, "application/vnd.kubernetes.protobuf").await;
    assert_eq!(event(&text.next().await.expect("a message").expect("it is whole")), "ADDED first");
    create(&server, "second").await;
    assert_eq!(event(&text.next().await.expect("a message").expect("it is whole")), "ADDED second");
    // The end of the watch is the end of the socket.
    assert!(matches!(text.next().await, Some(Ok(Message::Close(_))) | None));
    for name in ["first", "second"] {
        let message = binary.next().await.expect("a message").expect("it is whole");
        let Message::Binary(bytes) = message else { panic!("{message:?} is not binary") };
        assert!(bytes.windows(name.len()).any(|w| w == name.as_bytes()), "{bytes:?}");
    }
    assert!(matches!(binary.next().await, Some(Ok(Message::Close(_))) | None));
    stop(server, store).await;
}
