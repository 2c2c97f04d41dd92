//! The CPU that processes use, from /proc.

use std::time::Duration;

pub struct Processes {
    pub name: String,
    pids: Vec<u32>,
}

/// The kernel's clock ticks a second as /proc shows them: the same on every architecture of Linux.
const TICKS: u64 = 100;

impl Processes {
    /// `NAME=PID,PID`
    pub fn parse(text: &str) -> Result<Processes, String> {
        let wrong = || format!("{text:?} is not NAME=PID[,PID]");
        let (name, pids) = text.split_once('=').ok_or_else(wrong)?;
        let pids = pids.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        Ok(Processes { name: name.to_owned(), pids })
    }

    pub fn cpu(&self) -> Duration {
        let ticks: u64 = self.pids.iter().map(|pid| ticks(*pid)).sum();
        Duration::from_secs(1) * u32::try_from(ticks).unwrap_or(u32::MAX) / TICKS as u32
    }
}

fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let of = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    of(11) + of(12)
}
