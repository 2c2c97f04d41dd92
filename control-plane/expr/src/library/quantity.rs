//! Quantities: numbers with Kubernetes' suffixes, exact to a billionth.

use super::Cost::{One, Parse};
use super::{Def, args, special};
use crate::value::{Fail, Out, Special, Val};
use std::cmp::Ordering;

/// A quantity in billionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(i128);

const UNIT: i128 = 1_000_000_000;

pub(super) const DEFS: &[Def] = &[
    Def("quantity(string) quantity", Parse, |_, a| {
        args!(a, [Val::String(s)] => match parse(s) {
            Ok(q) => Ok(Val::special(Special::Quantity(q))),
            Err(why) => Err(Fail::new(why)),
        })
    }),
    Def("isQuantity(string) bool", Parse, |_, a| args!(a, [Val::String(s)] => Ok(Val::Bool(parse(s).is_ok())))),
    // A method by its documentation, a function by its declaration.
    Def("sign(quantity) int", One, |_, a| of(a, |q| Ok(Val::Int(q.0.signum() as i64)))),
    Def("quantity::isInteger() bool", One, |_, a| of(a, |q| Ok(Val::Bool(whole(q).is_some())))),
    Def("quantity::asInteger() int", One, |_, a| {
        of(a, |q| whole(q).map(Val::Int).ok_or_else(|| Fail::new("cannot convert value to integer")))
    }),
    Def("quantity::asApproximateFloat() double", One, |_, a| of(a, |q| Ok(Val::Double(q.0 as f64 / UNIT as f64)))),
    Def("quantity::isGreaterThan(quantity) bool", One, |_, a| compare(a, |o| Val::Bool(o.is_gt()))),
    Def("quantity::isLessThan(quantity) bool", One, |_, a| compare(a, |o| Val::Bool(o.is_lt()))),
    Def("quantity::compareTo(quantity) int", One, |_, a| compare(a, |o| Val::Int(o as i64))),
    Def("quantity::add(quantity) quantity", One, |_, a| both(a, |x, y| x.checked_add(y))),
    Def("quantity::add(int) quantity", One, |_, a| with(a, |x, n| x.checked_add(n))),
    Def("quantity::sub(quantity) quantity", One, |_, a| both(a, |x, y| x.checked_sub(y))),
    Def("quantity::sub(int) quantity", One, |_, a| with(a, |x, n| x.checked_sub(n))),
];

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 % UNIT {
            0 => write!(f, "{}", self.0 / UNIT),
            _ => write!(f, "{}n", self.0),
        }
    }
}

fn get(value: Option<&Val<'_>>) -> Result<Quantity, Fail> {
    match value.and_then(special) {
        Some(Special::Quantity(q)) => Ok(*q),
        _ => Err(Fail::no_overload()),
    }
}

fn of<'a>(args: &[Val<'a>], what: impl FnOnce(Quantity) -> Out<'a>) -> Out<'a> {
    what(get(args.first())?)
}

fn compare<'a>(args: &[Val<'a>], what: impl FnOnce(Ordering) -> Val<'a>) -> Out<'a> {
    Ok(what(get(args.first())?.cmp(&get(args.get(1))?)))
}

fn made<'a>(n: Option<i128>) -> Out<'a> {
    n.map(|n| Val::special(Special::Quantity(Quantity(n)))).ok_or_else(|| Fail::new("integer overflow"))
}

fn both<'a>(args: &[Val<'a>], what: impl FnOnce(i128, i128) -> Option<i128>) -> Out<'a> {
    made(what(get(args.first())?.0, get(args.get(1))?.0))
}

fn with<'a>(args: &[Val<'a>], what: impl FnOnce(i128, i128) -> Option<i128>) -> Out<'a> {
    match args.get(1) {
        Some(Val::Int(n)) => made(what(get(args.first())?.0, i128::from(*n) * UNIT)),
        _ => Err(Fail::no_overload()),
    }
}

fn whole(q: Quantity) -> Option<i64> {
    (q.0 % UNIT == 0).then(|| i64::try_from(q.0 / UNIT).ok()).flatten()
}

const FORM: &str = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const SUFFIX: &str = "unable to parse quantity's suffix";

/// Reads a quantity; the error is upstream's.
pub(crate) fn parse(text: &str) -> Result<Quantity, String> {
    let (negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
    let (digits, suffix) = rest.split_at(end);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err(FORM.to_owned());
    }
    let (factor, exponent) = suffix_of(suffix)?;
    // Larger values are cut at the largest 64-bit number; smaller fractions are rounded up.
    let cap = i128::from(i64::MAX) * UNIT;
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let scale = exponent - fraction.len() as i64 + 9;
    let magnitude = match digits {
        "" => 0,
        digits if digits.len() as i64 + scale > 30 => cap,
        digits if digits.len() as i64 + scale < -1 => 1,
        digits => scaled(digits, scale).checked_mul(factor).unwrap_or(cap).min(cap),
    };
    // With a binary suffix the fraction was rounded before it was multiplied, unless it is scaled exactly.
    Ok(Quantity(if negative { -magnitude } else { magnitude }))
}

fn scaled(digits: &str, scale: i64) -> i128 {
    // At most 38 digits are kept; callers have bounded the rest.
    let keep = digits.len().min(36);
    let mut value: i128 = digits[..keep].parse().unwrap_or(0);
    let mut scale = scale + (digits.len() - keep) as i64;
    let mut lost = digits[keep..].bytes().any(|b| b != b'0');
    while scale > 0 {
        value = value.saturating_mul(10);
        scale -= 1;
    }
    while scale < 0 {
        lost |= value % 10 != 0;
        value /= 10;
        scale += 1;
    }
    value + i128::from(lost)
}

/// The binary factor and the power of ten of a suffix.
fn suffix_of(suffix: &str) -> Result<(i128, i64), String> {
    Ok(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        other => {
            let digits = other.strip_prefix(['e', 'E']);
            let exponent = digits.and_then(|d| d.parse::<i32>().ok()).ok_or_else(|| match other {
                o if o.bytes().all(|b| b.is_ascii_digit() || b"eEinumkKMGTP+-".contains(&b)) => SUFFIX.to_owned(),
                _ => FORM.to_owned(),
            })?;
            (1, i64::from(exponent))
        }
    })
}
