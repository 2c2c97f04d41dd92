//! The formats of strings and numbers that schemas may ask for. Others are no check at all.

use super::{Structural, Ty};
use crate::names;
use crate::value::Value;
use regex::Regex;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

/// The formats of strings that are checked, without the dashes that they may be written with.
const KNOWN: &[&str] = &[
    "bsonobjectid",
    "byte",
    "cidr",
    "creditcard",
    "date",
    "datetime",
    "duration",
    "email",
    "hexcolor",
    "hostname",
    "ipv4",
    "ipv6",
    "isbn",
    "isbn10",
    "isbn13",
    "k8slongname",
    "k8sshortname",
    "mac",
    "password",
    "rgbcolor",
    "ssn",
    "uri",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
];
/// Formats of numbers.
const NUMERIC: &[&str] = &["int32", "int64", "float", "double"];

/// Whether text is checked for a format.
pub fn is_known(format: &str) -> bool {
    KNOWN.contains(&format.replace('-', "").as_str())
}

/// Whether a format means anything to the server, be it for text or numbers.
pub(crate) fn is_recognized(format: &str) -> bool {
    is_known(format) || NUMERIC.contains(&format)
}

macro_rules! patterns {
    ($($name:ident = $pattern:literal;)*) => {
        $(static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($pattern).expect("a pattern of our own"));)*
    };
}

patterns! {
    BSON = "^[0-9a-fA-F]{24}$";
    UUID = "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$";
    UUID3 = "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$";
    UUID4 = "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$";
    UUID5 = "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?5[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$";
    HEX_COLOR = "^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$";
    RGB_COLOR = r"^rgb\(\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*\)$";
    SSN = r"^\d{3}[- ]?\d{2}[- ]?\d{4}$";
    CARD = r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11})$";
    HOST = r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$";
    MAC = r"^(([0-9a-fA-F]{2}[:-]){5}|([0-9a-fA-F]{2}[:-]){7}|([0-9a-fA-F]{2}[:-]){19})[0-9a-fA-F]{2}$|^([0-9a-fA-F]{4}\.){2}([0-9a-fA-F]{4}(\.[0-9a-fA-F]{4}(\.[0-9a-fA-F]{4}){6})?)?[0-9a-fA-F]{0,4}$";
    TIME = r"^(\d{4})-(\d{2})-(\d{2})[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:?\d{2})$";
    EMAIL = r#"^(?:[^<>@\s]+|"[^"]*")@(?:[^<>@\s.]+(?:\.[^<>@\s.]+)*|\[[^\]]*\])$|^[^<>]*<[^<>@\s]+@[^<>@\s]+>$"#;
    SPAN = r"^\s*-?(\d+(\.\d+)?\s*(ns|nano|nanos|nanoseconds?|us|µs|micro|micros|microseconds?|ms|milli|millis|milliseconds?|s|sec|secs|seconds?|m|min|mins|minutes?|h|hr|hrs|hours?|d|days?|w|weeks?)\s*)+$";
}

/// Whether text has a format.
pub(super) fn fits(format: &str, text: &str) -> bool {
    match format.replace('-', "").as_str() {
        "bsonobjectid" => BSON.is_match(text),
        "byte" => base64(text),
        "cidr" => cidr(text),
        "creditcard" => {
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            CARD.is_match(&digits) && luhn(&digits)
        }
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "datetime" => TIME.is_match(text) && text.replace(' ', "T").parse::<jiff::Timestamp>().is_ok(),
        "duration" => text == "0" || SPAN.is_match(text),
        "email" => EMAIL.is_match(text),
        "hexcolor" => HEX_COLOR.is_match(text),
        "hostname" => text.len() <= 255 && HOST.is_match(text) && text.split('.').all(|part| part.len() <= 63),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "isbn" => isbn10(text) || isbn13(text),
        "isbn10" => isbn10(text),
        "isbn13" => isbn13(text),
        "k8slongname" => names::dns1123_subdomain(text).is_empty(),
        "k8sshortname" => names::dns1123_label(text).is_empty(),
        "mac" => MAC.is_match(text),
        "rgbcolor" => RGB_COLOR.is_match(text),
        "ssn" => SSN.is_match(text),
        "uri" => uri(text),
        "uuid" => UUID.is_match(text),
        "uuid3" => UUID3.is_match(text),
        "uuid4" => UUID4.is_match(text),
        "uuid5" => UUID5.is_match(text),
        _ => true,
    }
}

fn base64(text: &str) -> bool {
    use base64::Engine;
    let plain: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    base64::engine::general_purpose::STANDARD.decode(plain).is_ok()
}

fn cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let plain = length.bytes().all(|b| b.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
    let Ok(length) = length.parse::<u8>() else { return false };
    let four = address.parse::<Ipv4Addr>().is_ok() && length <= 32;
    plain && (four || (address.parse::<Ipv6Addr>().is_ok() && length <= 128))
}

/// A reference with a scheme, or an absolute path.
fn uri(text: &str) -> bool {
    let odd = text.bytes().any(|b| b <= b' ' || b == 0x7f);
    let scheme = text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    });
    !odd && (scheme || text.starts_with('/'))
}

fn luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(i, b)| {
            let digit = u32::from(b - b'0') * if i % 2 == 1 { 2 } else { 1 };
            if digit > 9 { digit - 9 } else { digit }
        })
        .sum();
    sum.is_multiple_of(10)
}

fn isbn10(text: &str) -> bool {
    let digits: Vec<char> = text.chars().filter(|c| !matches!(c, '-' | ' ')).collect();
    let value = |(i, c): (usize, &char)| match c {
        'X' if i == 9 => Some(10),
        c => c.to_digit(10),
    };
    let values: Option<Vec<u32>> = digits.iter().enumerate().map(value).collect();
    let weighted = |v: Vec<u32>| v.iter().zip(1..).map(|(d, weight): (&u32, u32)| d * weight).sum::<u32>();
    digits.len() == 10 && values.is_some_and(|v| weighted(v) % 11 == 0)
}

fn isbn13(text: &str) -> bool {
    let digits: Option<Vec<u32>> = text.chars().filter(|c| !matches!(c, '-' | ' ')).map(|c| c.to_digit(10)).collect();
    let weighted = |v: &[u32]| v.iter().enumerate().map(|(i, d)| d * if i % 2 == 0 { 1 } else { 3 }).sum::<u32>();
    digits.is_some_and(|v| v.len() == 13 && weighted(&v) % 10 == 0)
}

/// The type whose format does not hold a number.
pub(super) fn overflow(schema: &Structural, value: &Value) -> Option<&'static str> {
    let small = match value {
        Value::Int(i) => i32::try_from(*i).is_ok(),
        Value::Float(f) => f.abs() <= f64::from(i32::MAX),
        _ => true,
    };
    let single = super::number::float(value).is_none_or(|f| f.abs() <= f64::from(f32::MAX));
    match (schema.ty, schema.checks.format.as_str()) {
        (Some(Ty::Integer), "int32") if !small => Some("integer"),
        (Some(Ty::Number), "float") if !single => Some("number"),
        _ => None,
    }
}
