//! Numbers of schemas and values: comparing and dividing them as Go does.

use super::Ty;
use crate::status::go_float;
use crate::value::Value;
use std::cmp::Ordering;

/// A number as a float.
#[expect(clippy::cast_precision_loss, reason = "upstream compares numbers as floats as well")]
pub(super) fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Int(i) => Some(*i as f64),
        Value::Float(f) => Some(*f),
        _ => None,
    }
}

/// How far from a whole number counts as one, of both together.
const NEAR: f64 = 1e-9;
/// The largest whole number that JSON's own numbers tell from the next.
const MAX_SAFE: f64 = 9_007_199_254_740_991.0;

/// Whether a float is a whole number, as upstream takes it: not too large, and not quite exactly.
#[expect(clippy::float_cmp, reason = "the exact case is the first")]
pub(super) fn is_whole(number: f64) -> bool {
    if !number.is_finite() || number.abs() > MAX_SAFE {
        return false;
    }
    let whole = number.trunc();
    number == whole || (number > 0.0 && whole != 0.0 && (number - whole) / (number + whole) < NEAR)
}

/// What is wrong with a number that ought to be a multiple of another.
pub(super) enum Multiple {
    Not(String),
    /// By zero or less nothing can be divided.
    Of(String),
}

/// Whether a number is a multiple: whole numbers are divided as whole numbers, by the whole part of the other.
#[expect(clippy::cast_possible_truncation, reason = "upstream divides whole numbers by the whole part")]
pub(super) fn multiple(value: &Value, of: f64, as_whole: bool) -> Option<Multiple> {
    match value {
        Value::Int(i) if as_whole => {
            let of = of as i64;
            if of <= 0 {
                return Some(Multiple::Of(of.to_string()));
            }
            (i % of != 0).then(|| Multiple::Not(of.to_string()))
        }
        _ if of <= 0.0 => Some(Multiple::Of(go_float(of))),
        _ => {
            let number = float(value)?;
            let times = if of < 1.0 { 1.0 / of * number } else { number / of };
            (!is_whole(times)).then(|| Multiple::Not(go_float(of)))
        }
    }
}

/// How a number stands to a limit, and the limit as it is shown: whole numbers are compared with its whole part.
#[expect(clippy::cast_possible_truncation, reason = "upstream compares whole numbers with the whole part")]
pub(super) fn against(value: &Value, limit: f64, as_whole: bool) -> Option<(Ordering, String)> {
    match value {
        Value::Int(i) if as_whole => Some((i.cmp(&(limit as i64)), (limit as i64).to_string())),
        _ => Some((float(value)?.partial_cmp(&limit)?, go_float(limit))),
    }
}

/// Whether a number is one of a type's and a format's: integers have no fractions, and formats have ends.
pub(super) fn in_range(value: &Value, ty: Option<Ty>, format: &str) -> bool {
    let Some(number) = float(value) else { return true };
    let single = number.abs() <= f64::from(f32::MAX);
    let whole = |least: f64, end: f64| number.fract() == 0.0 && number >= least && number < end;
    match (ty, format, value) {
        (Some(Ty::Integer), "int32", _) => whole(f64::from(i32::MIN), -f64::from(i32::MIN)),
        (Some(Ty::Integer), _, Value::Float(_)) => whole(-TWO_TO_63, TWO_TO_63),
        (Some(Ty::Number), "float", _) => single,
        _ => true,
    }
}

/// One more than the largest of 64 bits.
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// Equality that does not tell integers from floats of the same value.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|((k, a), (l, b))| k == l && same(a, b))
        }
        (a, b) => match (float(a), float(b)) {
            (Some(x), Some(y)) => x == y,
            _ => a == b,
        },
    }
}
