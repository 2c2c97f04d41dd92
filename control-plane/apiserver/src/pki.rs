//! The cluster's own certificate authority and the credentials that it signs.
//!
//! Everything lives under `DIR/pki`, made at the first start and kept afterwards. Leaf certificates are made anew when
//! they near their end, when the names that they must hold change, or when another authority signed them. It refuses to
//! replace an authority's lost key: whoever holds the old root would silently stop trusting the cluster.

mod files;
mod inspect;
pub mod judged;
pub mod kubeconfig;
pub mod members;

pub(crate) use inspect::user as user_of;

use crate::Config;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the authority is good for; upstream's kubeadm uses the same.
const AUTHORITY_DAYS: i64 = 3653;
/// How long a leaf is good for.
const LEAF_DAYS: i64 = 365;
/// A leaf with less than this left is made anew at the next start.
const RENEW_DAYS: i64 = 60;
/// A certificate by request begins so long ago, for clients whose clocks are behind; as upstream.
const BACKDATE_SECONDS: i64 = 300;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error(
        "{} is there but {} is not: the certificate authority cannot sign any more. \
         Restore the file from a backup, or remove the folder to make a new authority (every client then needs new credentials)",
        cert.display(), key.display()
    )]
    KeyLost { cert: PathBuf, key: PathBuf },
    #[error("{} is damaged: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("cannot make a certificate for {subject:?}: {source}")]
    Sign { subject: String, source: rcgen::Error },
}

/// A certificate with its key, both as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    pub cert_pem: String,
    pub key_pem: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(..)")
    }
}

impl Credential {
    /// The chain and the key as rustls takes them.
    pub fn to_rustls(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
        let chain = CertificateDer::pem_slice_iter(self.cert_pem.as_bytes()).collect::<Result<_, _>>();
        let chain = chain.map_err(|e| format!("reading a certificate: {e}"))?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes());
        Ok((chain, key.map_err(|e| format!("reading a key: {e}"))?))
    }
}

/// What a leaf certificate says of its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The user's name for clients.
    pub common_name: String,
    /// The user's group; empty for none.
    pub organization: String,
    /// DNS names and addresses that a server answers to.
    pub names: Vec<String>,
    pub client: bool,
    pub server: bool,
}

impl Subject {
    pub fn client(common_name: &str, organization: &str) -> Subject {
        Subject {
            common_name: common_name.into(),
            organization: organization.into(),
            names: Vec::new(),
            client: true,
            server: false,
        }
    }

    pub fn server(common_name: &str, names: Vec<String>) -> Subject {
        Subject { common_name: common_name.into(), organization: String::new(), names, client: false, server: true }
    }
}

/// A certificate that vouches for itself: for who serves nobody that must know it.
///
/// # Errors
/// The names are none.
pub fn self_signed(common_name: &str, names: &[String]) -> Result<Credential, Error> {
    let fail = |source| Error::Sign { subject: common_name.to_owned(), source };
    let key = KeyPair::generate().map_err(fail)?;
    let cert = leaf(&Subject::server(common_name, names.to_vec())).map_err(fail)?.self_signed(&key).map_err(fail)?;
    Ok(Credential { cert_pem: cert.pem(), key_pem: key.serialize_pem() })
}

