//! Stands in for the registry's crate of the same name, which openraft counts batch sizes with. That one computes the
//! boundaries of every precision it knows when the first histogram is made: 25 MiB that stay, and a tenth of a second
//! in a debug build, for a store whose whole cluster should idle in 40 MiB.
//!
//! Here a bucket is a power of two. Has what openraft uses, and nothing more.

use std::fmt;
use std::marker::PhantomData;

/// One for 0, and one for each position of a number's highest bit.
const BUCKETS: usize = u64::BITS as usize + 1;

/// Counts of values by their size. `T` is what the original keeps beside each slot; openraft keeps nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: Box<[u64; BUCKETS]>,
    slot: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), slot: PhantomData }
    }
}

impl<T> Histogram<T> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    pub fn record_n(&mut self, value: u64, times: u64) {
        let bucket = (u64::BITS - value.leading_zeros()) as usize;
        self.counts[bucket] = self.counts[bucket].saturating_add(times);
    }

    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |total, count| total.saturating_add(*count))
    }

    /// The smallest value of the bucket that this share of all values, in thousandths, does not reach beyond.
    fn at_permille(&self, permille: u64) -> u64 {
        let wanted = (u128::from(self.total()) * u128::from(permille)).div_ceil(1000).max(1);
        let mut below = 0_u128;
        for (bucket, count) in self.counts.iter().enumerate() {
            below += u128::from(*count);
            if below >= wanted {
                return if bucket == 0 { 0 } else { 1 << (bucket - 1) };
            }
        }
        0
    }

    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.at_permille(1),
            p1: self.at_permille(10),
            p5: self.at_permille(50),
            p10: self.at_permille(100),
            p50: self.at_permille(500),
            p90: self.at_permille(900),
            p99: self.at_permille(990),
            p99_9: self.at_permille(999),
        }
    }
}

/// What shares of the values stay at or below.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} samples, p50 {}, p90 {}, p99 {}, p99.9 {}",
            self.samples, self.p50, self.p90, self.p99, self.p99_9
        )
    }
}

/// Histograms beside each other, as text.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart {
    rows: Vec<(String, PercentileStats)>,
}

impl AsciiChart {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn add(mut self, name: impl Into<String>, histogram: Histogram) -> Self {
        self.rows.push((name.into(), histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows.iter().try_for_each(|(name, stats)| writeln!(f, "{name:>24}: {stats}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_buckets_of_their_values() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats(), PercentileStats::default());
        (1..=1000).for_each(|value| histogram.record(value));
        histogram.record(u64::MAX);
        histogram.record_n(0, 9);
        let stats = histogram.percentile_stats();
        assert_eq!(
            (stats.samples, stats.p0_1, stats.p1, stats.p50, stats.p99, stats.p99_9),
            (1010, 0, 2, 256, 512, 512)
        );
    }
}
