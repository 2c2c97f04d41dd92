//! The protocols of exec, attach and port-forward whose messages go to numbered channels, as upstream names them: over SPDY
//! a stream stands for each channel, over WebSocket each message begins with its channel.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

pub const V1: &str = "channel.k8s.io";
pub const V2: &str = "v2.channel.k8s.io";
pub const V3: &str = "v3.channel.k8s.io";
pub const V4: &str = "v4.channel.k8s.io";
/// KEP-4006: one channel can be closed.
pub const V5: &str = "v5.channel.k8s.io";
pub const V1_BASE64: &str = "base64.channel.k8s.io";
pub const V4_BASE64: &str = "v4.base64.channel.k8s.io";
/// What a WebSocket client that names no protocol speaks: [`V1`].
pub const UNNAMED: &str = "";
/// SPDY/3.1 frames as the messages of a WebSocket: how kubectl forwards ports.
pub const PORT_FORWARD_TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// How a protocol differs from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// Of a WebSocket's messages.
    pub framing: Framing,
    /// Whether the end is told as a `Status`, or a failure as a line of text and success as nothing.
    pub status: bool,
    /// Whether a SPDY client opens a stream for the sizes of its terminal. Over WebSocket each version has them.
    pub resize: bool,
    /// Whether the client can close one channel.
    pub close: bool,
}

impl Dialect {
    pub fn of(protocol: &str) -> Dialect {
        let framing = if matches!(protocol, V1_BASE64 | V4_BASE64) { Framing::Base64 } else { Framing::Binary };
        Dialect {
            framing,
            status: matches!(protocol, V4 | V4_BASE64 | V5),
            resize: matches!(protocol, V3 | V4 | V5),
            close: protocol == V5,
        }
    }
}

/// How a message of a WebSocket names its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The number as a byte, then the data.
    Binary,
    /// The number as a digit, then the data in base64: for clients that can only send text.
    Base64,
}

impl Framing {
    /// The number and the data of a message.
    pub fn split(self, message: &Bytes) -> Result<(u8, Bytes), Malformed> {
        let (&first, rest) = message.split_first().ok_or(Malformed::Empty)?;
        match self {
            Framing::Binary => Ok((first, message.slice(1..))),
            Framing::Base64 => {
                let number = first.checked_sub(b'0').ok_or(Malformed::NoSuchChannel(first))?;
                Ok((number, STANDARD.decode(rest).map_err(|_| Malformed::NoBase64)?.into()))
            }
        }
    }

    /// A message: text in base64, bytes else.
    pub fn join(self, number: u8, data: &[u8]) -> Bytes {
        match self {
            Framing::Binary => [&[number], data].concat().into(),
            Framing::Base64 => {
                let mut text = String::with_capacity(1 + data.len().div_ceil(3) * 4);
                text.push(char::from(number.wrapping_add(b'0')));
                STANDARD.encode_string(data, &mut text);
                text.into()
            }
        }
    }
}

/// What a channel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Stdin,
    Stdout,
    Stderr,
    /// How the command ended, once.
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
    #[error("a message that is no base64")]
    NoBase64,
}

/// Reads a message. An empty one of a channel is valid: clients open channels with it.
pub fn decode(message: &Bytes, framing: Framing) -> Result<Message, Malformed> {
    let (number, data) = framing.split(message)?;
    if number == CLOSE && framing == Framing::Binary {
        let &number = data.first().ok_or(Malformed::Empty)?;
        return Channel::from_number(number).map(Message::Close).ok_or(Malformed::NoSuchChannel(number));
    }
    let channel = Channel::from_number(number).ok_or(Malformed::NoSuchChannel(number))?;
    Ok(Message::Data(channel, data))
}

