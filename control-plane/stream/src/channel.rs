//! The WebSocket subprotocols `v4.channel.k8s.io` and `v5.channel.k8s.io` (KEP-4006): each message begins with the number
//! of its channel. Version 5 can also close one channel.

use bytes::Bytes;

pub const V4: &str = "v4.channel.k8s.io";
pub const V5: &str = "v5.channel.k8s.io";
/// SPDY/3.1 frames as the messages of a WebSocket: how kubectl forwards ports.
pub const PORT_FORWARD_TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// What a channel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Stdin,
    Stdout,
    Stderr,
    /// How the command ended, once, as a `Status`.
    Error,
    /// New sizes of the terminal, as JSON.
    Resize,
}

const CLOSE: u8 = 255;

impl Channel {
    pub fn number(self) -> u8 {
        match self {
            Channel::Stdin => 0,
            Channel::Stdout => 1,
            Channel::Stderr => 2,
            Channel::Error => 3,
            Channel::Resize => 4,
        }
    }

    fn from_number(number: u8) -> Option<Channel> {
        Some(match number {
            0 => Channel::Stdin,
            1 => Channel::Stdout,
            2 => Channel::Stderr,
            3 => Channel::Error,
            4 => Channel::Resize,
            _ => return None,
        })
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Data(Channel, Bytes),
    /// Version 5: the sender will write no more to this channel.
    Close(Channel),
}

/// A message that means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("a message without a channel")]
    Empty,
    #[error("there is no channel {0}")]
    NoSuchChannel(u8),
}

/// Reads a binary message of either version. An empty one of a channel is valid: clients open channels with it.
pub fn decode(message: &Bytes) -> Result<Message, Malformed> {
    let (&first, rest) = message.split_first().ok_or(Malformed::Empty)?;
    if first == CLOSE {
        let &number = rest.first().ok_or(Malformed::Empty)?;
        return Channel::from_number(number).map(Message::Close).ok_or(Malformed::NoSuchChannel(number));
    }
    let channel = Channel::from_number(first).ok_or(Malformed::NoSuchChannel(first))?;
    Ok(Message::Data(channel, message.slice(1..)))
}

/// Writes a message.
pub fn encode(message: &Message) -> Bytes {
    match message {
        Message::Data(channel, data) => [&[channel.number()], &data[..]].concat().into(),
        Message::Close(channel) => vec![CLOSE, channel.number()].into(),
    }
}

/// The `Status` that ends a command, as the error channel carries it.
pub fn exit_status(code: i32) -> String {
    if code == 0 {
        return r#"{"metadata":{},"status":"Success"}"#.into();
    }
    format!(
        r#"{{"metadata":{{}},"status":"Failure","message":"command terminated with non-zero exit code: exit status {code}","reason":"NonZeroExitCode","details":{{"causes":[{{"reason":"ExitCode","message":"{code}"}}]}}}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_there_and_back() {
        for (message, bytes) in [
            (Message::Data(Channel::Stdin, Bytes::from_static(b"hi")), &b"\x00hi"[..]),
            (Message::Data(Channel::Stderr, Bytes::new()), b"\x02"),
            (Message::Close(Channel::Stdin), b"\xff\x00"),
        ] {
            assert_eq!(encode(&message), bytes);
            assert_eq!(decode(&Bytes::copy_from_slice(bytes)), Ok(message));
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        assert_eq!(decode(&Bytes::new()), Err(Malformed::Empty));
        assert_eq!(decode(&Bytes::from_static(b"\xff")), Err(Malformed::Empty));
        assert_eq!(decode(&Bytes::from_static(b"\x09x")), Err(Malformed::NoSuchChannel(9)));
    }
}
