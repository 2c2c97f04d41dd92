//! Conversions between types, and values as text.

use super::Cost::{BytesToString, One, StringToBytes};
use super::{Def, args, special};
use crate::value::{Fail, Out, Special, Val};

pub(super) const DEFS: &[Def] = &[
    Def("bool(bool) bool", One, same),
    Def("bool(string) bool", One, |_, a| {
        args!(a, [Val::String(s)] => match &**s {
            "true" | "TRUE" | "True" | "t" | "1" => Ok(Val::Bool(true)),
            "false" | "FALSE" | "False" | "f" | "0" => Ok(Val::Bool(false)),
            _ => Err(conversion("bool")),
        })
    }),
    Def("bytes(bytes) bytes", One, same),
    Def("bytes(string) bytes", StringToBytes, |_, a| args!(a, [Val::String(s)] => Ok(Val::Bytes(s.as_bytes().into())))),
    Def("double(double) double", One, same),
    Def("double(int) double", One, |_, a| args!(a, [Val::Int(n)] => Ok(Val::Double(*n as f64)))),
    Def("double(uint) double", One, |_, a| args!(a, [Val::Uint(n)] => Ok(Val::Double(*n as f64)))),
    Def(
        "double(string) double",
        One,
        |_, a| args!(a, [Val::String(s)] => real(s).map(Val::Double).ok_or_else(|| conversion("double"))),
    ),
    Def("int(int) int", One, same),
    Def("int(double) int", One, |_, a| {
        args!(a, [Val::Double(n)] => {
            // Doubles next to the limits are not whole numbers of their own.
            if n.is_finite() && *n > i64::MIN as f64 && *n < i64::MAX as f64 {
                Ok(Val::Int(*n as i64))
            } else {
                Err(Fail::new("integer overflow"))
            }
        })
    }),
    Def("int(duration) int", One, |_, a| args!(a, [Val::Duration(n)] => Ok(Val::Int(*n)))),
    Def(
        "int(string) int",
        One,
        |_, a| args!(a, [Val::String(s)] => s.parse().map(Val::Int).map_err(|_| conversion("int"))),
    ),
    Def("int(timestamp) int", One, |_, a| args!(a, [Val::Timestamp(t)] => Ok(Val::Int(t.as_second())))),
    Def(
        "int(uint) int",
        One,
        |_, a| args!(a, [Val::Uint(n)] => i64::try_from(*n).map(Val::Int).map_err(|_| Fail::new("integer overflow"))),
    ),
    Def("uint(uint) uint", One, same),
    Def(
        "uint(int) uint",
        One,
        |_, a| args!(a, [Val::Int(n)] => u64::try_from(*n).map(Val::Uint).map_err(|_| Fail::new("unsigned integer overflow"))),
    ),
    Def("uint(double) uint", One, |_, a| {
        args!(a, [Val::Double(n)] => {
            if n.is_finite() && *n >= 0.0 && *n < u64::MAX as f64 {
                Ok(Val::Uint(*n as u64))
            } else {
                Err(Fail::new("unsigned integer overflow"))
            }
        })
    }),
    Def(
        "uint(string) uint",
        One,
        |_, a| args!(a, [Val::String(s)] => s.parse().map(Val::Uint).map_err(|_| conversion("uint"))),
    ),
    Def("string(string) string", One, same),
    Def("string(bool) string", One, text),
    Def("string(bytes) string", BytesToString, |_, a| {
        args!(a, [Val::Bytes(b)] => match std::str::from_utf8(b) {
            Ok(s) => Ok(Val::text(s)),
            Err(_) => Err(Fail::new("invalid UTF-8 in bytes, cannot convert to string")),
        })
    }),
    Def("string(double) string", One, text),
    Def("string(duration) string", One, text),
    Def("string(int) string", One, text),
    Def("string(timestamp) string", One, text),
    Def("string(uint) string", One, text),
    Def("string(ip) string", One, text),
    Def("string(cidr) string", One, text),
];

fn same<'a>(_: &super::Tools<'_>, args: &[Val<'a>]) -> Out<'a> {
    args!(args, [x] => Ok(x.clone()))
}

fn text<'a>(_: &super::Tools<'_>, args: &[Val<'a>]) -> Out<'a> {
    args!(args, [x] => Ok(Val::text(plain(x))))
}

/// A text that is none of a type.
/// A number, unless it is too large for one.
fn real(text: &str) -> Option<f64> {
    let n: f64 = text.parse().ok()?;
    (n.is_finite() || !text.contains(|c: char| c.is_ascii_digit())).then_some(n)
}

fn conversion(to: &str) -> Fail {
    Fail::new(format!("type conversion error from 'string' to '{to}'"))
}

/// A scalar as text, as `string()` gives it.
pub(crate) fn plain(x: &Val<'_>) -> String {
    match x {
        Val::Null => "null".to_owned(),
        Val::Bool(b) => b.to_string(),
        Val::Int(n) => n.to_string(),
        Val::Uint(n) => n.to_string(),
        Val::Double(n) => double(*n),
        Val::String(s) => s.to_string(),
        Val::Bytes(b) => String::from_utf8_lossy(b).into_owned(),
        Val::Duration(n) => super::time::show_duration(*n),
        Val::Timestamp(t) => super::time::show_timestamp(*t),
        Val::Type(t) => t.name().to_owned(),
        other => match special(other) {
            Some(Special::Ip(ip)) => ip.to_string(),
            Some(Special::Cidr { address, prefix }) => format!("{address}/{prefix}"),
            Some(Special::Semver(v)) => v.to_string(),
            Some(Special::Quantity(q)) => q.to_string(),
            Some(Special::Url(u)) => u.to_string(),
            _ => other.type_name(),
        },
    }
}

/// The shortest text that reads as the same number, with an exponent where the number is far from 1.
pub(crate) fn double(n: f64) -> String {
    if n.is_nan() {
        return "NaN".to_owned();
    }
    if n.is_infinite() {
        return if n > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{n:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format!("{n}")
}

/// What base64 text stands for.
pub(crate) fn base64(text: &str) -> Result<Vec<u8>, Fail> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    };
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for c in text.trim_end_matches('=').bytes() {
        let value = digit(c).ok_or_else(|| Fail::new("Invalid byte array, illegal base64 data"))?;
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    Ok(out)
}
