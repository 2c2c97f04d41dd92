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
