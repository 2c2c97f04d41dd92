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
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
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
    let path = format!("{CONFIGMAPS}?watch=1&labelSelector=part%3Dsocket");
    let mut text = open(&server, &path, "application/json").await;
    let mut binary = open(&server, &path, "application/vnd.kubernetes.protobuf").await;
    assert_eq!(event(&text.next().await.expect("a message").expect("it is whole")), "ADDED first");
    create(&server, "second").await;
    assert_eq!(event(&text.next().await.expect("a message").expect("it is whole")), "ADDED second");
    for name in ["first", "second"] {
        let message = binary.next().await.expect("a message").expect("it is whole");
        let Message::Binary(bytes) = message else { panic!("{message:?} is not binary") };
        assert!(bytes.windows(name.len()).any(|w| w == name.as_bytes()), "{bytes:?}");
    }
    stop(server, store).await;
}

#[tokio::test]
async fn the_end_of_a_watch_is_the_end_of_its_socket() {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, store) = start(dir.path()).await;
    let path = format!("{CONFIGMAPS}?watch=1&labelSelector=part%3Dsocket&timeoutSeconds=1");
    let mut socket = open(&server, &path, "application/json").await;
    let end = socket.next().await;
    let Some(Ok(Message::Close(Some(frame)))) = end else { panic!("{end:?} is no end") };
    assert_eq!(frame.code, CloseCode::Normal);
    stop(server, store).await;
}

#[tokio::test]
async fn a_watch_that_cannot_begin_says_so_in_its_socket() {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, store) = start(dir.path()).await;
    let mut socket = open(&server, &format!("{CONFIGMAPS}?watch=1&resourceVersion=1"), "application/json").await;
    let message = socket.next().await.expect("a message").expect("it is whole");
    let event: Value = serde_json::from_str(message.to_text().expect("text")).expect("JSON");
    assert_eq!((event["type"].as_str(), event["object"]["code"].as_u64()), (Some("ERROR"), Some(410)));
    stop(server, store).await;
}
