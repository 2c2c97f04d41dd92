//! WebSocket frames (RFC 6455), the server's side.

use base64::Engine;
use bytes::{BufMut, Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest message that is read. Clients send input and SPDY frames of at most 64 KiB.
const MESSAGE_LIMIT: usize = 1024 * 1024;

/// The answer to a client's key.
pub fn accept(key: &[u8]) -> String {
    let mut text = key.to_vec();
    text.extend_from_slice(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &text);
    base64::engine::general_purpose::STANDARD.encode(digest.as_ref())
}

#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    Data(Bytes),
    Ping(Bytes),
    Pong,
    Close,
}

/// Reads the next message. `None` when the client has left.
pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Message>> {
    let mut whole = BytesMut::new();
    loop {
        let first = match from.read_u8().await {
            Ok(first) => first,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        };
        let second = from.read_u8().await?;
        let length = match second & 0x7f {
            126 => usize::from(from.read_u16().await?),
            127 => usize::try_from(from.read_u64().await?).unwrap_or(usize::MAX),
            short => usize::from(short),
        };
        if second & 0x80 == 0 {
            return Err(io::Error::other("a client's frame is not masked"));
        }
        if length > MESSAGE_LIMIT || whole.len() + length > MESSAGE_LIMIT {
            return Err(io::Error::other("a message is longer than is read"));
        }
        let mut mask = [0u8; 4];
        from.read_exact(&mut mask).await?;
        let mut payload = vec![0u8; length];
        from.read_exact(&mut payload).await?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        match first & 0x0f {
            0..=2 => {
                whole.extend_from_slice(&payload);
                if first & 0x80 != 0 {
                    return Ok(Some(Message::Data(whole.freeze())));
                }
            }
            8 => return Ok(Some(Message::Close)),
            9 => return Ok(Some(Message::Ping(payload.into()))),
            10 => return Ok(Some(Message::Pong)),
            _ => return Err(io::Error::other("a frame of an unknown kind")),
        }
    }
}

/// A message as one frame.
pub fn encode(message: &Message) -> Bytes {
    let (kind, payload): (u8, &[u8]) = match message {
        Message::Data(data) => (2, data),
        Message::Ping(data) => (9, data),
        Message::Pong => (10, &[]),
        // 1000: all is well.
        Message::Close => (8, &[0x03, 0xe8]),
    };
    let mut frame = BytesMut::with_capacity(payload.len() + 10);
    frame.put_u8(0x80 | kind);
    match payload.len() {
        length @ 0..126 => frame.put_u8(length as u8),
        length @ 126..=0xffff => {
            frame.put_u8(126);
            frame.put_u16(length as u16);
        }
        length => {
            frame.put_u8(127);
            frame.put_u64(length as u64);
        }
    }
    frame.put_slice(payload);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_rfc_gets_its_answer() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[tokio::test]
    async fn fragments_are_joined_and_unmasked_frames_refused() {
        let frame = |first: u8, text: &[u8]| [&[first, 0x80 | text.len() as u8, 0, 0, 0, 0], text].concat();
        let mut bytes = frame(0x02, b"ab");
        bytes.extend(frame(0x80, b"cd"));
        bytes.extend(frame(0x89, b"p"));
        bytes.extend([0x82, 1, b'x']);
        let mut from = &bytes[..];
        assert_eq!(read(&mut from).await.expect("read"), Some(Message::Data(Bytes::from_static(b"abcd"))));
        assert_eq!(read(&mut from).await.expect("read"), Some(Message::Ping(Bytes::from_static(b"p"))));
        assert!(read(&mut from).await.is_err());
        assert_eq!(read(&mut &b""[..]).await.expect("read"), None);
    }
}
