//! Processes named so that a reused number is never mistaken for them: number and start time.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// A process, as recorded in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: i32,
    /// In clock ticks since boot, from `/proc/PID/stat`.
    pub start_time: u64,
}

impl Process {
    /// The process of that number as it is now; `None` when there is none.
    pub fn find(pid: i32) -> Option<Process> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        // A zombie does nothing any more, whoever has not reaped it.
        if fields.next()? == "Z" {
            return None;
        }
        Some(Process { pid, start_time: fields.nth(18)?.parse().ok()? })
    }

    pub fn alive(&self) -> bool {
        Process::find(self.pid) == Some(*self)
    }

    /// Sends SIGKILL, if it is still this process.
    pub fn end(&self) {
        if self.alive() {
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_its_number_and_its_start() {
        let me = Process::find(std::process::id() as i32).expect("this process");
        assert!(me.alive());
        assert!(!Process { start_time: me.start_time + 1, ..me }.alive());
        assert_eq!(Process::find(-1), None);
    }
}
