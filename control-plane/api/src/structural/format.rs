//! The formats of strings and numbers that schemas may ask for. Others are no check at all.

use super::Ty;
use crate::names;
use regex::Regex;
use std::net::Ipv6Addr;
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
/// Whether text is checked for a format.
pub fn is_known(format: &str) -> bool {
    KNOWN.contains(&format.replace('-', "").as_str())
}

/// Whether a format means anything for values of a type; where no type is said, formats of texts do.
pub(crate) fn is_recognized(ty: Option<Ty>, format: &str) -> bool {
    match ty {
        None | Some(Ty::String) => is_known(format),
        Some(Ty::Integer) => matches!(format, "int32" | "int64"),
        Some(Ty::Number) => matches!(format, "float" | "double"),
        Some(Ty::Object | Ty::Array | Ty::Boolean) => false,
    }
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
    SSN = r"^\d{3}[- ]\d{2}[- ]\d{4}$";
    CARD = r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11})$";
    HOST = r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$";
    TIME = r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:[0-5]\d([.,]\d+)?([Zz]|[+-]\d{2}:\d{2})$";
    BYTE = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$";
    EMAIL = r##"^\s*(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x{80}-\x{10FFFF}-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x{80}-\x{10FFFF}-]+)*|"(?:[^"\\]|\\.)*")@(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x{80}-\x{10FFFF}-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x{80}-\x{10FFFF}-]+)*|\[[^\[\]]*\])\s*(?:\([^()]*\)\s*)*$"##;
    NAMED_EMAIL = r##"^(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x{80}-\x{10FFFF}.\s-]|"(?:[^"\\]|\\.)*")*<\s*(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x{80}-\x{10FFFF}-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x{80}-\x{10FFFF}-]+)*|"(?:[^"\\]|\\.)*")@(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x{80}-\x{10FFFF}-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x{80}-\x{10FFFF}-]+)*|\[[^\[\]]*\])\s*>\s*$"##;
    GO_SPAN = r"^[-+]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)$";
    SPAN = r"(?i)(\d+)\s*([a-zµ]+)";
    MAC = "^(?:[0-9a-fA-F]{12}|[0-9a-fA-F]{16}|[0-9a-fA-F]{40})$";
}

/// Whether text has a format.
pub(super) fn fits(format: &str, text: &str) -> bool {
    match format.replace('-', "").as_str() {
        "bsonobjectid" => BSON.is_match(text),
        "byte" => BYTE.is_match(text),
        "cidr" => cidr(text),
        "creditcard" => {
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            CARD.is_match(&digits) && luhn(&digits)
        }
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "datetime" => TIME.is_match(text) && text.replace(',', ".").parse::<jiff::Timestamp>().is_ok(),
        "duration" => GO_SPAN.is_match(text) || span(text),
        "email" => EMAIL.is_match(text) || NAMED_EMAIL.is_match(text),
        "hexcolor" => HEX_COLOR.is_match(text),
        "hostname" => text.len() <= 255 && HOST.is_match(text) && text.split('.').all(|part| part.len() <= 63),
        "ipv4" => four(text) || text.parse::<Ipv6Addr>().is_ok_and(|six| six.to_ipv4_mapped().is_some()),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "isbn" => isbn10(text) || isbn13(text),
        "isbn10" => isbn10(text),
        "isbn13" => isbn13(text),
        "k8slongname" => names::dns1123_subdomain(text).is_empty(),
        "k8sshortname" => names::dns1123_label(text).is_empty(),
        "mac" => mac(text),
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

/// Four numbers; zeros in front of them do no harm.
fn four(text: &str) -> bool {
    let is = |part: &str| part.bytes().all(|b| b.is_ascii_digit()) && part.parse::<u8>().is_ok();
    text.split('.').count() == 4 && text.split('.').all(is)
}

fn cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let plain = length.bytes().all(|b| b.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
    let Ok(length) = length.parse::<u8>() else { return false };
    plain && ((four(address) && length <= 32) || (address.parse::<Ipv6Addr>().is_ok() && length <= 128))
}

/// The units of spans, by all their names; of the last one the beginning is enough.
const UNITS: &[&[&str]] = &[
    &["ns", "nano"],
    &["us", "µs", "micro"],
    &["ms", "milli"],
    &["s", "sec"],
    &["m", "min"],
    &["h", "hr", "hour"],
    &["d", "day"],
    &["w", "wk", "week"],
];

/// Whether a number with a unit stands anywhere, as upstream reads what Go's durations are not.
fn span(text: &str) -> bool {
    let mut any = false;
    for (_, [number, unit]) in SPAN.captures_iter(text).map(|c| c.extract()) {
        if number.parse::<i64>().is_err() {
            return false;
        }
        let unit = unit.to_lowercase();
        any |= UNITS.iter().any(|names| names.contains(&unit.as_str()) || unit.starts_with(names[names.len() - 1]));
    }
    any
}

/// Six, eight or twenty bytes, in pairs of digits or in fours, or with nothing between.
fn mac(text: &str) -> bool {
    let (sign, size) = match (text.get(2..3), text.get(4..5)) {
        (Some(sign @ (":" | "-")), _) => (sign, 2),
        (_, Some(".")) => (".", 4),
        _ => return MAC.is_match(text),
    };
    text.split(sign).all(|part| part.len() == size) && MAC.is_match(&text.replace(sign, ""))
}

/// A reference with a scheme, an absolute path, or an asterisk.
fn uri(text: &str) -> bool {
    if text.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return false;
    }
    let rest = match text.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => rest,
        _ if text.starts_with('/') || text == "*" => text,
        _ => return false,
    };
    let before_query = rest.split('?').next().unwrap_or("");
    let hierarchical = rest.len() < text.len();
    match before_query.strip_prefix("//").filter(|_| hierarchical) {
        None => !before_query.starts_with('/') || escapes(before_query),
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            escapes(path) && is_host(authority.rsplit('@').next().unwrap_or(""))
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// Whether every percent sign is followed by two digits.
fn escapes(text: &str) -> bool {
    text.split('%').skip(1).all(|after| after.as_bytes().get(..2).is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)))
}

/// A host with a port or none.
fn is_host(text: &str) -> bool {
    let port = match (text.starts_with('['), text.rfind(']')) {
        (true, None) => return false,
        (true, Some(end)) => &text[end + 1..],
        (false, _) => text.rfind(':').map_or("", |at| &text[at..]),
    };
    port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
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
