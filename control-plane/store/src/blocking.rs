//! Work that may wait for the disk, off the threads that serve.

use crate::contract::{Error, Result};

/// On a thread that may block; in a simulation, which has one thread, right here.
pub async fn run<T: Send + 'static>(what: &str, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    #[cfg(test)]
    if crate::proof::is_simulated() {
        return work();
    }
    let working = tokio::task::spawn_blocking(work);
    working.await.map_err(|error| Error::Unavailable(format!("{what}: {error}")))?
}

/// The same on a thread of its own, for what is done so seldom and takes so long that it needs a name.
pub async fn alone<T: Send + 'static>(name: &str, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    #[cfg(test)]
    if crate::proof::is_simulated() {
        return work();
    }
    let (send, done) = tokio::sync::oneshot::channel();
    let unavailable = |why: &dyn std::fmt::Display| Error::Unavailable(format!("the thread {name}: {why}"));
    let run = move || drop(send.send(work()));
    std::thread::Builder::new().name(name.into()).spawn(run).map_err(|error| unavailable(&error))?;
    done.await.unwrap_or_else(|_| Err(unavailable(&"it panicked")))
}
