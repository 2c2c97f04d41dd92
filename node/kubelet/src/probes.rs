//! Probes of running containers: one task each, which reports a verdict only when it changes.

use crate::events::Events;
use crate::handler::{self, Action, Target};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Probe};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// While a container has not been ready yet it is asked more often, so that it becomes ready sooner (upstream allows it).
const EAGER_FIRST: Duration = Duration::from_millis(20);
const EAGER_MOST: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Startup,
    Liveness,
    Readiness,
}

impl Kind {
    pub fn of(self, container: &k8s_openapi::api::core::v1::Container) -> Option<&Probe> {
        match self {
            Kind::Startup => container.startup_probe.as_ref(),
            Kind::Liveness => container.liveness_probe.as_ref(),
            Kind::Readiness => container.readiness_probe.as_ref(),
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Kind::Startup => "Startup",
            Kind::Liveness => "Liveness",
            Kind::Readiness => "Readiness",
        }
    }
}

/// Counts attempts against the thresholds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Count {
    pub verdict: Option<bool>,
    last: Option<bool>,
    run: i32,
}

impl Count {
    pub fn with(verdict: Option<bool>) -> Count {
        Count { verdict, ..Count::default() }
    }

    /// The new verdict, if this attempt changed it.
    pub fn observe(&mut self, passed: bool, probe: &Probe) -> Option<bool> {
        self.run = if self.last == Some(passed) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(passed);
        let needed = match passed {
            true => probe.success_threshold.unwrap_or(1),
            false => probe.failure_threshold.unwrap_or(3),
        };
        if self.run < needed.max(1) || self.verdict == Some(passed) {
            return None;
        }
        self.verdict = Some(passed);
        self.verdict
    }
}

pub struct Prober {
    pub kind: Kind,
    pub pod: Arc<Pod>,
    pub target: Target,
    pub started: Timestamp,
    pub events: Events,
    /// The verdict before the first attempt.
    pub seed: Option<bool>,
}

impl Prober {
    /// Runs until it is aborted, or the startup probe has spoken.
    pub async fn run<F: Future<Output = ()>>(self, report: impl Fn(bool) -> F) {
        let Some(probe) = self.kind.of(&self.target.container).cloned() else { return };
        let Some(action) = Action::of_probe(&probe) else { return };
        let seconds =
            |n: Option<i32>, default: u64| Duration::from_secs(n.map_or(default, |n| u64::try_from(n).unwrap_or(0)));
        let (period, limit) = (seconds(probe.period_seconds, 10), seconds(probe.timeout_seconds, 1));
        let (period, limit) = (period.max(Duration::from_secs(1)), limit.max(Duration::from_secs(1)));
        tokio::time::sleep(remaining(self.started, seconds(probe.initial_delay_seconds, 0))).await;
        let mut count = Count::with(self.seed);
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut eager = (self.kind == Kind::Readiness && self.seed != Some(true)).then_some(EAGER_FIRST);
        let begun = Instant::now();
        ticks.tick().await;
        loop {
            let result = handler::attempt(&action, &self.target, limit).await;
            let quiet = eager.is_some() && begun.elapsed() < EAGER_MOST;
            if let Err(text) = result.as_ref().map_err(String::as_str)
                && !quiet
            {
                self.unhealthy(text);
            }
            // What comes between two periods can make a container ready, never fail it.
            let between = quiet && result.is_err() && count.last.is_some();
            if let Some(verdict) = (!between).then(|| count.observe(result.is_ok(), &probe)).flatten() {
                report(verdict).await;
                if self.kind == Kind::Startup {
                    return;
                }
            }
            if count.verdict == Some(true) {
                eager = None;
            }
            match eager.filter(|e| *e < period && *e <= EAGER_MOST) {
                Some(wait) => {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        _ = ticks.tick() => {}
                    }
                    eager = Some(wait * 2);
                }
                None => {
                    ticks.tick().await;
                }
            }
        }
    }

    fn unhealthy(&self, text: &str) {
        let message = format!("{} probe failed: {text}", self.kind.noun());
        self.events.warning(&self.pod, Some(&self.target.container.name), "Unhealthy", message);
    }
}

fn remaining(started: Timestamp, delay: Duration) -> Duration {
    let passed = Timestamp::now().duration_since(started);
    delay.saturating_sub(Duration::try_from(passed).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_need_their_threshold_in_a_row() {
        let probe = Probe { success_threshold: Some(2), failure_threshold: Some(3), ..Probe::default() };
        let mut count = Count::default();
        let said: Vec<Option<bool>> = [true, false, true, true, true, false, false, true, false, false, false, false]
            .iter()
            .map(|p| count.observe(*p, &probe))
            .collect();
        let (none, yes, no) = (None, Some(true), Some(false));
        assert_eq!(said, [none, none, none, yes, none, none, none, none, none, none, no, none]);
    }
}
