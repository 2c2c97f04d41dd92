//! Numbers of schemas and values: comparing, dividing, and writing them as Go does.

use crate::value::Value;

/// A number as a float.
#[expect(clippy::cast_precision_loss, reason = "upstream compares numbers as floats as well")]
pub(super) fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Int(i) => Some(*i as f64),
        Value::Float(f) => Some(*f),
        _ => None,
    }
}

/// A float as `%v` prints it: shortest, with an exponent from 1e+21 and below 1e-04.
pub(super) fn text(number: f64) -> String {
    let plain = format!("{number}");
    let shown = format!("{number:e}");
    let Some((digits, exponent)) = shown.split_once('e') else { return plain };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    match (-4..21).contains(&exponent) {
        true => plain,
        false => format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()),
    }
}

/// Whether a number is a whole multiple of another.
pub(super) fn is_multiple(number: f64, of: f64) -> bool {
    let times = number / of;
    times.is_finite() && times.fract() == 0.0
}

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
