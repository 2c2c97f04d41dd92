//! The command line.

mod controllers;
mod machine;
mod objects;
mod store;

pub use controllers::Controllers;
pub use machine::{Machine, MachineEnter, MachineInit};
pub use objects::{Apply, Delete, Get, Logs};
pub use store::{Member, Snapshot, SnapshotFile, Store, StoreDir};

use crate::ranges::Ranges;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Kubernetes in one binary, with WebAssembly pods beside containers.
///
/// A whole cluster on this machine:   wherry up
/// With something to look at:         wherry up --apply examples/hello
/// Then, in another terminal:         kubectl --kubeconfig /var/lib/wherry/admin.kubeconfig get pods -A
#[derive(Debug, Parser)]
#[command(name = "wherry", version, verbatim_doc_comment, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub log: Log,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
pub struct Log {
    /// What to log: a level (error, warn, info, debug, trace) or per-part levels such as `warn,apiserver=debug`.
    #[arg(long, global = true, default_value = crate::logging::DEFAULT, env = "WHERRY_LOG")]
    pub log: String,
    /// How log lines are written to standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// A whole cluster on this machine, until Ctrl-C.
    Up(Up),
    /// Remove a cluster from this machine: its pods, its networks, its data.
    Reset(Reset),
    /// Images without a daemon: WebAssembly and OCI.
    #[command(subcommand)]
    Image(Image),
    /// Create objects from manifests, or change those that are there.
    Apply(Apply),
    /// Show objects: `wherry get pods`.
    Get(Get),
    /// Show what a container has written.
    Logs(Logs),
    /// Delete the objects of manifests.
    Delete(Delete),
    /// A control plane without a node: alone, the first of several, or one that joins them.
    Server(Server),
    /// The further nodes of `wherry up --nodes`, one by one: stop, kill, start, cut off.
    #[command(subcommand)]
    Machine(Machine),
    /// A worker of a cluster elsewhere: kubelet, proxy, DNS and runtime. Its end leaves the pods running.
    Node(Node),
    /// The API with its store and nothing else.
    Apiserver(Apiserver),
    /// The controllers alone, against an apiserver.
    ControllerManager(ControllerManager),
    /// The scheduler alone, against an apiserver.
    Scheduler(Scheduler),
    /// The kubelet alone, against an apiserver and a CRI runtime.
    Kubelet(Kubelet),
    /// The Service proxy alone, against an apiserver.
    Proxy(Proxy),
    /// Cluster DNS alone, against an apiserver.
    Dns(Dns),
    /// The CRI runtime of a node alone.
    Shim(Reset),
    /// Look after the data of a control plane.
    #[command(subcommand)]
    Store(Store),
}

/// Where a cluster keeps everything, and how it is reached.
#[derive(Debug, Clone, Args)]
pub struct Cluster {
    /// The directory that holds everything: the store, keys, images, pods.
    #[arg(long, default_value = "/var/lib/wherry", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The port of the API. Without this flag: 6443, or the next one that is free.
    #[arg(long, value_name = "PORT")]
    pub secure_port: Option<u16>,
    /// The address that nodes and pods reach the API at. Without this flag: this machine's address.
    #[arg(long, value_name = "ADDRESS")]
    pub advertise_address: Option<IpAddr>,
    /// The address that the API listens at. Without this flag: every address of this machine.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))]
    pub bind_address: IpAddr,
    /// Addresses of Services; with a second range, of the other family, Services may have addresses of both. A cluster that
    /// has one range can be given a second one later. Without this flag: 10.96.0.0/16, or the next range that no other cluster here has.
    #[arg(long, visible_alias = "service-cluster-ip-range", value_name = "CIDR[,CIDR]")]
    pub service_cidr: Option<Ranges>,
    /// Addresses of pods. Without this flag: 10.244.0.0/16, or the next range that no other cluster here has.
    #[arg(long, value_name = "CIDR")]
    pub pod_cidr: Option<ipnet::IpNet>,
}

#[derive(Debug, Clone, Args)]
pub struct Apiserver {
    #[command(flatten)]
    pub cluster: Cluster,
}

#[derive(Debug, Clone, Args)]
pub struct Server {
    #[command(flatten)]
    pub cluster: Cluster,
    /// Let other servers join: this one is the first. A server that was alone so far becomes it with all it has.
    #[arg(long, conflicts_with = "join")]
    pub cluster_init: bool,
    /// The cluster to join: a copy of the file server.token in the directory of a server that runs, mode 0600. Needed
    /// once; afterwards the server has its place.
    #[arg(long, value_name = "FILE")]
    pub join: Option<PathBuf>,
    /// The port that the servers reach one another at. Without this flag: 2380, or the next one that is free.
    #[arg(long, value_name = "PORT")]
    pub peer_port: Option<u16>,
    /// How often the server that leads says so to the others, in milliseconds. Without this flag: 100.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=10_000))]
    pub heartbeat_interval: Option<u64>,
    /// How long the others wait for that before they elect another one, in milliseconds. Without this flag: 1000.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(100..=60_000))]
    pub election_timeout: Option<u64>,
    #[command(flatten)]
    pub election: Election,
    #[command(flatten)]
    pub controllers: Controllers,
}

