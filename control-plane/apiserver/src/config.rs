//! What the server is started with, and how starting fails.

use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Everything is decided by whoever starts the server: nothing here is read from the environment.
#[derive(Debug, Clone)]
pub struct Config {
    /// `pki/` below it holds the CA and the certificates made from it.
    pub data_dir: PathBuf,
    /// Port 0 takes a free one.
    pub bind: SocketAddr,
    /// The address that nodes and pods reach the server at: the endpoint of the Service `kubernetes`.
    pub advertise: IpAddr,
    pub service_cidr: IpNet,
    pub node_port_range: RangeInclusive<u16>,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// More DNS names or addresses that the serving certificate is made for.
    pub external_names: Vec<String>,
    /// Whether other servers work on the same store: then nothing may be decided by what this one remembers.
    pub several: bool,
    /// Where authn looks for the issuer of service-account tokens: `https://kubernetes.default.svc.cluster.local`.
    pub issuer: String,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading the store: {0}")]
    Store(#[from] store::Error),
    #[error("preparing certificates and keys: {0}")]
    Pki(String),
    #[error("cannot listen on {address} (another port: --secure-port)")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("creating the objects a new cluster has: {0}")]
    Bootstrap(String),
    #[error("reading CustomResourceDefinitions: {0}")]
    Definitions(String),
}
