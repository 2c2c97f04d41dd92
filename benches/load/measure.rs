//! What a server's processes use, from /proc. The load's own process is never counted.

use std::fs;
use std::time::Duration;

/// The processes of one server.
#[derive(Clone)]
pub(crate) struct Processes(pub(crate) Vec<u32>);

impl Processes {
    /// User and system time since their start, in steps of the kernel's clock tick.
    pub(crate) fn cpu(&self) -> Duration {
        let tick = Duration::from_secs(1) / u32::try_from(ticks_per_second()).unwrap_or(100);
        self.0.iter().map(|pid| tick * ticks(*pid)).sum()
    }

    /// Forgets the peaks of memory so far.
    pub(crate) fn forget_peak(&self) {
        for pid in &self.0 {
            // Refused for another user's process: then the peak is the one since its start.
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
    }

    /// Resident memory in KiB: now, and at most since the peaks were forgotten.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let field = |name: &str| self.0.iter().map(|pid| status(*pid, name)).sum();
        (field("VmRSS:"), field("VmHWM:"))
    }
}

fn ticks_per_second() -> i64 {
    // SAFETY: sysconf only reads.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) }
}

fn ticks(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let tick = |i: usize| fields.get(i).and_then(|f| f.parse::<u32>().ok()).unwrap_or(0);
    tick(11) + tick(12)
}

fn status(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// One workload against one server.
pub(crate) struct Sample {
    pub(crate) operations: usize,
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) latencies: Vec<Duration>,
    /// Resident memory in KiB before, and its peak during the workload.
    pub(crate) before: u64,
    pub(crate) peak: u64,
    /// What the operations still hold when the last one is done, in KiB, where that is the question.
    pub(crate) held: Option<u64>,
    /// What holds it, until all rounds are over.
    pub(crate) open: Option<Box<dyn std::any::Any + Send>>,
}

impl Sample {
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.operations.max(1) as f64
    }

    /// What an operation holds, in bytes.
    pub(crate) fn held_each(&self) -> f64 {
        self.held.unwrap_or(0) as f64 * 1024.0 / self.operations.max(1) as f64
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.operations as f64 / self.wall.as_secs_f64().max(1e-9)
    }

    /// In milliseconds.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.latencies.get(at).map_or(0.0, |d| d.as_secs_f64() * 1e3)
    }
}
