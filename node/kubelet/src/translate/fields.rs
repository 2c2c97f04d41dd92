//! `fieldRef` and `resourceFieldRef`: values of the pod itself as text.

use super::Invalid;
use crate::quantity;
use k8s_openapi::api::core::v1::{Container, ObjectFieldSelector, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// What is known of the pod beyond its manifest.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub pod_ips: Vec<String>,
    pub host_ips: Vec<String>,
    pub node_name: String,
    /// Stand in for limits that are not set.
    pub allocatable: BTreeMap<String, Quantity>,
}

/// The value of `metadata.…`, `spec.…` or `status.…` that upstream's downward API knows.
pub fn field(pod: &Pod, facts: &Facts, selector: &ObjectFieldSelector) -> Result<String, Invalid> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let path = selector.field_path.as_str();
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(unknown(path)),
        };
        return Ok(map.as_ref().and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        "metadata.uid" => meta.uid.clone().unwrap_or_default(),
        "metadata.labels" => lines(meta.labels.as_ref()),
        "metadata.annotations" => lines(meta.annotations.as_ref()),
        "spec.nodeName" => facts.node_name.clone(),
        "spec.serviceAccountName" => spec.and_then(|s| s.service_account_name.clone()).unwrap_or_default(),
        "status.hostIP" => facts.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => facts.host_ips.join(","),
        "status.podIP" => facts.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => facts.pod_ips.join(","),
        _ => return Err(unknown(path)),
    })
}

fn unknown(path: &str) -> Invalid {
    Invalid(format!("unsupported fieldPath: {path}"))
}

/// `metadata.labels['app']` → (`metadata.labels`, `app`).
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once('[')?;
    let key = rest.strip_suffix(']')?;
    let key = key.strip_prefix('\'').and_then(|k| k.strip_suffix('\'')).or_else(|| {
        let k = key.strip_prefix('"')?;
        k.strip_suffix('"')
    })?;
    Some((map, key))
}

/// `key="value"` a line, sorted, with Go's quoting.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let quoted = map.into_iter().flatten().map(|(k, v)| format!("{k}={}", quote(v)));
    quoted.collect::<Vec<_>>().join("\n")
}

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `limits.cpu`, `requests.memory`, …, divided by the divisor and rounded up.
pub fn resource(
    pod: &Pod,
    own: Option<&Container>,
    facts: &Facts,
    selector: &ResourceFieldSelector,
) -> Result<String, Invalid> {
    let named = selector.container_name.as_deref().filter(|n| !n.is_empty());
    let spec = pod.spec.as_ref();
    let by_name = |name: &str| {
        let all = spec.into_iter().flat_map(|s| s.containers.iter().chain(s.init_containers.iter().flatten()));
        all.into_iter().find(|c| c.name == name)
    };
    let container = match named {
        Some(name) => by_name(name).ok_or_else(|| Invalid(format!("container {name} not found")))?,
        None => own.ok_or_else(|| Invalid("resourceFieldRef needs a containerName here".into()))?,
    };
    let (list, name) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| Invalid(format!("unsupported container resource : {}", selector.resource)))?;
    let resources = container.resources.as_ref();
    let limits = resources.and_then(|r| r.limits.as_ref());
    let requests = resources.and_then(|r| r.requests.as_ref());
    let whole = facts.allocatable.get(name);
    let quantity = match list {
        "limits" => limits.and_then(|l| l.get(name)).or(whole),
        "requests" => requests.and_then(|l| l.get(name)),
        _ => return Err(Invalid(format!("unsupported container resource : {}", selector.resource))),
    };
    let cpu = name == "cpu";
    let unit = |q: &Quantity| if cpu { quantity::milli(q) } else { quantity::value(q) };
    let value = quantity.and_then(unit).unwrap_or(0);
    let divisor = selector.divisor.as_ref().and_then(unit).filter(|d| *d > 0);
    let divisor = divisor.unwrap_or(if cpu { 1000 } else { 1 });
    Ok(((value + divisor - 1) / divisor).to_string())
}
