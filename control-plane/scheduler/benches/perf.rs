//! Upstream's scheduler_perf workload shapes as decisions alone: no API, no store, one thread.
//!
//! `cargo bench -p scheduler --bench perf -- [NODES [PODS [WORKLOAD…]]]`. Every decision is taken on the state the earlier ones left behind:
//! a placed pod counts before the next is looked at. Prints pods per second and CPU time per decision.

#[path = "perf/objects.rs"]
mod objects;
#[path = "perf/workloads.rs"]
mod workloads;

use std::sync::Arc;
use std::time::{Duration, Instant};

use scheduler::{Placement, PodInfo, Profile, Snapshot, schedule};

use workloads::{ALL, Workload};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let number =
        |at: usize, otherwise: usize| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (nodes, pods) = (number(0, 5000), number(1, 0));
    let chosen = arguments.get(2..).unwrap_or_default();
    println!(
        "{:<34} {:>6} {:>6} {:>8} {:>10} {:>10} {:>10}",
        "workload", "nodes", "pods", "placed", "pods/s", "cpu us", "p99 us"
    );
    for workload in ALL.iter().filter(|workload| chosen.is_empty() || chosen.iter().any(|name| name == workload.name)) {
        let count = if pods == 0 { workload.pods } else { pods };
        report(workload, nodes, count, &run(workload, nodes, count));
    }
}

struct Figures {
    placed: usize,
    wall: Duration,
    cpu: Duration,
    slowest: Duration,
}

fn run(workload: &Workload, nodes: usize, pods: usize) -> Figures {
    let mut snapshot = Snapshot::default();
    (workload.before)(&mut snapshot, nodes);
    let profile = Profile::default();
    let mut pending: Vec<Arc<PodInfo>> = (0..pods).map(|at| objects::info((workload.pod)(at))).collect();
    let (mut placed, mut times) = (0, Vec::with_capacity(pods));
    let (start, cpu) = (Instant::now(), cpu_time());
    for (at, pod) in pending.drain(..).enumerate() {
        let began = Instant::now();
        let seed = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let placement = schedule(&profile, &snapshot, &pod, seed);
        placed += usize::from(carry_out(&mut snapshot, &pod, placement));
        (workload.between)(&mut snapshot, at);
        times.push(began.elapsed());
    }
    let (wall, cpu) = (start.elapsed(), cpu_time() - cpu);
    times.sort_unstable();
    let slowest = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
    Figures { placed, wall, cpu, slowest }
}

/// What the scheduler's loop does at once: victims are gone and the pod is there before the next decision.
fn carry_out(snapshot: &mut Snapshot, pod: &Arc<PodInfo>, placement: Placement) -> bool {
    let node = match placement {
        Placement::Node(node) => node,
        Placement::Nowhere(nowhere) => {
            let Some(preemption) = nowhere.preempt else { return false };
            for victim in &preemption.victims {
                snapshot.remove_pod(&preemption.node, victim.uid());
            }
            preemption.node
        }
    };
    snapshot.add_pod(&node, pod.clone());
    true
}

fn report(workload: &Workload, nodes: usize, pods: usize, figures: &Figures) {
    let each = figures.cpu.as_secs_f64() * 1e6 / pods.max(1) as f64;
    let rate = pods as f64 / figures.wall.as_secs_f64();
    let (name, slowest) = (workload.name, figures.slowest.as_secs_f64() * 1e6);
    println!("{name:<34} {nodes:>6} {pods:>6} {:>8} {rate:>10.0} {each:>10.1} {slowest:>10.1}", figures.placed);
}

/// CPU time of the process, which has one thread.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0))
}
