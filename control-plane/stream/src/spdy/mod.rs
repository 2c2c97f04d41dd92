//! SPDY/3.1 frames (draft-mbelshe-httpbis-spdy-00), as Kubernetes uses them: several byte streams over one connection.
//! Neither side of Kubernetes honours flow control, so its frames are read and nothing more.

mod headers;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use headers::{Deflater, Inflater};

pub use headers::Headers;

const VERSION: u16 = 3;
const FLAG_FIN: u8 = 1;
const HEAD: usize = 8;

/// The longest control frame that is read: headers of streams here have a few names.
const LARGEST_CONTROL: usize = 64 << 10;
/// The longest data frame that is read. Senders cut at 32 KiB or less; the format allows 16 MiB.
const LARGEST_DATA: usize = 1 << 20;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    SynStream {
        stream: u32,
        fin: bool,
        headers: Headers,
    },
    SynReply {
        stream: u32,
        fin: bool,
        headers: Headers,
    },
    Reset {
        stream: u32,
        status: u32,
    },
    Ping(u32),
    GoAway {
        last_stream: u32,
    },
    Headers {
        stream: u32,
        fin: bool,
        headers: Headers,
    },
    Data {
        stream: u32,
        fin: bool,
        data: Bytes,
    },
    /// SETTINGS and WINDOW_UPDATE, which mean nothing here.
    Other,
}

/// What ends a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("a frame of SPDY version {0}; only version 3 is spoken here")]
    Version(u16),
    #[error("a frame of {0} bytes, which is more than is read")]
    TooLong(usize),
    #[error("a malformed {0} frame")]
    Malformed(&'static str),
    #[error("headers that cannot be decompressed")]
    Compression,
}

/// Cuts a byte stream into frames. Headers of one direction share a compression state, so frames must come in order.
#[derive(Default)]
pub struct Decoder {
    buffer: BytesMut,
    inflater: Inflater,
}

impl Decoder {
    /// Takes in what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, `None` if more bytes are needed. After an error the connection is of no more use.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Error> {
        let Some(head) = self.buffer.first_chunk::<HEAD>() else { return Ok(None) };
        let word = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let (flags, len) = (head[4], u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize);
        let control = word >> 31 == 1;
        if len > if control { LARGEST_CONTROL } else { LARGEST_DATA } {
            return Err(Error::TooLong(len));
        }
        if self.buffer.len() < HEAD + len {
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        let body = self.buffer.split_to(len).freeze();
        let fin = flags & FLAG_FIN != 0;
        if !control {
            return Ok(Some(Frame::Data { stream: word, fin, data: body }));
        }
        let version = u16::try_from((word >> 16) & 0x7fff).unwrap_or(0);
        if version != VERSION {
            return Err(Error::Version(version));
        }
        self.control(word & 0xffff, fin, body).map(Some)
    }

    fn control(&mut self, kind: u32, fin: bool, mut body: Bytes) -> Result<Frame, Error> {
        let need = |body: &Bytes, n: usize, name| if body.len() < n { Err(Error::Malformed(name)) } else { Ok(()) };
        Ok(match kind {
            1 => {
                need(&body, 10, "SYN_STREAM")?;
                let stream = body.get_u32() & 0x7fff_ffff;
                // The stream that it belongs to, its priority and its credential slot.
                body.advance(6);
                Frame::SynStream { stream, fin, headers: self.inflater.headers(&body)? }
            }
            2 => {
                need(&body, 4, "SYN_REPLY")?;
                let stream = body.get_u32() & 0x7fff_ffff;
                Frame::SynReply { stream, fin, headers: self.inflater.headers(&body)? }
            }
            3 => {
                need(&body, 8, "RST_STREAM")?;
                Frame::Reset { stream: body.get_u32() & 0x7fff_ffff, status: body.get_u32() }
            }
            6 => {
                need(&body, 4, "PING")?;
                Frame::Ping(body.get_u32())
            }
            7 => {
                need(&body, 4, "GOAWAY")?;
                Frame::GoAway { last_stream: body.get_u32() & 0x7fff_ffff }
            }
            8 => {
                need(&body, 4, "HEADERS")?;
                let stream = body.get_u32() & 0x7fff_ffff;
                Frame::Headers { stream, fin, headers: self.inflater.headers(&body)? }
            }
            4 | 9 => Frame::Other,
            _ => return Err(Error::Malformed("unknown")),
        })
    }
}

/// Writes frames.
#[derive(Default)]
pub struct Encoder {
    deflater: Deflater,
}

