//! What targets take that is more than bytes, for the harness that has no libFuzzer to make it.

/// Inputs that are more than bytes.
pub trait FromBytes<'a> {
    fn from_bytes(bytes: &'a [u8]) -> Self;
}

/// Pieces end where a byte is above 127.
impl FromBytes<'_> for Vec<Vec<u8>> {
    fn from_bytes(bytes: &[u8]) -> Self {
        bytes.split_inclusive(|b| *b > 127).map(<[u8]>::to_vec).collect()
    }
}

/// A number, and the halves of what text follows.
impl<'a> FromBytes<'a> for (i64, &'a str, &'a str) {
    fn from_bytes(bytes: &'a [u8]) -> Self {
        let (number, text) = bytes.split_at(bytes.len().min(8));
        let text = std::str::from_utf8(text).unwrap_or("");
        let (first, second) = text.split_once('/').unwrap_or((text, ""));
        (number.iter().fold(0, |n, byte| n << 8 | i64::from(*byte)), first, second)
    }
}
