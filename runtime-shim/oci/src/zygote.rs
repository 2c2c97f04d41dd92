//! The zygote: this binary run once more, single-threaded, before any work. It forks the pod processes, so that they share
//! its pages and cost little memory. It ends with the process that started it; the pod processes do not.

use crate::pod;
use crate::process::Process;
use crate::wire;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, setsid};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// The first argument that makes this binary a zygote.
pub const ARGUMENT: &str = "oci-zygote";
/// Why a pod process could not start, at most.
const FAILURE_LIMIT: u64 = 16 * 1024;

/// Asks for a pod process whose files lie in `dir`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Fork {
    pub dir: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Forked {
    Ready(Process),
    Failed(String),
}

/// Runs the zygote on descriptor 0 until it is closed. Never returns.
pub fn run() -> ! {
    // SAFETY: descriptor 0 is the socket that our parent gave us; nothing else in this process owns it.
    let socket = unsafe { UnixStream::from_raw_fd(0) };
    let _ = std::env::set_current_dir("/");
    let mut inbox = wire::Inbox::default();
    while let Ok(Some((Fork { dir }, _))) = wire::receive::<Fork>(&socket, &mut inbox) {
        let answer = match start(&dir) {
            Ok(process) => Forked::Ready(process),
            Err(reason) => Forked::Failed(reason),
        };
        if wire::send(&socket, &answer, &[]).is_err() {
            break;
        }
    }
    std::process::exit(0)
}

/// Forks twice, so that the pod process is nobody's child, and waits until it listens.
fn start(dir: &std::path::Path) -> Result<Process, String> {
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|e| format!("make a pipe: {e}"))?;
    // SAFETY: this process has a single thread, so the child may do anything.
    match unsafe { fork() }.map_err(|e| format!("fork: {e}"))? {
        ForkResult::Child => {
            drop(reader);
            let _ = setsid();
            // SAFETY: as above.
            match unsafe { fork() } {
                Ok(ForkResult::Parent { .. }) | Err(_) => leave(0),
                Ok(ForkResult::Child) => {
                    let mut report = std::fs::File::from(writer);
                    // The socket to the shim must not stay open in a pod process: the zygote's end shows by it.
                    let _ = silence();
                    let reason = match pod::open(dir) {
                        Ok(pod) => {
                            let _ = report.write_all(b"+");
                            drop(report);
                            pod.run();
                            leave(0)
                        }
                        Err(reason) => reason,
                    };
                    let _ = report.write_all(reason.as_bytes());
                    leave(1)
                }
            }
        }
        ForkResult::Parent { child } => {
            drop(writer);
            let _ = waitpid(child, None);
            let mut answer = String::new();
            let _ = std::fs::File::from(reader).take(FAILURE_LIMIT).read_to_string(&mut answer);
            match answer.as_str() {
                "+" => pod::recorded(dir).ok_or_else(|| "the pod process ended at once".to_owned()),
                "" => Err("the pod process ended before it was ready".to_owned()),
                reason => Err(reason.to_owned()),
            }
        }
    }
}

/// Ends a forked process without running what its parent would run at its end.
pub fn leave(code: i32) -> ! {
    // SAFETY: _exit ends the process; it touches no memory.
    unsafe { libc::_exit(code) }
}

/// Replaces the standard streams by /dev/null.
fn silence() -> std::io::Result<()> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}
