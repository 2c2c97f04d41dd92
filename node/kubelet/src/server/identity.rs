//! Who calls: TLS with a client certificate, and what that certificate says.

use crate::config::{Config, Error};
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The apiserver's name in its certificate for kubelets.
const APISERVER: &str = "kube-apiserver-kubelet-client";
const MASTERS: &str = "system:masters";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub name: String,
    groups: Vec<String>,
}

impl Caller {
    /// From a certificate that the TLS layer has verified.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Caller> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let subject = parsed.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let groups = subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect();
        Some(Caller { name, groups })
    }

    pub fn allowed(&self) -> bool {
        self.name == APISERVER || self.groups.iter().any(|g| g == MASTERS)
    }
}

/// The certificate that the server shows: that of its file, read again when the file has changed.
#[derive(Debug)]
struct Shown {
    certificate: PathBuf,
    key: PathBuf,
    now: Mutex<(Option<SystemTime>, Arc<CertifiedKey>)>,
}

impl Shown {
    fn open(certificate: &Path, key: &Path) -> Result<Shown, Box<dyn std::error::Error + Send + Sync>> {
        let now = Mutex::new((changed(certificate), Arc::new(load(certificate, key)?)));
        Ok(Shown { certificate: certificate.to_owned(), key: key.to_owned(), now })
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut now = self.now.lock();
        let at = changed(&self.certificate);
        if now.0 != at {
            match load(&self.certificate, &self.key) {
                Ok(key) => *now = (at, Arc::new(key)),
                Err(error) => tracing::warn!(%error, "the new serving certificate cannot be used; the old one stays"),
            }
        }
        Some(now.1.clone())
    }
}

fn changed(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|m| m.modified()).ok()
}

fn load(certificate: &Path, key: &Path) -> Result<CertifiedKey, Box<dyn std::error::Error + Send + Sync>> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let provider = rustls::crypto::ring::default_provider();
    Ok(CertifiedKey::from_der(chain, PrivateKeyDer::from_pem_file(key)?, &provider)?)
}

/// Certificates are asked for and verified; a client without one gets only what everybody gets.
pub fn tls(config: &Config) -> Result<Arc<ServerConfig>, Error> {
    let doing = |what: &str, path: &Path| format!("{what} {}", path.display());
    let tls = |doing: String| move |e: Box<dyn std::error::Error + Send + Sync>| Error::Tls { doing, source: e };
    let read = |path: &Path| -> Result<Vec<CertificateDer<'static>>, Error> {
        let list = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
        list.map_err(|e| tls(doing("reading certificates of", path))(e.into()))
    };
    let mut roots = RootCertStore::empty();
    for certificate in read(&config.client_ca)? {
        roots.add(certificate).map_err(|e| tls(doing("using the client CA of", &config.client_ca))(e.into()))?;
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
        .allow_unauthenticated()
        .build()
        .map_err(|e| tls(doing("using the client CA of", &config.client_ca))(e.into()))?;
    let shown = Shown::open(&config.tls_cert, &config.tls_key).map_err(tls(doing("using", &config.tls_cert)))?;
    let mut server = ServerConfig::builder().with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(shown));
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}
