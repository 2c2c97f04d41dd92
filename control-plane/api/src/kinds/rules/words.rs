//! What single texts and numbers may look like beyond names: addresses, keys, paths, ports, percentages.

use super::at::At;
use crate::names;
use crate::quantity::Quantity;
use crate::value::Value;
use std::net::IpAddr;

const IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// An address, without the leading zeros that some take for octal, and not one family within the other.
pub(super) fn ip(text: &str) -> Vec<String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        return if mapped { vec!["must not be an IPv4-mapped IPv6 address".into()] } else { Vec::new() };
    }
    let octets: Vec<&str> = text.split('.').collect();
    let plain = octets.len() == 4 && octets.iter().all(|o| is_octet(o));
    vec![if plain { "must not have leading 0s".into() } else { IP.into() }]
}

/// An address as it would be written back.
pub(super) fn canonical_ip(text: &str) -> Vec<String> {
    match text.parse::<IpAddr>() {
        Ok(address) if ip(text).is_empty() && address.to_string() != text => {
            vec![format!("must be in canonical form ({:?})", address.to_string())]
        }
        _ => ip(text),
    }
}

fn is_octet(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u8>().is_ok()
}

pub(super) fn parse_cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let (address, bits): (IpAddr, u8) = (address.parse().ok()?, length.parse().ok()?);
    let plain = length.len() == 1 || !length.starts_with(['0', '+']);
    (plain && bits <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, bits))
}

/// A range of addresses: one family, no leading zeros, nothing beyond the prefix.
pub(super) fn cidr(text: &str) -> Vec<String> {
    let why = match parse_cidr(text) {
        Some((IpAddr::V6(v6), _)) if v6.to_ipv4_mapped().is_some() => "must not have an IPv4-mapped IPv6 address",
        Some(range) if !is_network(range) => "must not have bits set beyond the prefix length",
        Some(_) => return Vec::new(),
        None if has_leading_zeros(text) => "must not have leading 0s in IP or prefix length",
        None => CIDR,
    };
    vec![why.into()]
}

/// Whether only leading zeros are wrong with a range.
fn has_leading_zeros(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let octets: Vec<&str> = address.split('.').collect();
    let v4 = octets.len() == 4 && octets.iter().all(|o| is_octet(o));
    let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    let most = if v4 { 32 } else { 128 };
    digits && (v4 || address.parse::<IpAddr>().is_ok()) && length.parse::<u32>().is_ok_and(|l| l <= most)
}

/// An address with the length of its network, written as it would be written back.
pub(super) fn interface_address(text: &str) -> Vec<String> {
    let Some((address, bits)) = parse_cidr(text) else {
        return vec!["must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)".into()];
    };
    let canonical = format!("{address}/{bits}");
    match text == canonical {
        true => Vec::new(),
        false => vec![format!("must be in canonical form ({canonical:?})")],
    }
}

/// A UUID in small letters.
pub(super) fn uuid(text: &str) -> Vec<String> {
    let hex = |part: &str| part.bytes().all(|b| b.is_ascii_hexdigit());
    let dashed = |t: &str| t.is_ascii() && t.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && t.split('-').all(hex);
    let format = "invalid UUID format";
    let wrong = match text.len() {
        36 if dashed(text) => None,
        32 if hex(text) => None,
        38 if !(text.starts_with('{') && text.ends_with('}')) => Some("invalid bracketed UUID format".to_owned()),
        38 if dashed(&text[1..37]) => None,
        45 if text.is_ascii() && !text[..9].eq_ignore_ascii_case("urn:uuid:") => {
            Some(format!("invalid urn prefix: {:?}", &text[..9]))
        }
        45 if text.is_ascii() && dashed(&text[9..]) => None,
        32 | 36 | 38 | 45 => Some(format.to_owned()),
        length => Some(format!("invalid UUID length: {length}")),
    };
    match wrong {
        Some(why) => vec![format!("error validating uid: {why}")],
        None if text.len() == 36 && text == text.to_lowercase() => Vec::new(),
        None => vec!["uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters".into()],
    }
}

fn as_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)) << 96,
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn network(address: IpAddr, bits: u8) -> u128 {
    let keep = if bits == 0 { 0 } else { u128::MAX << (128 - u32::from(bits)) };
    as_bits(address) & keep
}

/// Whether the address has nothing beyond the prefix.
pub(super) fn is_network((address, bits): (IpAddr, u8)) -> bool {
    network(address, bits) == as_bits(address)
}

/// Whether `inner` is a part of `outer` and smaller.
pub(super) fn strictly_inside(inner: (IpAddr, u8), outer: (IpAddr, u8)) -> bool {
    inner.0.is_ipv4() == outer.0.is_ipv4()
        && inner.1 > outer.1
        && network(inner.0, outer.1) == network(outer.0, outer.1)
}

