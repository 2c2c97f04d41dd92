//! Amounts of resources (`500m`, `1Gi`), exact: a decimal number times a power of ten or of 1024.
//!
//! Reads, compares, adds and prints them as Kubernetes does; values beyond its range are capped as there.

use std::cmp::Ordering;
use std::fmt;

/// How a quantity was written, which decides how it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `1500m`, `2`, `3k`.
    DecimalSi,
    /// `1Gi`.
    BinarySi,
    /// `1e3`.
    DecimalExponent,
}

/// An amount, in billionths.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse numeric part of quantity")]
    Number,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

const NANOS: i128 = 1_000_000_000;
/// Larger amounts are taken as this one, as upstream caps them: 2^63-1.
const MAX: i128 = (i64::MAX as i128) * NANOS;
/// Digits beyond these change nothing but the time it takes to read them.
const MAX_DIGITS: usize = 64;

impl Quantity {
    pub const ZERO: Quantity = Quantity { nanos: 0, format: Format::DecimalSi };

    /// # Errors
    /// The text is no quantity.
    pub fn parse(text: &str) -> Result<Quantity, QuantityError> {
        let (negative, rest) = match text.as_bytes().first() {
            None => return Err(QuantityError::Format),
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            Some(_) => (false, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err(QuantityError::Format);
        }
        if fraction.contains('.') || !is_suffix(suffix) {
            return Err(QuantityError::Format);
        }
        let (multiplier, format) = suffix_of(suffix)?;
        let nanos = scaled(whole, fraction, multiplier);
        let nanos = if negative { -nanos } else { nanos };
        Ok(Quantity { nanos, format })
    }

    pub fn from_nanos(nanos: i128, format: Format) -> Quantity {
        Quantity { nanos: nanos.clamp(-MAX, MAX), format }
    }

    pub fn from_int(value: i64) -> Quantity {
        Quantity::from_nanos(i128::from(value) * NANOS, Format::DecimalSi)
    }

    pub fn from_milli(value: i64) -> Quantity {
        Quantity::from_nanos(i128::from(value) * 1_000_000, Format::DecimalSi)
    }

    pub fn nanos(self) -> i128 {
        self.nanos
    }

    pub fn format(self) -> Format {
        self.format
    }

    pub fn with_format(self, format: Format) -> Quantity {
        Quantity { format, ..self }
    }

    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    pub fn signum(self) -> i32 {
        self.nanos.signum() as i32
    }

    /// In whole units, rounded away from zero.
    pub fn value(self) -> i64 {
        self.rounded(NANOS)
    }

    /// In thousandths, rounded away from zero.
    pub fn milli(self) -> i64 {
        self.rounded(1_000_000)
    }

    /// Rounded away from zero to thousandths.
    pub fn rounded_to_milli(self) -> Quantity {
        let nanos = div_up(self.nanos.abs(), 1_000_000) * 1_000_000 * self.nanos.signum();
        Quantity { nanos, ..self }
    }

    fn rounded(self, unit: i128) -> i64 {
        let up = div_up(self.nanos.abs(), unit) * self.nanos.signum();
        i64::try_from(up).unwrap_or(if up < 0 { i64::MIN } else { i64::MAX })
    }

    /// The sum, in the format of whichever is not zero.
    #[expect(clippy::should_implement_trait, reason = "sums are capped, which + would hide")]
    pub fn add(self, other: Quantity) -> Quantity {
        let format = if self.is_zero() { other.format } else { self.format };
        Quantity::from_nanos(self.nanos + other.nanos, format)
    }

    #[expect(clippy::should_implement_trait, reason = "differences are capped, which - would hide")]
    pub fn sub(self, other: Quantity) -> Quantity {
        let format = if self.is_zero() { other.format } else { self.format };
        Quantity::from_nanos(self.nanos - other.nanos, format)
    }
}

fn div_up(a: i128, b: i128) -> i128 {
    a / b + i128::from(a % b != 0)
}

enum Multiplier {
    Ten(i32),
    Times(i128),
}

/// Whether a suffix is made of the letters of suffixes, and then perhaps a number: which ones there are is another
/// question.
fn is_suffix(text: &str) -> bool {
    let rest = text.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let digits = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    digits.bytes().all(|b| b.is_ascii_digit())
}

fn suffix_of(suffix: &str) -> Result<(Multiplier, Format), QuantityError> {
    let ten = |exponent| Ok((Multiplier::Ten(exponent), Format::DecimalSi));
    let two = |power: u32| Ok((Multiplier::Times(1 << (10 * power)), Format::BinarySi));
    match suffix {
        "n" => ten(-9),
        "u" => ten(-6),
        "m" => ten(-3),
        "" => ten(0),
        "k" => ten(3),
        "M" => ten(6),
        "G" => ten(9),
        "T" => ten(12),
        "P" => ten(15),
        "E" => ten(18),
        "Ki" => two(1),
        "Mi" => two(2),
        "Gi" => two(3),
        "Ti" => two(4),
        "Pi" => two(5),
        "Ei" => two(6),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Suffix)?;
            let exponent: i32 = exponent.parse().map_err(|_| QuantityError::Suffix)?;
            Ok((Multiplier::Ten(exponent.clamp(-1000, 1000)), Format::DecimalExponent))
        }
    }
}

