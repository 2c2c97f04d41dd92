//! The memory of a container's guests, bound by one limit for all of its instances together.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use wasmtime::ResourceLimiter;

/// The most elements of one table: a table's slot costs host memory, which the memory limit does not see.
const TABLE_ELEMENTS: usize = 100_000;

/// One container's memory account.
#[derive(Debug)]
pub struct Account {
    used: AtomicUsize,
    peak: AtomicUsize,
    /// Bytes; `u64::MAX` without a limit.
    limit: AtomicU64,
}

impl Account {
    pub fn new(limit_bytes: i64) -> Account {
        let account = Account { used: AtomicUsize::new(0), peak: AtomicUsize::new(0), limit: AtomicU64::new(0) };
        account.limit(limit_bytes);
        account
    }

    /// Sets the limit; zero or less is none. Instances that already hold more keep what they have.
    pub fn limit(&self, limit_bytes: i64) {
        let limit = if limit_bytes > 0 { limit_bytes as u64 } else { u64::MAX };
        self.limit.store(limit, Ordering::Relaxed);
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed) as u64
    }

    fn take(&self, bytes: usize) -> Result<(), OverLimit> {
        let limit = self.limit.load(Ordering::Relaxed);
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let wanted = before.saturating_add(bytes);
        if wanted as u64 > limit {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(OverLimit { wanted: wanted as u64, limit });
        }
        self.peak.fetch_max(wanted, Ordering::Relaxed);
        Ok(())
    }
}

/// A guest wanted more memory than its container may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverLimit {
    pub wanted: u64,
    pub limit: u64,
}

impl fmt::Display for OverLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the guest wanted {} bytes of memory, its container's limit is {}", self.wanted, self.limit)
    }
}

impl std::error::Error for OverLimit {}

/// One instance's part of the account; gives it back when dropped.
#[derive(Debug)]
pub struct Share {
    account: Arc<Account>,
    held: usize,
}

impl Share {
    pub fn new(account: Arc<Account>) -> Share {
        Share { account, held: 0 }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.account.used.fetch_sub(self.held, Ordering::Relaxed);
    }
}

impl ResourceLimiter for Share {
    /// Over the limit the guest traps, as a process would be killed: a failed `memory.grow` would let it limp on.
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let more = desired.saturating_sub(current);
        self.account.take(more)?;
        self.held += more;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS && maximum.is_none_or(|maximum| desired <= maximum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_share_one_limit_and_give_back_what_they_held() {
        let account = Arc::new(Account::new(100));
        let mut first = Share::new(account.clone());
        let mut second = Share::new(account.clone());
        assert!(first.memory_growing(0, 60, None).unwrap());
        let over = second.memory_growing(0, 50, None).unwrap_err();
        assert_eq!(over.downcast_ref::<OverLimit>(), Some(&OverLimit { wanted: 110, limit: 100 }));
        assert_eq!(account.used(), 60);
        drop(first);
        assert!(second.memory_growing(0, 50, None).unwrap());
        assert!(!second.memory_growing(50, 80, Some(70)).unwrap(), "the module's own maximum is no trap");
        account.limit(0);
        assert!(second.memory_growing(50, 5000, None).unwrap());
    }
}
