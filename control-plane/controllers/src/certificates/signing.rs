//! Signs approved requests of the cluster's own signers.

use std::sync::Arc;

use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use super::request::{self, CLIENT, KUBELET_CLIENT, KUBELET_SERVING};

/// How long a certificate is good for unless its request wants less; as upstream.
const LIFE_SECONDS: u64 = 365 * 24 * 3600;
/// The shortest life that a request may ask for.
const SHORTEST_SECONDS: u64 = 600;

/// Signs a request (PEM) for these usages and that many seconds.
#[derive(Clone)]
pub struct Sign(Arc<SignFn>);

type SignFn = dyn Fn(&str, &[String], u64) -> Result<String, String> + Send + Sync;

impl Sign {
    pub fn by(sign: impl Fn(&str, &[String], u64) -> Result<String, String> + Send + Sync + 'static) -> Sign {
        Sign(Arc::new(sign))
    }
}

impl std::fmt::Debug for Sign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sign(..)")
    }
}

pub(crate) struct Signing {
    /// Without it nothing is signed.
    pub(crate) sign: Option<Sign>,
}

impl Controller for Signing {
    fn name(&self) -> &'static str {
        "certificatesigningrequest-signing-controller"
    }

    fn identity(&self) -> &'static str {
        super::IDENTITY
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<CertificateSigningRequest>();
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let mut plan = Plan::done();
        let Some(csr) = view.of::<CertificateSigningRequest>().get_key(key) else { return plan.into() };
        let ours = [CLIENT, KUBELET_CLIENT, KUBELET_SERVING].contains(&csr.spec.signer_name.as_str());
        let approved = super::has(&csr, "Approved") && !super::has(&csr, "Denied") && !super::has(&csr, "Failed");
        let (Some(sign), true) = (&self.sign, ours && approved && !super::is_issued(&csr)) else { return plan.into() };
        let checked = request::read(&csr.spec).and_then(|asked| request::fits(&csr.spec, &asked));
        match checked.and_then(|()| issue(sign, &csr)) {
            Ok(pem) => {
                let mut signed = CertificateSigningRequest::clone(&csr);
                signed.status.get_or_insert_default().certificate = Some(ByteString(pem.into_bytes()));
                plan.status(&signed);
            }
            Err(why) => {
                plan.status(&super::with_condition(&csr, "Failed", "SignerValidationFailure", &why, moment.now));
            }
        }
        plan.into()
    }
}

fn issue(sign: &Sign, csr: &CertificateSigningRequest) -> Result<String, String> {
    let text = std::str::from_utf8(&csr.spec.request.0).map_err(|error| error.to_string())?;
    let asked = csr.spec.expiration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let seconds = asked.unwrap_or(LIFE_SECONDS).clamp(SHORTEST_SECONDS, LIFE_SECONDS);
    sign.0(text, csr.spec.usages.as_deref().unwrap_or_default(), seconds)
}
