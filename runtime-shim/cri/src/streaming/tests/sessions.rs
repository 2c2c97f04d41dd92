//! exec and attach.

use super::speaker::{Heard, Spdy, ask, text_transcript, transcript, websocket};
use super::{World, patiently};
use crate::streaming::connection::Limits;
use futures::SinkExt;
use rpc::cri::{AttachRequest, ExecRequest};
use serde_json::{Value, json};
use std::time::Duration;
use stream::channel::{UNNAMED, V1, V1_BASE64, V2, V3, V4, V4_BASE64, V5};
use stream::spdy::Frame;
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::Message;

fn exec(command: &[&str]) -> ExecRequest {
    let cmd = command.iter().map(|w| (*w).to_owned()).collect();
    ExecRequest { container_id: "c".into(), cmd, tty: false, stdin: true, stdout: true, stderr: true }
}

fn on_terminal(command: &[&str]) -> ExecRequest {
    ExecRequest { tty: true, stderr: false, ..exec(command) }
}

fn binary(bytes: &[u8]) -> Message {
    Message::Binary(bytes.to_vec().into())
}

fn parsed(status: &str) -> Value {
    serde_json::from_str(status).expect("a Status")
}

#[tokio::test]
async fn a_websocket_runs_a_command_to_its_exit_code() {
    patiently(async {
        let world = World::new().await;
        for (code, ending) in [("0", "Success"), ("7", "Failure")] {
            let url = world.streaming.exec(exec(&["cat", code])).expect("a URL");
            let mut socket = websocket(&url, V5).await;
            socket.send(binary(b"\x00hel")).await.expect("sent");
            socket.send(binary(b"\x00lo")).await.expect("sent");
            socket.send(binary(b"\xff\x00")).await.expect("sent");
            let said = transcript(&mut socket).await;
            assert_eq!((said[&1].as_str(), said[&2].as_str()), ("hello", "done"));
            let status = parsed(&said[&3]);
            assert_eq!(status["status"], ending);
            if code == "7" {
                assert_eq!(status["details"]["causes"], json!([{"reason": "ExitCode", "message": "7"}]));
            }
        }
    })
    .await;
}

/// What the error channel says of an exit with 3.
fn told(protocol: &str, text: &str) {
    let words = "command terminated with non-zero exit code: exit status 3";
    match protocol {
        V4 | V4_BASE64 | V5 => {
            assert_eq!(parsed(text)["message"], words, "{protocol}");
            assert_eq!(parsed(text)["details"]["causes"][0]["message"], "3", "{protocol}");
        }
        _ => assert_eq!(text, words, "{protocol}"),
    }
}

#[tokio::test]
async fn older_websockets_speak_bytes_and_text() {
    patiently(async {
        let world = World::new().await;
        let terminal = |code| ExecRequest { tty: true, stderr: false, stdin: false, ..exec(&["size", code]) };
        for protocol in [UNNAMED, V1, V4, V5, V1_BASE64, V4_BASE64] {
            let url = world.streaming.exec(terminal("3")).expect("a URL");
            let mut socket = websocket(&url, protocol).await;
            let size = r#"{"Width":80,"Height":24}"#;
            let text = matches!(protocol, V1_BASE64 | V4_BASE64);
            let said = if text {
                socket.send(Message::text("4eyJXaWR0aCI6ODAsIkhlaWdodCI6MjR9")).await.expect("sent");
                text_transcript(&mut socket).await
            } else {
                socket.send(binary(&[&[4], size.as_bytes()].concat())).await.expect("sent");
                transcript(&mut socket).await
            };
            assert_eq!(said[&1], "80x24", "{protocol}");
            told(protocol, &said[&3]);
        }
    })
    .await;
}

#[tokio::test]
async fn older_spdy_clients_are_told_in_words() {
    patiently(async {
        let world = World::new().await;
        for protocol in [V1, V2, V3, V4] {
            // Versions 1 and 2 know no sizes, so their clients open no stream for them.
            let url = world.streaming.exec(on_terminal(&["cat", "3"])).expect("a URL");
            let mut client = Spdy::connect(&url, protocol).await;
            let error = client.open(&[("streamtype", "error")]).await;
            let stdin = client.open(&[("streamtype", "stdin")]).await;
            let stdout = client.open(&[("streamtype", "stdout")]).await;
            if matches!(protocol, V3 | V4) {
                client.open(&[("streamtype", "resize")]).await;
            }
            client.data(stdin, b"hello", true).await;
            let [out, status] = client.listen([stdout, error]).await;
            assert_eq!(out, Heard::whole("hello"), "{protocol}");
            told(protocol, std::str::from_utf8(&status.data).expect("text"));
        }
    })
    .await;
}

