//! TLS of the requests that a guest sends: whom its pod trusts.
//!
//! A guest cannot bring certificates of its own (`wasi:http` has no way to say so). It trusts what the node trusts, and
//! the cluster's CA where its service account's is mounted, so that it can ask the Kubernetes API.

use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use wasmtime_wasi_http::Error;

/// Where distributions keep the certificates that a machine trusts.
const NODE: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where a pod has its cluster's CA.
pub const CLUSTER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const CLUSTER_FILE: &str = "ca.crt";

/// The most that is read of a file of certificates; the usual bundle has some 200 KiB.
const FILE_LIMIT: u64 = 4 << 20;

/// Configurations in use, by what is trusted beyond the node's certificates: most pods of a node share one.
static CONFIGS: Mutex<Option<HashMap<Vec<u8>, Weak<ClientConfig>>>> = Mutex::new(None);

/// Whom the guests of a container trust.
#[derive(Debug, Default)]
pub struct Trust {
    /// The directory that is mounted at [`CLUSTER`].
    cluster: Option<PathBuf>,
    /// Made with the first request that needs it.
    config: Mutex<Option<Arc<ClientConfig>>>,
}

impl Trust {
    pub fn new(cluster: Option<PathBuf>) -> Trust {
        Trust { cluster, config: Mutex::default() }
    }

    /// Makes `stream` a TLS connection to `host`.
    pub async fn connect(self: &Arc<Self>, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, Error> {
        let trust = self.clone();
        let config = tokio::task::spawn_blocking(move || trust.config()).await;
        let config = config.map_err(|err| Error::InternalError(Some(err.to_string())))?;
        let name =
            ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|_| Error::HttpRequestUriInvalid)?;
        tokio_rustls::TlsConnector::from(config).connect(name, stream).await.map_err(|err| {
            let cause = err.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            match cause {
                Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
                    Error::TlsCertificateError
                }
                Some(_) => Error::TlsProtocolError,
                None => Error::Tls(err),
            }
        })
    }

    fn config(&self) -> Arc<ClientConfig> {
        let mut mine = self.config.lock();
        if let Some(config) = &*mine {
            return config.clone();
        }
        let cluster = self.cluster.as_ref().and_then(|dir| read(&dir.join(CLUSTER_FILE))).unwrap_or_default();
        let mut configs = CONFIGS.lock();
        let configs = configs.get_or_insert_default();
        let config = configs.get(&cluster).and_then(Weak::upgrade).unwrap_or_else(|| {
            let config = Arc::new(trusting(&cluster));
            configs.retain(|_, config| config.strong_count() > 0);
            configs.insert(cluster, Arc::downgrade(&config));
            config
        });
        *mine = Some(config.clone());
        config
    }
}

fn trusting(cluster: &[u8]) -> ClientConfig {
    let node = NODE.iter().find_map(|path| read(Path::new(path))).unwrap_or_default();
    let mut roots = RootCertStore::empty();
    for pem in [node.as_slice(), cluster] {
        // What is no certificate is passed over, as everywhere: one bad entry must not cut the node off.
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem).filter_map(Result::ok));
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(FILE_LIMIT).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
