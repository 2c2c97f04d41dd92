//! One of several does the work: who holds the Lease of a role's name.

use crate::cli;
use crate::machine;
use client::Key;
use client::lease::{self, Timing};
use rand::Rng;
use tokio_util::sync::CancellationToken;

/// Refuses times by which two could lead at once.
pub fn timing(flags: &cli::Election) -> anyhow::Result<Timing> {
    let timing = Timing {
        lasts: flags.leader_elect_lease_duration,
        give_up: flags.leader_elect_renew_deadline,
        retry: flags.leader_elect_retry_period,
    };
    anyhow::ensure!(
        timing.lasts > timing.give_up && timing.give_up > timing.retry,
        "the lease duration must be longer than the renew deadline, and that longer than the retry period"
    );
    Ok(timing)
}

/// A process's name among those that stand for a role: the machine's, and chance, since two may be on one machine.
pub fn process_name() -> String {
    format!("{}_{:016x}", machine::name(), rand::rng().random::<u64>())
}

/// Does the work where `me` holds the Lease; without a name, at once.
pub async fn where_leading<F: Future<Output = ()>>(
    me: Option<String>,
    lease: &str,
    client: kube::Client,
    timing: Timing,
    stop: CancellationToken,
    work: impl Fn(CancellationToken) -> F,
) {
    match me {
        None => work(stop).await,
        Some(me) => lease::stand(client, &Key::new("kube-system", lease), &me, timing, stop, work).await,
    }
}
