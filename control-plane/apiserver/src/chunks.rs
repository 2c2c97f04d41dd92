//! Bodies in pieces: a list is the concatenation of what the cache holds, put together as the client takes it, and
//! compressed on the way where the client wants that.

use bytes::{BufMut, Bytes, BytesMut};
use std::io::Write;

/// Small pieces are joined up to this size: as much as a TLS connection takes in a few records.
const CHUNK: usize = 64 << 10;
/// Pieces of this size are handed on as they are: copying them would cost more than a write of their own.
const SHARED: usize = 16 << 10;

/// The pieces of a body, made as they are taken.
pub(crate) struct Chunks {
    /// About how many bytes there are.
    pub size: usize,
    pieces: Box<dyn Iterator<Item = Bytes> + Send>,
}

impl Chunks {
    pub(crate) fn whole(body: Vec<u8>) -> Chunks {
        Chunks { size: body.len(), pieces: Box::new(std::iter::once(Bytes::from(body))) }
    }

    /// Joins pieces of any size into chunks.
    pub(crate) fn joined(size: usize, pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Chunks {
        Chunks { size, pieces: Box::new(Joined { pieces, buffer: BytesMut::new(), next: None }) }
    }

    /// Chunks that are written as they are taken: `fill` adds a little each time and says whether there is more.
    pub(crate) fn written(size: usize, fill: impl FnMut(&mut Vec<u8>) -> bool + Send + 'static) -> Chunks {
        Chunks { size, pieces: Box::new(Written { fill, size, over: false }) }
    }

    /// Whether it is worth sending in pieces.
    pub(crate) fn is_large(&self) -> bool {
        self.size > CHUNK
    }

    pub(crate) fn body(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size);
        self.pieces.for_each(|piece| out.extend_from_slice(&piece));
        out
    }

    /// The same, compressed.
    pub(crate) fn gzip(self) -> Chunks {
        let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        Chunks { size: self.size, pieces: Box::new(Gzip { pieces: self.pieces, encoder: Some(encoder) }) }
    }
}

impl Iterator for Chunks {
    type Item = Bytes;
    fn next(&mut self) -> Option<Bytes> {
        self.pieces.next()
    }
}

struct Written<F> {
    fill: F,
    size: usize,
    over: bool,
}

impl<F: FnMut(&mut Vec<u8>) -> bool> Iterator for Written<F> {
    type Item = Bytes;
    fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        let mut out = Vec::with_capacity(self.size.min(CHUNK + SHARED));
        while !self.over && out.len() < CHUNK {
            self.over = !(self.fill)(&mut out);
        }
        (!out.is_empty()).then(|| out.into())
    }
}

struct Joined<I> {
    pieces: I,
    buffer: BytesMut,
    /// A large piece that comes behind what is in the buffer.
    next: Option<Bytes>,
}

impl<I: Iterator<Item = Bytes>> Iterator for Joined<I> {
    type Item = Bytes;
    fn next(&mut self) -> Option<Bytes> {
        if let Some(piece) = self.next.take() {
            return Some(piece);
        }
        for piece in self.pieces.by_ref() {
            if piece.len() >= SHARED {
                if self.buffer.is_empty() {
                    return Some(piece);
                }
                self.next = Some(piece);
                return Some(self.buffer.split().freeze());
            }
            if self.buffer.capacity() == 0 {
                self.buffer.reserve(CHUNK + SHARED);
            }
            self.buffer.put_slice(&piece);
            if self.buffer.len() >= CHUNK {
                return Some(std::mem::take(&mut self.buffer).freeze());
            }
        }
        (!self.buffer.is_empty()).then(|| std::mem::take(&mut self.buffer).freeze())
    }
}

struct Gzip {
    pieces: Box<dyn Iterator<Item = Bytes> + Send>,
    /// Gone when the end is written.
    encoder: Option<flate2::write::GzEncoder<Vec<u8>>>,
}

impl Iterator for Gzip {
    type Item = Bytes;
    fn next(&mut self) -> Option<Bytes> {
        let mut encoder = self.encoder.take()?;
        for piece in self.pieces.by_ref() {
            // Writing to memory does not fail.
            let _ = encoder.write_all(&piece);
            if encoder.get_ref().len() >= SHARED {
                let ready = std::mem::take(encoder.get_mut());
                self.encoder = Some(encoder);
                return Some(ready.into());
            }
        }
        encoder.finish().ok().map(Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn pieces() -> Vec<Bytes> {
        let sizes = [1, 5, SHARED - 1, SHARED, 3, CHUNK, CHUNK + 1, 0, 7, SHARED / 2, 40_000, 40_000, 2];
        sizes.iter().enumerate().map(|(i, n)| Bytes::from(vec![i as u8; *n])).collect()
    }

    #[test]
    fn chunks_are_the_pieces_in_order() {
        let expected = pieces().concat();
        let chunks = Chunks::joined(expected.len(), pieces().into_iter());
        assert!(chunks.is_large());
        let got: Vec<Bytes> = chunks.collect::<Vec<_>>();
        assert!(got.iter().all(|c| !c.is_empty() && c.len() <= CHUNK + SHARED));
        assert_eq!(got.concat(), expected);
        assert_eq!(Chunks::joined(0, pieces().into_iter()).body(), expected);
        assert_eq!(Chunks::joined(0, std::iter::empty()).count(), 0);
    }

    #[test]
    fn chunks_are_written_as_they_are_taken() {
        let mut left = pieces().into_iter();
        let fill = move |out: &mut Vec<u8>| {
            left.next().is_some_and(|piece| {
                out.extend_from_slice(&piece);
                true
            })
        };
        let got: Vec<Bytes> = Chunks::written(0, fill).collect();
        assert!(got.len() > 1);
        assert_eq!(got.concat(), pieces().concat());
    }

    #[test]
    fn large_pieces_are_not_copied() {
        let piece = Bytes::from(vec![1; SHARED]);
        let got =
            Chunks::joined(0, vec![Bytes::from_static(b"a"), piece.clone()].into_iter()).nth(1).expect("a second");
        assert_eq!(got.as_ptr(), piece.as_ptr());
    }

    #[test]
    fn what_is_compressed_comes_back() {
        let expected: Vec<u8> = (0..300_000_u32).flat_map(|i| i.wrapping_mul(i).to_le_bytes()).collect();
        let source = expected.chunks(999).map(Bytes::copy_from_slice).collect::<Vec<_>>();
        let small = Chunks::joined(expected.len(), source.into_iter()).gzip().collect::<Vec<_>>();
        assert!(small.len() > 1, "it is compressed as it goes");
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(&*small.concat()).read_to_end(&mut back).expect("gzip");
        assert_eq!(back, expected);
    }
}
