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
    println!("{:>26} {:>12} {:>8} {:>14} {:>14}", "controller", "deployments", "pods", "plan", "change");
    for deployments in [100, 1000, 10_000] {
        for planner in Planner::all(&objects(deployments)) {
            let (_, average) = planner.plan((0..PLANS).map(|n| n * 7919 % deployments));
            let [plan, change] = [average, planner.change].map(|time| format!("{:.1} µs", time.as_secs_f64() * 1e6));
            println!("{:>26} {deployments:>12} {:>8} {plan:>14} {change:>14}", planner.name, deployments * PODS_EACH);
        }
    }
}
