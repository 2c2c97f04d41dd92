//! Deletes requests that nobody needs any more: decided ones after an hour, others after a day, and those whose
//! certificate has ended.

use std::time::Duration;

use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

/// How long requests are kept, as upstream.
const DECIDED: SignedDuration = SignedDuration::from_hours(1);
const PENDING: SignedDuration = SignedDuration::from_hours(24);

pub(crate) struct Cleaning;

impl Controller for Cleaning {
    fn name(&self) -> &'static str {
        "certificatesigningrequest-cleaner-controller"
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
        let Some(end) = end(&csr) else { return plan.into() };
        let left = end.duration_since(moment.now);
        match left > SignedDuration::ZERO {
            true => plan.again(Duration::try_from(left).unwrap_or_default()),
            false => plan.delete(csr.as_ref()),
        }
        plan.into()
    }
}

/// When the request is no longer of use.
fn end(csr: &CertificateSigningRequest) -> Option<Timestamp> {
    let made = csr.metadata.creation_timestamp.as_ref()?.0;
    let decided = super::conditions(csr).iter().filter(|condition| match condition.type_.as_str() {
        "Approved" => super::is_issued(csr),
        "Denied" | "Failed" => true,
        _ => false,
    });
    let decided = decided.map(|condition| condition.last_update_time.as_ref().map_or(made, |time| time.0) + DECIDED);
    let pending = super::conditions(csr).is_empty().then(|| made + PENDING);
    decided.chain(pending).chain(certificate_end(csr)).min()
}

fn certificate_end(csr: &CertificateSigningRequest) -> Option<Timestamp> {
    let block = pem::parse(&csr.status.as_ref()?.certificate.as_ref()?.0).ok()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(block.contents()).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}
