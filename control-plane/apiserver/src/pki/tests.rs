use super::*;
use rustls::pki_types::{ServerName, UnixTime};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

fn opened(dir: &Path, names: &[&str]) -> Pki {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    open(dir, &names).expect("the folder is ours")
}

fn der(credential: &Credential) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(credential.cert_pem.as_bytes()).unwrap()
}

fn roots(authority: &Authority) -> Arc<rustls::RootCertStore> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.cert_der().clone()).unwrap();
    Arc::new(roots)
}

#[test]
fn a_second_start_finds_everything_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (opened(dir.path(), &["10.96.0.1", "me"]), opened(dir.path(), &["me", "10.96.0.1"]));
    assert_eq!(one.authority.cert_pem(), two.authority.cert_pem());
    assert_eq!((&one.serving, &one.admin), (&two.serving, &two.admin));
    assert_eq!(one.service_account_key.secret_pkcs8_der(), two.service_account_key.secret_pkcs8_der());
}

#[test]
fn another_name_makes_another_serving_certificate_from_the_same_authority() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (opened(dir.path(), &["10.96.0.1"]), opened(dir.path(), &["10.97.0.1"]));
    assert_eq!(one.authority.cert_pem(), two.authority.cert_pem());
    assert_ne!(one.serving, two.serving);
    assert_eq!(one.admin, two.admin);
}

#[test]
fn rustls_accepts_the_server_by_each_of_its_names_only() {
    let dir = tempfile::tempdir().unwrap();
    let pki = opened(dir.path(), &["10.96.0.1", "host-a"]);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(roots(&pki.authority), provider);
    let verifier = verifier.build().unwrap();
    let accepts = |name: &'static str| {
        use rustls::client::danger::ServerCertVerifier;
        let name = ServerName::try_from(name).unwrap();
        verifier.verify_server_cert(&der(&pki.serving), &[], &name, &[], UnixTime::now()).is_ok()
    };
    for name in ["kubernetes.default.svc", "localhost", "127.0.0.1", "::1", "10.96.0.1", "host-a"] {
        assert!(accepts(name), "{name}");
    }
    assert!(!accepts("10.96.0.2"));
    assert!(!accepts("host-b"));
}

#[test]
fn a_client_of_this_authority_is_known_by_name_and_group_and_a_stranger_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let other_dir = tempfile::tempdir().unwrap();
    let (pki, other) = (opened(dir.path(), &[]), opened(other_dir.path(), &[]));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots(&pki.authority), provider);
    let verifier = verifier.build().unwrap();
    assert!(verifier.verify_client_cert(&der(&pki.admin), &[], UnixTime::now()).is_ok());
    assert!(verifier.verify_client_cert(&der(&other.admin), &[], UnixTime::now()).is_err());
    assert!(verifier.verify_client_cert(&der(&pki.serving), &[], UnixTime::now()).is_err(), "a server is no client");
    let (name, groups, ends) = inspect::user(&der(&pki.admin)).unwrap();
    assert_eq!((name.as_str(), groups), ("kubernetes-super-admin", vec!["system:masters".into()]));
    assert!(ends > jiff::Timestamp::now().as_second());
}

#[test]
fn a_kubelet_is_a_client_and_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let pki = opened(dir.path(), &[]);
    let kubelet = open_kubelet(&dir.path().join("kubelet"), &pki.authority, "n1", &["10.0.0.7".into()]).unwrap();
    assert_eq!(inspect::user(&der(&kubelet.client)).unwrap().1, ["system:nodes"]);
    let again = open_kubelet(&dir.path().join("kubelet"), &pki.authority, "n1", &["10.0.0.7".into()]).unwrap();
    assert_eq!(again.serving, kubelet.serving);
}

#[test]
fn secrets_are_readable_by_their_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    opened(dir.path(), &[]);
    for (name, mode) in [("ca.key", 0o600), ("sa.key", 0o600), ("admin.pem", 0o600), ("ca.crt", 0o644)] {
        let found = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode & found, "{name} is {found:o}");
        assert_eq!(found & 0o600, 0o600, "{name}");
    }
}

#[test]
fn a_lost_key_is_said_and_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    opened(dir.path(), &[]);
    std::fs::remove_file(dir.path().join("ca.key")).unwrap();
    let error = open(dir.path(), &[]).err().expect("nothing can be signed").to_string();
    assert!(error.contains("ca.key is not"), "{error}");
}

#[test]
fn a_damaged_leaf_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    opened(dir.path(), &[]);
    std::fs::write(dir.path().join("admin.pem"), "-----BEGIN CERT").unwrap();
    let user = inspect::user(&der(&opened(dir.path(), &[]).admin)).unwrap();
    assert_eq!(user.0, "kubernetes-super-admin");
}

#[test]
fn a_request_gets_the_subject_that_was_decided_not_the_one_it_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let pki = opened(dir.path(), &[]);
    let key = KeyPair::generate().unwrap();
    let mut asked = CertificateParams::default();
    asked.distinguished_name.push(DnType::OrganizationName, "system:masters");
    let request = asked.serialize_request(&key).unwrap().pem().unwrap();
    let cert = pki.authority.sign_request(&request, &Subject::client("system:node:n2", "system:nodes")).unwrap();
    let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
    let (name, groups, _) = inspect::user(&cert).unwrap();
    assert_eq!((name.as_str(), groups), ("system:node:n2", vec!["system:nodes".into()]));
    assert!(inspect::holds_key(&cert, key.public_key_raw()));
}