#[tokio::test]
async fn version_four_has_no_end_of_input() {
    patiently(async {
        let world = World::new().await;
        let url = world.streaming.exec(exec(&["cat", "0"])).expect("a URL");
        let mut socket = websocket(&url, V4).await;
        socket.send(binary(b"\xff\x00")).await.expect("sent");
        socket.send(binary(b"\x00still here")).await.expect("sent");
        let mut said = String::new();
        while said != "still here" {
            let message = futures::StreamExt::next(&mut socket).await.expect("open").expect("no failure");
            let Message::Binary(data) = message else { panic!("{message:?}") };
            assert_eq!(data[0], 1);
            said.push_str(std::str::from_utf8(&data[1..]).expect("text"));
        }
        socket.send(Message::Ping(b"there?".to_vec().into())).await.expect("sent");
        let pong = futures::StreamExt::next(&mut socket).await.expect("open").expect("no failure");
        assert_eq!(pong, Message::Pong(b"there?".to_vec().into()));
        // Leaving ends the input, and so the command.
        socket.send(Message::Close(None)).await.expect("sent");
        let goodbye = futures::StreamExt::next(&mut socket).await.expect("open").expect("no failure");
        assert_eq!(goodbye, Message::Close(None));
        world.fake.ended.notified().await;
    })
    .await;
}

#[tokio::test]
async fn spdy_runs_a_command_to_its_exit_code() {
    patiently(async {
        let world = World::new().await;
        let url = world.streaming.exec(exec(&["cat", "3"])).expect("a URL");
        let mut client = Spdy::connect(&url, V4).await;
        let error = client.open(&[("streamtype", "error")]).await;
        let stdin = client.open(&[("streamtype", "stdin")]).await;
        let stdout = client.open(&[("streamtype", "stdout")]).await;
        let stderr = client.open(&[("streamtype", "stderr")]).await;
        for stream in [error, stdin, stdout, stderr] {
            assert_eq!(client.receive().await, Some(Frame::SynReply { stream, fin: false, headers: vec![] }));
        }
        client.send(Frame::Ping(5)).await;
        assert_eq!(client.receive().await, Some(Frame::Ping(5)));
        // Longer than every buffer on the way, so it has to flow.
        let text = "0123456789abcdef".repeat(40_000);
        let writing = text.clone();
        client.data(stdin, &writing.as_bytes()[..100_000], false).await;
        let mut heard = Vec::new();
        while heard.len() < 100_000 {
            if let Some(Frame::Data { data, .. }) = client.receive().await {
                heard.extend_from_slice(&data);
            }
        }
        assert_eq!(heard, &writing.as_bytes()[..100_000]);
        client.data(stdin, b"end", true).await;
        let [out, err, status] = client.listen([stdout, stderr, error]).await;
        assert_eq!((out, err), (Heard::whole("end"), Heard::whole("done")));
        let status = parsed(std::str::from_utf8(&status.data).expect("text"));
        assert_eq!(status["reason"], "NonZeroExitCode");
        assert_eq!(status["details"]["causes"][0]["message"], "3");
        assert!(matches!(client.receive().await, Some(Frame::GoAway { .. })));
        assert_eq!(client.receive().await, None);
    })
    .await;
}

