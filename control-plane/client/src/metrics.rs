//! What drivers count, in the text form of Prometheus and with upstream's names for work queues.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

/// Upper bounds of the histograms, in seconds: upstream's, from ten nanoseconds to ten seconds.
const BOUNDS: [&str; 10] =
    ["1e-08", "1e-07", "1e-06", "9.999999999999999e-06", "9.999999999999999e-05", "0.001", "0.01", "0.1", "1", "10"];
/// The same in nanoseconds.
const BOUNDS_NS: [u64; 10] = {
    let mut bounds = [10; 10];
    let mut n = 1;
    while n < bounds.len() {
        bounds[n] = bounds[n - 1] * 10;
        n += 1;
    }
    bounds
};

/// Durations by how long they were.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; 10],
    count: AtomicU64,
    sum_ns: AtomicU64,
}

impl Histogram {
    pub fn observe(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = BOUNDS_NS.iter().position(|bound| ns <= *bound) {
            self.buckets[bucket].fetch_add(1, Relaxed);
        }
        self.count.fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(ns, Relaxed);
    }

    fn write(&self, out: &mut String, name: &str, queue: &str) {
        let mut below = 0;
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS) {
            below += bucket.load(Relaxed);
            line(out, &format!("{name}_bucket"), &format!("name=\"{queue}\",le=\"{bound}\""), below);
        }
        let count = self.count.load(Relaxed);
        line(out, &format!("{name}_bucket"), &format!("name=\"{queue}\",le=\"+Inf\""), count);
        let sum = self.sum_ns.load(Relaxed) as f64 / 1e9;
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name}_sum{{name=\"{queue}\"}} {sum}");
        line(out, &format!("{name}_count"), &format!("name=\"{queue}\""), count);
    }
}

/// What one driver did.
#[derive(Debug, Default)]
pub struct Counts {
    pub plans: AtomicU64,
    pub writes: AtomicU64,
    pub conflicts: AtomicU64,
    pub failures: AtomicU64,
    pub panics: AtomicU64,
    /// Keys waiting, ready or in work.
    pub depth: AtomicU64,
    /// Keys that are ready and wait for a worker.
    pub ready: AtomicU64,
    pub adds: AtomicU64,
    pub retries: AtomicU64,
    pub waited: Histogram,
    pub worked: Histogram,
    /// Since when each key in work is worked on: its oldest and their sum, in nanoseconds, as they were lately.
    pub unfinished_ns: AtomicU64,
    pub longest_ns: AtomicU64,
}

/// The counts of every driver of a role, by the name of its queue.
#[derive(Debug, Default)]
pub struct Metrics {
    drivers: Mutex<Vec<(String, Arc<Counts>)>>,
}

impl Metrics {
    /// Shows these counts from now on; a queue that starts anew takes the place of the one before.
    pub fn add(&self, queue: &str, counts: Arc<Counts>) {
        let mut drivers = self.drivers.lock();
        drivers.retain(|(known, _)| known != queue);
        drivers.push((queue.to_owned(), counts));
        drivers.sort_by(|a, b| a.0.cmp(&b.0));
    }

    /// Everything, as `/metrics` shows it.
    pub fn text(&self) -> String {
        let drivers = self.drivers.lock().clone();
        let mut out = String::new();
        for (name, kind, help, value) in SINGLE {
            head(&mut out, name, kind, help);
            for (queue, counts) in &drivers {
                line(&mut out, name, &format!("name=\"{queue}\""), value(counts));
            }
        }
        for (name, help, value) in SECONDS {
            head(&mut out, name, "gauge", help);
            for (queue, counts) in &drivers {
                let _ = writeln!(out, "{name}{{name=\"{queue}\"}} {}", value(counts) as f64 / 1e9);
            }
        }
        for (name, help, histogram) in HISTOGRAMS {
            head(&mut out, name, "histogram", help);
            drivers.iter().for_each(|(queue, counts)| histogram(counts).write(&mut out, name, queue));
        }
        out
    }
}

type Single = (&'static str, &'static str, &'static str, fn(&Counts) -> u64);

const SINGLE: [Single; 8] = [
    ("workqueue_adds_total", "counter", "[BETA] Total number of adds handled by workqueue", |c| c.adds.load(Relaxed)),
    ("workqueue_depth", "gauge", "[BETA] Current depth of workqueue", |c| c.ready.load(Relaxed)),
    ("workqueue_retries_total", "counter", "[BETA] Total number of retries handled by workqueue", |c| {
        c.retries.load(Relaxed)
    }),
    ("wherry_controller_plans_total", "counter", "Plans made.", |c| c.plans.load(Relaxed)),
    ("wherry_controller_writes_total", "counter", "Writes carried out.", |c| c.writes.load(Relaxed)),
    ("wherry_controller_conflicts_total", "counter", "Plans that met another's write.", |c| c.conflicts.load(Relaxed)),
    ("wherry_controller_failures_total", "counter", "Plans that failed.", |c| c.failures.load(Relaxed)),
    ("wherry_controller_panics_total", "counter", "Plans that panicked.", |c| c.panics.load(Relaxed)),
];

type Seconds = (&'static str, &'static str, fn(&Counts) -> u64);
type Spread = (&'static str, &'static str, fn(&Counts) -> &Histogram);

const SECONDS: [Seconds; 2] = [
    (
        "workqueue_unfinished_work_seconds",
        "[BETA] How many seconds of work has done that is in progress and hasn't been observed by work_duration. Large values indicate stuck threads. One can deduce the number of stuck threads by observing the rate at which this increases.",
        |c| c.unfinished_ns.load(Relaxed),
    ),
    (
        "workqueue_longest_running_processor_seconds",
        "[BETA] How many seconds has the longest running processor for workqueue been running.",
        |c| c.longest_ns.load(Relaxed),
    ),
];

const HISTOGRAMS: [Spread; 2] = [
    (
        "workqueue_queue_duration_seconds",
        "[BETA] How long in seconds an item stays in workqueue before being requested.",
        |c| &c.waited,
    ),
    ("workqueue_work_duration_seconds", "[BETA] How long in seconds processing an item from workqueue takes.", |c| {
        &c.worked
    }),
];

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: u64) {
    let _ = writeln!(out, "{name}{{{labels}}} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_shown_under_upstreams_names() {
        let (metrics, counts) = (Metrics::default(), Arc::new(Counts::default()));
        metrics.add("deployment", Arc::default());
        metrics.add("deployment", counts.clone());
        counts.adds.store(3, Relaxed);
        counts.worked.observe(Duration::from_millis(5));
        counts.worked.observe(Duration::from_secs(5000));
        let text = metrics.text();
        for line in [
            "workqueue_adds_total{name=\"deployment\"} 3",
            "workqueue_work_duration_seconds_bucket{name=\"deployment\",le=\"0.001\"} 0",
            "workqueue_work_duration_seconds_bucket{name=\"deployment\",le=\"0.01\"} 1",
            "workqueue_work_duration_seconds_bucket{name=\"deployment\",le=\"10\"} 1",
            "workqueue_work_duration_seconds_bucket{name=\"deployment\",le=\"+Inf\"} 2",
            "workqueue_work_duration_seconds_sum{name=\"deployment\"} 5000.005",
            "workqueue_queue_duration_seconds_count{name=\"deployment\"} 0",
        ] {
            assert_eq!(text.lines().filter(|known| *known == line).count(), 1, "{line} in {text}");
        }
    }
}
