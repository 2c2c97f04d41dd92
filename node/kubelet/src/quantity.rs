//! Kubernetes quantities (`100m`, `64Mi`, `1e3`) as integers, rounded up.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

const NANO: i128 = 1_000_000_000;

/// In billionths of the unit; `None` for text that is no quantity or too large.
fn nano(text: &str) -> Option<i128> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (sign, number) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let scale = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (multiply, divide) = factor(suffix)?;
    let top = mantissa.checked_mul(multiply)?;
    let bottom = scale.checked_mul(divide)?;
    Some(sign * (top + bottom - 1).div_euclid(bottom))
}

/// The suffix as a fraction of billionths.
fn factor(suffix: &str) -> Option<(i128, i128)> {
    let binary = |n: u32| NANO.checked_mul(1 << (10 * n)).map(|f| (f, 1));
    let decimal = |n: u32| NANO.checked_mul(10i128.pow(n)).map(|f| (f, 1));
    match suffix {
        "" => Some((NANO, 1)),
        "n" => Some((1, 1)),
        "u" => Some((1_000, 1)),
        "m" => Some((1_000_000, 1)),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        exponent => {
            let n: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10i128.checked_pow(n.unsigned_abs()).filter(|_| n.abs() <= 18)?;
            if n < 0 { Some((NANO, power)) } else { Some((NANO.checked_mul(power)?, 1)) }
        }
    }
}

fn up(nano: i128, unit: i128) -> Option<i64> {
    i64::try_from((nano + unit - 1).div_euclid(unit)).ok()
}

/// In whole units.
pub fn value(quantity: &Quantity) -> Option<i64> {
    up(nano(&quantity.0)?, NANO)
}

/// In thousandths.
pub fn milli(quantity: &Quantity) -> Option<i64> {
    up(nano(&quantity.0)?, NANO / 1_000)
}

/// One entry of a resource list in thousandths, 0 where it is absent.
pub fn milli_of(list: Option<&BTreeMap<String, Quantity>>, name: &str) -> i64 {
    list.and_then(|l| l.get(name)).and_then(milli).unwrap_or(0)
}

/// One entry of a resource list in whole units, 0 where it is absent.
pub fn value_of(list: Option<&BTreeMap<String, Quantity>>, name: &str) -> i64 {
    list.and_then(|l| l.get(name)).and_then(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_round_up() {
        for (text, units, thousandths) in [
            ("100m", 1, 100),
            ("1", 1, 1000),
            ("1.5", 2, 1500),
            ("64Mi", 67_108_864, 67_108_864_000),
            ("1e3", 1000, 1_000_000),
            ("0.1m", 1, 1),
            ("5k", 5000, 5_000_000),
            ("-2", -2, -2000),
        ] {
            let q = Quantity(text.into());
            assert_eq!((value(&q), milli(&q)), (Some(units), Some(thousandths)), "{text}");
        }
        for text in ["", "abc", "1Zi", ".", "1e99", "999999999999999999999999999999999999E"] {
            assert_eq!(value(&Quantity(text.into())), None, "{text}");
        }
    }
}
