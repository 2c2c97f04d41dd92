//! Exponential waiting with jitter.

use std::time::Duration;

use rand::Rng;

#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    pub const fn new(first: Duration, most: Duration) -> Backoff {
        Backoff { first, most, failures: 0 }
    }

    /// How long to wait after one more failure.
    #[expect(clippy::should_implement_trait, reason = "it has no end and needs no adapters")]
    pub fn next(&mut self) -> Duration {
        let wait = delay(self.first, self.most, self.failures);
        self.failures = self.failures.saturating_add(1);
        wait.mul_f64(rand::rng().random_range(0.8..1.2))
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// `first` doubled once per earlier failure, never more than `most`.
pub fn delay(first: Duration, most: Duration, failures: u32) -> Duration {
    first.saturating_mul(1u32.checked_shl(failures.min(30)).unwrap_or(u32::MAX)).min(most)
}