#[tokio::test]
async fn terminals_have_sizes_in_both_protocols() {
    patiently(async {
        let world = World::new().await;
        let size = b"{\"Width\":132,\"Height\":43}\n";
        let url = world.streaming.exec(on_terminal(&["sizes"])).expect("a URL");
        let mut socket = websocket(&url, V5).await;
        socket.send(binary(&[&[4], &size[..]].concat())).await.expect("sent");
        assert_eq!(transcript(&mut socket).await[&1], "132x43");

        let url = world.streaming.exec(on_terminal(&["sizes"])).expect("a URL");
        let mut client = Spdy::connect(&url, V4).await;
        let error = client.open(&[("streamtype", "error")]).await;
        client.open(&[("streamtype", "stdin")]).await;
        let stdout = client.open(&[("streamtype", "stdout")]).await;
        let resize = client.open(&[("streamtype", "resize")]).await;
        client.data(resize, &size[..10], false).await;
        client.data(resize, &size[10..], false).await;
        let [out, _] = client.listen([stdout, error]).await;
        assert_eq!(out, Heard::whole("132x43"));
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_breaks_the_output() {
    patiently(async {
        let world = World::new().await;
        let url = world.streaming.exec(exec(&["yes"])).expect("a URL");
        drop(websocket(&url, V5).await);
        world.fake.ended.notified().await;
    })
    .await;
}

#[tokio::test]
async fn output_held_open_does_not_hold_the_client() {
    patiently(async {
        let world = World::with(Limits { quiet: Duration::from_millis(50), ..Limits::default() }).await;
        let url = world.streaming.exec(exec(&["daemon"])).expect("a URL");
        let said = transcript(&mut websocket(&url, V5).await).await;
        assert_eq!(said[&1], "started");
        assert_eq!(parsed(&said[&3])["status"], "Success");
        world.fake.release.notify_one();
    })
    .await;
}

#[tokio::test]
async fn what_fails_is_told_as_a_status() {
    patiently(async {
        let world = World::new().await;
        let url = world.streaming.exec(exec(&["nonsense"])).expect("a URL");
        let said = transcript(&mut websocket(&url, V4).await).await;
        let status = parsed(&said[&3]);
        let text = "error executing command in container: no command [\"nonsense\"]";
        assert_eq!(status["message"], format!("Internal error occurred: {text}"));
        assert_eq!((&status["reason"], &status["code"]), (&json!("InternalError"), &json!(500)));
    })
    .await;
}

#[tokio::test]
async fn attach_ends_with_the_input_or_the_client() {
    patiently(async {
        let world = World::with(Limits { parting: Duration::from_millis(10), ..Limits::default() }).await;
        let request = AttachRequest { container_id: "c".into(), stdin: true, tty: false, stdout: true, stderr: false };
        let url = world.streaming.attach(request.clone()).expect("a URL");
        let mut socket = websocket(&url, V5).await;
        socket.send(binary(b"\xff\x00")).await.expect("sent");
        let said = transcript(&mut socket).await;
        assert_eq!((said[&1].as_str(), &parsed(&said[&3])["status"]), ("hello", &json!("Success")));
        world.fake.ended.notified().await;

        // Without input, nothing but the client's absence tells that it left.
        let url = world.streaming.attach(AttachRequest { stdin: false, ..request }).expect("a URL");
        drop(websocket(&url, V5).await);
        world.fake.ended.notified().await;
    })
    .await;
}

#[tokio::test]
async fn idle_and_half_open_connections_are_closed() {
    patiently(async {
        let short = Duration::from_millis(50);
        let world = World::with(Limits { idle: short, ..Limits::default() }).await;
        let mut socket = websocket(&world.streaming.exec(exec(&["cat", "0"])).expect("a URL"), V5).await;
        while let Some(Ok(message)) = futures::StreamExt::next(&mut socket).await {
            assert_eq!(message, binary(b"\x01"));
        }
        world.fake.ended.notified().await;

        let world = World::with(Limits { opening: short, ..Limits::default() }).await;
        let mut client = Spdy::connect(&world.streaming.exec(exec(&["cat", "0"])).expect("a URL"), V4).await;
        let stream = client.open(&[("streamtype", "error")]).await;
        assert!(matches!(client.receive().await, Some(Frame::SynReply { stream: s, .. }) if s == stream));
        assert!(matches!(client.receive().await, Some(Frame::GoAway { .. })));
    })
    .await;
}

#[tokio::test]
async fn a_url_works_once_and_only_for_what_it_is() {
    patiently(async {
        let world = World::new().await;
        let upgrade = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("X-Stream-Protocol-Version", V4)];
        let url = world.streaming.exec(exec(&["cat", "0"])).expect("a URL");
        let (mut tcp, head) = ask(&url, "POST", &[]).await;
        assert!(head.starts_with("http/1.1 400 "), "{head}");
        let mut text = String::new();
        tcp.read_to_string(&mut text).await.expect("a body");
        assert!(text.starts_with("unable to upgrade: "), "{text}");
        assert!(ask(&url, "POST", &upgrade).await.1.starts_with("http/1.1 404 "), "it was used");

        let url = world.streaming.exec(exec(&["cat", "0"])).expect("a URL").replace("/exec/", "/attach/");
        assert!(ask(&url, "POST", &upgrade).await.1.starts_with("http/1.1 404 "), "it was for exec");
        let request = ExecRequest { container_id: "other".into(), ..exec(&["cat", "0"]) };
        let url = world.streaming.exec(request).expect("a URL");
        assert!(ask(&url, "POST", &upgrade).await.1.starts_with("http/1.1 404 "), "no such container");
    })
    .await;
}

#[tokio::test]
async fn requests_that_cannot_be_are_refused() {
    let world = World::new().await;
    let none = ExecRequest { stdin: false, stdout: false, stderr: false, ..exec(&["cat"]) };
    for (request, why) in [
        (ExecRequest { container_id: String::new(), ..exec(&["cat"]) }, "missing required container_id"),
        (exec(&[]), "no command was given to run"),
        (ExecRequest { tty: true, ..exec(&["cat"]) }, "tty and stderr cannot both be true"),
        (none, "one of stdin, stdout, or stderr must be set"),
    ] {
        let status = world.streaming.exec(request).expect_err(why);
        assert_eq!((status.code(), status.message()), (rpc::tonic::Code::InvalidArgument, why));
    }
}
