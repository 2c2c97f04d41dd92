//! Work that forks or takes memory, done in a short-lived child of the pod process.

use crate::zygote::leave;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, pipe2};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// How long one piece of work may take. Making a container takes milliseconds; a hanging volume must not hang the pod.
const TIME_LIMIT_MS: u16 = 60_000;
/// An answer fits in a pipe, so that writing it never waits.
const ANSWER_LIMIT: u64 = 60 * 1024;

/// Runs `work` in a child that keeps only the standard streams and `keep` open, and waits for its result.
pub fn run<T>(keep: &[RawFd], work: impl FnOnce() -> Result<T, String>) -> Result<T, String>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(|e| format!("make a pipe: {e}"))?;
    // SAFETY: this process has a single thread, so the child may do anything.
    match unsafe { fork() }.map_err(|e| format!("fork: {e}"))? {
        ForkResult::Child => {
            close_all_but(keep, writer.as_raw_fd());
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
                .unwrap_or_else(|_| Err("the runtime library panicked".to_owned()));
            let mut answer = serde_json::to_vec(&result).unwrap_or_default();
            answer.truncate(ANSWER_LIMIT as usize);
            let _ = File::from(writer).write_all(&answer);
            leave(0)
        }
        ForkResult::Parent { child } => {
            drop(writer);
            wait(child)?;
            let mut answer = Vec::new();
            // The pipe may stay open in a container that has not started yet: reading ends where nothing more is there.
            let _ = File::from(reader).take(ANSWER_LIMIT).read_to_end(&mut answer);
            serde_json::from_slice(&answer).map_err(|_| "the runtime library ended without an answer".to_owned())?
        }
    }
}

fn wait(child: nix::unistd::Pid) -> Result<(), String> {
    // SAFETY: a plain system call on a number.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, child.as_raw(), 0) };
    let mut result = Ok(());
    if raw >= 0 {
        // SAFETY: the kernel has just made this descriptor for us.
        let pidfd = unsafe { OwnedFd::from_raw_fd(raw as RawFd) };
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        loop {
            match poll(&mut fds, PollTimeout::from(TIME_LIMIT_MS)) {
                Ok(0) => {
                    let _ = kill(child, Signal::SIGKILL);
                    result = Err(format!("the runtime library did not answer within {} s", TIME_LIMIT_MS / 1000));
                    break;
                }
                Err(nix::errno::Errno::EINTR) => {}
                Ok(_) | Err(_) => break,
            }
        }
    }
    let _ = waitpid(child, None);
    result
}

fn close_all_but(keep: &[RawFd], also: RawFd) {
    let keep: BTreeSet<RawFd> = keep.iter().copied().chain([0, 1, 2, also]).collect();
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    for fd in open {
        if !keep.contains(&fd) {
            // SAFETY: whoever owned it in this child is never dropped: the child leaves by _exit.
            unsafe { libc::close(fd) };
        }
    }
}