impl Encoder {
    /// Appends a frame. Data longer than a receiver reads is cut into several.
    pub fn encode(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), Error> {
        match frame {
            Frame::SynStream { stream, fin, headers } => {
                let block = self.deflater.headers(headers)?;
                control(out, 1, *fin, 10 + block.len());
                out.put_u32(*stream);
                out.put_bytes(0, 6);
                out.put_slice(&block);
            }
            Frame::SynReply { stream, fin, headers } => self.with_headers(out, 2, *stream, *fin, headers)?,
            Frame::Headers { stream, fin, headers } => self.with_headers(out, 8, *stream, *fin, headers)?,
            Frame::Reset { stream, status } => {
                control(out, 3, false, 8);
                out.put_u32(*stream);
                out.put_u32(*status);
            }
            Frame::Ping(id) => {
                control(out, 6, false, 4);
                out.put_u32(*id);
            }
            Frame::GoAway { last_stream } => {
                control(out, 7, false, 8);
                out.put_u32(*last_stream);
                out.put_u32(0);
            }
            Frame::Data { stream, fin, data } => put_data(out, *stream, *fin, data),
            Frame::Other => {}
        }
        Ok(())
    }

    fn with_headers(
        &mut self,
        out: &mut BytesMut,
        kind: u16,
        stream: u32,
        fin: bool,
        headers: &Headers,
    ) -> Result<(), Error> {
        let block = self.deflater.headers(headers)?;
        control(out, kind, fin, 4 + block.len());
        out.put_u32(stream);
        out.put_slice(&block);
        Ok(())
    }
}

fn control(out: &mut BytesMut, kind: u16, fin: bool, len: usize) {
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    put_length(out, fin, len);
}

fn put_length(out: &mut BytesMut, fin: bool, len: usize) {
    out.put_u8(if fin { FLAG_FIN } else { 0 });
    out.put_uint(len as u64, 3);
}

fn put_data(out: &mut BytesMut, stream: u32, fin: bool, data: &Bytes) {
    const PIECE: usize = 32 << 10;
    let mut rest = data.clone();
    loop {
        let piece = rest.split_to(rest.len().min(PIECE));
        out.put_u32(stream & 0x7fff_ffff);
        put_length(out, fin && rest.is_empty(), piece.len());
        out.put_slice(&piece);
        if rest.is_empty() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn round_trip(frames: &[Frame], cut: usize) -> Vec<Frame> {
        let (mut encoder, mut decoder, mut out) = (Encoder::default(), Decoder::default(), BytesMut::new());
        frames.iter().for_each(|f| encoder.encode(f, &mut out).expect("encoded"));
        let mut seen = Vec::new();
        for piece in out.chunks(cut) {
            decoder.push(piece);
            while let Some(frame) = decoder.next_frame().expect("decoded") {
                seen.push(frame);
            }
        }
        seen
    }

    #[test]
    fn frames_survive_any_cut() {
        let frames = [
            Frame::SynStream { stream: 1, fin: false, headers: headers(&[("streamtype", "data"), ("port", "8080")]) },
            Frame::SynReply { stream: 1, fin: false, headers: headers(&[]) },
            Frame::Data { stream: 1, fin: true, data: Bytes::from_static(b"hello") },
            Frame::SynStream { stream: 3, fin: true, headers: headers(&[("streamtype", "error"), ("port", "8080")]) },
            Frame::Ping(7),
            Frame::Reset { stream: 3, status: 5 },
            Frame::GoAway { last_stream: 3 },
        ];
        for cut in [1, 7, 4096] {
            assert_eq!(round_trip(&frames, cut), frames, "cut at {cut}");
        }
    }

    #[test]
    fn long_data_is_cut_and_only_its_end_is_the_end() {
        let data = Frame::Data { stream: 5, fin: true, data: vec![7; 70_000].into() };
        let fins: Vec<bool> =
            round_trip(&[data], 1000).into_iter().map(|f| matches!(f, Frame::Data { fin: true, .. })).collect();
        assert_eq!(fins, [false, false, true]);
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_before_it_is_read() {
        let mut decoder = Decoder::default();
        decoder.push(&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff]);
        assert_eq!(decoder.next_frame(), Err(Error::TooLong(0xff_ffff)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }

        #[test]
        fn no_header_block_makes_it_panic(block in proptest::collection::vec(any::<u8>(), 0..500)) {
            let mut decoder = Decoder::default();
            let len = u16::try_from(block.len() + 4).expect("short");
            decoder.push(&[0x80, 3, 0, 2, 0, 0, (len >> 8) as u8, len as u8, 0, 0, 0, 1]);
            decoder.push(&block);
            let _ = decoder.next_frame();
        }
    }
}
