//! Arguments of `wherry machine`.

use super::Reset;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum Machine {
    /// Show the machines, and whether they run.
    List(Reset),
    /// Start a machine that was stopped or killed.
    Start(MachineName),
    /// Stop a machine: its node, then its pods.
    Stop(MachineName),
    /// End a machine as a power cut does.
    Kill(MachineName),
    /// Cut a machine off from the others.
    Cut(MachineName),
    /// Let a machine that was cut off back in.
    Heal(MachineName),
    #[command(hide = true)]
    Enter(MachineEnter),
    #[command(hide = true)]
    Init(MachineInit),
    #[command(hide = true)]
    Halt(Reset),
}

#[derive(Debug, Clone, Args)]
pub struct MachineName {
    /// The directory of the cluster.
    #[arg(long, default_value = "/var/lib/wherry", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The name of its node.
    pub name: String,
}

#[derive(Debug, Clone, Args)]
pub struct MachineEnter {
    #[command(flatten)]
    pub init: MachineInit,
    /// The machine's control group, below the root of every hierarchy.
    #[arg(long)]
    pub group: String,
    /// The file that its network namespace is pinned to.
    #[arg(long, value_name = "FILE")]
    pub netns: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub struct MachineInit {
    #[arg(long)]
    pub name: String,
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    #[arg(long, value_name = "FILE")]
    pub join: PathBuf,
}
