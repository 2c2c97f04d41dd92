//! What the scheduler counts, in the text form of Prometheus and with upstream's names.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

/// Times of decisions: a millisecond and its doublings.
const ATTEMPT: Bounds = Bounds { first: 0.001, many: 15 };
const EXTENSION: Bounds = Bounds { first: 0.0001, many: 12 };
const SLI: Bounds = Bounds { first: 0.01, many: 20 };
const TRIES: Bounds = Bounds { first: 1.0, many: 5 };
const VICTIMS: Bounds = Bounds { first: 1.0, many: 7 };
/// Tries of a pod that are told apart; upstream's label says `15+` for more.
const TRIES_TOLD: u32 = 15;

/// Upper bounds of a histogram, each twice the one before.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    first: f64,
    many: usize,
}

impl Bounds {
    fn all(self) -> impl Iterator<Item = f64> {
        std::iter::successors(Some(self.first), |bound| Some(bound * 2.0)).take(self.many)
    }
}

#[derive(Debug, Default, Clone)]
struct Histogram {
    /// How many were at most each bound.
    below: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Histogram {
    fn observe(&mut self, bounds: Bounds, value: f64) {
        self.below.resize(bounds.many, 0);
        self.below.iter_mut().zip(bounds.all()).filter(|(_, bound)| value <= *bound).for_each(|(n, _)| *n += 1);
        self.count += 1;
        self.sum += value;
    }
}

/// How an attempt to schedule a pod ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ended {
    Scheduled,
    Unschedulable,
    Error,
}

impl Ended {
    fn label(self) -> &'static str {
        match self {
            Ended::Scheduled => "scheduled",
            Ended::Unschedulable => "unschedulable",
            Ended::Error => "error",
        }
    }
}

/// Pods that wait, by where they do.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    pub active: usize,
    pub backoff: usize,
    pub unschedulable: usize,
    pub gated: usize,
}

