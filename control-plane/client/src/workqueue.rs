//! What the queues of this process's controllers count, for `/metrics`, with upstream's names (`workqueue_*`).

use crate::driver::Counts;
use parking_lot::Mutex;
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Upper bounds of times at work, in seconds: upstream's powers of ten.
const SECONDS: [f64; 12] = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0];

/// How long keys were worked on.
#[derive(Debug, Default)]
pub struct Worked {
    /// One more than there are bounds, for what took longer; and the sum.
    times: Mutex<([u64; SECONDS.len() + 1], f64)>,
}

impl Worked {
    pub(crate) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = SECONDS.iter().position(|bound| seconds <= *bound).unwrap_or(SECONDS.len());
        let mut times = self.times.lock();
        times.0[bucket] += 1;
        times.1 += seconds;
    }
}

/// The queues, as long as their controllers run.
static QUEUES: Mutex<Vec<(&'static str, Weak<Counts>)>> = Mutex::new(Vec::new());

pub(crate) fn known(name: &'static str, counts: &Arc<Counts>) {
    let mut queues = QUEUES.lock();
    queues.retain(|(_, counts)| counts.strong_count() > 0);
    queues.push((name, Arc::downgrade(counts)));
}

/// All of them in the text form of Prometheus.
pub fn text() -> String {
    let mut queues: Vec<(&str, Arc<Counts>)> =
        QUEUES.lock().iter().filter_map(|(name, counts)| Some((*name, counts.upgrade()?))).collect();
    queues.sort_by_key(|(name, _)| *name);
    shown(&queues)
}

fn shown(queues: &[(&str, Arc<Counts>)]) -> String {
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, value: &dyn Fn(&Counts) -> u64| {
        // Writing to a String never fails.
        let _ = writeln!(out, "# HELP workqueue_{name} {help}\n# TYPE workqueue_{name} {kind}");
        for (queue, counts) in queues {
            let _ = writeln!(out, "workqueue_{name}{{name=\"{queue}\"}} {}", value(counts));
        }
    };
    family("adds_total", "counter", "Total number of adds handled by workqueue.", &|c| c.adds.load(Relaxed));
    family("depth", "gauge", "Keys waiting, ready or in work.", &|c| c.depth.load(Relaxed));
    family("retries_total", "counter", "Total number of retries handled by workqueue.", &|c| {
        c.conflicts.load(Relaxed) + c.failures.load(Relaxed)
    });
    const WORK: &str = "workqueue_work_duration_seconds";
    let help = "How long in seconds processing an item from workqueue takes.";
    let _ = writeln!(out, "# HELP {WORK} {help}\n# TYPE {WORK} histogram");
    for (queue, counts) in queues {
        let (buckets, sum) = *counts.worked.times.lock();
        let mut count = 0;
        let bounds = SECONDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, more) in bounds.zip(buckets) {
            count += more;
            let _ = writeln!(out, "{WORK}_bucket{{name=\"{queue}\",le=\"{bound}\"}} {count}");
        }
        let _ = writeln!(out, "{WORK}_sum{{name=\"{queue}\"}} {sum}\n{WORK}_count{{name=\"{queue}\"}} {count}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_tells_its_counts() {
        let counts = Arc::new(Counts::default());
        counts.adds.store(3, Relaxed);
        counts.conflicts.store(1, Relaxed);
        counts.failures.store(1, Relaxed);
        counts.worked.observe(Duration::from_millis(5));
        let text = shown(&[("job", counts)]);
        for line in [
            "workqueue_adds_total{name=\"job\"} 3\n",
            "workqueue_depth{name=\"job\"} 0\n",
            "workqueue_retries_total{name=\"job\"} 2\n",
            "workqueue_work_duration_seconds_bucket{name=\"job\",le=\"0.001\"} 0\n",
            "workqueue_work_duration_seconds_bucket{name=\"job\",le=\"0.01\"} 1\n",
            "workqueue_work_duration_seconds_sum{name=\"job\"} 0.005\n",
            "workqueue_work_duration_seconds_count{name=\"job\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