/// An address that traffic may be sent to.
pub(super) fn endpoint_ip(text: &str) -> Vec<String> {
    let Ok(address) = text.parse::<IpAddr>() else { return ip(text) };
    let (link, group) = match address {
        IpAddr::V4(a) => (a.is_link_local(), a.octets()[0] == 224 && a.octets()[1] == 0 && a.octets()[2] == 0),
        IpAddr::V6(a) => (a.segments()[0] & 0xffc0 == 0xfe80, a.segments()[0] & 0xff0f == 0xff02),
    };
    let mut out = Vec::new();
    let mut say = |yes: bool, why: String| {
        if yes {
            out.push(why);
        }
    };
    say(address.is_unspecified(), format!("may not be unspecified ({text})"));
    say(address.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)".into());
    say(link, "may not be in the link-local range (169.254.0.0/16, fe80::/10)".into());
    say(group, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".into());
    out
}

/// The key of a ConfigMap or Secret.
pub(super) fn config_key(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if text.len() > 253 {
        out.push("must be no more than 253 characters".to_owned());
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        out.push("a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')".into());
    }
    match text {
        "." => out.push("must not be '.'".into()),
        ".." => out.push("must not be '..'".into()),
        _ if text.starts_with("..") => out.push("must not start with '..'".into()),
        _ => {}
    }
    out
}

/// The name of an environment variable: printable, without `=`.
pub(super) fn env_name(text: &str) -> Vec<String> {
    let good = !text.is_empty() && text.chars().all(|c| (' '..='~').contains(&c) && c != '=');
    if good {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".into()]
}

pub(super) fn http_header(text: &str) -> Vec<String> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    vec!["a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')".into()]
}

/// The name of a port: what a service of IANA may be called.
pub(super) fn port_name(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut say = |yes: bool, why: &str| {
        if yes {
            out.push(why.to_owned());
        }
    };
    say(text.len() > 15, "must be no more than 15 characters");
    let letters = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    say(text.is_empty() || !letters, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    say(!text.bytes().any(|b| b.is_ascii_lowercase()), "must contain at least one letter (a-z)");
    say(text.contains("--"), "must not contain consecutive hyphens");
    say(text.starts_with('-') || text.ends_with('-'), "must not begin or end with a hyphen");
    out
}

/// A port by number or by name.
pub(super) fn port(at: &At<'_>) {
    match at.value {
        Some(Value::Str(_)) => at.matches(port_name),
        _ => at.between(1, 65535),
    }
}

/// `example.com/name`, both parts there.
pub(super) fn domain_path(at: &At<'_>) {
    let text = at.text();
    match text.split_once('/') {
        _ if text.is_empty() => at.required(""),
        Some((domain, path)) if !domain.is_empty() && !path.is_empty() => {
            names::dns1123_subdomain(domain).iter().for_each(|why| at.invalid_text(domain, why));
            let good = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b));
            if !good {
                let why = "Invalid path (e.g. regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
                at.invalid_text(path, why);
            }
        }
        _ => at.invalid("must be a domain-prefixed path (such as \"acme.io/foo\")"),
    }
}

/// A path below something: relative and without steps up.
pub(super) fn local_path(at: &At<'_>) {
    if at.text().starts_with('/') {
        at.invalid("must be a relative path");
    }
    no_steps_up(at);
}

pub(super) fn no_steps_up(at: &At<'_>) {
    if at.text().split('/').any(|part| part == "..") {
        at.invalid_text(at.text(), "must not contain '..'");
    }
}

pub(super) fn strict_local_path(at: &At<'_>) {
    local_path(at);
    if at.text().starts_with("..") && !at.text().split('/').any(|part| part == "..") {
        at.invalid("must not start with '..'");
    }
}

/// A whole number or a percentage, not negative.
pub(super) fn int_or_percent(at: &At<'_>) {
    match at.value {
        Some(Value::Str(text)) => {
            let digits = text.strip_suffix('%').unwrap_or("");
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                at.invalid("a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')");
            }
        }
        _ => at.not_negative(),
    }
}

fn percent(at: &At<'_>) -> Option<u64> {
    at.text().strip_suffix('%')?.parse().ok()
}

/// At most the whole.
pub(super) fn at_most_all(at: &At<'_>) {
    if percent(at).is_some_and(|p| p > 100) {
        at.invalid("must not be greater than 100%");
    }
}

/// Whether a number or a percentage is nothing; so is what is absent.
pub(super) fn is_zero(at: &At<'_>) -> bool {
    match at.value {
        Some(Value::Str(_)) => percent(at) == Some(0),
        _ => at.int().unwrap_or(0) == 0,
    }
}

/// Indexes of pods, `1,3-5`, rising and below `limit`; how many there are.
///
/// # Errors
/// What is wrong with them.
pub(super) fn indexes(text: &str, limit: i64) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let number = |part: &str| -> Result<i64, String> {
        part.parse().map_err(|_| format!("cannot convert string to integer for index: {part:?}"))
    };
    let (mut last, mut count): (Option<i64>, i64) = (None, 0);
    for interval in text.split(',') {
        let parts: Vec<&str> = interval.split('-').collect();
        if parts.len() > 2 {
            return Err(format!(
                "the fragment {interval:?} violates the requirement that an index interval can have at most two parts separated by '-'"
            ));
        }
        let first = number(parts[0])?;
        let end = parts.get(1).map_or(Ok(first), |part| number(part))?;
        if first >= limit {
            return Err(format!("too large index: {:?}", parts[0]));
        }
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(format!("non-increasing order, previous: {last}, current: {first}"));
        }
        if let Some(part) = parts.get(1) {
            if end >= limit {
                return Err(format!("too large index: {part:?}"));
            }
            if first >= end {
                return Err(format!("non-increasing order, previous: {first}, current: {end}"));
            }
        }
        last = Some(end);
        count += end - first + 1;
    }
    Ok(count)
}

/// An amount; the schema pass has made sure that it is one.
pub(super) fn amount(at: &At<'_>) -> Option<Quantity> {
    match at.value? {
        Value::Str(text) => Quantity::parse(text).ok(),
        Value::Int(int) => Some(Quantity::from_int(*int)),
        _ => None,
    }
}

pub(super) fn amount_not_negative(at: &At<'_>) {
    if let Some(quantity) = amount(at).filter(|q| q.signum() < 0) {
        at.invalid_text(&quantity.to_string(), "must be greater than or equal to 0");
    }
}

/// The same for what a volume holds.
pub(super) fn capacity_not_negative(at: &At<'_>) {
    if let Some(quantity) = amount(at).filter(|q| q.signum() < 0) {
        at.invalid_as(&quantity.value().to_string(), "must be a valid resource quantity");
    }
}