#[derive(Debug, Default)]
struct Counted {
    /// By profile and end; the names of profiles are the configuration's, so they are few.
    attempts: BTreeMap<(String, Ended), Histogram>,
    algorithm: Histogram,
    /// By extension point and profile.
    points: BTreeMap<(&'static str, String), Histogram>,
    sli: BTreeMap<u32, Histogram>,
    tries: Histogram,
    victims: Histogram,
    preemptions: u64,
    pending: Pending,
}

#[derive(Debug, Default)]
pub struct Metrics(Mutex<Counted>);

impl Metrics {
    fn with(&self, change: impl FnOnce(&mut Counted)) {
        change(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    }

    pub(crate) fn attempt(&self, profile: &str, ended: Ended, took: Duration) {
        self.with(|c| c.attempts.entry((profile.to_owned(), ended)).or_default().observe(ATTEMPT, took.as_secs_f64()));
    }

    pub(crate) fn algorithm(&self, took: Duration) {
        self.with(|c| c.algorithm.observe(ATTEMPT, took.as_secs_f64()));
    }

    pub(crate) fn point(&self, point: &'static str, profile: &str, took: Duration) {
        self.with(|c| c.points.entry((point, profile.to_owned())).or_default().observe(EXTENSION, took.as_secs_f64()));
    }

    /// A pod got its node, so long after it was first tried.
    pub(crate) fn scheduled(&self, tries: u32, since_first: Duration) {
        self.with(|c| {
            c.sli.entry(tries.min(TRIES_TOLD)).or_default().observe(SLI, since_first.as_secs_f64());
            c.tries.observe(TRIES, f64::from(tries));
        });
    }

    pub(crate) fn preemption(&self, victims: usize) {
        self.with(|c| {
            c.preemptions += 1;
            c.victims.observe(VICTIMS, victims as f64);
        });
    }

    pub(crate) fn pending(&self, pending: Pending) {
        self.with(|c| c.pending = pending);
    }

    /// Everything, as `/metrics` shows it.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.with(|counted| counted.write(&mut out));
        out
    }
}

// Writing to a String cannot fail: results of it are dropped here.
impl Counted {
    fn write(&self, out: &mut String) {
        let name = "scheduler_schedule_attempts_total";
        head(out, name, "counter", "Number of attempts to schedule pods, by the result");
        for ((profile, ended), times) in &self.attempts {
            let _ = writeln!(out, "{name}{{profile=\"{profile}\",result=\"{}\"}} {}", ended.label(), times.count);
        }
        let name = "scheduler_scheduling_attempt_duration_seconds";
        head(out, name, "histogram", "Scheduling attempt latency in seconds (scheduling algorithm + binding)");
        for ((profile, ended), times) in &self.attempts {
            times.write(out, name, &format!("profile=\"{profile}\",result=\"{}\"", ended.label()), ATTEMPT);
        }
        let name = "scheduler_scheduling_algorithm_duration_seconds";
        head(out, name, "histogram", "Scheduling algorithm latency in seconds");
        self.algorithm.write(out, name, "", ATTEMPT);
        let name = "scheduler_framework_extension_point_duration_seconds";
        head(out, name, "histogram", "Latency for running all plugins of a specific extension point");
        for ((point, profile), times) in &self.points {
            let labels = format!("extension_point=\"{point}\",profile=\"{profile}\",status=\"Success\"");
            times.write(out, name, &labels, EXTENSION);
        }
        let name = "scheduler_pod_scheduling_sli_duration_seconds";
        head(
            out,
            name,
            "histogram",
            "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue",
        );
        for (tries, times) in &self.sli {
            let more = if *tries == TRIES_TOLD { "+" } else { "" };
            times.write(out, name, &format!("attempts=\"{tries}{more}\""), SLI);
        }
        let name = "scheduler_pod_scheduling_attempts";
        head(out, name, "histogram", "Number of attempts to successfully schedule a pod");
        self.tries.write(out, name, "", TRIES);
        let name = "scheduler_preemption_attempts_total";
        head(out, name, "counter", "Total preemption attempts in the cluster till now");
        let _ = writeln!(out, "{name} {}", self.preemptions);
        let name = "scheduler_preemption_victims";
        head(out, name, "histogram", "Number of selected preemption victims");
        self.victims.write(out, name, "", VICTIMS);
        let name = "scheduler_pending_pods";
        head(out, name, "gauge", "Number of pending pods, by the queue type");
        let Pending { active, backoff, unschedulable, gated } = self.pending;
        for (queue, pods) in
            [("active", active), ("backoff", backoff), ("unschedulable", unschedulable), ("gated", gated)]
        {
            let _ = writeln!(out, "{name}{{queue=\"{queue}\"}} {pods}");
        }
    }
}

impl Histogram {
    fn write(&self, out: &mut String, name: &str, labels: &str, bounds: Bounds) {
        let comma = if labels.is_empty() { "" } else { "," };
        for (nth, bound) in bounds.all().enumerate() {
            let below = self.below.get(nth).copied().unwrap_or(0);
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}");
        }
        let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}", self.count);
        let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(out, "{name}_sum{braces} {}\n{name}_count{braces} {}", self.sum, self.count);
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}.\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_shown_under_upstreams_names() {
        let metrics = Metrics::default();
        metrics.attempt("default-scheduler", Ended::Scheduled, Duration::from_millis(3));
        metrics.attempt("default-scheduler", Ended::Unschedulable, Duration::from_millis(1));
        metrics.scheduled(20, Duration::from_secs(1));
        metrics.point("Filter", "default-scheduler", Duration::from_micros(150));
        metrics.preemption(3);
        metrics.pending(Pending { active: 1, backoff: 2, unschedulable: 3, gated: 4 });
        let text = metrics.text();
        for line in [
            "scheduler_schedule_attempts_total{profile=\"default-scheduler\",result=\"scheduled\"} 1",
            "scheduler_schedule_attempts_total{profile=\"default-scheduler\",result=\"unschedulable\"} 1",
            "scheduler_scheduling_attempt_duration_seconds_bucket{profile=\"default-scheduler\",result=\"scheduled\",le=\"0.002\"} 0",
            "scheduler_scheduling_attempt_duration_seconds_bucket{profile=\"default-scheduler\",result=\"scheduled\",le=\"0.004\"} 1",
            "scheduler_pod_scheduling_sli_duration_seconds_count{attempts=\"15+\"} 1",
            "scheduler_framework_extension_point_duration_seconds_bucket{extension_point=\"Filter\",profile=\"default-scheduler\",status=\"Success\",le=\"0.0002\"} 1",
            "scheduler_preemption_attempts_total 1",
            "scheduler_preemption_victims_sum 3",
            "scheduler_preemption_victims_bucket{le=\"4\"} 1",
            "scheduler_pending_pods{queue=\"gated\"} 4",
        ] {
            assert_eq!(text.lines().filter(|known| *known == line).count(), 1, "{line} in {text}");
        }
    }
}
