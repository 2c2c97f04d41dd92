//! `format` of strings: `%s %d %f %e %b %x %X %o %%`.

use super::Cost::Printf;
use super::{Def, args, convert, strings};
use crate::value::{Fail, Out, Val};

pub(super) const DEFS: &[Def] =
    &[Def("string::format(list(dyn)) string", Printf, |_, a| args!(a, [Val::String(s), list] => print(s, list)))];

/// Digits behind the point that a clause may ask for.
const MAX_PRECISION: usize = 1000;

fn print<'a>(text: &str, list: &Val<'a>) -> Out<'a> {
    let mut values = list.items().ok_or_else(Fail::no_overload)?.collect()?.into_iter();
    let mut used = 0;
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut precision = None;
        if chars.next_if_eq(&'.').is_some() {
            let mut digits = String::new();
            while let Some(d) = chars.next_if(char::is_ascii_digit) {
                digits.push(d);
            }
            let n: usize = digits.parse().map_err(|_| Fail::new("error while converting precision to integer"))?;
            if n > MAX_PRECISION {
                let message = format!("precision {n} exceeds maximum allowed precision {MAX_PRECISION}");
                return Err(Fail::new(message));
            }
            precision = Some(n);
        }
        let clause = chars.next().ok_or_else(|| Fail::new("unexpected end of string"))?;
        if clause == '%' {
            out.push('%');
            continue;
        }
        let value = values.next().ok_or_else(|| Fail::new(format!("index {used} out of range")))?;
        used += 1;
        out.push_str(&show(clause, precision, &value)?);
    }
    Ok(Val::text(out))
}

fn show(clause: char, precision: Option<usize>, value: &Val<'_>) -> Result<String, Fail> {
    let wrong = |what: &str| {
        Fail::new(format!(
            "error during formatting: {what} clause can only be used on {}, was given {}",
            match clause {
                'd' => "integers",
                'f' | 'e' => "doubles",
                'b' => "integers and bools",
                'o' => "integers",
                _ => "integers, byte buffers, and strings",
            },
            value.type_name()
        ))
    };
    match (clause, value) {
        ('s', value) => text(value),
        ('d', Val::Int(n)) => Ok(n.to_string()),
        ('d', Val::Uint(n)) => Ok(n.to_string()),
        ('d', Val::Double(n)) if !n.is_finite() => Ok(infinite(*n)),
        ('d', _) => Err(wrong("decimal")),
        ('f', value) => match real(value) {
            Some(n) if n.is_finite() => Ok(grouped(&format!("{n:.*}", precision.unwrap_or(6)))),
            Some(n) => Ok(infinite(n)),
            None => Err(wrong("fixed-point")),
        },
        ('e', value) => match real(value) {
            Some(n) if n.is_finite() => Ok(scientific(n)),
            Some(n) => Ok(infinite(n)),
            None => Err(wrong("scientific")),
        },
        ('b', Val::Int(n)) => Ok(signed(*n, |n| format!("{n:b}"))),
        ('b', Val::Uint(n)) => Ok(format!("{n:b}")),
        ('b', Val::Bool(b)) => Ok(if *b { "1" } else { "0" }.to_owned()),
        ('b', _) => Err(wrong("binary")),
        ('o', Val::Int(n)) => Ok(signed(*n, |n| format!("{n:o}"))),
        ('o', Val::Uint(n)) => Ok(format!("{n:o}")),
        ('o', _) => Err(wrong("octal")),
        ('x' | 'X', value) => {
            let hex = match value {
                Val::Int(n) => signed(*n, |n| format!("{n:x}")),
                Val::Uint(n) => format!("{n:x}"),
                Val::String(s) => s.bytes().map(|b| format!("{b:02x}")).collect(),
                Val::Bytes(b) => b.iter().map(|b| format!("{b:02x}")).collect(),
                _ => return Err(wrong("hex")),
            };
            Ok(if clause == 'X' { hex.to_uppercase() } else { hex })
        }
        (other, _) => Err(Fail::new(format!("unrecognized formatting clause \"{other}\""))),
    }
}

fn signed(n: i64, digits: impl Fn(u64) -> String) -> String {
    format!("{}{}", if n < 0 { "-" } else { "" }, digits(n.unsigned_abs()))
}

fn infinite(n: f64) -> String {
    match n {
        n if n.is_nan() => "NaN".to_owned(),
        n if n > 0.0 => "∞".to_owned(),
        _ => "-∞".to_owned(),
    }
}

fn real(value: &Val<'_>) -> Option<f64> {
    match value {
        Val::Double(n) => Some(*n),
        Val::String(s) if matches!(&**s, "NaN" | "Infinity" | "-Infinity") => match &**s {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            _ => Some(f64::NEG_INFINITY),
        },
        _ => None,
    }
}

/// How many digits scientific notation has behind the point, whatever is asked for.
const SCIENTIFIC_DIGITS: usize = 6;

/// `1.500000×10⁰³`: numbers are written as people in the United States read them.
fn scientific(n: f64) -> String {
    let text = format!("{n:.SCIENTIFIC_DIGITS$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(rest) => ("⁻", rest),
        None => ("", exponent),
    };
    let raised = |c: char| c.to_digit(10).and_then(|d| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(d as usize)).unwrap_or(c);
    format!("{digits}×10{sign}{}", format!("{exponent:0>2}").chars().map(raised).collect::<String>())
}

/// A number with commas between its thousands.
fn grouped(number: &str) -> String {
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let (sign, digits) = whole.split_at(usize::from(whole.starts_with('-')));
    let mut out = sign.to_owned();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

/// Anything as `%s` shows it.
fn text(value: &Val<'_>) -> Result<String, Fail> {
    if value.items().is_some() || value.is_map() {
        return held(value);
    }
    match value {
        Val::Bytes(bytes) if std::str::from_utf8(bytes).is_err() => Err(Fail::new(
            "error during formatting: could not convert argument \"invalid UTF-8 in bytes, cannot convert to string\" to string",
        )),
        Val::Optional(_) | Val::Special(_) => Err(wrong_text(value)),
        other => Ok(convert::plain(other)),
    }
}

/// What a list or map holds: texts quoted, so that it can be read again.
fn held(value: &Val<'_>) -> Result<String, Fail> {
    if let Some(items) = value.items() {
        let parts: Result<Vec<String>, Fail> = items.iter().map(|i| held(&i?)).collect();
        return Ok(format!("[{}]", parts?.join(", ")));
    }
    if let Some(entries) = value.entries() {
        let mut parts = Vec::new();
        for (key, value) in entries? {
            parts.push(format!("{}:{}", held(&key)?, held(&value)?));
        }
        parts.sort();
        return Ok(format!("{{{}}}", parts.join(", ")));
    }
    let called = |name: &str| format!("{name}({})", strings::quote(&convert::plain(value)));
    match value {
        Val::String(text) => Ok(strings::quote(text)),
        Val::Double(n) if n.is_finite() => Ok(format!("{n:.6}")),
        Val::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(format!("b{}", strings::quote(text))),
            Err(_) => text(value),
        },
        Val::Duration(_) => Ok(called("duration")),
        Val::Timestamp(_) => Ok(called("timestamp")),
        other => text(other),
    }
}

fn wrong_text(value: &Val<'_>) -> Fail {
    Fail::new(format!(
        "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, \
         types, durations, and timestamps, was given {}",
        value.type_name()
    ))
}