/// `whole.fraction` times the multiplier, in billionths, rounded up and capped.
fn scaled(whole: &str, fraction: &str, multiplier: Multiplier) -> i128 {
    let whole = whole.trim_start_matches('0');
    if whole.len() > MAX_DIGITS {
        return MAX;
    }
    let (times, shift) = match multiplier {
        Multiplier::Ten(exponent) => (1, exponent + 9),
        Multiplier::Times(times) => (times, 9),
    };
    let mut total: i128 = 0;
    let mut capped = false;
    let mut lost = false;
    let mut place = whole.len() as i32 - 1 + shift;
    for digit in whole.bytes().chain(fraction.bytes()) {
        let digit = i128::from(digit - b'0');
        match (digit, place) {
            (0, _) => {}
            (_, 38..) => capped = true,
            (_, 0..=37) => {
                let part = 10_i128.checked_pow(place as u32).and_then(|p| p.checked_mul(digit * times));
                match part.and_then(|p| total.checked_add(p)) {
                    Some(sum) => total = sum,
                    None => capped = true,
                }
            }
            (_, _) => match below(digit, times, place) {
                Some(part) => {
                    total = total.saturating_add(part.0);
                    lost |= part.1;
                }
                None => lost = true,
            },
        }
        place = place.saturating_sub(1);
    }
    if capped { MAX } else { (total + i128::from(lost)).min(MAX) }
}

/// A digit below a billionth may still count when it is multiplied by a power of 1024.
fn below(digit: i128, times: i128, place: i32) -> Option<(i128, bool)> {
    let divisor = 10_i128.checked_pow(place.unsigned_abs())?;
    Some((digit * times / divisor, digit * times % divisor != 0))
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl std::str::FromStr for Quantity {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Quantity, QuantityError> {
        Quantity::parse(text)
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, the largest suffix that keeps the number whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        match self.format {
            Format::BinarySi if self.nanos.abs() >= 1024 * NANOS && self.nanos % NANOS == 0 => self.binary(f),
            Format::BinarySi | Format::DecimalSi => self.decimal(f, |f, exponent| {
                f.write_str(match exponent {
                    -9 => "n",
                    -6 => "u",
                    -3 => "m",
                    3 => "k",
                    6 => "M",
                    9 => "G",
                    12 => "T",
                    15 => "P",
                    18 => "E",
                    _ => "",
                })
            }),
            Format::DecimalExponent => self.decimal(f, |f, e| if e == 0 { Ok(()) } else { write!(f, "e{e}") }),
        }
    }
}

impl Quantity {
    fn binary(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.nanos / NANOS;
        let mut power = 0;
        while value % 1024 == 0 && power < 6 {
            value /= 1024;
            power += 1;
        }
        write!(f, "{value}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power])
    }

    fn decimal(
        self,
        f: &mut fmt::Formatter<'_>,
        suffix: impl Fn(&mut fmt::Formatter<'_>, i32) -> fmt::Result,
    ) -> fmt::Result {
        let (mut value, mut exponent) = (self.nanos, -9);
        while value % 1000 == 0 && exponent < 18 {
            value /= 1000;
            exponent += 3;
        }
        write!(f, "{value}")?;
        suffix(f, exponent)
    }
}
