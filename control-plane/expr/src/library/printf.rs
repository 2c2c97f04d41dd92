//! `format` of strings: `%s %d %f %e %b %x %X %o %%`.

use super::Cost::Printf;
use super::{Def, args, convert, strings};
use crate::value::{Fail, Out, Val};

pub(super) const DEFS: &[Def] =
    &[Def("string::format(list(dyn)) string", Printf, |_, a| args!(a, [Val::String(s), list] => print(s, list)))];

/// Digits behind the point that a clause may ask for.
const MAX_PRECISION: usize = 1000;

/// A part of a text that is formatted.
pub(crate) enum Piece<'t> {
    Text(&'t str),
    /// What stands for an argument, or what is wrong with it.
    Clause(Result<Clause, String>),
}

/// How an argument is shown.
pub(crate) struct Clause {
    pub verb: char,
    precision: Option<usize>,
}

/// A text in its parts. Behind one that is wrong there are none.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let piece = match rest.strip_prefix('%') {
            _ if rest.is_empty() => return None,
            None => {
                let (plain, after) = rest.split_at(rest.find('%').unwrap_or(rest.len()));
                rest = after;
                return Some(Piece::Text(plain));
            }
            Some(after) if after.starts_with('%') => {
                rest = &after[1..];
                return Some(Piece::Text("%"));
            }
            Some(after) => clause(after),
        };
        Some(Piece::Clause(match piece {
            Ok((clause, after)) => {
                rest = after;
                Ok(clause)
            }
            Err(why) => {
                rest = "";
                Err(why)
            }
        }))
    })
}

fn clause(text: &str) -> Result<(Clause, &str), String> {
    const BROKEN: &str = "could not parse formatting clause";
    let (precision, text) = match text.strip_prefix('.') {
        None => (None, text),
        Some(digits) => {
            let end = digits.find(|c: char| !c.is_ascii_digit());
            let end = end.ok_or_else(|| {
                format!("{BROKEN}: error while parsing precision: could not find end of precision specifier")
            })?;
            let (digits, after) = digits.split_at(end);
            let why = match digits {
                "" => "invalid syntax",
                _ => "value out of range",
            };
            let n = digits.parse::<i64>().map_err(|_| {
                format!(
                    "{BROKEN}: error while parsing precision: error while converting precision to integer: \
                     strconv.Atoi: parsing {digits:?}: {why}"
                )
            })?;
            let n = usize::try_from(n).unwrap_or(usize::MAX);
            if n > MAX_PRECISION {
                return Err(format!("precision {n} exceeds maximum allowed precision {MAX_PRECISION}"));
            }
            (Some(n), after)
        }
    };
    let verb = text.chars().next().ok_or("unexpected end of string")?;
    if !"sdfebxXo".contains(verb) {
        return Err(format!("{BROKEN}: unrecognized formatting clause \"{verb}\""));
    }
    Ok((Clause { verb, precision }, &text[verb.len_utf8()..]))
}

fn print<'a>(text: &str, list: &Val<'a>) -> Out<'a> {
    let mut values = list.items().ok_or_else(Fail::no_overload)?.collect()?.into_iter();
    let mut used = 0;
    let mut out = String::new();
    for piece in pieces(text) {
        let clause = match piece {
            Piece::Text(text) => {
                out.push_str(text);
                continue;
            }
            Piece::Clause(clause) => clause,
        };
        let value = values.next().ok_or_else(|| Fail::new(format!("index {used} out of range")))?;
        used += 1;
        out.push_str(&show(&clause.map_err(Fail::new)?, &value)?);
    }
    Ok(Val::text(out))
}

/// What to say of an argument that a clause can't show.
pub(crate) fn not_shown(verb: char, found: &str) -> String {
    let what = match verb {
        'd' => "decimal clause can only be used on integers",
        'f' => "fixed-point clause can only be used on doubles",
        'e' => "scientific clause can only be used on doubles",
        'b' => "only integers and bools can be formatted as binary",
        'o' => "octal clause can only be used on integers",
        'x' | 'X' => "only integers, byte buffers, and strings can be formatted as hex",
        _ => {
            "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and \
             timestamps"
        }
    };
    format!("error during formatting: {what}, was given {found}")
}

fn unfit(verb: char, value: &Val<'_>) -> Fail {
    Fail::new(not_shown(verb, &value.type_name()))
}

fn show(clause: &Clause, value: &Val<'_>) -> Result<String, Fail> {
    let real = || real(value).ok_or_else(|| unfit(clause.verb, value));
    Ok(match (clause.verb, value) {
        ('s', value) => text(value)?,
        ('d', Val::Int(n)) => n.to_string(),
        ('d', Val::Uint(n)) => n.to_string(),
        ('d', Val::Double(n)) if !n.is_finite() => infinite(*n),
        ('f', _) => match real()? {
            n if n.is_finite() => grouped(&format!("{n:.*}", clause.precision.unwrap_or(6))),
            n => infinite(n),
        },
        ('e', _) => match real()? {
            n if n.is_finite() => scientific(n),
            n => infinite(n),
        },
        ('b', Val::Int(n)) => signed(*n, |n| format!("{n:b}")),
        ('b', Val::Uint(n)) => format!("{n:b}"),
        ('b', Val::Bool(b)) => if *b { "1" } else { "0" }.to_owned(),
        ('o', Val::Int(n)) => signed(*n, |n| format!("{n:o}")),
        ('o', Val::Uint(n)) => format!("{n:o}"),
        ('x', value) => hexadecimal(value).ok_or_else(|| unfit('x', value))?,
        ('X', value) => hexadecimal(value).ok_or_else(|| unfit('X', value))?.to_uppercase(),
        (verb, value) => return Err(unfit(verb, value)),
    })
}

fn hexadecimal(value: &Val<'_>) -> Option<String> {
    match value {
        Val::Int(n) => Some(signed(*n, |n| format!("{n:x}"))),
        Val::Uint(n) => Some(format!("{n:x}")),
        Val::String(s) => Some(s.bytes().map(|b| format!("{b:02x}")).collect()),
        Val::Bytes(b) => Some(b.iter().map(|b| format!("{b:02x}")).collect()),
        _ => None,
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
        Val::Optional(_) | Val::Special(_) => Err(unfit('s', value)),
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
