//! What expressions cost, before and while they are evaluated, in the units and by the rules that upstream publishes.

pub(crate) mod actual;
mod calls;
pub(crate) mod estimate;

/// Making a list.
pub(crate) const LIST: u64 = 10;
/// Making a map.
pub(crate) const MAP: u64 = 30;
/// Making a message.
pub(crate) const MESSAGE: u64 = 40;
/// Asking the authoriser: an expression may ask twice.
pub(crate) const CHECK: u64 = 350_000;
/// Reading a character of a string.
pub(crate) const READ: f64 = 0.1;
/// A character of a regular expression: about every fourth begins another state.
pub(crate) const REGEX: f64 = 0.25;

/// A range that a size or a cost lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub min: u64,
    pub max: u64,
}

impl Range {
    pub(crate) const UNKNOWN: Range = Range { min: 0, max: u64::MAX };
    pub(crate) const ONE: Range = Range::just(1);
    pub(crate) const ZERO: Range = Range::just(0);

    pub(crate) const fn just(n: u64) -> Range {
        Range { min: n, max: n }
    }

    pub(crate) fn plus(self, other: Range) -> Range {
        Range { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    pub(crate) fn times(self, other: Range) -> Range {
        Range { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    pub(crate) fn by(self, factor: f64) -> Range {
        Range { min: scale(self.min, factor), max: scale(self.max, factor) }
    }

    pub(crate) fn or(self, other: Range) -> Range {
        Range { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// A part of a number, rounded up.
pub(crate) fn scale(n: u64, factor: f64) -> u64 {
    (n as f64 * factor).ceil() as u64
}
