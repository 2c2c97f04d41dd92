//! What is allowed but probably not meant, or on its way out.

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

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = (usize, &'a Value)> + use<'a> {
    value.get(key).and_then(Value::as_list).unwrap_or(&[]).iter().enumerate()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}

fn is_set(value: &Value, key: &str) -> bool {
    value.get(key).is_some_and(|v| !v.is_null())
}

fn pod_spec(spec: &Value, path: &str, out: &mut Vec<String>) {
    for (i, constraint) in list(spec, "topologySpreadConstraints") {
        if !is_set(constraint, "labelSelector") {
            let place = format!("{path}.topologySpreadConstraints[{i}].labelSelector");
            out.push(format!("{place}: a null labelSelector results in matching no pod"));
        }
    }
    affinity(spec, path, out);
    if spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64).is_some_and(|s| s < 0) {
        out.push(format!(
            "{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    for (i, secret) in list(spec, "imagePullSecrets") {
        if text(secret, "name").is_empty() {
            out.push(format!("{path}.imagePullSecrets[{i}].name: invalid empty name \"\""));
        }
    }
    for (i, volume) in list(spec, "volumes") {
        volumes::warnings(volume, &format!("{path}.volumes[{i}]"), out);
        let sources = volume.at(&["projected", "sources"]).and_then(Value::as_list).unwrap_or(&[]);
        for _ in sources.iter().filter(|s| s.as_map().is_none_or(|m| m.iter().all(|(_, v)| v.is_null()))) {
            out.push(format!("volume {:?} (Projected) has no sources provided", text(volume, "name")));
        }
    }
    for kind in ["initContainers", "containers"] {
        for (i, container) in list(spec, kind) {
            variables(container, &format!("{path}.{kind}[{i}]"), out);
        }
    }
    for kind in ["initContainers", "containers"] {
        for (i, container) in list(spec, kind) {
            ports(container, &format!("{path}.{kind}[{i}]"), out);
        }
    }
}

/// Terms that choose no pod.
fn affinity(spec: &Value, path: &str, out: &mut Vec<String>) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let what = "a null labelSelector results in matching no pod";
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(of) = spec.at(&["affinity", kind]) else { continue };
        for (i, _) in list(of, REQUIRED).filter(|(_, term)| !is_set(term, "labelSelector")) {
            out.push(format!("{path}.affinity.{kind}.{REQUIRED}[{i}].labelSelector: {what}"));
        }
        for (i, term) in list(of, PREFERRED) {
            if !term.get("podAffinityTerm").is_some_and(|t| is_set(t, "labelSelector")) {
                out.push(format!("{path}.affinity.{kind}.{PREFERRED}[{i}].podAffinityTerm.labelSelector: {what}"));
            }
        }
    }
}

fn variables(container: &Value, path: &str, out: &mut Vec<String>) {
    let names: Vec<&str> = list(container, "env").map(|(_, v)| text(v, "name")).collect();
    for (i, name) in names.iter().enumerate() {
        if !names[..i].contains(name) {
            continue;
        }
        let own = container.at(&["env", &i.to_string(), "value"]).and_then(Value::as_str).unwrap_or("");
        // A variable made from its earlier self is meant.
        if !own.contains(&format!("$({name})")) {
            out.push(format!(
                "{path}.env[{i}]: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
}

fn ports(container: &Value, path: &str, out: &mut Vec<String>) {
    let all: Vec<&Value> = list(container, "ports").map(|(_, p)| p).collect();
    let key = |p: &Value| {
        let number = |k: &str| p.get(k).and_then(Value::as_i64).unwrap_or(0);
        (number("containerPort"), number("hostPort"), text(p, "hostIP").to_owned(), text(p, "protocol").to_owned())
    };
    for (i, port) in all.iter().enumerate() {
        let (number, host, ip, protocol) = key(port);
        if !ip.is_empty() && host == 0 {
            let shown = format!(
                "{{Name:{} HostPort:0 ContainerPort:{number} Protocol:{protocol} HostIP:{ip}}}",
                text(port, "name")
            );
            out.push(format!("{path}.ports[{i}]: hostIP set without hostPort: {shown}"));
        }
        if let Some(first) = all[..i].iter().position(|p| key(p) == key(port)) {
            out.push(format!("{path}.ports[{i}]: duplicate port definition with {path}.ports[{first}]"));
        }
    }
}

pub(in crate::kinds) fn volume_warnings(object: &Object) -> Vec<String> {
    let mut out = Vec::new();
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
    if list(spec, "externalIPs").next().is_some() {
        out.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".into());
    }
    if is_set(spec, "externalName") && !text(spec, "externalName").is_empty() && text(spec, "type") != "ExternalName" {
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
