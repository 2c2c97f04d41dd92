//! What the server is started with, and how starting fails.

use ipnet::{IpNet, Ipv4Net};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Everything is decided by whoever starts the server: nothing here is read from the environment.
#[derive(Debug, Clone)]
pub struct Config {
    /// `pki/` below it holds the CA and the certificates made from it.
    pub data_dir: PathBuf,
    /// Port 0 takes a free one.
    pub bind: SocketAddr,
    /// The address that nodes and pods reach the server at: the endpoint of the Service `kubernetes`.
    pub advertise: IpAddr,
    /// The range that Services have their addresses from, of the family that they have by default.
    pub service_cidr: IpNet,
    /// A range of the other family: with it Services may have addresses of both.
    pub second_service_cidr: Option<IpNet>,
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

impl Config {
    /// The ranges of Services that the server is started with.
    pub fn service_cidrs(&self) -> impl Iterator<Item = IpNet> {
        std::iter::once(self.service_cidr).chain(self.second_service_cidr)
    }

    /// One server for this machine alone, at a free port: where tests, examples and fuzz targets begin.
    pub fn on_loopback(data_dir: &Path) -> Config {
        Config {
            data_dir: data_dir.to_owned(),
            bind: (Ipv4Addr::LOCALHOST, 0).into(),
            advertise: Ipv4Addr::LOCALHOST.into(),
            service_cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16).into(),
            second_service_cidr: None,
            node_port_range: 30000..=32767,
            cluster_domain: "cluster.local".into(),
            external_names: Vec::new(),
            several: false,
            issuer: "https://kubernetes.default.svc.cluster.local".into(),
        }
    }
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
    #[error("reading APIServices: {0}")]
    ApiServices(String),
}
