//! Reads certificates back: whether a leaf still serves, and who a client's certificate says it is.

use super::{Credential, Subject};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::net::IpAddr;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    X509Certificate::from_der(der).ok().map(|(_, cert)| cert)
}

/// Whether the certificate is for this public key.
pub(super) fn holds_key(der: &CertificateDer<'_>, public_key: &[u8]) -> bool {
    parse(der).is_some_and(|cert| cert.public_key().subject_public_key.data.as_ref() == public_key)
}

/// The credential of a leaf's file, if it says what `subject` says, `authority` signed it and it lasts until `day`.
pub(super) fn still_good(pem: &str, authority: &CertificateDer<'_>, subject: &Subject, day: i64) -> Option<Credential> {
    let (cert_pem, key_pem) = pem.split_at(pem.find("-----BEGIN PRIVATE KEY-----")?);
    let der = CertificateDer::from_pem_slice(cert_pem.as_bytes()).ok()?;
    let key = rcgen::KeyPair::from_pem(key_pem).ok()?;
    let (cert, root) = (parse(&der)?, parse(authority)?);
    let good = holds_key(&der, key.public_key_raw())
        && cert.validity().not_after.timestamp() > day * 86_400
        && cert.verify_signature(Some(root.public_key())).is_ok()
        && common_name(&cert) == subject.common_name
        && organizations(&cert).eq([subject.organization.as_str()].into_iter().filter(|o| !o.is_empty()))
        && names(&cert) == canonical(&subject.names);
    good.then(|| Credential { cert_pem: cert_pem.to_owned(), key_pem: key_pem.to_owned() })
}

fn canonical(names: &[String]) -> Vec<String> {
    let mut names: Vec<String> =
        names.iter().map(|n| n.parse::<IpAddr>().map_or_else(|_| n.clone(), |ip| ip.to_string())).collect();
    names.sort();
    names
}

fn names(cert: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(san)) = cert.subject_alternative_name() else { return Vec::new() };
    let mut names: Vec<String> = san.value.general_names.iter().filter_map(name_of).collect();
    names.sort();
    names
}

fn name_of(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(dns) => Some((*dns).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
            v4.or(v6).ok().map(|ip| ip.to_string())
        }
        _ => None,
    }
}

fn common_name<'a>(cert: &'a X509Certificate<'_>) -> &'a str {
    cert.subject().iter_common_name().next().and_then(|a| a.as_str().ok()).unwrap_or("")
}

fn organizations<'a>(cert: &'a X509Certificate<'_>) -> impl Iterator<Item = &'a str> {
    cert.subject().iter_organization().filter_map(|a| a.as_str().ok())
}

/// When a certificate ends, in seconds since 1970.
pub(super) fn end(der: &[u8]) -> Option<i64> {
    parse(der).map(|cert| cert.validity().not_after.timestamp())
}

/// The user name and the groups of a client's certificate, and its end in seconds since 1970; `None` where it has no common
/// name.
pub(crate) fn user(der: &[u8]) -> Option<(String, Vec<String>, i64)> {
    let cert = parse(der)?;
    let name = common_name(&cert).to_owned();
    let groups = organizations(&cert).map(str::to_owned).collect();
    (!name.is_empty()).then_some((name, groups, cert.validity().not_after.timestamp()))
}
