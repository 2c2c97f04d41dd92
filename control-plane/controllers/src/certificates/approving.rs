//! Approves what nodes ask for, if the access review says that whoever asks may have it.
//!
//! Client certificates as upstream; and serving certificates, which upstream leaves to people: for the node's own name,
//! and addresses that no other node has.

use client::plan::Read;
use client::{Controller, Decision, Key, Moment, Plan, View, Watches};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use super::request::{self, Asked, KUBELET_CLIENT, KUBELET_SERVING, NODE_PREFIX};

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

pub(crate) struct Approving;

impl Controller for Approving {
    fn name(&self) -> &'static str {
        "certificatesigningrequest-approving-controller"
    }

    fn identity(&self) -> &'static str {
        super::IDENTITY
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<CertificateSigningRequest>();
        watches.seen::<Node>();
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        let mut plan = Plan::done();
        let Some(csr) = view.of::<CertificateSigningRequest>().get_key(key) else { return plan.into() };
        let decided = super::has(&csr, "Approved") || super::has(&csr, "Denied") || super::has(&csr, "Failed");
        if decided || super::is_issued(&csr) {
            return plan.into();
        }
        let Ok(asked) = request::read(&csr.spec) else { return plan.into() };
        if request::fits(&csr.spec, &asked).is_err() {
            return plan.into();
        }
        for (permission, message) in permissions(view, &csr.spec, &asked) {
            let review = review(&csr.spec, permission);
            let Some(answer) = view.answer(&review) else { return Decision::Need(vec![review]) };
            if answer.is_some_and(|answer| answer["status"]["allowed"] == true) {
                plan.write(&super::with_condition(&csr, "Approved", "AutoApproved", message, moment.now), "approval");
                break;
            }
        }
        plan.into()
    }
}

/// The permissions of which one is enough for this request; none for what people must decide.
fn permissions(view: &View, spec: &CertificateSigningRequestSpec, asked: &Asked) -> Vec<(&'static str, &'static str)> {
    let own = spec.username.as_deref() == Some(asked.common_name.as_str());
    let client = ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.");
    let renewed = ("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview.");
    let serving =
        ("selfnodeserver", "Auto approving kubelet serving certificate of the node's own name and addresses.");
    match spec.signer_name.as_str() {
        KUBELET_CLIENT if own => vec![renewed, client],
        KUBELET_CLIENT => vec![client],
        KUBELET_SERVING if own && is_its_own(view, asked) => vec![serving],
        _ => vec![],
    }
}

/// Whether the names and addresses are the node's, as far as the other nodes say.
fn is_its_own(view: &View, asked: &Asked) -> bool {
    let Some(name) = asked.common_name.strip_prefix(NODE_PREFIX) else { return false };
    let nodes = view.of::<Node>().list();
    let others = nodes.iter().filter(|node| node.metadata.name.as_deref() != Some(name));
    let mut taken = others.filter_map(|node| node.status.as_ref()?.addresses.as_ref()).flatten();
    asked.dns_names.iter().all(|dns| dns == name) && !taken.any(|taken| asked.addresses.contains(&taken.address))
}

fn review(spec: &CertificateSigningRequestSpec, subresource: &str) -> Read {
    let asked = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {
            "user": spec.username, "uid": spec.uid, "groups": spec.groups, "extra": spec.extra,
            "resourceAttributes": {
                "group": "certificates.k8s.io", "resource": "certificatesigningrequests", "verb": "create",
                "version": "*", "subresource": subresource,
            },
        },
    });
    Read::review(REVIEWS, &asked)
}
