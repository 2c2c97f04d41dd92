//! What a container's guests use of the CPU, and how much they may: a token bucket that is charged after each poll.

use container::Resources;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// CRI's period where none is given, as the kernel's.
const DEFAULT_PERIOD: Duration = Duration::from_millis(100);

/// The least wait for new tokens: shorter ones cost more than they run.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// One container's CPU account.
#[derive(Debug, Default)]
pub struct Meter {
    used_ns: AtomicU64,
    throttled_ns: AtomicU64,
    limited: AtomicBool,
    bucket: Mutex<Option<Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    /// Tokens (nanoseconds of CPU) gained per second.
    rate: f64,
    /// The most that can be saved up: one period's quota, as with CFS.
    burst: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn fill(&mut self, now: Instant) {
        let gained = now.saturating_duration_since(self.filled).as_secs_f64() * self.rate;
        self.tokens = (self.tokens + gained).min(self.burst);
        self.filled = now;
    }
}

impl Meter {
    pub fn new(resources: &Resources, now: Instant) -> Meter {
        let meter = Meter::default();
        meter.limit(resources, now);
        meter
    }

    /// Sets the quota anew; what was overspent before stays owed.
    pub fn limit(&self, resources: &Resources, now: Instant) {
        let mut bucket = self.bucket.lock();
        let owed = bucket.take().map_or(0.0, |old| old.tokens.min(0.0));
        if resources.cpu_quota_us > 0 {
            let period = match resources.cpu_period_us {
                0 => DEFAULT_PERIOD,
                us => Duration::from_micros(us),
            };
            let burst = resources.cpu_quota_us as f64 * 1e3;
            let rate = burst / period.as_secs_f64();
            *bucket = Some(Bucket { rate, burst, tokens: burst + owed, filled: now });
        }
        self.limited.store(bucket.is_some(), Ordering::Relaxed);
    }

    /// How long to wait before the next poll; `None` when there are tokens.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        if !self.limited.load(Ordering::Relaxed) {
            return None;
        }
        let mut bucket = self.bucket.lock();
        let bucket = bucket.as_mut()?;
        bucket.fill(now);
        if bucket.tokens > 0.0 {
            return None;
        }
        let wait = Duration::from_secs_f64(-bucket.tokens / bucket.rate).max(MIN_WAIT);
        self.throttled_ns.fetch_add(wait.as_nanos() as u64, Ordering::Relaxed);
        Some(wait)
    }

    /// Accounts for a poll.
    pub fn charge(&self, cpu: Duration) {
        self.used_ns.fetch_add(cpu.as_nanos() as u64, Ordering::Relaxed);
        if self.limited.load(Ordering::Relaxed)
            && let Some(bucket) = self.bucket.lock().as_mut()
        {
            bucket.tokens -= cpu.as_nanos() as f64;
        }
    }

    /// CPU time used since the container started.
    pub fn used_ns(&self) -> u64 {
        self.used_ns.load(Ordering::Relaxed)
    }
}

/// The CPU time of the calling thread.
pub fn thread_cpu() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every Linux and the pointer is to a local.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(quota_us: i64) -> Resources {
        Resources { cpu_quota_us: quota_us, cpu_period_us: 100_000, ..Resources::default() }
    }

    #[test]
    fn a_spent_quota_waits_for_as_long_as_it_takes_to_earn_it_back() {
        let start = Instant::now();
        let meter = Meter::new(&quota(10_000), start);
        assert_eq!(meter.wait(start), None);
        meter.charge(Duration::from_millis(15));
        // 10 ms were saved up, 5 ms are owed, 0.1 ms are earned each millisecond.
        assert_eq!(meter.wait(start), Some(Duration::from_millis(50)));
        assert_eq!(meter.wait(start + Duration::from_millis(60)), None);
        assert_eq!(meter.used_ns(), 15_000_000);
    }

    #[test]
    fn idle_time_saves_up_no_more_than_one_quota() {
        let start = Instant::now();
        let meter = Meter::new(&quota(10_000), start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(meter.wait(later), None);
        meter.charge(Duration::from_millis(20));
        assert_eq!(meter.wait(later), Some(Duration::from_millis(100)));
    }

    #[test]
    fn without_a_quota_nothing_waits_and_all_is_counted() {
        let meter = Meter::new(&quota(0), Instant::now());
        meter.charge(Duration::from_secs(9));
        assert_eq!(meter.wait(Instant::now()), None);
        assert_eq!(meter.used_ns(), 9_000_000_000);
        meter.limit(&quota(10_000), Instant::now());
        meter.charge(Duration::from_secs(1));
        assert!(meter.wait(Instant::now()).is_some());
    }
}
