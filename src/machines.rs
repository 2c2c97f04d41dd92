//! The further nodes of `wherry up --nodes N`: each a machine of its own as far as namespaces and a control group make
//! one, with its own directory below `DIR/nodes`, on a network that a namespace of ours holds. Everything is found again
//! by what lies there, so that `up` and `wherry machine` need not know of each other.

pub mod inside;

use crate::data_dir::{self, Settings};
use crate::node;
use anyhow::{Context, bail};
use cni::Segment;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oci::cgroup::Cgroup;
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// The processes and memory of one machine are enough for a few; each is a whole node.
pub const MOST: usize = 16;
/// A node that is told to end stops its pods first.
const END: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);
const MTU: u32 = 1500;

/// The machines of one cluster, this one the first.
#[derive(Debug, Clone)]
pub struct Machines {
    data_dir: PathBuf,
    settings: Settings,
    segment: Segment,
    count: usize,
}

/// How a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Running(Pid),
    Stopped,
}

impl Machines {
    /// The machines of a cluster; `None` where it has one node alone.
    pub fn of(data_dir: &Path, settings: &Settings) -> Option<Machines> {
        let (network, count) = (settings.node_network?, settings.nodes);
        let switch = data_dir.join("nodes").join("switch");
        let segment = Segment { switch, link: format!("whn-{}", settings.tag), network, mtu: MTU };
        Some(Machines { data_dir: data_dir.to_owned(), settings: settings.clone(), segment, count })
    }

    /// This machine's address among the nodes.
    pub fn own_address(&self) -> anyhow::Result<IpAddr> {
        Ok(self.segment.address(1)?)
    }

    /// The names of the further nodes, with their numbers.
    pub fn names(&self) -> BTreeMap<String, usize> {
        (2..=self.count).map(|n| (format!("{}-{n}", self.settings.node_name), n)).collect()
    }

    fn number(&self, name: &str) -> anyhow::Result<usize> {
        let names = self.names();
        let known = names.keys().cloned().collect::<Vec<_>>().join(", ");
        names
            .get(name)
            .copied()
            .with_context(|| format!("no machine of this cluster is named {name}; there are {known}"))
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.data_dir.join("nodes").join(name)
    }

