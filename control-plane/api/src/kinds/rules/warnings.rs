//! What is allowed but probably not meant, or on its way out.

use super::pod_warnings::{fractions, list, pod_spec, text};
use super::volumes;
use crate::kind::Kind;
use crate::names;
use crate::object::Object;
use crate::value::Value;
use base64::prelude::{BASE64_STANDARD, Engine};

pub(in crate::kinds) fn pod_warnings(object: &Object) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(spec) = object.at(&["spec"]) {
        pod_spec(spec, "spec", &mut out);
    }
    out
}

/// What is wrong with the name of a new object whose pods take it for their hosts' names.
pub fn name_warning(kind: &Kind, name: &str) -> Option<String> {
    let place = match (&*kind.names.group, &*kind.names.kind) {
        ("", "Pod") => "the Pod's hostname",
        ("", "ReplicationController") | ("apps", "Deployment" | "ReplicaSet") | ("batch", "CronJob" | "Job") => {
            "Pod names and hostnames"
        }
        _ => return None,
    };
    let wrong = names::dns1123_label(name);
    let why = format!("this is used in {place}, which can result in surprising behavior; a DNS label is recommended");
    (!wrong.is_empty()).then(|| format!("metadata.name: {why}: [{}]", wrong.join(" ")))
}

/// The same of workloads' templates.
pub(in crate::kinds) fn template_warnings(object: &Object) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(spec) = object.at(&["spec", "template", "spec"]) {
        pod_spec(spec, "spec.template.spec", &mut out);
    }
    out
}

pub(in crate::kinds) fn cron_job_warnings(object: &Object) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(spec) = object.at(&["spec", "jobTemplate", "spec", "template", "spec"]) {
        pod_spec(spec, "spec.jobTemplate.spec.template.spec", &mut out);
    }
    out
}

pub(in crate::kinds) fn stateful_set_warnings(object: &Object) -> Vec<String> {
    let mut out = template_warnings(object);
    if object.i64_at(&["spec", "revisionHistoryLimit"]).is_some_and(|limit| limit < 0) {
        let what = "a negative value retains all historical revisions; a value >= 0 is recommended";
        out.push(format!("spec.revisionHistoryLimit: {what}"));
    }
    out
}

pub(in crate::kinds) fn claim_warnings(object: &Object) -> Vec<String> {
    let mut out = class_note(object);
    if let Some(spec) = object.at(&["spec"]) {
        fractions(spec, "spec", &["storage"], out.as_mut());
    }
    out
}

/// The class of a volume or a claim, named the old way.
fn class_note(object: &Object) -> Vec<String> {
    const NOTE: &str = "volume.beta.kubernetes.io/storage-class";
    match object.annotation(NOTE) {
        Some(_) => vec![format!(
            "metadata.annotations[{NOTE}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
        )],
        None => Vec::new(),
    }
}

pub(in crate::kinds) fn volume_warnings(object: &Object) -> Vec<String> {
    let mut out = class_note(object);
    if let Some(spec) = object.at(&["spec"]) {
        volumes::warnings(spec, "spec", &mut out);
        if text(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
            let what = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.";
            out.push(format!("spec.persistentVolumeReclaimPolicy: {what}"));
        }
    }
    out
}

pub(in crate::kinds) fn node_warnings(object: &Object) -> Vec<String> {
    match object.str_at(&["spec", "externalID"]) {
        "" => Vec::new(),
        _ => vec!["spec.externalID: this field is deprecated, and is unused by Kubernetes".into()],
    }
}

pub(in crate::kinds) fn pod_template_warnings(object: &Object) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(spec) = object.at(&["template", "spec"]) {
        pod_spec(spec, "template.spec", &mut out);
    }
    out
}

pub(in crate::kinds) fn csi_driver_warnings(object: &Object) -> Vec<String> {
    let tokens = object.at(&["spec", "tokenRequests"]).and_then(Value::as_list).is_some_and(|l| !l.is_empty());
    match tokens && object.at(&["spec", "serviceAccountTokenInSecrets"]).is_none() {
        true => vec![
            "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes".into(),
        ],
        false => Vec::new(),
    }
}

pub(in crate::kinds) fn endpoint_slice_warnings(object: &Object) -> Vec<String> {
    match object.str_at(&["addressType"]) {
        "FQDN" => vec!["spec.addressType: FQDN endpoints are deprecated".into()],
        _ => Vec::new(),
    }
}

pub(in crate::kinds) fn service_warnings(object: &Object) -> Vec<String> {
    let mut out = Vec::new();
    let Some(spec) = object.at(&["spec"]) else { return out };
    if text(spec, "clusterIP") == "None" && text(spec, "sessionAffinity") != "None" {
        out.push("spec.SessionAffinity is ignored for headless services".into());
    }
    if list(spec, "externalIPs").next().is_some() {
        out.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".into());
    }
    if !text(spec, "externalName").is_empty() && text(spec, "type") != "ExternalName" {
        out.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".into());
    }
    if text(spec, "trafficDistribution") == "PreferClose" {
        out.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".into());
    }
    out
}

pub(in crate::kinds) fn secret_warnings(object: &Object) -> Vec<String> {
    if object.str_at(&["type"]) != "kubernetes.io/tls" {
        return Vec::new();
    }
    let plain = |key: &str| BASE64_STANDARD.decode(object.str_at(&["data", key])).unwrap_or_default();
    let is_pem = |bytes: &[u8]| bytes.windows(11).any(|w| w == b"-----BEGIN ");
    if !is_pem(&plain("tls.crt")) {
        return vec!["tls: failed to find any PEM data in certificate input".into()];
    }
    if !is_pem(&plain("tls.key")) {
        return vec!["tls: failed to find any PEM data in key input".into()];
    }
    Vec::new()
}
