//! When leases end. Deadlines are the leader's alone, as in etcd: a start gives every lease its whole time again.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::command::Command;
use crate::contract::{Error, Result};
use crate::writer::Writer;

/// After a revocation that failed.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
struct Lease {
    ttl: Duration,
    ends: Instant,
}

#[derive(Default)]
pub struct Leases {
    leases: Mutex<HashMap<u64, Lease>>,
    changed: Notify,
}

impl Leases {
    pub fn add(&self, lease: u64, ttl_seconds: u64) {
        let ttl = Duration::from_secs(ttl_seconds);
        self.leases.lock().insert(lease, Lease { ttl, ends: Instant::now() + ttl });
        self.changed.notify_one();
    }

    /// The whole time again, in seconds.
    pub fn renew(&self, lease: u64) -> Result<u64> {
        let mut leases = self.leases.lock();
        let found = leases.get_mut(&lease).ok_or_else(|| unknown(lease))?;
        found.ends = Instant::now() + found.ttl;
        Ok(found.ttl.as_secs())
    }

    pub fn remove(&self, lease: u64) {
        self.leases.lock().remove(&lease);
    }

    fn next(&self) -> Option<(u64, Instant)> {
        let leases = self.leases.lock();
        leases.iter().map(|(lease, known)| (*lease, known.ends)).min_by_key(|(_, ends)| *ends)
    }

    /// Ends leases whose time is over, for ever.
    pub async fn run(&self, writer: &Writer) {
        loop {
            let Some((lease, ends)) = self.next() else {
                self.changed.notified().await;
                continue;
            };
            if ends > Instant::now() {
                tokio::select! {
                    () = tokio::time::sleep_until(ends) => {}
                    () = self.changed.notified() => {}
                }
                continue;
            }
            match writer.write(Command::Revoke { lease }).await {
                Ok(_) => self.remove(lease),
                Err(error) => {
                    tracing::warn!(%error, lease, "an expired lease could not be ended yet");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

pub fn unknown(lease: u64) -> Error {
    Error::Invalid(format!("there is no lease {lease}; it may have expired"))
}
