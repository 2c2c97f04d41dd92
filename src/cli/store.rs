//! Arguments of `wherry store`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum Store {
    /// What the store holds, and how much space it takes.
    Status(StoreDir),
    /// Read everything and compare what must agree.
    Check(StoreDir),
    /// Write the tables anew, without the holes that removed objects left.
    Defrag(StoreDir),
    /// Everything in one file.
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// The servers whose stores are one, asked while they run.
    #[command(subcommand)]
    Member(Member),
}

#[derive(Debug, Subcommand)]
pub enum Member {
    /// Show them, and which one leads.
    List(StoreDir),
    /// Have the others go on without a server that is gone for good.
    Remove(MemberNumber),
}

#[derive(Debug, Clone, Args)]
pub struct MemberNumber {
    #[command(flatten)]
    pub store: StoreDir,
    /// The number that `wherry store member list` shows.
    pub id: u64,
}

#[derive(Debug, Subcommand)]
pub enum Snapshot {
    /// Write a snapshot.
    Save(SnapshotFile),
    /// Make a store from a snapshot. Clients of the old one are told to start anew.
    Restore(SnapshotFile),
}

#[derive(Debug, Clone, Args)]
pub struct SnapshotFile {
    #[command(flatten)]
    pub store: StoreDir,
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub struct StoreDir {
    /// The directory of the cluster.
    #[arg(long, default_value = "/var/lib/wherry", value_name = "DIR")]
    pub data_dir: PathBuf,
}
