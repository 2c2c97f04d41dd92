//! What a PKCS #10 request asks for, and whether that is what a kubelet may have.

use k8s_openapi::api::certificates::v1::CertificateSigningRequestSpec;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

pub(super) const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
pub(super) const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub(super) const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
const NODES: &str = "system:nodes";
pub(super) const NODE_PREFIX: &str = "system:node:";

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) common_name: String,
    pub(super) organizations: Vec<String>,
    pub(super) dns_names: Vec<String>,
    pub(super) addresses: Vec<String>,
    /// Whether it asks for names of other kinds: e-mail addresses, URIs.
    pub(super) other_names: bool,
}

/// Reads a request.
pub(super) fn read(spec: &CertificateSigningRequestSpec) -> Result<Asked, String> {
    let block = pem::parse(&spec.request.0).map_err(|error| format!("unable to parse csr: {error}"))?;
    let (_, csr) =
        X509CertificationRequest::from_der(block.contents()).map_err(|e| format!("unable to parse csr: {e}"))?;
    let subject = &csr.certification_request_info.subject;
    let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| value.as_str().unwrap_or_default().to_owned();
    let mut asked = Asked {
        common_name: subject.iter_common_name().next().map(text).unwrap_or_default(),
        organizations: subject.iter_organization().map(text).collect(),
        ..Asked::default()
    };
    for extension in csr.requested_extensions().into_iter().flatten() {
        let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
        for name in &names.general_names {
            match name {
                GeneralName::DNSName(name) => asked.dns_names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => asked.addresses.extend(address(bytes)),
                _ => asked.other_names = true,
            }
        }
    }
    Ok(asked)
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
    let v6 = <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from);
    v4.or(v6).ok().map(|address| address.to_string())
}

/// Why upstream's signer of that name would not sign this; `Ok` if it would.
pub(super) fn fits(spec: &CertificateSigningRequestSpec, asked: &Asked) -> Result<(), String> {
    let usages: Vec<&str> = spec.usages.iter().flatten().map(String::as_str).collect();
    let only = |wanted: &[&str]| {
        let known = |usage: &&str| wanted.contains(usage) || *usage == "key encipherment";
        usages.iter().all(known) && wanted.iter().all(|usage| usages.contains(usage))
    };
    match spec.signer_name.as_str() {
        KUBELET_CLIENT => {
            of_a_node(asked)?;
            if !asked.dns_names.is_empty() || !asked.addresses.is_empty() || asked.other_names {
                return Err("DNS, IP, email and URI subjectAltNames are not allowed".into());
            }
            if !only(&["digital signature", "client auth"]) {
                return Err(r#"usages did not match ["client auth" "digital signature"]"#.into());
            }
        }
        KUBELET_SERVING => {
            of_a_node(asked)?;
            if asked.dns_names.is_empty() && asked.addresses.is_empty() {
                return Err("DNS or IP subjectAltName is required".into());
            }
            if asked.other_names {
                return Err("email and URI subjectAltNames are not allowed".into());
            }
            if !only(&["digital signature", "server auth"]) {
                return Err(r#"usages did not match ["digital signature" "server auth"]"#.into());
            }
        }
        _ => {
            let known = ["digital signature", "key encipherment", "client auth"];
            if !usages.iter().all(|usage| known.contains(usage)) || !usages.contains(&"client auth") {
                return Err("usages must include \"client auth\", and only \"digital signature\" and \
                            \"key encipherment\" beside it"
                    .into());
            }
        }
    }
    Ok(())
}

fn of_a_node(asked: &Asked) -> Result<(), String> {
    if asked.organizations != [NODES] {
        return Err("subject organization is not system:nodes".into());
    }
    if !asked.common_name.starts_with(NODE_PREFIX) {
        return Err("subject common name does not begin with system:node:".into());
    }
    Ok(())
}
