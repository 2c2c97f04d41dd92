//! A pod's network namespace, entered by the calling thread for the length of a closure.
//!
//! Sockets belong to the namespace of the thread that makes them, and stay there: so a guest is polled inside its
//! pod's namespace and everything else of the host stays outside. Nothing here ever leaves a thread in a foreign namespace.

use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

/// The namespace that this process started in.
static HOME: OnceLock<File> = OnceLock::new();

/// An open network namespace.
#[derive(Debug)]
pub struct Netns(File);

impl Netns {
    /// Opens the pinned namespace at `path`.
    pub fn open(path: &Path) -> io::Result<Netns> {
        home()?;
        Ok(Netns(File::open(path)?))
    }

    /// Runs `f` with the calling thread inside the namespace.
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> io::Result<R> {
        let home = home()?;
        setns(&self.0, CloneFlags::CLONE_NEWNET)?;
        let _back = Back(home);
        Ok(f())
    }
}

/// Runs `f` inside `netns`, or right here for a pod on the host's network.
pub fn within<R>(netns: Option<&Netns>, f: impl FnOnce() -> R) -> io::Result<R> {
    match netns {
        Some(netns) => netns.enter(f),
        None => Ok(f()),
    }
}

fn home() -> io::Result<&'static File> {
    if let Some(home) = HOME.get() {
        return Ok(home);
    }
    let file = File::open("/proc/thread-self/ns/net")?;
    Ok(HOME.get_or_init(|| file))
}

struct Back(&'static File);

impl Drop for Back {
    fn drop(&mut self) {
        // INVARIANT: no thread outlives `enter` in a pod's namespace; the next socket made on it would be another pod's.
        if let Err(err) = setns(self.0, CloneFlags::CLONE_NEWNET) {
            eprintln!("wherry: cannot return to the host's network namespace: {err}");
            std::process::abort();
        }
    }
}
