//! Upstream's scheduler_perf workload shapes through any apiserver, for whatever scheduler works there: nodes that nobody runs,
//! pods that wait, and how fast these get their nodes.
//!
//! `cargo bench -p scheduler --bench api -- --kubeconfig FILE [--nodes N] [--pods N] [--workload NAME]... [--process NAME=PID[,PID]]...`
//!
//! The cluster is to be empty, and to have no controllers: nodes without leases would count as lost. What a workload made is
//! deleted before the next. CPU is that of the processes that are named, from /proc; this one's is never counted.

#[path = "../perf/objects.rs"]
mod objects;
#[path = "../perf/workloads.rs"]
mod workloads;

mod cluster;
mod processes;

use std::time::{Duration, Instant};

use cluster::Cluster;
use processes::Processes;
use workloads::{ALL, Workload};

/// Scheduling that makes no progress for so long has ended: what is left never fits.
const STUCK: Duration = Duration::from_secs(30);

struct Settings {
    kubeconfig: String,
    nodes: usize,
    /// None leaves it to the workload.
    pods: Option<usize>,
    workloads: Vec<String>,
    processes: Vec<Processes>,
}

impl Settings {
    fn read() -> Result<Settings, String> {
        let mut all =
            Settings { kubeconfig: String::new(), nodes: 1000, pods: None, workloads: vec![], processes: vec![] };
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
            let number = || value.parse().map_err(|_| format!("{word}: {value:?} is no number"));
            match word.as_str() {
                "--kubeconfig" => all.kubeconfig = value,
                "--nodes" => all.nodes = number()?,
                "--pods" => all.pods = Some(number()?),
                "--workload" => all.workloads.push(value),
                "--process" => all.processes.push(Processes::parse(&value)?),
                other => return Err(format!("nobody knows {other}")),
            }
        }
        let known = |name: &String| ALL.iter().any(|workload| workload.name == name);
        match all.workloads.iter().find(|name| !known(name)) {
            Some(name) => Err(format!("there is no workload {name}")),
            None => Ok(all),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), cluster::Failure> {
    let settings = Settings::read()?;
    if settings.kubeconfig.is_empty() {
        // `cargo bench` of everything comes here.
        println!("through an API: nothing to do without --kubeconfig FILE");
        return Ok(());
    }
    let names =
        settings.processes.iter().map(|of| format!("{:>16}", format!("{} us/pod", of.name))).collect::<String>();
    println!("{:<34} {:>6} {:>6} {:>6} {:>8} {:>8}{names}", "workload", "nodes", "pods", "bound", "seconds", "pods/s");
    let chosen = |workload: &&Workload| {
        settings.workloads.is_empty() || settings.workloads.iter().any(|name| name == workload.name)
    };
    for workload in ALL.iter().filter(chosen) {
        let cluster = Cluster::connect(&settings.kubeconfig).await?;
        let measured = measure(workload, &cluster, &settings).await;
        cluster.clear().await?;
        measured?;
    }
    Ok(())
}

async fn measure(workload: &Workload, cluster: &Cluster, settings: &Settings) -> Result<(), cluster::Failure> {
    let pods = settings.pods.unwrap_or(workload.pods);
    let mut before = cluster.planned();
    (workload.before)(&mut before, settings.nodes);
    cluster.make(before).await?;
    let measured: Vec<_> = (0..pods).map(|at| (workload.pod)(at)).collect();
    let mut bound = cluster.bound(&measured).await?;
    let cpu: Vec<Duration> = settings.processes.iter().map(Processes::cpu).collect();
    let began = Instant::now();
    let creating = cluster.create(measured, workload.between);
    let (created, (count, took)) = tokio::join!(creating, bound.all(pods, STUCK));
    created?;
    let seconds = took.map_or(0.0, |last| (last - began).as_secs_f64());
    let each = |(of, before): (&Processes, &Duration)| {
        let used = of.cpu().saturating_sub(*before).as_secs_f64() * 1e6 / count.max(1) as f64;
        format!("{used:>16.0}")
    };
    let cpu: String = settings.processes.iter().zip(&cpu).map(each).collect();
    let rate = count as f64 / seconds.max(1e-9);
    println!("{:<34} {:>6} {pods:>6} {count:>6} {seconds:>8.2} {rate:>8.0}{cpu}", workload.name, settings.nodes);
    Ok(())
}
