//! Clients: an upgrade by hand, then WebSocket or SPDY.

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use std::collections::BTreeMap;
use stream::channel::Framing;
use stream::spdy::{Decoder, Encoder, Frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Sends a request with these headers; gives the connection and the answer's head.
pub(super) async fn ask(url: &str, method: &str, headers: &[(&str, &str)]) -> (TcpStream, String) {
    let (host, path) = url.strip_prefix("http://").and_then(|u| u.split_once('/')).expect("a URL with a path");
    let mut tcp = TcpStream::connect(host).await.expect("connected");
    let mut request = format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\n");
    headers.iter().for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
    tcp.write_all((request + "\r\n").as_bytes()).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.expect("an answer"));
    }
    (tcp, String::from_utf8(head).expect("text").to_lowercase())
}

/// A WebSocket with this protocol; with none where it is empty.
pub(super) async fn websocket(url: &str, protocol: &str) -> WebSocketStream<TcpStream> {
    let headers = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", protocol),
    ];
    let named = if protocol.is_empty() { 4 } else { 5 };
    let (tcp, head) = ask(url, "GET", &headers[..named]).await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    match protocol {
        "" => assert!(!head.contains("sec-websocket-protocol"), "{head}"),
        named => assert!(head.contains(&format!("sec-websocket-protocol: {}\r\n", named.to_lowercase())), "{head}"),
    }
    WebSocketStream::from_raw_socket(tcp, Role::Client, None).await
}

/// The same of a WebSocket whose messages are text: digits and base64.
pub(super) async fn text_transcript(socket: &mut WebSocketStream<TcpStream>) -> BTreeMap<u8, String> {
    let mut said = BTreeMap::<u8, String>::new();
    loop {
        match socket.next().await.expect("a closing message first").expect("no failure") {
            Message::Text(text) => {
                let (number, data) = Framing::Base64.split(&text.into()).expect("a channel and base64");
                said.entry(number).or_default().push_str(std::str::from_utf8(&data).expect("text"));
            }
            Message::Close(_) => return said,
            other => panic!("{other:?} was not expected"),
        }
    }
}

/// What the channels of a WebSocket said, until the server closed it the way that clients demand.
pub(super) async fn transcript(socket: &mut WebSocketStream<TcpStream>) -> BTreeMap<u8, String> {
    let mut said = BTreeMap::<u8, String>::new();
    loop {
        match socket.next().await.expect("a closing message first").expect("no failure") {
            Message::Binary(data) => {
                said.entry(data[0]).or_default().push_str(std::str::from_utf8(&data[1..]).expect("text"));
            }
            Message::Close(frame) => {
                assert_eq!(u16::from(frame.expect("a reason").code), 1000);
                return said;
            }
            other => panic!("{other:?} was not expected"),
        }
    }
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A SPDY client.
pub(super) struct Spdy {
    io: Box<dyn Wire>,
    encoder: Encoder,
    decoder: Decoder,
    next: u32,
}

/// What came on a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub data: Vec<u8>,
    pub fin: bool,
    pub reset: bool,
}

impl Heard {
    pub(super) fn whole(text: &str) -> Heard {
        Heard { data: text.as_bytes().to_vec(), fin: true, reset: false }
    }
}

impl Spdy {
    pub(super) async fn connect(url: &str, protocol: &str) -> Spdy {
        let upgrade = [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("X-Stream-Protocol-Version", protocol)];
        let (tcp, head) = ask(url, "POST", &upgrade).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(head.contains("upgrade: spdy/3.1\r\n"), "{head}");
        assert!(head.contains("connection: upgrade\r\n"), "{head}");
        assert!(head.contains(&format!("x-stream-protocol-version: {protocol}\r\n")), "{head}");
        Spdy::over(tcp)
    }

    /// The same through a WebSocket.
    pub(super) async fn tunnel(url: &str) -> Spdy {
        let mut socket = websocket(url, stream::channel::PORT_FORWARD_TUNNEL).await;
        let (near, mut far) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move {
            let mut buffer = BytesMut::new();
            loop {
                tokio::select! {
                    Ok(1..) = far.read_buf(&mut buffer) => {
                        socket.send(Message::Binary(buffer.split().freeze())).await.expect("sent");
                    }
                    message = socket.next() => match message {
                        Some(Ok(Message::Binary(data))) => far.write_all(&data).await.expect("taken"),
                        _ => return,
                    },
                    else => return,
                }
            }
        });
        Spdy::over::<DuplexStream>(near)
    }

    fn over<Io: AsyncRead + AsyncWrite + Send + Unpin + 'static>(io: Io) -> Spdy {
        Spdy { io: Box::new(io), encoder: Encoder::default(), decoder: Decoder::default(), next: 1 }
    }

    pub(super) async fn send(&mut self, frame: Frame) {
        let mut out = BytesMut::new();
        self.encoder.encode(&frame, &mut out).expect("encoded");
        self.io.write_all(&out).await.expect("sent");
    }

    /// Opens a stream, without waiting for the reply.
    pub(super) async fn open(&mut self, headers: &[(&str, &str)]) -> u32 {
        let stream = self.next;
        self.next += 2;
        let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.send(Frame::SynStream { stream, fin: false, headers }).await;
        stream
    }

    pub(super) async fn data(&mut self, stream: u32, data: &[u8], fin: bool) {
        self.send(Frame::Data { stream, fin, data: Bytes::copy_from_slice(data) }).await;
    }

    /// The next frame; `None` when the server has closed.
    pub(super) async fn receive(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("a frame") {
                return Some(frame);
            }
            let mut buffer = [0; 4096];
            match self.io.read(&mut buffer).await.expect("read") {
                0 => return None,
                count => self.decoder.push(&buffer[..count]),
            }
        }
    }

    /// Listens until all of these streams have ended.
    pub(super) async fn listen<const N: usize>(&mut self, streams: [u32; N]) -> [Heard; N] {
        let mut heard: BTreeMap<u32, Heard> = streams.iter().map(|id| (*id, Heard::default())).collect();
        while heard.values().any(|h| !h.fin && !h.reset) {
            match self.receive().await.expect("the streams end before the connection") {
                Frame::Data { stream, fin, data } => {
                    let entry = heard.get_mut(&stream).expect("data on a stream that is listened to");
                    entry.data.extend_from_slice(&data);
                    entry.fin |= fin;
                }
                Frame::Reset { stream, .. } => heard.get_mut(&stream).expect("a known stream").reset = true,
                _ => {}
            }
        }
        streams.map(|id| heard.remove(&id).expect("listened to"))
    }
}
