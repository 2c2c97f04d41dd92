//! The node's own certificates: asked for as CertificateSigningRequests, kept in files, asked for again before they end.
//!
//! The keys are made here and never leave the node.

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::wait::{Condition, await_condition};
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use std::net::IpAddr;
use std::time::Duration;

/// How long an answer may take before another request is made: people may have to approve it.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// A certificate is asked for anew after so much of its life, spread so that nodes of one age do not ask at once.
const RENEW_FROM: f64 = 0.7;
const RENEW_SPREAD: f64 = 0.2;

/// What a node asks the cluster to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    signer: &'static str,
    usages: [&'static str; 2],
    node: String,
    names: Vec<IpAddr>,
}

impl Wanted {
    /// By which the node is known to the apiserver.
    pub fn client(node: &str) -> Wanted {
        Wanted {
            signer: "kubernetes.io/kube-apiserver-client-kubelet",
            usages: ["digital signature", "client auth"],
            node: node.to_owned(),
            names: Vec::new(),
        }
    }

    /// By which the kubelet's server is known, under the node's name and addresses.
    pub fn serving(node: &str, addresses: &[IpAddr]) -> Wanted {
        Wanted {
            signer: "kubernetes.io/kubelet-serving",
            usages: ["digital signature", "server auth"],
            node: node.to_owned(),
            names: addresses.to_vec(),
        }
    }

    fn params(&self) -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, format!("system:node:{}", self.node));
        if !self.names.is_empty() {
            let name = SanType::DnsName(self.node.clone().try_into()?);
            params.subject_alt_names = self.names.iter().map(|ip| SanType::IpAddress(*ip)).chain([name]).collect();
        }
        Ok(params)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("making a key and a request for it: {0}")]
    Make(#[from] rcgen::Error),
    #[error("asking for a certificate: {0}")]
    Ask(#[from] kube::Error),
    #[error("waiting for the certificate of {name}: {source}")]
    Wait { name: String, source: Box<kube::runtime::wait::Error> },
    #[error("the certificate request {name} still waits: approve it with `kubectl certificate approve {name}`")]
    Silence { name: String },
    #[error("the certificate request {name} was refused: {why}")]
    Refused { name: String, why: String },
}

/// Makes a key, asks for its certificate and waits for it. Returns both as PEM, the certificate first.
pub async fn obtain(client: &kube::Client, wanted: &Wanted) -> Result<String, Error> {
    let key = KeyPair::generate()?;
    let request = wanted.params()?.serialize_request(&key)?.pem()?;
    let csr = CertificateSigningRequest {
        metadata: ObjectMeta { generate_name: Some("csr-".to_owned()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            request: ByteString(request.into_bytes()),
            signer_name: wanted.signer.to_owned(),
            usages: Some(wanted.usages.map(str::to_owned).into()),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    };
    let api: Api<CertificateSigningRequest> = Api::all(client.clone());
    let name = api.create(&PostParams::default(), &csr).await?.metadata.name.unwrap_or_default();
    tracing::info!(name, signer = wanted.signer, "asked for a certificate");
    let answer = tokio::time::timeout(PATIENCE, await_condition(api, &name, Answered)).await;
    let answer = answer.map_err(|_| Error::Silence { name: name.clone() })?;
    let answer = answer.map_err(|source| Error::Wait { name: name.clone(), source: Box::new(source) })?;
    match answer.as_ref().and_then(certificate) {
        Some(certificate) => Ok(format!("{certificate}{}", key.serialize_pem())),
        None => {
            Err(Error::Refused { why: answer.as_ref().and_then(refusal).unwrap_or_else(|| "it is gone".into()), name })
        }
    }
}

struct Answered;

impl Condition<CertificateSigningRequest> for Answered {
    fn matches_object(&self, csr: Option<&CertificateSigningRequest>) -> bool {
        csr.is_none_or(|csr| certificate(csr).is_some() || refusal(csr).is_some())
    }
}

fn certificate(csr: &CertificateSigningRequest) -> Option<&str> {
    let pem = csr.status.as_ref()?.certificate.as_ref()?;
    std::str::from_utf8(&pem.0).ok().filter(|pem| !pem.is_empty())
}

fn refusal(csr: &CertificateSigningRequest) -> Option<String> {
    let mut conditions = csr.status.as_ref()?.conditions.iter().flatten();
    let refused = conditions.find(|c| c.type_ == "Denied" || c.type_ == "Failed")?;
    Some(format!("{}: {}", refused.type_, refused.message.as_deref().unwrap_or_default()))
}

/// What is read of a kept certificate before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Life {
    /// Of the first certificate of a PEM file that also holds its key; `None` where there is none such.
    pub fn of(pem: &str) -> Option<Life> {
        let blocks = pem::parse_many(pem).ok()?;
        blocks.iter().find(|block| block.tag().ends_with("PRIVATE KEY"))?;
        let block = blocks.iter().find(|block| block.tag() == "CERTIFICATE")?;
        let (_, certificate) = x509_parser::parse_x509_certificate(block.contents()).ok()?;
        let validity = certificate.validity();
        let at = |time: &x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
        Some(Life { from: at(&validity.not_before)?, until: at(&validity.not_after)? })
    }

    /// When to ask for the next one; `chance` is between 0 and 1.
    pub fn renewal(&self, chance: f64) -> Timestamp {
        let whole = self.until.duration_since(self.from).as_secs_f64();
        let after = whole * (RENEW_FROM + RENEW_SPREAD * chance.clamp(0.0, 1.0));
        self.from + Duration::from_secs_f64(after.max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_who_asks_and_the_names_of_a_server_only() {
        let (client, serving) = (Wanted::client("n1"), Wanted::serving("n1", &[[10, 0, 0, 1].into()]));
        for (wanted, names) in [(client, 0), (serving, 2)] {
            let params = wanted.params().expect("parameters");
            assert_eq!(params.subject_alt_names.len(), names);
            let common = params.distinguished_name.get(&DnType::CommonName).cloned();
            assert_eq!(common, Some(rcgen::DnValue::Utf8String("system:node:n1".into())));
        }
    }

    #[test]
    fn renewal_is_due_late_in_life_and_before_its_end() {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 1, 11);
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        assert_eq!(Life::of(&certificate), None, "without its key it is of no use");
        let life = Life::of(&format!("{certificate}{}", key.serialize_pem())).expect("both");
        for (chance, due) in
            [(0.0, "2026-01-08T00:00:00Z"), (0.5, "2026-01-09T00:00:00Z"), (7.0, "2026-01-10T00:00:00Z")]
        {
            assert_eq!(life.renewal(chance), due.parse().expect("a time"), "{chance}");
        }
        assert_eq!(Life::of("-----BEGIN"), None);
    }
}