    /// Where a machine's node says what it does.
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir(name).join("machine.log")
    }

    fn netns(&self, name: &str) -> PathBuf {
        self.data_dir.join("nodes").join(format!("{name}.net"))
    }

    fn group(&self, name: &str) -> Cgroup {
        Cgroup::at(format!("wherry-{}-{name}", self.settings.tag))
    }

    /// Makes the network, with this machine on it.
    pub async fn open(&self) -> anyhow::Result<()> {
        data_dir::make_private(&self.data_dir.join("nodes"))?;
        pin(&self.segment.switch)?;
        self.segment.open().await.context("making the nodes' network")
    }

    /// Starts a machine, unless it runs. `mirror` is where it finds the images of this one.
    pub async fn start(&self, name: &str, mirror: Option<&str>) -> anyhow::Result<()> {
        let n = self.number(name)?;
        if let State::Running(_) = self.state(name) {
            return Ok(());
        }
        let dir = self.dir(name);
        data_dir::make_private(&dir)?;
        if let Some(mirror) = mirror {
            let mirrors = serde_json::json!({"mirrors": {"*": {"endpoints": [mirror]}}});
            data_dir::write_private(&dir.join("registries.yaml"), mirrors.to_string().as_bytes())?;
        }
        pin(&self.netns(name))?;
        self.segment.connect(n, &self.netns(name)).await.with_context(|| format!("connecting {name}"))?;
        self.segment.set(n, true).await?;
        let group = format!("wherry-{}-{name}", self.settings.tag);
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log(name))?;
        let mut command = tokio::process::Command::new(std::env::current_exe().context("finding this program")?);
        command.args(["machine", "enter", "--name", name, "--group", &group, "--data-dir"]).arg(&dir);
        command.arg("--netns").arg(self.netns(name)).arg("--join").arg(self.data_dir.join("join.kubeconfig"));
        let status = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).status().await;
        let status = status.with_context(|| format!("starting {name}"))?;
        if !status.success() {
            bail!("{name} could not be started; its log is {}", self.log(name).display());
        }
        Ok(())
    }

    pub fn state(&self, name: &str) -> State {
        let dir = self.dir(name);
        let pid = fs::read_to_string(dir.join("machine.pid")).ok().and_then(|text| text.trim().parse::<i32>().ok());
        // The number may be another process's by now.
        let ours = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0);
            words.any(|word| word == dir.as_os_str().as_encoded_bytes())
        };
        pid.filter(ours).map_or(State::Stopped, |pid| State::Running(Pid::from_raw(pid)))
    }

    /// Tells a machine to stop its pods and end, and waits; what does not end in time is killed.
    pub async fn stop(&self, name: &str) -> anyhow::Result<()> {
        self.number(name)?;
        let State::Running(pid) = self.state(name) else { return Ok(()) };
        kill(pid, Signal::SIGTERM).ok();
        if tokio::time::timeout(END, self.ended(name)).await.is_err() {
            tracing::warn!(name, "it did not end in time and is killed");
        }
        self.kill(name).await
    }

    /// Ends a machine as a power cut does.
    pub async fn kill(&self, name: &str) -> anyhow::Result<()> {
        self.number(name)?;
        if let State::Running(pid) = self.state(name) {
            // The first process of a PID namespace takes all others with it.
            kill(pid, Signal::SIGKILL).ok();
            tokio::time::timeout(END, self.ended(name)).await.with_context(|| format!("{name} cannot be killed"))?;
        }
        self.tidy(name).await
    }

    async fn ended(&self, name: &str) {
        while self.state(name) != State::Stopped {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Removes the groups of a machine that has ended; the kernel takes a moment to empty them.
    async fn tidy(&self, name: &str) -> anyhow::Result<()> {
        let group = self.group(name);
        let removed = async {
            while group.remove_all().is_err() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(END, removed).await.with_context(|| format!("removing the control group of {name}"))?;
        fs::remove_file(self.dir(name).join("machine.pid")).ok();
        Ok(())
    }

    /// Cuts a machine off from the others, or lets it back.
    pub async fn cut(&self, name: &str, cut: bool) -> anyhow::Result<()> {
        let n = self.number(name)?;
        self.segment.set(n, !cut).await.with_context(|| format!("changing the network of {name}; is the cluster up?"))
    }

    /// Ends all machines and takes their network away. Their data stays.
    pub async fn close(&self, kill: bool) -> anyhow::Result<()> {
        let names = self.names();
        let ends = names.keys().map(async |name| if kill { self.kill(name).await } else { self.stop(name).await });
        let ended: Vec<anyhow::Result<()>> = futures::future::join_all(ends).await;
        self.segment.close().await.context("removing the nodes' network")?;
        for name in names.keys() {
            cri::netns::remove(&self.netns(name)).with_context(|| format!("unpinning the network of {name}"))?;
        }
        cri::netns::remove(&self.segment.switch).context("unpinning the nodes' network")?;
        ended.into_iter().collect()
    }
}

fn pin(path: &Path) -> anyhow::Result<()> {
    if cri::netns::pinned(path) {
        return Ok(());
    }
    cri::netns::create(path, &BTreeMap::new()).with_context(|| format!("making the namespace {}", path.display()))
}

/// `wherry machine …`, but for what runs inside of one.
pub async fn run(command: crate::cli::Machine) -> anyhow::Result<()> {
    use crate::cli::Machine;
    let of = |dir: &Path| {
        let path = dir.canonicalize().with_context(|| format!("there is no {}", dir.display()))?;
        let settings = data_dir::read(&path)?.with_context(|| format!("there is no cluster in {}", path.display()))?;
        Machines::of(&path, &settings).with_context(|| format!("the cluster in {} has one node", path.display()))
    };
    match command {
        Machine::List(flags) => {
            let machines = of(&flags.data_dir)?;
            for name in machines.names().keys() {
                match machines.state(name) {
                    State::Running(pid) => println!("{name}\trunning\tprocess {pid}"),
                    State::Stopped => println!("{name}\tstopped"),
                }
            }
            Ok(())
        }
        Machine::Start(flags) => of(&flags.data_dir)?.start(&flags.name, None).await,
        Machine::Stop(flags) => of(&flags.data_dir)?.stop(&flags.name).await,
        Machine::Kill(flags) => of(&flags.data_dir)?.kill(&flags.name).await,
        Machine::Cut(flags) => of(&flags.data_dir)?.cut(&flags.name, true).await,
        Machine::Heal(flags) => of(&flags.data_dir)?.cut(&flags.name, false).await,
        Machine::Halt(flags) => halt(&flags.data_dir).await,
        Machine::Enter(_) | Machine::Init(_) => bail!("only `wherry up` starts this"),
    }
}

/// Ends the pods of a machine whose node has ended.
async fn halt(data_dir: &Path) -> anyhow::Result<()> {
    let Some(settings) = data_dir::read(data_dir)? else { return Ok(()) };
    node::stop_pods(&settings, data_dir).await
}
