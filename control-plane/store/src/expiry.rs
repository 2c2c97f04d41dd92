//! When leases end. Deadlines are the leader's alone, as in etcd, and by its own clock: a start or a change of the leader
//! gives every lease its whole time again.
//!
//! INVARIANT: a lease that was kept alive lives its whole time from then on, by the clock of whoever ends it. Therefore a
//! member ends leases only in the term in which it saw all of that time pass, and keeps alive only what it is not ending.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::{self, Instant};
use crate::contract::{Error, Result};
use crate::member::Member;

/// After a revocation that failed.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
struct Lease {
    ttl: Duration,
    ends: Instant,
    /// Its end is on the way through the log, where nothing can stop it.
    is_ending: bool,
}

impl Lease {
    fn whole(ttl: Duration) -> Self {
        Self { ttl, ends: Instant::now() + ttl, is_ending: false }
    }
}

#[derive(Default)]
pub struct Leases {
    leases: Mutex<BTreeMap<u64, Lease>>,
    changed: Notify,
}

impl Leases {
    pub fn add(&self, lease: u64, ttl_seconds: u64) {
        self.leases.lock().insert(lease, Lease::whole(Duration::from_secs(ttl_seconds)));
        self.changed.notify_one();
    }

    /// These and no others, each with its whole time.
    pub fn set(&self, leases: Vec<(u64, u64)>) {
        self.leases.lock().clear();
        for (lease, ttl_seconds) in leases {
            self.add(lease, ttl_seconds);
        }
    }

    /// The whole time again, in seconds. Of one that is about to end it says that there is none.
    pub fn renew(&self, lease: u64) -> Result<u64> {
        let mut leases = self.leases.lock();
        let found = leases.get_mut(&lease).filter(|found| !found.is_ending).ok_or_else(|| unknown(lease))?;
        *found = Lease::whole(found.ttl);
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
            *lease = Lease::whole(lease.ttl);
        }
    }

    /// Unless it was kept alive in the meantime.
    fn begin_to_end(&self, lease: u64) -> bool {
        let mut leases = self.leases.lock();
        let over = leases.get_mut(&lease).filter(|found| found.ends <= Instant::now());
        over.map(|found| found.is_ending = true).is_some()
    }

    /// Ends leases whose time is over, for ever.
    pub async fn run(&self, member: &Member) {
        let mut led = member.lead();
        self.restart();
        loop {
            let Some((lease, ends)) = self.next() else {
                self.changed.notified().await;
                continue;
            };
            if ends > Instant::now() {
                tokio::select! {
                    biased;
                    () = clock::sleep_until(ends) => {}
                    () = self.changed.notified() => {}
                }
                continue;
            }
            let leads = member.lead();
            let Some(lead) = leads.filter(|_| leads == led) else {
                // Keep-alives went to another member until now.
                led = leads;
                self.restart();
                continue;
            };
            if !self.begin_to_end(lease) {
                continue;
            }
            match member.expire(lease, lead).await {
                Ok(()) => self.remove(lease),
                Err(error) => {
                    tracing::warn!(%error, lease, "an expired lease could not be ended yet");
                    clock::sleep(RETRY).await;
                }
            }
        }
    }
}

pub fn unknown(lease: u64) -> Error {
    Error::Invalid(format!("there is no lease {lease}; it may have expired"))
}