/// The signer of every certificate of the cluster.
pub struct Authority {
    cert_pem: String,
    cert_der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The root that clients must trust, as PEM.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    pub fn cert_der(&self) -> &CertificateDer<'static> {
        &self.cert_der
    }

    /// A new key and a certificate for a client: its user name and, unless empty, its group.
    pub fn issue_client(&self, common_name: &str, organization: &str) -> Result<Credential, Error> {
        self.issue(&Subject::client(common_name, organization))
    }

    /// A new key and a certificate for a server that answers to these names and addresses.
    pub fn issue_server(&self, common_name: &str, names: &[String]) -> Result<Credential, Error> {
        self.issue(&Subject::server(common_name, names.to_vec()))
    }

    pub fn issue(&self, subject: &Subject) -> Result<Credential, Error> {
        let fail = |source| Error::Sign { subject: subject.common_name.clone(), source };
        let key = KeyPair::generate().map_err(fail)?;
        let cert = leaf(subject).map_err(fail)?.signed_by(&key, &self.issuer).map_err(fail)?;
        Ok(Credential { cert_pem: cert.pem(), key_pem: key.serialize_pem() })
    }

    /// Signs a request of a client for itself: the subject is the caller's, only the key is the request's.
    pub fn sign_request(&self, request_pem: &str, subject: &Subject) -> Result<String, Error> {
        let fail = |source| Error::Sign { subject: subject.common_name.clone(), source };
        let request = rcgen::CertificateSigningRequestParams::from_pem(request_pem).map_err(fail)?;
        let cert = leaf(subject).map_err(fail)?.signed_by(&request.public_key, &self.issuer).map_err(fail)?;
        Ok(cert.pem())
    }

    /// Signs a request as it stands: its subject and names, the usages that were approved, good for `seconds` from now
    /// but not beyond the authority's own end. The usages are those of `certificates.k8s.io`.
    pub fn sign_as_asked(&self, request_pem: &str, usages: &[String], seconds: u64) -> Result<String, Error> {
        let fail = |source| Error::Sign { subject: "a certificate request".into(), source };
        let request = rcgen::CertificateSigningRequestParams::from_pem(request_pem).map_err(fail)?;
        let mut params = request.params;
        params.is_ca = IsCa::NoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = usages.iter().filter_map(|usage| key_usage(usage)).collect();
        params.extended_key_usages = usages.iter().filter_map(|usage| extended_usage(usage)).collect();
        let end = inspect::end(&self.cert_der).unwrap_or(i64::MAX);
        let now = jiff::Timestamp::now().as_second();
        let left = u64::try_from(end - now).unwrap_or(0);
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let at = |seconds: i64| epoch + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        params.not_before = at(now - BACKDATE_SECONDS);
        params.not_after = at(now) + Duration::from_secs(seconds.min(left));
        let cert = params.signed_by(&request.public_key, &self.issuer).map_err(fail)?;
        Ok(cert.pem())
    }
}

fn key_usage(name: &str) -> Option<KeyUsagePurpose> {
    Some(match name {
        "signing" | "digital signature" => KeyUsagePurpose::DigitalSignature,
        "content commitment" => KeyUsagePurpose::ContentCommitment,
        "key encipherment" => KeyUsagePurpose::KeyEncipherment,
        "data encipherment" => KeyUsagePurpose::DataEncipherment,
        "key agreement" => KeyUsagePurpose::KeyAgreement,
        _ => return None,
    })
}

fn extended_usage(name: &str) -> Option<ExtendedKeyUsagePurpose> {
    Some(match name {
        "client auth" => ExtendedKeyUsagePurpose::ClientAuth,
        "server auth" => ExtendedKeyUsagePurpose::ServerAuth,
        "code signing" => ExtendedKeyUsagePurpose::CodeSigning,
        "email protection" | "s/mime" => ExtendedKeyUsagePurpose::EmailProtection,
        "timestamping" => ExtendedKeyUsagePurpose::TimeStamping,
        "ocsp signing" => ExtendedKeyUsagePurpose::OcspSigning,
        _ => return None,
    })
}

/// Everything under `DIR/pki` that a control plane needs.
pub struct Pki {
    pub authority: Authority,
    /// What the apiserver shows to its clients.
    pub serving: Credential,
    /// What the apiserver shows to kubelets.
    pub kubelet_client: Credential,
    /// `kubernetes-super-admin` in `system:masters`.
    pub admin: Credential,
    /// Signs service-account tokens: an ECDSA P-256 key as PKCS#8.
    pub service_account_key: PrivatePkcs8KeyDer<'static>,
}

