//! Proofs that need a disk or a network of their own. The shares that run with every test are small; the environment
//! makes them long: see docs/store.md.

use std::cell::Cell;

mod anomalies;
pub mod clock;
mod cuts;
mod disk;
mod leases;
mod members;
mod net;

thread_local! {
    static SIMULATED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is all that there is.
pub fn is_simulated() -> bool {
    SIMULATED.get()
}

/// How long the simulated disk takes for what is queued.
pub async fn disk_time() {
    tokio::time::sleep(std::time::Duration::from_micros(700)).await;
}

/// Runs in one thread, in a time of its own.
fn simulate<F: Future>(seed: u64, run: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    // Otherwise who waits for the same thing is woken in an order of tokio's own.
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    let runtime = builder.enable_all().start_paused(true).build();
    SIMULATED.set(true);
    let output = runtime.expect("a runtime of one thread").block_on(seeded(seed, run));
    SIMULATED.set(false);
    output
}

pub use clock::Runtime;

/// Runs with elections that repeat.
async fn seeded<F: Future>(seed: u64, run: F) -> F::Output {
    Runtime::seeded(seed, run).await
}

/// Numbers that look random, and repeat with their seed.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        // Small seeds must not begin alike.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound.max(1)
    }

    fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}

/// A number of the environment, or what runs with every test.
fn budget(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}
