//! As much of gRPC and protobuf as a few messages of etcd need.

use std::io;
use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::Request;
use tokio::net::TcpStream;

/// What either side may have on its way: more than all watchers get at once.
const WINDOW: u32 = 16 << 20;

/// One connection.
#[derive(Clone)]
pub struct Channel {
    requests: SendRequest<Bytes>,
    address: SocketAddr,
}

impl Channel {
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let (requests, connection) = builder.handshake(socket).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self { requests, address })
    }

    /// One message there, one back.
    pub async fn call(&self, path: &str, message: Vec<u8>) -> io::Result<Bytes> {
        let mut messages = self.send(path, message, true).await?;
        messages.next().await
    }

    /// One message there, any number back.
    pub async fn stream(&self, path: &str, message: Vec<u8>) -> io::Result<Messages> {
        self.send(path, message, false).await
    }

    async fn send(&self, path: &str, message: Vec<u8>, end: bool) -> io::Result<Messages> {
        let request = Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(io::Error::other)?;
        let mut requests = self.requests.clone().ready().await.map_err(io::Error::other)?;
        let (answer, mut sending) = requests.send_request(request, false).map_err(io::Error::other)?;
        let mut framed = BytesMut::with_capacity(message.len() + 5);
        framed.put_u8(0);
        framed.put_u32(message.len() as u32);
        framed.put_slice(&message);
        sending.send_data(framed.freeze(), end).map_err(io::Error::other)?;
        let body = answer.await.map_err(io::Error::other)?.into_body();
        Ok(Messages { body, read: BytesMut::new(), _sending: sending })
    }
}

/// What comes back.
pub struct Messages {
    body: RecvStream,
    read: BytesMut,
    /// Dropped, it would end a stream that goes on.
    _sending: SendStream<Bytes>,
}

impl Messages {
    pub async fn next(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(mut head) = self.read.get(1..5) {
                let length = head.get_u32() as usize;
                if self.read.len() >= 5 + length {
                    self.read.advance(5);
                    return Ok(self.read.split_to(length).freeze());
                }
            }
            let data = self.body.data().await.ok_or(io::ErrorKind::UnexpectedEof)?.map_err(io::Error::other)?;
            self.body.flow_control().release_capacity(data.len()).map_err(io::Error::other)?;
            self.read.extend_from_slice(&data);
        }
    }
}

/// A field of bytes.
pub fn bytes(field: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | 2];
    put_varint(&mut out, value.len() as u64);
    out.extend_from_slice(value);
    out
}

/// A field that is a number.
pub fn number(field: u8, value: u64) -> Vec<u8> {
    let mut out = vec![field << 3];
    put_varint(&mut out, value);
    out
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint(message: &mut Bytes) -> u64 {
    let (mut value, mut shift) = (0, 0);
    while message.has_remaining() && shift < 64 {
        let byte = message.get_u8();
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
        shift += 7;
    }
    value
}

enum Value {
    Number(u64),
    Bytes(Bytes),
}

/// The fields of a message, as far as etcd uses them.
fn fields(message: &Bytes) -> Vec<(u64, Value)> {
    let (mut rest, mut found) = (message.clone(), Vec::new());
    while rest.has_remaining() {
        let tag = varint(&mut rest);
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut rest)),
            2 => {
                let length = varint(&mut rest) as usize;
                Value::Bytes(rest.split_to(length.min(rest.len())))
            }
            other => panic!("etcd sends no fields of the wire type {other}"),
        };
        found.push((tag >> 3, value));
    }
    found
}

/// How often a field of bytes is there.
pub fn count(message: &Bytes, field: u64) -> usize {
    fields(message).iter().filter(|(found, value)| *found == field && matches!(value, Value::Bytes(_))).count()
}

pub fn field(message: &Bytes, field: u64) -> Option<Bytes> {
    fields(message).into_iter().find_map(|(found, value)| match value {
        Value::Bytes(bytes) if found == field => Some(bytes),
        Value::Bytes(_) | Value::Number(_) => None,
    })
}

pub fn varint_field(message: &Bytes, field: u64) -> Option<u64> {
    fields(message).into_iter().find_map(|(found, value)| match value {
        Value::Number(number) if found == field => Some(number),
        Value::Bytes(_) | Value::Number(_) => None,
    })
}