impl Pki {
    /// Reads what is there and makes what is missing.
    pub fn open(config: &Config) -> Result<Pki, crate::Error> {
        let first = config.service_cidr.hosts().next();
        let mut names: Vec<String> = first.into_iter().chain([config.advertise]).map(|ip| ip.to_string()).collect();
        names.push(format!("kubernetes.default.svc.{}", config.cluster_domain));
        names.extend(config.external_names.iter().cloned());
        open(&config.data_dir.join("pki"), &names).map_err(|e| crate::Error::Pki(e.to_string()))
    }

    /// The chain and key the listener serves with.
    pub(crate) fn serving(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), crate::Error> {
        self.serving.to_rustls().map_err(crate::Error::Pki)
    }

    /// The CAs whose client certificates are believed.
    pub(crate) fn client_roots(&self) -> Vec<CertificateDer<'static>> {
        vec![self.authority.cert_der.clone()]
    }
}

/// The names that every apiserver answers to, whatever else is asked for.
const SERVING_NAMES: [&str; 7] = [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
    "127.0.0.1",
    "::1",
];

/// Opens `dir` (usually `DIR/pki`), and makes there what is missing. `more_names` are the addresses and the host name by
/// which clients reach this apiserver, the first address of the Service range among them.
pub fn open(dir: &Path, more_names: &[String]) -> Result<Pki, Error> {
    files::make_dir(dir)?;
    let authority = open_authority(dir, "ca", "kubernetes")?;
    let mut names: Vec<String> = SERVING_NAMES.iter().map(ToString::to_string).collect();
    names.extend(more_names.iter().filter(|n| !n.is_empty()).cloned());
    names.sort();
    names.dedup();
    let kubelet_client = Subject::client("kube-apiserver-kubelet-client", "system:masters");
    let admin = Subject::client("kubernetes-super-admin", "system:masters");
    Ok(Pki {
        serving: open_leaf(dir, "apiserver", &authority, &Subject::server("kube-apiserver", names))?,
        kubelet_client: open_leaf(dir, "apiserver-kubelet-client", &authority, &kubelet_client)?,
        admin: open_leaf(dir, "admin", &authority, &admin)?,
        service_account_key: open_service_account_key(dir)?,
        authority,
    })
}

/// The credentials of one kubelet: as a client (`system:node:NAME` in `system:nodes`) and as a server.
pub struct KubeletCredentials {
    pub client: Credential,
    pub serving: Credential,
}

/// Opens or makes the credentials of the kubelet of `node` in `dir`; `addresses` are the node's names and addresses.
pub fn open_kubelet(
    dir: &Path,
    authority: &Authority,
    node: &str,
    addresses: &[String],
) -> Result<KubeletCredentials, Error> {
    files::make_dir(dir)?;
    let user = format!("system:node:{node}");
    let mut names = addresses.to_vec();
    names.push(node.to_owned());
    names.sort();
    names.dedup();
    let serving = Subject { organization: "system:nodes".into(), ..Subject::server(&user, names) };
    Ok(KubeletCredentials {
        client: open_leaf(dir, "kubelet-client", authority, &Subject::client(&user, "system:nodes"))?,
        serving: open_leaf(dir, "kubelet-serving", authority, &serving)?,
    })
}

fn open_authority(dir: &Path, file: &str, name: &str) -> Result<Authority, Error> {
    let (key_path, cert_path) = (dir.join(format!("{file}.key")), dir.join(format!("{file}.crt")));
    let key = match (files::read(&key_path)?, cert_path.exists()) {
        (Some(pem), _) => key_from(&pem, &key_path)?,
        (None, true) => return Err(Error::KeyLost { cert: cert_path, key: key_path }),
        (None, false) => {
            let key = new_key(name)?;
            files::write_private(&key_path, &key.serialize_pem())?;
            key
        }
    };
    let cert_pem = match files::read(&cert_path)? {
        Some(pem) => pem,
        None => {
            let cert = authority_params(name).self_signed(&key);
            let pem = cert.map_err(|source| Error::Sign { subject: name.into(), source })?.pem();
            files::write_public(&cert_path, &pem)?;
            pem
        }
    };
    let damaged = |why: String| Error::Damaged { path: cert_path.clone(), why };
    let cert_der = CertificateDer::from_pem_slice(cert_pem.as_bytes()).map_err(|e| damaged(e.to_string()))?;
    if !inspect::holds_key(&cert_der, key.public_key_raw()) {
        return Err(damaged(format!("it does not belong to {file}.key beside it")));
    }
    let issuer = Issuer::from_ca_cert_der(&cert_der, key).map_err(|e| damaged(e.to_string()))?;
    Ok(Authority { cert_pem, cert_der, issuer })
}

