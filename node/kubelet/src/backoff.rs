//! Waiting longer after each failure: 10 s, doubled up to 5 min, forgotten after 10 min without one.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

/// Upstream's figures (`MaxContainerBackOff`, `--image-pull-backoff`).
const FIRST_S: i64 = 10;
const MOST_S: i64 = 300;
const FORGET_S: i64 = 2 * MOST_S;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Backoff {
    pub delay_s: i64,
    pub since: Timestamp,
}

impl Backoff {
    /// After one more failure at `now`.
    pub fn next(previous: Option<Backoff>, now: Timestamp) -> Backoff {
        let delay_s = match previous {
            Some(b) if !b.forgotten(now) => (b.delay_s * 2).min(MOST_S),
            Some(_) | None => FIRST_S,
        };
        Backoff { delay_s, since: now }
    }

    fn forgotten(&self, at: Timestamp) -> bool {
        at.duration_since(self.since) > SignedDuration::from_secs(FORGET_S)
    }

    /// When something that ended at `ended` may be tried again; `None`: now.
    pub fn until(&self, ended: Timestamp, now: Timestamp) -> Option<Timestamp> {
        if self.forgotten(ended) {
            return None;
        }
        Some(ended + SignedDuration::from_secs(self.delay_s)).filter(|t| *t > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_five_minutes_and_forgets_after_ten() {
        let mut now = Timestamp::UNIX_EPOCH;
        let mut last = None;
        let mut seen = Vec::new();
        for _ in 0..7 {
            let b = Backoff::next(last, now);
            seen.push(b.delay_s);
            now += SignedDuration::from_secs(b.delay_s);
            last = Some(b);
        }
        assert_eq!(seen, [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(Backoff::next(last, now + SignedDuration::from_secs(601)).delay_s, 10);
        let b = Backoff { delay_s: 20, since: Timestamp::UNIX_EPOCH };
        let ended = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(5);
        assert_eq!(b.until(ended, ended), Some(ended + SignedDuration::from_secs(20)));
        assert_eq!(b.until(ended, ended + SignedDuration::from_secs(20)), None);
    }
}
