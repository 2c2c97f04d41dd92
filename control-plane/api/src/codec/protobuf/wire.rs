//! The wire format itself: fields read one after the other, and written from the end to the front so that the length of
//! a message is known when it is written.

use super::super::DecodeError;

/// The wire types of numbers and of everything with a length.
pub(super) const NUMBER: u8 = 0;
pub(super) const FIXED64: u8 = 1;
pub(super) const LENGTH: u8 = 2;

/// One value as it stands on the wire.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wire<'a> {
    Number(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

/// The fields of a message, one after the other.
pub(super) struct Parts<'a> {
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(super) fn of(rest: &'a [u8]) -> Parts<'a> {
        Parts { rest }
    }

    fn part(&mut self) -> Result<(u32, Wire<'a>), DecodeError> {
        let tag = varint(&mut self.rest)?;
        let number = u32::try_from(tag >> 3).map_err(|_| truncated())?;
        let wire = match tag & 7 {
            0 => Wire::Number(varint(&mut self.rest)?),
            1 => {
                let (bits, rest) = self.rest.split_first_chunk().ok_or_else(truncated)?;
                self.rest = rest;
                Wire::Fixed64(u64::from_le_bytes(*bits))
            }
            2 => {
                let length = usize::try_from(varint(&mut self.rest)?).map_err(|_| truncated())?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or_else(truncated)?;
                self.rest = rest;
                Wire::Bytes(bytes)
            }
            5 => {
                let (_, rest) = self.rest.split_first_chunk::<4>().ok_or_else(truncated)?;
                self.rest = rest;
                Wire::Fixed32
            }
            other => return Err(DecodeError::new(0, format!("proto: illegal wireType {other}"))),
        };
        Ok((number, wire))
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<(u32, Wire<'a>), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let part = self.part();
        if part.is_err() {
            self.rest = &[];
        }
        Some(part)
    }
}

pub(super) fn truncated() -> DecodeError {
    DecodeError::new(0, "unexpected EOF")
}

pub(super) fn varint(input: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut out = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first().ok_or_else(truncated)?;
        *input = rest;
        out |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(out);
        }
    }
    Err(DecodeError::new(0, "proto: integer overflow"))
}

/// Bytes written from the last to the first.
pub struct Backward {
    bytes: Vec<u8>,
    /// Where what was written begins.
    at: usize,
}

impl Backward {
    /// `capacity` is a guess: more room is made as it is needed.
    pub fn with_capacity(capacity: usize) -> Backward {
        Backward { bytes: vec![0; capacity], at: capacity }
    }

    /// The bytes that are written.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts bytes before what is written.
    pub fn prepend(&mut self, bytes: &[u8]) {
        if self.at < bytes.len() {
            self.grow(bytes.len());
        }
        self.at -= bytes.len();
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
    }

    /// Makes room in front: at least as much again as there is.
    fn grow(&mut self, needed: usize) {
        let more = needed.max(self.bytes.len()).max(64);
        let mut bytes = vec![0; self.bytes.len() + more];
        bytes[self.at + more..].copy_from_slice(&self.bytes[self.at..]);
        self.bytes = bytes;
        self.at += more;
    }

    /// A number of as many bytes as it needs.
    pub fn varint(&mut self, mut number: u64) {
        let (mut text, mut length) = ([0u8; 10], 0);
        while number >= 0x80 {
            text[length] = (number & 0x7f) as u8 | 0x80;
            number >>= 7;
            length += 1;
        }
        text[length] = number as u8;
        self.prepend(&text[..=length]);
    }

    /// What stands before a field's value.
    pub fn tag(&mut self, number: u32, wire: u8) {
        self.varint(u64::from(number) << 3 | u64::from(wire));
    }

    /// A field that is a number.
    pub fn number(&mut self, field: u32, number: u64) {
        self.varint(number);
        self.tag(field, NUMBER);
    }

    /// A field that is a double.
    pub fn double(&mut self, field: u32, value: f64) {
        self.prepend(&value.to_bits().to_le_bytes());
        self.tag(field, FIXED64);
    }

    /// A field that is text or bytes.
    pub fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.prepend(bytes);
        self.varint(bytes.len() as u64);
        self.tag(field, LENGTH);
    }

    /// A field with what `write` prepends.
    pub fn message<T>(&mut self, field: u32, write: impl FnOnce(&mut Backward) -> T) -> T {
        let before = self.len();
        let done = write(self);
        let length = self.len() - before;
        self.varint(length as u64);
        self.tag(field, LENGTH);
        done
    }

    /// What was written.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.drain(..self.at);
        self.bytes
    }
}
