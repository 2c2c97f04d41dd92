//! CertificateApproval, CertificateSigning and CertificateSubjectRestriction, and who asked for a certificate.

use super::{Admission, Operation};
use crate::authz;
use crate::ctx::Ctx;
use crate::request::RequestInfo;
use api::kind::Rules;
use api::status::{FieldError, FieldReason, shown};
use api::{Map, Object, Status, Value};
use base64::Engine;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::error::X509Error;
use x509_parser::prelude::FromDer;

fn concerns(admission: &Admission<'_>, subresource: &str, operation: Operation) -> bool {
    let info = admission.info;
    info.group == "certificates.k8s.io"
        && info.resource == "certificatesigningrequests"
        && info.subresource == subresource
        && admission.operation == operation
}

/// The requester is whoever asks, whatever the request says.
pub(super) fn set_requester(admission: &mut Admission<'_>) {
    if !concerns(admission, "", Operation::Create) {
        return;
    }
    let user = admission.user;
    let Some(request) = admission.object.as_mut() else { return };
    for key in ["username", "uid", "groups", "extra"] {
        request.unset(&["spec", key]);
    }
    let texts = |list: &[String]| Value::List(list.iter().map(|t| Value::from(t.as_str())).collect());
    request.set(&["spec", "username"], user.name.as_str());
    if !user.uid.is_empty() {
        request.set(&["spec", "uid"], user.uid.as_str());
    }
    if !user.groups.is_empty() {
        request.set(&["spec", "groups"], texts(&user.groups));
    }
    if !user.extra.is_empty() {
        let extra: Map = user.extra.iter().map(|(k, v)| (k.as_str(), texts(v))).collect();
        request.set(&["spec", "extra"], extra);
    }
}

pub(super) async fn validate(ctx: &Ctx, admission: &Admission<'_>) -> Result<(), Status> {
    let Some(new) = &admission.object else { return Ok(()) };
    if concerns(admission, "approval", Operation::Update) && changed(admission, "conditions") {
        return may(ctx, admission, "approve").await;
    }
    if concerns(admission, "status", Operation::Update) && changed(admission, "certificate") {
        return may(ctx, admission, "sign").await;
    }
    let signer = new.str_at(&["spec", "signerName"]);
    if concerns(admission, "", Operation::Create)
        && signer == "kubernetes.io/kube-apiserver-client"
        && organizations(new).iter().any(|o| o == "system:masters")
    {
        return Err(admission.forbid(&format!("use of {signer} signer with system:masters group is not allowed")));
    }
    Ok(())
}

fn changed(admission: &Admission<'_>, key: &str) -> bool {
    let at = |o: Option<&Object>| o.and_then(|o| o.at(&["status", key])).cloned();
    at(admission.object.as_ref()) != at(admission.old)
}

/// What a request for a certificate must be: the crate of the kinds reads no certificates.
#[derive(Debug)]
pub(crate) struct Readable;

impl Rules for Readable {
    fn check(&self, object: &Object, old: Option<&Object>, errors: &mut Vec<FieldError>) {
        const PATH: &str = "spec.request";
        if old.is_some() || errors.iter().any(|error| error.path == PATH) {
            return;
        }
        let Some(der) = der(object) else { return };
        let why = match X509CertificationRequest::from_der(&der) {
            Ok(([], request)) => match request.verify_signature() {
                // Signatures over curves that this build cannot compute with are left to the signer.
                Ok(()) | Err(X509Error::SignatureUnsupportedAlgorithm) => return,
                Err(_) => forged(&request),
            },
            Ok(_) => "asn1: syntax error: trailing data",
            Err(x509_parser::nom::Err::Incomplete(_)) => "asn1: syntax error: sequence truncated",
            Err(_) => "asn1: structure error: this is no certificate request",
        };
        let given = shown(&Value::from(object.str_at(&["spec", "request"])));
        errors.push(FieldError::new(FieldReason::Invalid, PATH, format!("Invalid value: {given}: {why}")));
    }
}

/// What is said of a request that its key has not signed.
fn forged(request: &X509CertificationRequest<'_>) -> &'static str {
    match request.signature_algorithm.algorithm.to_id_string().as_str() {
        id if id.starts_with("1.2.840.10045.") => "x509: ECDSA verification failure",
        "1.3.101.112" => "x509: Ed25519 verification failure",
        _ => "crypto/rsa: verification error",
    }
}

/// What the PEM of a request holds.
fn der(request: &Object) -> Option<Vec<u8>> {
    let text = request.str_at(&["spec", "request"]);
    let decoded = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    let block = pem::parse(&decoded).map(pem::Pem::into_contents);
    // A PEM of nothing is none to the parser.
    Some(block.unwrap_or_default())
}

/// The organisations that a request asks for; none where it cannot be read, which its rules refuse.
fn organizations(request: &Object) -> Vec<String> {
    let Some(der) = der(request) else { return Vec::new() };
    match X509CertificationRequest::from_der(&der) {
        Ok((_, csr)) => {
            let names = csr.certification_request_info.subject.iter_organization();
            names.filter_map(|o| o.as_str().ok()).map(str::to_owned).collect()
        }
        Err(_) => Vec::new(),
    }
}

/// Whether the user has a verb on the signer, or on its domain.
async fn may(ctx: &Ctx, admission: &Admission<'_>, verb: &str) -> Result<(), Status> {
    let signer = admission.old.map_or("", |o| o.str_at(&["spec", "signerName"]));
    let domain = signer.split_once('/').map(|(domain, _)| format!("{domain}/*")).unwrap_or_default();
    for name in [signer, &domain] {
        let request = RequestInfo {
            is_resource: true,
            verb: verb.to_owned(),
            group: "certificates.k8s.io".into(),
            version: "*".into(),
            resource: "signers".into(),
            name: name.to_owned(),
            ..RequestInfo::default()
        };
        if authz::decide(ctx, admission.user, &request).await?.allowed {
            return Ok(());
        }
    }
    Err(admission.forbid(&format!("user not permitted to {verb} requests with signerName {signer:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(der: &[u8]) -> Vec<String> {
        let text = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", der));
        let request = base64::engine::general_purpose::STANDARD.encode(text);
        let mut object = Object(Map::default());
        object.set(&["spec", "request"], request.as_str());
        let mut errors = Vec::new();
        Readable.check(&object, None, &mut errors);
        errors.iter().map(|error| error.message.rsplit_once("\": ").unwrap().1.to_owned()).collect()
    }

    #[test]
    fn a_request_must_be_signed_by_its_own_key() {
        let key = rcgen::KeyPair::generate().unwrap();
        let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
        let mut der = request.der().to_vec();
        assert_eq!(complaints(&der), Vec::<String>::new());
        *der.last_mut().unwrap() ^= 1;
        assert_eq!(complaints(&der), ["x509: ECDSA verification failure"]);
    }
}
