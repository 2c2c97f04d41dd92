//! port-forward.

use super::speaker::{Heard, Spdy, websocket};
use super::{World, patiently};
use crate::streaming::connection::Limits;
use futures::{SinkExt, StreamExt};
use rpc::cri::PortForwardRequest;
use std::collections::BTreeMap;
use std::time::Duration;
use stream::channel::{Dialect, UNNAMED, V4, V4_BASE64};
use stream::spdy::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

const PROTOCOL: &str = "portforward.k8s.io";

fn to(sandbox: &str) -> PortForwardRequest {
    PortForwardRequest { pod_sandbox_id: sandbox.into(), port: vec![] }
}

/// The streams (error, data) of one connection.
async fn open(client: &mut Spdy, port: u16, request: &str) -> (u32, u32) {
    let port = port.to_string();
    let headers = |kind| [("streamtype", kind), ("port", port.as_str()), ("requestid", request)];
    let error = client.open(&headers("error")).await;
    // kubectl writes nothing to it and says so at once.
    client.data(error, b"", true).await;
    (error, client.open(&headers("data")).await)
}

/// A service that reads to the end of input and answers with it in reverse.
async fn reverser() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut text = Vec::new();
                tcp.read_to_end(&mut text).await.expect("read");
                text.reverse();
                tcp.write_all(&text).await.expect("written");
            });
        }
    });
    port
}

/// A port that nobody listens on.
async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").port()
}