#[derive(Debug, Clone, Args)]
pub struct Node {
    /// The directory that holds what the node keeps: its certificates, images, pods.
    #[arg(long, default_value = "/var/lib/wherry", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The cluster to join: a copy of the file join.kubeconfig that `wherry server` and `wherry up` write into their
    /// directory. Needed once; afterwards the node has a certificate of its own.
    #[arg(long, value_name = "FILE")]
    pub join: Option<PathBuf>,
    /// The node's name. Without this flag: the machine's.
    #[arg(long)]
    pub node_name: Option<String>,
    /// The node's address. Without this flag: the machine's.
    #[arg(long, value_name = "ADDRESS")]
    pub node_ip: Option<IpAddr>,
}

/// Whether processes of one role elect who does its work, and by which times.
#[derive(Debug, Clone, Args)]
pub struct LeaderElection {
    /// Do the work only while holding the Lease of this role's name in kube-system, so that several may run.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true")]
    pub leader_elect: bool,
    #[command(flatten)]
    pub times: Election,
}

/// The times by which one of several leads, as upstream's components have them.
#[derive(Debug, Clone, Args)]
pub struct Election {
    /// How long the others leave a leader alone that does not renew its Lease.
    #[arg(long, value_name = "SECONDS", default_value = "15s", value_parser = seconds)]
    pub leader_elect_lease_duration: Duration,
    /// How long a leader tries to renew its Lease before it stops its work.
    #[arg(long, value_name = "SECONDS", default_value = "10s", value_parser = seconds)]
    pub leader_elect_renew_deadline: Duration,
    /// Between two tries.
    #[arg(long, value_name = "SECONDS", default_value = "2s", value_parser = seconds)]
    pub leader_elect_retry_period: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text).parse().ok().filter(|n| (1..=3600).contains(n));
    number.map(Duration::from_secs).ok_or_else(|| "a time such as 15s is needed, up to an hour".to_owned())
}

/// How a role that runs alone finds its cluster.
#[derive(Debug, Clone, Args)]
pub struct Remote {
    /// The credentials and the address of the API.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub kubeconfig: PathBuf,
}

/// The length of one node's part of the range that it is of.
#[derive(Debug, Clone, Args)]
pub struct NodeCidr {
    /// The length of one node's part, where there is one range.
    #[arg(long, value_name = "BITS", requires = "cluster_cidr", conflicts_with_all = ["node_cidr_mask_size_ipv4", "node_cidr_mask_size_ipv6"])]
    pub node_cidr_mask_size: Option<u8>,
    /// The same for a range of IPv4; 24 if not said.
    #[arg(long, value_name = "BITS", requires = "cluster_cidr")]
    pub node_cidr_mask_size_ipv4: Option<u8>,
    /// The same for a range of IPv6; 64 if not said.
    #[arg(long, value_name = "BITS", requires = "cluster_cidr")]
    pub node_cidr_mask_size_ipv6: Option<u8>,
}

#[derive(Debug, Clone, Args)]
pub struct ControllerManager {
    #[command(flatten)]
    pub remote: Remote,
    /// The range that nodes get their pod addresses from, and perhaps a second one of the other family. Without this flag
    /// nodes get none.
    #[arg(long, value_name = "CIDR[,CIDR]")]
    pub cluster_cidr: Option<Ranges>,
    #[command(flatten)]
    pub node_cidr: NodeCidr,
    /// The certificate that pods trust the API by, as PEM. Without this flag: the one in the kubeconfig.
    #[arg(long, value_name = "FILE")]
    pub root_ca_file: Option<PathBuf>,
    #[command(flatten)]
    pub election: LeaderElection,
    #[command(flatten)]
    pub controllers: Controllers,
    #[command(flatten)]
    pub health: ControllerHealth,
}

/// Where the controllers' health and metrics are, over TLS.
#[derive(Debug, Clone, Args)]
pub struct ControllerHealth {
    /// The address that health and metrics are served at.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST))]
    pub bind_address: IpAddr,
    /// The port; 0 for none.
    #[arg(long, value_name = "PORT", default_value_t = crate::health::CONTROLLER_MANAGER)]
    pub secure_port: u16,
}

/// Where the scheduler's health and metrics are, over TLS.
#[derive(Debug, Clone, Args)]
pub struct SchedulerHealth {
    /// The address that health and metrics are served at.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST))]
    pub bind_address: IpAddr,
    /// The port; 0 for none.
    #[arg(long, value_name = "PORT", default_value_t = crate::health::SCHEDULER)]
    pub secure_port: u16,
}

#[derive(Debug, Clone, Args)]
pub struct Scheduler {
    #[command(flatten)]
    pub remote: Remote,
    /// A KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1). Without this flag: one profile with the default plugins.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub election: LeaderElection,
    #[command(flatten)]
    pub health: SchedulerHealth,
}

