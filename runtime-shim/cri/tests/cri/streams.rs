//! Exec and port-forward as clients speak them: WebSocket channels, and SPDY tunnelled through one.

use crate::world::World;
use rpc::cri::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A client's side of a WebSocket, unmasked answers and masked messages.
struct Client(tokio::net::TcpStream);

impl Client {
    async fn connect(url: &str, protocol: &str) -> Client {
        let (host, path) = url.strip_prefix("http://").expect("http").split_once('/').expect("a path");
        let mut socket = tokio::net::TcpStream::connect(host).await.expect("connected");
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.expect("written");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.expect("an answer"));
        }
        let head = String::from_utf8_lossy(&head);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert!(
            head.to_lowercase().contains(&format!("sec-websocket-protocol: {}", protocol.to_lowercase())),
            "{head}"
        );
        Client(socket)
    }

    async fn send(&mut self, message: &[u8]) {
        let mut frame = vec![0x82, 0xfe];
        frame.extend((message.len() as u16).to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(message);
        self.0.write_all(&frame).await.expect("written");
    }

    async fn receive(&mut self) -> Option<Vec<u8>> {
        let kind = self.0.read_u8().await.ok()?;
        let length = match self.0.read_u8().await.ok()? {
            126 => self.0.read_u16().await.ok()? as usize,
            127 => self.0.read_u64().await.ok()? as usize,
            short => short as usize,
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await.ok()?;
        (kind == 0x82).then_some(payload)
    }
}

pub(crate) async fn streams_over_websocket_and_spdy() {
    let world = World::new("stream").await;
    world.build("web");
    let mut runtime = world.runtime().await;
    let sandbox = world.run(world.pod()).await;
    let id = world
        .launch(&sandbox, world.container("web", "while :; do /busybox nc -l -p 8080 -e /busybox cat; done"))
        .await;
    let request = ExecRequest {
        container_id: id.clone(),
        cmd: vec!["/busybox".into(), "sh".into(), "-c".into(), "/busybox cat; echo bad >&2; exit 4".into()],
        stdin: true,
        stdout: true,
        stderr: true,
        tty: false,
    };
    let url = runtime.exec(request).await.expect("a url").into_inner().url;
    let mut client = Client::connect(&url, "v5.channel.k8s.io").await;
    client.send(b"\x00hello").await;
    client.send(b"\xff\x00").await;
    let mut seen = std::collections::BTreeMap::<u8, String>::new();
    while let Some(message) = client.receive().await {
        seen.entry(message[0]).or_default().push_str(&String::from_utf8_lossy(&message[1..]));
    }
    assert_eq!((seen[&1].as_str(), seen[&2].as_str()), ("hello", "bad\n"));
    assert!(seen[&3].contains("\"ExitCode\"") && seen[&3].contains("\"4\""), "{seen:?}");
    let url = url.replace("http://", "");
    let (host, path) = url.split_once('/').expect("a path");
    let mut again = tokio::net::TcpStream::connect(host).await.expect("connected");
    again.write_all(format!("GET /{path} HTTP/1.0\r\n\r\n").as_bytes()).await.expect("written");
    let mut refused = String::new();
    again.read_to_string(&mut refused).await.expect("an answer");
    assert!(refused.contains("404"), "a token is good once: {refused}");

    let request = PortForwardRequest { pod_sandbox_id: sandbox.clone(), port: vec![8080] };
    let url = runtime.port_forward(request).await.expect("a url").into_inner().url;
    let mut client = Client::connect(&url, stream::channel::PORT_FORWARD_TUNNEL).await;
    let (mut encoder, mut decoder) = (stream::spdy::Encoder::default(), stream::spdy::Decoder::default());
    let mut bytes = bytes::BytesMut::new();
    for (stream, kind) in [(1, "error"), (3, "data")] {
        let headers =
            vec![("streamtype".into(), kind.into()), ("port".into(), "8080".into()), ("requestid".into(), "0".into())];
        encoder.encode(&stream::spdy::Frame::SynStream { stream, fin: false, headers }, &mut bytes).expect("encoded");
    }
    let data = bytes::Bytes::from_static(b"ping through the pod");
    encoder
        .encode(&stream::spdy::Frame::Data { stream: 3, fin: true, data: data.clone() }, &mut bytes)
        .expect("encoded");
    client.send(&bytes).await;
    let mut echoed = Vec::new();
    'all: while let Some(message) = client.receive().await {
        decoder.push(&message);
        while let Some(frame) = decoder.next_frame().expect("a frame") {
            if let stream::spdy::Frame::Data { stream: 3, fin, data } = frame {
                echoed.extend(data);
                if fin {
                    break 'all;
                }
            }
        }
    }
    assert_eq!(echoed, data);
    world.remove(&sandbox).await;
    world.assert_clean();
}
