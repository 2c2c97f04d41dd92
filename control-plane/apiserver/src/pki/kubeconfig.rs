//! kubeconfig files for the cluster's own users.

use super::{Authority, Credential, Error, files};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::Path;

/// The text of a kubeconfig that reaches `server` (`https://127.0.0.1:6443`) as `user`.
pub fn text(server: &str, authority: &Authority, user: &str, credential: &Credential) -> String {
    let [ca, cert, key] =
        [authority.cert_pem(), &credential.cert_pem, &credential.key_pem].map(|pem| STANDARD.encode(pem));
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: wherry
  cluster:
    certificate-authority-data: {ca}
    server: {server}
contexts:
- name: wherry
  context:
    cluster: wherry
    user: {user}
current-context: wherry
users:
- name: {user}
  user:
    client-certificate-data: {cert}
    client-key-data: {key}
"
    )
}

/// Writes a kubeconfig, whole or not at all, readable by its owner alone.
pub fn write(path: &Path, text: &str) -> Result<(), Error> {
    files::write_private(path, text)
}
