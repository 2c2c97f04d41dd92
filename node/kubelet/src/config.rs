//! What a kubelet is told when it starts.

use k8s_openapi::api::core::v1::Taint;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

#[derive(Debug, Clone)]
pub struct Config {
    pub node_name: String,
    /// Addresses of the node, the primary one first; also what a pod on the host's network shows.
    pub node_ips: Vec<IpAddr>,
    /// Everything that the kubelet keeps: pod directories, logs, volumes.
    pub root_dir: PathBuf,
    /// The runtime's unix socket.
    pub cri_endpoint: PathBuf,
    /// A directory of manifests that run whether or not the apiserver answers.
    pub static_pods: Option<PathBuf>,
    pub cluster_dns: Vec<IpAddr>,
    pub cluster_domain: String,
    /// Where the HTTPS server listens.
    pub bind: IpAddr,
    /// 0: any free one; the Node object shows which.
    pub port: u16,
    pub tls_cert: PathBuf,
    pub tls_key: PathBuf,
    /// Signs the certificates of the clients that are let in.
    pub client_ca: PathBuf,
    pub max_pods: u32,
    pub labels: BTreeMap<String, String>,
    /// Kept on the Node object, like the labels.
    pub annotations: BTreeMap<String, String>,
    /// The range that this node's pods have their addresses from, where that is decided already: a Node object that is
    /// made again says the same.
    pub pod_cidr: Option<String>,
    /// Set when the Node object is made, never afterwards.
    pub taints: Vec<Taint>,
    /// The resolv.conf that pods with the host's name resolution get.
    pub host_dns: PathBuf,
    /// `v1.36.0+wherry`, as the apiserver says it.
    pub version: String,
}

impl Config {
    pub fn logs(&self) -> PathBuf {
        self.root_dir.join("logs")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing}: {source}")]
    Io {
        doing: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{0}")]
    Runtime(#[from] crate::runtime::RuntimeError),
    #[error("{doing}: {source}")]
    Tls {
        doing: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the pods of this node did not end within {0} s")]
    StillRunning(u64),
}
