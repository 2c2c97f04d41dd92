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

use client::Key;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use scheduler::{Placement, PodInfo, Profile, Snapshot, schedule};
use serde_json::Value;

use objects::World;
use workloads::{ALL, Workload};

/// The scheduler's own view, without any API.
struct Alone(Snapshot);

fn info(pod: Pod) -> Arc<PodInfo> {
    Arc::new(PodInfo::new(Arc::new(pod)))
}

impl World for Alone {
    fn node(&mut self, node: Node) {
        self.0.set_node(Arc::new(node));
    }

    fn remove_node(&mut self, name: &str) {
        self.0.remove_node(name);
    }

    fn namespace(&mut self, namespace: Namespace) {
        let name = namespace.metadata.name.clone().unwrap_or_default();
        self.0.set_namespace(&name, Some(&namespace));
    }

    fn pod(&mut self, node: &str, pod: Pod) {
        self.0.add_pod(node, info(pod));
    }

    fn remove_pod(&mut self, node: &str, namespace: &str, name: &str) {
        self.0.remove_pod(node, &format!("{namespace}/{name}"));
    }

    fn service(&mut self, namespace: &str, name: &str, selector: Value) {
        let selector = objects::decode(selector);
        self.0.owners.set_service(&Key::new(namespace, name), Some(&selector));
    }
}

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
    let mut world = Alone(Snapshot::default());
    (workload.before)(&mut world, nodes);
    let profile = Profile::default();
    let mut pending: Vec<Arc<PodInfo>> = (0..pods).map(|at| info((workload.pod)(at))).collect();
    let (mut placed, mut times) = (0, Vec::with_capacity(pods));
    let (start, cpu) = (Instant::now(), cpu_time());
    for (at, pod) in pending.drain(..).enumerate() {
        let began = Instant::now();
        let seed = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let placement = schedule(&profile, &world.0, &pod, seed);
        placed += usize::from(carry_out(&mut world.0, &pod, placement));
        (workload.between)(&mut world, at);
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
