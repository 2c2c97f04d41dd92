//! What runs inside of a machine before its node does: the process that enters the namespaces, and the first process
//! there. Both are single-threaded, which entering namespaces and reaping need.

use crate::cli::{MachineEnter, MachineInit};
use anyhow::Context;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, sethostname, setsid};
use oci::cgroup::Cgroup;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Between two starts of a node that ends at once.
const RESTART: Duration = Duration::from_millis(500);

/// `wherry machine enter`: makes the namespaces, starts the first process in them, and ends.
pub fn enter(flags: &MachineEnter) -> anyhow::Result<()> {
    let group = Cgroup::at(&flags.group);
    group.create().and_then(|()| group.enter()).context("making the machine's control group")?;
    let netns = File::open(&flags.netns).with_context(|| format!("opening {}", flags.netns.display()))?;
    setns(netns, CloneFlags::CLONE_NEWNET).context("entering the machine's network")?;
    let own = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWCGROUP;
    unshare(own).context("making the machine's namespaces")?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).context("keeping the machine's mounts to itself")?;
    group.become_root().context("showing the machine its control group")?;
    sethostname(&flags.init.name).context("naming the machine")?;
    let mut init = Command::new(std::env::current_exe().context("finding this program")?);
    init.args(["machine", "init", "--name", &flags.init.name, "--data-dir"]).arg(&flags.init.data_dir);
    init.arg("--join").arg(&flags.init.join).stdin(Stdio::null());
    let child = init.spawn().context("starting the machine's first process")?;
    let file = flags.init.data_dir.join("machine.pid");
    std::fs::write(&file, child.id().to_string()).with_context(|| format!("writing {}", file.display()))
}

/// `wherry machine init`: keeps the node running and reaps what loses its parent. SIGTERM ends the node, then its pods,
/// then everything.
pub fn init(flags: &MachineInit) -> anyhow::Result<()> {
    setsid().ok();
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>).context("mounting /proc")?;
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD] {
        signals.add(signal);
    }
    signals.thread_block().context("waiting for signals")?;
    let mut node = start(flags)?;
    let mut ending = false;
    loop {
        match signals.wait().context("waiting for signals")? {
            Signal::SIGCHLD => {
                if !reaped().contains(&node) {
                    continue;
                }
                if ending {
                    break;
                }
                std::thread::sleep(RESTART);
                node = start(flags)?;
            }
            _ if ending => {}
            _ => {
                ending = true;
                kill(node, Signal::SIGTERM).context("ending the node")?;
            }
        }
    }
    let halt = command(&["machine", "halt", "--data-dir"], &flags.data_dir)?.status().context("ending the pods")?;
    anyhow::ensure!(halt.success(), "the pods did not end well");
    Ok(())
}

fn command(args: &[&str], data_dir: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command.args(args).arg(data_dir).stdin(Stdio::null());
    Ok(command)
}

fn start(flags: &MachineInit) -> anyhow::Result<Pid> {
    let mut command = command(&["node", "--data-dir"], &flags.data_dir)?;
    let child = command.args(["--node-name", &flags.name]).arg("--join").arg(&flags.join).spawn();
    let id = child.context("starting the node")?.id();
    Ok(Pid::from_raw(i32::try_from(id).context("the node's process number")?))
}

/// Everything that has ended and is waited for by nobody else.
fn reaped() -> Vec<Pid> {
    let mut all = Vec::new();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(status) => match status.pid() {
                Some(pid) => all.push(pid),
                None => return all,
            },
            Err(Errno::EINTR) => {}
            Err(_) => return all,
        }
    }
}
