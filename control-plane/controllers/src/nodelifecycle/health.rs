//! What is asked of nodes, and how fast pods leave those that do not meet it: upstream's flags with upstream's defaults.

use std::time::Duration;

use jiff::SignedDuration;

/// More than so many nodes of a zone that are gone are no chance any more, as upstream.
const BY_CHANCE: usize = 2;
/// A little after the time itself, so that it has surely come.
const AFTER: SignedDuration = SignedDuration::from_millis(100);

#[derive(Debug, Clone, PartialEq)]
pub struct NodeHealth {
    /// Silence is noticed at multiples of this. None: when it is too long.
    pub period: Option<Duration>,
    /// How long a node may be silent.
    pub grace: Duration,
    /// The same for one that has never said anything.
    pub startup_grace: Duration,
    /// Nodes of a zone that lose their pods in a second.
    pub eviction_rate: f64,
    /// The same in a large zone of which much is gone.
    pub secondary_eviction_rate: f64,
    /// A zone of more nodes is large. In a smaller one of which much is gone no pods are moved: there would be no room.
    pub large_cluster: usize,
    /// The share of a zone that is much.
    pub unhealthy_zone: f64,
}

impl Default for NodeHealth {
    fn default() -> NodeHealth {
        NodeHealth {
            period: None,
            grace: Duration::from_secs(50),
            startup_grace: Duration::from_secs(60),
            eviction_rate: 0.1,
            secondary_eviction_rate: 0.01,
            large_cluster: 50,
            unhealthy_zone: 0.55,
        }
    }
}

impl NodeHealth {
    /// How long a node that has been silent for a while is still waited for; none if it was too long.
    pub(super) fn patience(&self, silent: SignedDuration, has_spoken: bool) -> Option<Duration> {
        let grace = if has_spoken { self.grace } else { self.startup_grace };
        let left = signed(grace) - silent;
        if left <= SignedDuration::ZERO {
            return None;
        }
        let left = Duration::try_from(left + AFTER).unwrap_or_default();
        let Some(period) = self.period.filter(|period| !period.is_zero()) else { return Some(left) };
        let periods = left.as_nanos().div_ceil(period.as_nanos());
        Some(period.saturating_mul(u32::try_from(periods).unwrap_or(u32::MAX)))
    }

    /// How long is waited between two nodes of a zone; none where no pods are moved.
    pub(super) fn interval(&self, ready: usize, unready: usize) -> Option<SignedDuration> {
        let all = ready + unready;
        let much = unready > BY_CHANCE && unready as f64 >= all as f64 * self.unhealthy_zone;
        let rate = match (ready > 0 && much, all > self.large_cluster) {
            (false, _) => self.eviction_rate,
            (true, true) => self.secondary_eviction_rate,
            (true, false) => return None,
        };
        (rate > 0.0).then(|| SignedDuration::try_from_secs_f64(1.0 / rate).unwrap_or(SignedDuration::MAX))
    }

    pub(super) fn grace(&self) -> SignedDuration {
        signed(self.grace)
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_is_gone_the_slower_pods_are_moved() {
        // ready, unready => seconds between two nodes
        let cases = [
            (2, 1, Some(10)),
            (1, 2, Some(10)),
            (2, 3, None),
            (3, 3, Some(10)),
            (23, 28, Some(10)),
            (22, 28, None),
            (22, 29, Some(100)),
            // A whole zone: its pods go where there is one that is well.
            (0, 3, Some(10)),
        ];
        for (ready, unready, seconds) in cases {
            let interval = NodeHealth::default().interval(ready, unready);
            assert_eq!(interval.map(|interval| interval.as_secs()), seconds, "{ready} and {unready}");
        }
    }

    #[test]
    fn what_is_said_holds() {
        let health = NodeHealth {
            eviction_rate: 2.0,
            secondary_eviction_rate: 0.0,
            large_cluster: 4,
            unhealthy_zone: 0.9,
            ..NodeHealth::default()
        };
        assert_eq!(health.interval(1, 5), Some(SignedDuration::from_millis(500)), "not so much is gone");
        assert_eq!(health.interval(1, 9), None, "a rate of nothing moves nobody");
        let small = NodeHealth { large_cluster: 40, ..health };
        assert_eq!(small.interval(1, 9), None, "a small zone");
    }

    #[test]
    fn silence_is_noticed_at_once_or_at_multiples_of_the_period() {
        let after = |seconds: i64, health: &NodeHealth| health.patience(SignedDuration::from_secs(seconds), true);
        let plain = NodeHealth::default();
        assert_eq!(after(10, &plain), Some(Duration::from_millis(40_100)));
        assert_eq!(after(50, &plain), None);
        assert!(plain.patience(SignedDuration::from_secs(55), false).is_some(), "one that begins has longer");
        let periodic = NodeHealth { period: Some(Duration::from_secs(30)), ..plain };
        assert_eq!(after(10, &periodic), Some(Duration::from_secs(60)));
    }
}