#[tokio::test]
async fn connections_of_one_client_are_forwarded_side_by_side() {
    patiently(async {
        let (world, port) = (World::new().await, reverser().await);
        for tunnelled in [false, true] {
            let url = world.streaming.port_forward(to("host")).expect("a URL");
            let mut client = if tunnelled { Spdy::tunnel(&url).await } else { Spdy::connect(&url, PROTOCOL).await };
            let (error_a, data_a) = open(&mut client, port, "0").await;
            let (error_b, data_b) = open(&mut client, port, "1").await;
            client.data(data_a, b"stressed", false).await;
            client.data(data_b, b"drawer", true).await;
            let heard = client.listen([data_b, error_b]).await;
            assert_eq!(heard, [Heard::whole("reward"), Heard::whole("")]);
            client.data(data_a, b"!", true).await;
            let heard = client.listen([data_a, error_a]).await;
            assert_eq!(heard, [Heard::whole("!desserts"), Heard::whole("")]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_port_that_does_not_answer_is_told_and_the_others_go_on() {
    patiently(async {
        let (world, port, closed) = (World::new().await, reverser().await, closed_port().await);
        let mut client = Spdy::connect(&world.streaming.port_forward(to("host")).expect("a URL"), PROTOCOL).await;
        let (error, data) = open(&mut client, closed, "0").await;
        let [error, data] = client.listen([error, data]).await;
        let text = String::from_utf8(error.data).expect("text");
        let begins =
            format!("error forwarding port {closed} to pod host, uid : failed to connect to localhost:{closed}");
        assert!(text.starts_with(&begins), "{text}");
        assert_eq!(data, Heard::whole(""));

        let (error, data) = open(&mut client, port, "1").await;
        client.data(data, b"ab", true).await;
        assert_eq!(client.listen([data, error]).await, [Heard::whole("ba"), Heard::whole("")]);
    })
    .await;
}

#[tokio::test]
async fn a_network_that_cannot_be_entered_is_told() {
    patiently(async {
        let world = World::new().await;
        let mut client = Spdy::connect(&world.streaming.port_forward(to("broken")).expect("a URL"), PROTOCOL).await;
        let (error, _) = open(&mut client, 80, "0").await;
        let mut text = String::new();
        while !text.contains("/nonexistent/netns") {
            if let Some(Frame::Data { stream, data, .. }) = client.receive().await
                && stream == error
            {
                text.push_str(std::str::from_utf8(&data).expect("text"));
            }
        }
        assert!(text.contains("enter network namespace"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_reset_stream_closes_its_connection() {
    patiently(async {
        let world = World::new().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mut client = Spdy::connect(&world.streaming.port_forward(to("host")).expect("a URL"), PROTOCOL).await;
        let (_, data) = open(&mut client, port, "0").await;
        client.data(data, b"x", true).await;
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        let mut text = Vec::new();
        tcp.read_to_end(&mut text).await.expect("read");
        assert_eq!(text, b"x");
        // The client has said its last, and now wants no answer either.
        client.send(Frame::Reset { stream: data, status: 5 }).await;
        while tcp.write_all(&[0; 4096]).await.is_ok() {}
    })
    .await;
}

#[tokio::test]
async fn streams_without_sense_or_partner_are_refused() {
    patiently(async {
        let world = World::with(Limits { opening: Duration::from_millis(50), ..Limits::default() }).await;
        let mut client = Spdy::connect(&world.streaming.port_forward(to("host")).expect("a URL"), PROTOCOL).await;
        for headers in [&[("streamtype", "data")][..], &[("streamtype", "data"), ("port", "0")]] {
            let stream = client.open(headers).await;
            assert_eq!(client.receive().await, Some(Frame::Reset { stream, status: 1 }));
        }
        let error = client.open(&[("streamtype", "error"), ("port", "80"), ("requestid", "1")]).await;
        assert_eq!(client.listen([error]).await, [Heard::whole("timed out waiting for streams")]);
        // Numbers of streams rise and are odd.
        for stream in [error, 1000] {
            client.send(Frame::SynStream { stream, fin: false, headers: vec![] }).await;
            assert_eq!(client.receive().await, Some(Frame::Reset { stream, status: 1 }));
        }
    })
    .await;
}

#[tokio::test]
async fn channels_forward_the_ports_of_the_request() {
    patiently(async {
        let world = World::new().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (port, closed) = (listener.local_addr().expect("an address").port(), closed_port().await);
        let request = PortForwardRequest { port: vec![closed.into(), port.into()], ..to("host") };
        let mut socket = websocket(&world.streaming.port_forward(request).expect("a URL"), V4).await;
        let mut heard = BTreeMap::<u8, Vec<u8>>::new();
        let (mut tcp, _) = listener.accept().await.expect("a connection");
        socket.send(Message::Binary(b"\x02question".to_vec().into())).await.expect("sent");
        let mut question = [0; 8];
        tcp.read_exact(&mut question).await.expect("read");
        assert_eq!(&question, b"question");
        tcp.write_all(b"answer").await.expect("written");
        drop(tcp);
        loop {
            match socket.next().await.expect("a closing message first").expect("no failure") {
                Message::Binary(data) => heard.entry(data[0]).or_default().extend_from_slice(&data[1..]),
                Message::Close(frame) => break assert_eq!(u16::from(frame.expect("a reason").code), 1000),
                other => panic!("{other:?} was not expected"),
            }
        }
        let (first, second) = (closed.to_le_bytes(), port.to_le_bytes());
        assert_eq!(heard[&0], first);
        assert_eq!(heard[&1][..2], first);
        let text = std::str::from_utf8(&heard[&1][2..]).expect("text");
        assert!(text.starts_with(&format!("error forwarding port {closed} to pod host, uid : ")), "{text}");
        assert_eq!(heard[&2], [&second[..], b"answer"].concat());
        assert_eq!(heard[&3], second);
    })
    .await;
}

#[tokio::test]
async fn channels_forward_in_each_protocol() {
    patiently(async {
        let (world, port) = (World::new().await, closed_port().await);
        let first = port.to_le_bytes();
        for protocol in [UNNAMED, V4, V4_BASE64] {
            let request = PortForwardRequest { port: vec![port.into()], ..to("host") };
            let mut socket = websocket(&world.streaming.port_forward(request).expect("a URL"), protocol).await;
            let framing = Dialect::of(protocol).framing;
            let mut heard = BTreeMap::<u8, Vec<u8>>::new();
            loop {
                let message = socket.next().await.expect("a closing message first").expect("no failure");
                assert_eq!(message.is_text(), protocol == V4_BASE64 && !message.is_close(), "{message:?}");
                if message.is_close() {
                    break;
                }
                let (number, data) = framing.split(&message.into_data()).expect("a channel");
                heard.entry(number).or_default().extend_from_slice(&data);
            }
            assert_eq!(heard[&0], first);
            assert_eq!(heard[&1][..2], first);
            assert!(heard[&1][2..].starts_with(b"error forwarding port "), "{heard:?}");
        }
    })
    .await;
}

#[test]
fn a_port_is_a_port() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let request = PortForwardRequest { pod_sandbox_id: "host".into(), port: vec![80, 70_000] };
        let status = World::new().await.streaming.port_forward(request).expect_err("no such port");
        assert_eq!(status.message(), "70000 is no port");
    });
}