/// Writes a message.
pub fn encode(message: &Message, framing: Framing) -> Bytes {
    match message {
        Message::Data(channel, data) => framing.join(channel.number(), data),
        Message::Close(channel) => framing.join(CLOSE, &[channel.number()]),
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    Exit(i32),
    /// It could not be run, or not be followed to its end: what went wrong.
    Failed(String),
}

impl Ending {
    /// What the error channel carries, in upstream's words; nothing after success in protocols without a `Status`.
    pub fn told(&self, dialect: Dialect) -> String {
        match (dialect.status, self) {
            (true, Ending::Exit(0)) => r#"{"metadata":{},"status":"Success"}"#.into(),
            (true, Ending::Exit(code)) => format!(
                r#"{{"metadata":{{}},"status":"Failure","message":{},"reason":"NonZeroExitCode","details":{{"causes":[{{"reason":"ExitCode","message":"{code}"}}]}}}}"#,
                quoted(&self.text())
            ),
            (true, Ending::Failed(what)) => format!(
                r#"{{"metadata":{{}},"status":"Failure","message":{},"reason":"InternalError","details":{{"causes":[{{"message":{}}}]}},"code":500}}"#,
                quoted(&self.text()),
                quoted(what)
            ),
            (false, _) => self.text(),
        }
    }

    fn text(&self) -> String {
        match self {
            Ending::Exit(0) => String::new(),
            Ending::Exit(code) => format!("command terminated with non-zero exit code: exit status {code}"),
            Ending::Failed(what) => format!("Internal error occurred: {what}"),
        }
    }
}

/// Text as JSON has it (RFC 8259, 7).
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_there_and_back() {
        for (message, bytes, text) in [
            (Message::Data(Channel::Stdin, Bytes::from_static(b"hi")), &b"\x00hi"[..], &b"0aGk="[..]),
            (Message::Data(Channel::Stderr, Bytes::new()), b"\x02", b"2"),
        ] {
            for (framing, wire) in [(Framing::Binary, bytes), (Framing::Base64, text)] {
                assert_eq!(encode(&message, framing), wire);
                assert_eq!(decode(&Bytes::copy_from_slice(wire), framing), Ok(message.clone()));
            }
        }
        let close = Message::Close(Channel::Stdin);
        assert_eq!(encode(&close, Framing::Binary), &b"\xff\x00"[..]);
        assert_eq!(decode(&Bytes::from_static(b"\xff\x00"), Framing::Binary), Ok(close));
    }

    #[test]
    fn nonsense_is_an_error() {
        for (framing, wire, error) in [
            (Framing::Binary, &b""[..], Malformed::Empty),
            (Framing::Binary, b"\xff", Malformed::Empty),
            (Framing::Binary, b"\x09x", Malformed::NoSuchChannel(9)),
            (Framing::Base64, b"", Malformed::Empty),
            (Framing::Base64, b"\x00", Malformed::NoSuchChannel(0)),
            (Framing::Base64, b"9aGk=", Malformed::NoSuchChannel(9)),
            (Framing::Base64, b"1a*", Malformed::NoBase64),
        ] {
            assert_eq!(decode(&Bytes::from_static(wire), framing), Err(error), "{wire:?}");
        }
    }

    #[test]
    fn an_ending_is_told_in_each_dialect() {
        let failed = Ending::Failed("no \"x\"\n".into());
        for (ending, protocol, told) in [
            (Ending::Exit(0), V4, r#"{"metadata":{},"status":"Success"}"#),
            (Ending::Exit(0), V3, ""),
            (Ending::Exit(0), UNNAMED, ""),
            (Ending::Exit(2), V1_BASE64, "command terminated with non-zero exit code: exit status 2"),
            (
                Ending::Exit(2),
                V5,
                r#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: exit status 2","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"2"}]}}"#,
            ),
            (failed.clone(), V2, "Internal error occurred: no \"x\"\n"),
            (
                failed,
                V4_BASE64,
                r#"{"metadata":{},"status":"Failure","message":"Internal error occurred: no \"x\"\u000a","reason":"InternalError","details":{"causes":[{"message":"no \"x\"\u000a"}]},"code":500}"#,
            ),
        ] {
            assert_eq!(ending.told(Dialect::of(protocol)), told, "{protocol}");
        }
    }
}