/// A leaf's certificate and key stand in one file, so that they cannot part in a crash.
fn open_leaf(dir: &Path, name: &str, authority: &Authority, subject: &Subject) -> Result<Credential, Error> {
    let path = dir.join(format!("{name}.pem"));
    if let Some(pem) = files::read(&path)?
        && let Some(credential) = inspect::still_good(&pem, authority.cert_der(), subject, today() + RENEW_DAYS)
    {
        return Ok(credential);
    }
    let credential = authority.issue(subject)?;
    files::write_private(&path, &format!("{}{}", credential.cert_pem, credential.key_pem))?;
    Ok(credential)
}

fn open_service_account_key(dir: &Path) -> Result<PrivatePkcs8KeyDer<'static>, Error> {
    let path = dir.join("sa.key");
    let key = match files::read(&path)? {
        Some(pem) => key_from(&pem, &path)?,
        None => {
            let key = new_key("service accounts")?;
            files::write_private(&path, &key.serialize_pem())?;
            files::write_public(&dir.join("sa.pub"), &key.public_key_pem())?;
            key
        }
    };
    Ok(PrivatePkcs8KeyDer::from(key.serialize_der()))
}

fn new_key(subject: &str) -> Result<KeyPair, Error> {
    KeyPair::generate().map_err(|source| Error::Sign { subject: subject.into(), source })
}

fn key_from(pem: &str, path: &Path) -> Result<KeyPair, Error> {
    let damaged = |why: String| Error::Damaged { path: path.to_owned(), why };
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| damaged(e.to_string()))?;
    KeyPair::try_from(&key).map_err(|e| damaged(e.to_string()))
}

/// Days since 1970-01-01.
fn today() -> i64 {
    jiff::Timestamp::now().as_second().div_euclid(86_400)
}

/// Puts the validity on whole days; it begins a day early, for clients whose clocks are behind.
fn dated(params: &mut CertificateParams, days: i64) {
    let date = |day: i64| {
        let epoch = jiff::civil::date(1970, 1, 1);
        let date = epoch.saturating_add(jiff::Span::new().days(day));
        rcgen::date_time_ymd(i32::from(date.year()), date.month() as u8, date.day() as u8)
    };
    params.not_before = date(today() - 1);
    params.not_after = date(today() + days);
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    dated(&mut params, AUTHORITY_DAYS);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
    params
}

fn leaf(subject: &Subject) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    dated(&mut params, LEAF_DAYS);
    params.distinguished_name = rcgen::DistinguishedName::new();
    if !subject.organization.is_empty() {
        params.distinguished_name.push(DnType::OrganizationName, subject.organization.as_str());
    }
    params.distinguished_name.push(DnType::CommonName, subject.common_name.as_str());
    params.subject_alt_names = subject.names.iter().map(|name| san(name)).collect::<Result<_, _>>()?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let purposes =
        [(subject.client, ExtendedKeyUsagePurpose::ClientAuth), (subject.server, ExtendedKeyUsagePurpose::ServerAuth)];
    params.extended_key_usages = purposes.into_iter().filter(|(on, _)| *on).map(|(_, p)| p).collect();
    Ok(params)
}

fn san(name: &str) -> Result<SanType, rcgen::Error> {
    match name.parse::<IpAddr>() {
        Ok(ip) => Ok(SanType::IpAddress(ip)),
        Err(_) => Ok(SanType::DnsName(name.to_owned().try_into()?)),
    }
}

#[cfg(test)]
mod tests;