#[derive(Debug, Clone, Args)]
pub struct Up {
    #[command(flatten)]
    pub cluster: Cluster,
    /// Manifests to apply when the cluster is up: a file, or a directory of files. May be given several times.
    #[arg(long, value_name = "PATH")]
    pub apply: Vec<PathBuf>,
    /// How many nodes the cluster has on this machine. Each further one is a machine of its own as far as namespaces and a
    /// control group make one; `wherry machine` handles them one by one. Without this flag: as many as it has, first one.
    #[arg(long, value_name = "N", value_parser = nodes)]
    pub nodes: Option<usize>,
    /// The loopback port of the registry of this node's images. Without this flag: 5000, or the next that is free.
    #[arg(long, value_name = "PORT")]
    pub registry_port: Option<u16>,
    #[command(flatten)]
    pub controllers: Controllers,
}

fn nodes(text: &str) -> Result<usize, String> {
    let most = crate::machines::MOST;
    let number = text.parse().ok().filter(|n| (1..=most).contains(n));
    number.ok_or_else(|| format!("a number of nodes from 1 to {most} is needed"))
}

#[derive(Debug, Clone, Args)]
pub struct Reset {
    /// The directory of the cluster.
    #[arg(long, default_value = "/var/lib/wherry", value_name = "DIR")]
    pub data_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum Image {
    /// Make an image of a .wat or .wasm file, a static program, or a directory.
    Build(ImageBuild),
    /// Take over an OCI layout, a directory or a tar file.
    Import(ImageImport),
    /// Send an image to its registry.
    Push(ImageName),
    /// Show the images of this node.
    List(Reset),
    /// Forget an image.
    Rm(ImageName),
}

#[derive(Debug, Clone, Args)]
pub struct ImageBuild {
    #[command(flatten)]
    pub cluster: Reset,
    /// The image's name: `hello:1`, `registry.example.com/team/app:2`.
    #[arg(short, long, value_name = "NAME")]
    pub tag: String,
    /// What a container of a directory runs: its path in the image, then, by more of these flags, its arguments.
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub entrypoint: Vec<String>,
    pub source: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub struct ImageImport {
    #[command(flatten)]
    pub cluster: Reset,
    /// The name to give to the image, where the layout has none.
    #[arg(short, long, value_name = "NAME")]
    pub tag: Option<String>,
    pub source: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub struct ImageName {
    #[command(flatten)]
    pub cluster: Reset,
    pub name: String,
}

#[derive(Debug, Clone, Args)]
pub struct Kubelet {
    #[command(flatten)]
    pub remote: Remote,
    /// The directory that the kubelet keeps pods' files in.
    #[arg(long, default_value = "/var/lib/wherry/kubelet", value_name = "DIR")]
    pub root_dir: PathBuf,
    /// The runtime's unix socket.
    #[arg(long, default_value = "/var/lib/wherry/shim/cri.sock", value_name = "SOCKET")]
    pub cri_endpoint: PathBuf,
    /// The node's name. Without this flag: the machine's.
    #[arg(long)]
    pub node_name: Option<String>,
    /// The node's address. Without this flag: the machine's.
    #[arg(long, value_name = "ADDRESS")]
    pub node_ip: Option<IpAddr>,
    #[arg(long, default_value_t = 10250)]
    pub port: u16,
    /// The certificate that the kubelet serves with, as PEM.
    #[arg(long, value_name = "FILE")]
    pub tls_cert: PathBuf,
    #[arg(long, value_name = "FILE")]
    pub tls_key: PathBuf,
    /// Signs the certificates of clients that are let in, as PEM.
    #[arg(long, value_name = "FILE")]
    pub client_ca: PathBuf,
    /// Manifests that run whether or not the apiserver answers.
    #[arg(long, value_name = "DIR")]
    pub static_pods: Option<PathBuf>,
    /// Where pods ask for names.
    #[arg(long, value_name = "ADDRESS")]
    pub cluster_dns: Vec<IpAddr>,
    #[arg(long, default_value_t = 110)]
    pub max_pods: u32,
}

#[derive(Debug, Clone, Args)]
pub struct Proxy {
    #[command(flatten)]
    pub remote: Remote,
    /// The node's name. Without this flag: the machine's.
    #[arg(long)]
    pub node_name: Option<String>,
    /// The nftables table that holds the rules. It stays when the proxy ends.
    #[arg(long, default_value = "wherry")]
    pub table: String,
    /// The range that pods have their addresses from.
    #[arg(long, value_name = "CIDR")]
    pub cluster_cidr: Option<ipnet::IpNet>,
}

#[derive(Debug, Clone, Args)]
pub struct Dns {
    #[command(flatten)]
    pub remote: Remote,
    /// The addresses to answer at.
    #[arg(long, required = true, value_name = "ADDRESS")]
    pub listen: Vec<IpAddr>,
    /// The port, or, where it is taken, any other.
    #[arg(long, default_value_t = 53)]
    pub port: u16,
}
