//! When leases end. Deadlines are the leader's alone, as in etcd: a start gives every lease its whole time again.

use std::collections::BTreeMap;
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
    leases: Mutex<BTreeMap<u64, Lease>>,
    changed: Notify,
}

impl Leases {
    pub fn add(&self, lease: u64, ttl_seconds: u64) {
        let ttl = Duration::from_secs(ttl_seconds);
        self.leases.lock().insert(lease, Lease { ttl, ends: Instant::now() + ttl });
        self.changed.notify_one();
    }

    /// These and no others, each with its whole time.
    pub fn set(&self, leases: Vec<(u64, u64)>) {
        self.leases.lock().clear();
        for (lease, ttl_seconds) in leases {
            self.add(lease, ttl_seconds);
        }
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

    /// Gives every lease its whole time again.
    fn restart(&self) {
        for lease in self.leases.lock().values_mut() {
            lease.ends = Instant::now() + lease.ttl;
        }
    }

    /// Ends leases whose time is over, for ever. `leads` tells the term that this member leads in.
    pub async fn run(&self, writer: &Writer, leads: impl Fn() -> Option<u64>) {
        let mut led = leads();
        loop {
            let Some((lease, ends)) = self.next() else {
                self.changed.notified().await;
                continue;
            };
            if ends > Instant::now() {
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(ends) => {}
                    () = self.changed.notified() => {}
                }
                continue;
            }
            let term = leads();
            if term.is_none() || term != led {
                // Keep-alives went to another member until now.
                led = term;
                self.restart();
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
