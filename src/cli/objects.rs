//! Arguments of the small client: `apply`, `get`, `logs`, `delete`.

use clap::Args;
use std::path::PathBuf;

/// How the small client reaches a cluster.
#[derive(Debug, Clone, Args)]
pub struct Client {
    /// The directory of the cluster, whose admin.kubeconfig is used.
    #[arg(long, default_value = "/var/lib/wherry", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Other credentials.
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
}

impl Client {
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone().unwrap_or_else(|| self.data_dir.join("admin.kubeconfig"))
    }
}

#[derive(Debug, Clone, Args)]
pub struct Apply {
    #[command(flatten)]
    pub client: Client,
    /// Files, or directories of files.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct Get {
    #[command(flatten)]
    pub client: Client,
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// A resource: pods, svc, deployments, …
    pub resource: String,
    pub name: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct Logs {
    #[command(flatten)]
    pub client: Client,
    /// Goes on until the container ends.
    #[arg(short, long)]
    pub follow: bool,
    #[arg(short, long)]
    pub container: Option<String>,
    pub pod: String,
}

#[derive(Debug, Clone, Args)]
pub struct Delete {
    #[command(flatten)]
    pub client: Client,
    /// Files, or directories of files.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}
