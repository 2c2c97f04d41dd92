//! Leader election: of several processes that could do a work, the one that holds the Lease does it.
//!
//! A holder stops its work before anyone else may begin: it gives up earlier than the Lease runs out.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use tokio_util::sync::CancellationToken;

use crate::object::Key;

/// Upstream's three times, with its defaults for its own components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long the others leave a Lease alone that stands still.
    pub lasts: Duration,
    /// How long a holder tries to renew it before it stops its work; less, so that there are never two.
    pub give_up: Duration,
    /// Between two tries.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        let [lasts, give_up, retry] = [15, 10, 2].map(Duration::from_secs);
        Timing { lasts, give_up, retry }
    }
}

/// A candidate. What it saw of another holder's Lease is timed by its own clock, so clocks need not agree.
struct Candidate {
    api: Api<Lease>,
    name: String,
    me: String,
    timing: Timing,
    seen: Option<(LeaseSpec, Instant)>,
}

#[derive(Debug, PartialEq)]
enum Step {
    Create,
    Take { transitions: i32 },
    Renew,
    Wait,
}

/// Does `work` whenever it leads, until stopped; gives the lead back then.
pub async fn stand<F: Future<Output = ()>>(
    client: kube::Client,
    lease: &Key,
    me: &str,
    timing: Timing,
    stop: CancellationToken,
    work: impl Fn(CancellationToken) -> F,
) {
    while !stop.is_cancelled() {
        lead(client.clone(), lease, me, timing, stop.clone(), &work).await;
    }
}

/// Waits to become the leader, runs `work` while it is, and returns when the work ends, the lead is lost or on `stop`.
pub async fn lead<F: Future<Output = ()>>(
    client: kube::Client,
    lease: &Key,
    me: &str,
    timing: Timing,
    stop: CancellationToken,
    work: impl FnOnce(CancellationToken) -> F,
) {
    let api = Api::namespaced(client, &lease.namespace);
    let mut candidate = Candidate { api, name: lease.name.clone(), me: me.to_owned(), timing, seen: None };
    let elected = async {
        while !candidate.attempt().await {
            tokio::time::sleep(timing.retry).await;
        }
    };
    if stop.run_until_cancelled(elected).await.is_none() {
        return;
    }
    tracing::info!(%lease, me, "leading");
    let leading = stop.child_token();
    tokio::select! {
        () = candidate.hold() => tracing::warn!(%lease, me, "lost the lead"),
        () = work(leading.clone()) => {}
    }
    leading.cancel();
    candidate.release().await;
}

impl Candidate {
    /// Renews until that fails for too long.
    async fn hold(&mut self) {
        let mut renewed = Instant::now();
        while renewed.elapsed() < self.timing.give_up {
            tokio::time::sleep(self.timing.retry).await;
            let left = self.timing.give_up.saturating_sub(renewed.elapsed());
            if tokio::time::timeout(left, self.attempt()).await.unwrap_or(false) {
                renewed = Instant::now();
            }
        }
    }

    /// Tries to hold the Lease from now on; true if it does.
    async fn attempt(&mut self) -> bool {
        match self.try_once().await {
            Ok(held) => held,
            Err(error) => {
                tracing::debug!(lease = self.name, "leader election: {error}");
                false
            }
        }
    }

    async fn try_once(&mut self) -> Result<bool, kube::Error> {
        let current = self.api.get_opt(&self.name).await?;
        let spec = current.as_ref().and_then(|lease| lease.spec.clone());
        let step = self.decide(current.is_some(), spec.as_ref(), Instant::now());
        let now = MicroTime(Timestamp::now());
        let mut lease = current.unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            ..Lease::default()
        });
        let held = lease.spec.get_or_insert_default();
        held.holder_identity = Some(self.me.clone());
        held.lease_duration_seconds = Some(i32::try_from(self.timing.lasts.as_secs()).unwrap_or(i32::MAX));
        held.renew_time = Some(now.clone());
        match step {
            Step::Wait => return Ok(false),
            Step::Renew => {}
            Step::Create => held.acquire_time = Some(now),
            Step::Take { transitions } => {
                held.acquire_time = Some(now);
                held.lease_transitions = Some(transitions);
            }
        }
        match step {
            Step::Create => self.api.create(&PostParams::default(), &lease).await?,
            _ => self.api.replace(&self.name, &PostParams::default(), &lease).await?,
        };
        Ok(true)
    }

    fn decide(&mut self, exists: bool, spec: Option<&LeaseSpec>, now: Instant) -> Step {
        let Some(spec) = spec.filter(|_| exists) else {
            return if exists { Step::Take { transitions: 1 } } else { Step::Create };
        };
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let transitions = spec.lease_transitions.unwrap_or(0) + 1;
        if holder == self.me {
            return Step::Renew;
        }
        if holder.is_empty() {
            return Step::Take { transitions };
        }
        let since = match &self.seen {
            Some((known, since)) if known == spec => *since,
            _ => {
                self.seen = Some((spec.clone(), now));
                now
            }
        };
        let lasts = Duration::from_secs(spec.lease_duration_seconds.unwrap_or(0).max(0) as u64);
        if now.duration_since(since) > lasts { Step::Take { transitions } } else { Step::Wait }
    }

    /// Lets go, so that the next leader need not wait.
    async fn release(&self) {
        let let_go = async {
            let Some(mut lease) = self.api.get_opt(&self.name).await? else { return Ok(()) };
            let Some(spec) = lease.spec.as_mut() else { return Ok(()) };
            if spec.holder_identity.as_deref() == Some(&self.me) {
                spec.holder_identity = None;
                spec.lease_duration_seconds = Some(1);
                self.api.replace(&self.name, &PostParams::default(), &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        match tokio::time::timeout(self.timing.retry, let_go).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(lease = self.name, "the lease stays behind: {error}"),
            Err(_) => tracing::debug!(lease = self.name, "the lease stays behind: no answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate() -> Candidate {
        let never = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("no server"))
        });
        let client = kube::Client::new(never, "default");
        Candidate {
            api: Api::namespaced(client, "a"),
            name: "l".into(),
            me: "me".into(),
            timing: Timing::default(),
            seen: None,
        }
    }

    fn held_by(holder: &str, renewed: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.into()),
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime(Timestamp::from_second(renewed).unwrap())),
            ..LeaseSpec::default()
        }
    }

    #[tokio::test]
    async fn anothers_lease_is_taken_only_after_it_stood_still_for_its_whole_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut me = candidate();
        assert_eq!(me.decide(false, None, at(0)), Step::Create);
        assert_eq!(me.decide(true, Some(&held_by("you", 1)), at(0)), Step::Wait);
        assert_eq!(me.decide(true, Some(&held_by("you", 1)), at(14)), Step::Wait);
        assert_eq!(me.decide(true, Some(&held_by("you", 2)), at(16)), Step::Wait, "it was renewed");
        assert_eq!(me.decide(true, Some(&held_by("you", 2)), at(30)), Step::Wait);
        assert_eq!(me.decide(true, Some(&held_by("you", 2)), at(32)), Step::Take { transitions: 1 });
        assert_eq!(me.decide(true, Some(&held_by("me", 2)), at(32)), Step::Renew);
        assert_eq!(me.decide(true, Some(&held_by("", 2)), at(32)), Step::Take { transitions: 1 });
    }
}
