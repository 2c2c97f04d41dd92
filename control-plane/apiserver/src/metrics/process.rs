//! What every process that upstream's client library serves says of itself: `process_*`, from `/proc/self`.

use super::text::Text;

/// `USER_HZ`: the kernel tells times of processes in hundredths on every machine that we run on.
const TICKS: f64 = 100.0;
/// Of x86-64 and of arm64 as distributions build it; where it is another, resident memory is told too small.
const PAGE: u64 = 4096;

pub(super) fn write(text: &mut Text) {
    let Some(stat) = Stat::read() else { return };
    text.single(
        "process_cpu_seconds_total",
        "counter",
        "Total user and system CPU time spent in seconds.",
        stat.cpu_seconds,
    );
    if let Some(open) = std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count) {
        text.single("process_open_fds", "gauge", "Number of open file descriptors.", open);
    }
    if let Some(most) = limit("Max open files") {
        text.single("process_max_fds", "gauge", "Maximum number of open file descriptors.", most);
    }
    text.single("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", stat.resident_bytes);
    text.single("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", stat.virtual_bytes);
    if let Some(most) = limit("Max address space") {
        let help = "Maximum amount of virtual memory available in bytes.";
        text.single("process_virtual_memory_max_bytes", "gauge", help, most);
    }
    if let Some(boot) = boot_seconds() {
        let help = "Start time of the process since unix epoch in seconds.";
        text.single("process_start_time_seconds", "gauge", help, boot + stat.started_seconds);
    }
}

struct Stat {
    cpu_seconds: f64,
    started_seconds: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl Stat {
    fn read() -> Option<Stat> {
        Stat::parse(&std::fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// proc_pid_stat(5). The program's name, second, may hold anything, so fields are counted from its end.
    fn parse(line: &str) -> Option<Stat> {
        let (_, fields) = line.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let (user, system, started) = (number(14)?, number(15)?, number(22)?);
        Some(Stat {
            cpu_seconds: (user + system) as f64 / TICKS,
            started_seconds: started as f64 / TICKS,
            virtual_bytes: number(23)?,
            resident_bytes: number(24)? * PAGE,
        })
    }
}

/// The soft limit of a row of `/proc/self/limits`; -1 where there is none, as upstream's.
fn limit(row: &str) -> Option<i128> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let soft = limits.lines().find_map(|l| l.strip_prefix(row))?.split_whitespace().next()?;
    if soft == "unlimited" { Some(-1) } else { soft.parse().ok() }
}

fn boot_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_confuses_nobody() {
        let line = "12 (a) b (c) S 1 2 3 0 -1 4 5 6 7 8 150 50 0 0 20 0 9 0 4200 8192 3 1 2";
        let stat = Stat::parse(line).expect("numbers");
        assert_eq!((stat.cpu_seconds, stat.started_seconds), (2.0, 42.0));
        assert_eq!((stat.virtual_bytes, stat.resident_bytes), (8192, 3 * PAGE));
    }
}
