//! Leases among members whose clocks run wrong. One that is kept alive does not end; one that is no longer kept alive does.
//!
//! INVARIANT: whoever ends a lease has seen its whole time pass on its own clock since the lease was last kept alive, or
//! since it got the lead after that. So at least one clock shows that much since the last keep-alive that was answered.

use std::fmt;
use std::iter::Sum;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::Chance;
use super::members::{Clocks, Up, any, insist, may_be_over};
use crate::contract::{Error, Op, Txn, TxnOutcome};

/// What keeps leases looks like in the keys.
const PREFIX: &str = "/kept";
/// Whole lives of the longest lease by the slowest clock, with changes of the leader, each of which begins it anew.
const AT_LAST: Duration = Duration::from_secs(600);

/// What keepers did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kept {
    leases: u64,
    times: u64,
    ended: u64,
}

impl Sum for Kept {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            leases: sum.leases + one.leases,
            times: sum.times + one.times,
            ended: sum.ended + one.ended,
        })
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { leases, times, ended } = self;
        write!(f, "{leases} leases kept alive {times} times, {ended} ended meanwhile")
    }
}

/// One lease with its key.
struct Lease {
    number: u64,
    key: Bytes,
    time: Duration,
    /// When the last question was asked that was answered with its whole time.
    whole: Instant,
}

/// Takes one lease after the other, keeps it alive for a while through members taken by chance, and leaves it.
pub async fn keeper(number: u64, up: Up, clocks: Clocks, until: Instant, mut chance: Chance) -> Kept {
    let mut kept = Kept::default();
    while Instant::now() < until {
        sleep(Duration::from_millis(chance.below(500))).await;
        let key = Bytes::from(format!("{PREFIX}/{number}/{}", kept.leases));
        let Some(mut lease) = take(key, &up, &mut chance).await else { continue };
        kept.leases += 1;
        for _ in 0..chance.below(20) {
            let millis = lease.time.as_millis() as u64;
            sleep(Duration::from_millis(millis / 5 + chance.below(millis / 5))).await;
            if has_ended(&mut lease, &up, &clocks, &mut chance, &mut kept).await {
                kept.ended += 1;
                break;
            }
        }
    }
    kept
}

async fn take(key: Bytes, up: &Up, chance: &mut Chance) -> Option<Lease> {
    let member = any(up, chance)?;
    let (seconds, whole) = (1 + chance.below(8), Instant::now());
    let number = member.asked(member.store.grant_lease(seconds)).await?.ok()?;
    let op = Op::Put { key: key.clone(), value: Bytes::from_static(b"x"), lease: number };
    let put = member.asked(member.store.txn(Txn { ops: vec![op], ..Txn::default() })).await?;
    let lease = Lease { number, key, time: Duration::from_secs(seconds), whole };
    matches!(put, Ok(TxnOutcome::Committed(_))).then_some(lease)
}

/// Keeps it alive and looks for its key.
async fn has_ended(lease: &mut Lease, up: &Up, clocks: &Clocks, chance: &mut Chance, kept: &mut Kept) -> bool {
    let Some(member) = any(up, chance) else { return false };
    let asked = Instant::now();
    match member.asked(member.store.keep_alive(lease.number)).await {
        Some(Ok(_)) => {
            lease.whole = asked;
            kept.times += 1;
        }
        Some(Err(Error::Invalid(_))) => {
            lease.may_have_ended(clocks, "the lease");
            return true;
        }
        Some(Err(_)) | None => {}
    }
    let Some(member) = any(up, chance) else { return false };
    if !matches!(member.asked(member.store.get(&lease.key, None)).await, Some(Ok(None))) {
        return false;
    }
    lease.may_have_ended(clocks, "the key");
    let still = member.asked(member.store.keep_alive(lease.number)).await;
    assert!(!matches!(still, Some(Ok(_))), "lease {} is kept alive and its key is gone", lease.number);
    true
}

impl Lease {
    fn may_have_ended(&self, clocks: &Clocks, what: &str) {
        let Self { number, time, whole, .. } = self;
        let over = may_be_over(clocks, *time, *whole);
        assert!(over, "{what} of lease {number} with {time:?} is gone {:?} after it was kept alive", whole.elapsed());
    }
}

/// What nobody keeps alive any more ends.
pub async fn all_end(up: &Up, chance: &mut Chance, what: &str) {
    let begun = Instant::now();
    loop {
        let member = any(up, chance).expect("every member is up");
        let (from, to) = (PREFIX.as_bytes(), format!("{PREFIX}0"));
        let left = insist(what, &member, || member.store.list(from, to.as_bytes(), None, 0)).await.items;
        let Some(kept) = left.first() else { return };
        assert!(begun.elapsed() < AT_LAST, "{what}: {} never ends", kept.key.escape_ascii());
        sleep(Duration::from_secs(1)).await;
    }
}
