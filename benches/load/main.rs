//! Load on any apiserver, by its kubeconfig and the ids of its processes: CPU of the server per operation, latencies,
//! peak memory. Two servers take turns (A B B A …), so that what else the machine does meets both alike.
//!
//! ```text
//! cargo bench --bench load                                                     an apiserver of this build
//! cargo bench --bench load -- --server wherry=KUBECONFIG:PID --server other=KUBECONFIG:PID,PID
//! ```
//!
//! It goes only to the servers it is given, and ends by itself.

mod connection;
mod measure;
mod report;
mod workloads;

use anyhow::Context;
use clap::Parser;
use connection::Door;
use measure::{Processes, Sample};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

#[derive(Parser)]
pub(crate) struct Settings {
    /// NAME=KUBECONFIG:PID[,PID…], once or twice; none: an apiserver of this build.
    #[arg(long)]
    server: Vec<String>,
    /// Workloads to run, with commas between them; all if none.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Clients at once, each on a connection of its own.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Creates, gets, updates and patches of a round, each.
    #[arg(long, default_value_t = 5_000)]
    operations: usize,
    /// Objects that lists are of.
    #[arg(long, default_value_t = 10_000)]
    objects: usize,
    /// Lists of a round, of each kind.
    #[arg(long, default_value_t = 10)]
    lists: usize,
    #[arg(long, default_value_t = 1_000)]
    watchers: usize,
    /// Writes of a round that every watcher sees.
    #[arg(long, default_value_t = 50)]
    writes: usize,
    /// What `cargo bench` says.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Settings {
    pub(crate) fn runs(&self, workload: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|o| o == workload)
    }
}

struct Server {
    name: String,
    kubeconfig: PathBuf,
    processes: Processes,
}

impl std::str::FromStr for Server {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Server> {
        let parts = text.split_once('=').and_then(|(name, rest)| Some((name, rest.rsplit_once(':')?)));
        let (name, (kubeconfig, pids)) = parts.with_context(|| format!("{text:?} is not NAME=KUBECONFIG:PID[,PID]"))?;
        let pids = pids.split(',').map(str::parse).collect::<Result<_, _>>().context("a process id")?;
        Ok(Server { name: name.into(), kubeconfig: kubeconfig.into(), processes: Processes(pids) })
    }
}

/// An apiserver of this build on a port of its own, until it is dropped.
struct Own {
    child: Child,
    dir: tempfile::TempDir,
}

impl Own {
    fn start() -> anyhow::Result<Own> {
        let dir = tempfile::tempdir()?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wherry"));
        command.args(["apiserver", "--secure-port", &port.to_string(), "--data-dir"]).arg(dir.path());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
        anyhow::ensure!(line.contains("kubeconfig"), "the apiserver did not start: {line:?}");
        Ok(Own { child, dir })
    }

    fn server(&self) -> Server {
        let processes = Processes(vec![self.child.id()]);
        Server { name: "wherry".into(), kubeconfig: self.dir.path().join("admin.kubeconfig"), processes }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    if let Some(unknown) = settings.only.iter().find(|o| !workloads::ALL.contains(&o.as_str())) {
        anyhow::bail!("no workload is called {unknown:?}: {:?}", workloads::ALL);
    }
    let own = if settings.server.is_empty() { Some(Own::start()?) } else { None };
    let given: Vec<Server> = settings.server.iter().map(|s| s.parse()).collect::<anyhow::Result<_>>()?;
    let servers: Vec<Server> = own.iter().map(Own::server).chain(given).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let samples = runtime.block_on(load(&servers, &settings))?;
    report::print(&servers.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), &samples);
    Ok(())
}

/// The samples of each workload, by server.
pub(crate) type Samples = BTreeMap<usize, Vec<Vec<Sample>>>;

async fn load(servers: &[Server], settings: &Settings) -> anyhow::Result<Samples> {
    let mut doors = Vec::new();
    for server in servers {
        let door =
            Door::open(&server.kubeconfig).await.with_context(|| format!("the kubeconfig of {}", server.name))?;
        workloads::prepare(&door, settings).await.with_context(|| format!("preparing {}", server.name))?;
        doors.push(door);
    }
    let mut samples = Samples::new();
    for round in 0..settings.rounds {
        for (number, workload) in workloads::ALL.iter().enumerate() {
            if !settings.runs(workload) {
                continue;
            }
            let of_all = samples.entry(number).or_insert_with(|| servers.iter().map(|_| Vec::new()).collect());
            let mut order: Vec<usize> = (0..servers.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for i in order {
                let sample = workloads::run(workload, round, &doors[i], &servers[i].processes, settings).await;
                of_all[i].push(sample.with_context(|| format!("{workload} on {}", servers[i].name))?);
            }
        }
    }
    Ok(samples)
}
