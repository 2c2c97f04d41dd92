//! The CPU of one change among 100, 1,000 and 10,000 Deployments with ten pods each, all in one namespace.
//!
//! `cargo bench -p controllers --bench plans`; the figures are in docs/figures-controllers.md.

#[path = "../tests/crowd/mod.rs"]
mod crowd;

use crowd::{PODS_EACH, Planner, objects};

/// Plans per figure.
const PLANS: usize = 2000;

#[expect(clippy::print_stdout, reason = "the figures are what this is for")]
fn main() {
    println!("{:>12} {:>9} {:>22} {:>22}", "deployments", "pods", "deployment plan", "replica set plan");
    for deployments in [100, 1000, 10_000] {
        let all = objects(deployments);
        let [deployment, set] = Planner::both(&all).map(|planner| {
            let (_, average) = planner.plan((0..PLANS).map(|n| n * 7919 % deployments));
            format!("{:.1} µs", average.as_secs_f64() * 1e6)
        });
        println!("{deployments:>12} {:>9} {deployment:>22} {set:>22}", deployments * PODS_EACH);
    }
}
