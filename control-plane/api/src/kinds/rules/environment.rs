//! Environment variables and references to fields, also those of downward API volumes.

use super::at::At;
use super::words;
use crate::names;

pub(super) fn variables(at: &At<'_>) {
    for one in at.items() {
        one.field("name").required_matches(words::env_name);
        let from = one.field("valueFrom");
        if from.is() {
            value_from(&from, one.get("value"));
        }
    }
}

const SOURCES: &[&str] = &["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];

fn value_from(at: &At<'_>, value: &str) {
    let mut set = 0;
    for source in SOURCES.iter().map(|s| at.field(s)).filter(At::is) {
        set += 1;
        match source.path.rsplit('.').next().unwrap_or("") {
            "fieldRef" => field_ref(&source, ENV_FIELDS),
            "resourceFieldRef" => resource_ref(&source, false),
            "fileKeyRef" => file_key(&source),
            _ => {
                source.field("name").matches(names::dns1123_subdomain);
                source.field("key").required_matches(words::config_key);
            }
        }
    }
    if set == 0 {
        at.invalid_text(
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        );
    } else if !value.is_empty() {
        at.invalid_text("", "may not be specified when `value` is not empty");
    } else if set > 1 {
        at.invalid_text("", "may not have more than one field specified at a time");
    }
}

fn file_key(at: &At<'_>) {
    at.field("key").required_matches(words::env_name);
    at.field("volumeName").required_matches(names::dns1123_label);
    match at.get("path") {
        "" => at.field("path").required(""),
        _ => words::no_steps_up(&at.field("path")),
    }
}

/// Files are taken from volumes that are empty at first.
pub(super) fn file_volumes(container: &At<'_>, volumes: &At<'_>) {
    for one in container.field("env").items() {
        let name = one.fields(&["valueFrom", "fileKeyRef", "volumeName"]);
        if !one.fields(&["valueFrom", "fileKeyRef"]).is() {
            continue;
        }
        match volumes.items().filter(|v| v.get("name") == name.text()).last() {
            None => name.not_found(name.text(), ""),
            Some(volume) if !volume.has("emptyDir") => {
                name.invalid_text(name.text(), "referenced volume must be of type emptyDir");
            }
            Some(_) => {}
        }
    }
}

pub(super) fn from_sources(at: &At<'_>) {
    for one in at.items() {
        let prefix = one.field("prefix");
        if !prefix.text().is_empty() {
            prefix.matches(words::env_name);
        }
        let sources: Vec<At<'_>> = ["configMapRef", "secretRef"].iter().map(|s| one.field(s)).filter(At::is).collect();
        sources.iter().for_each(|s| s.field("name").required_matches(names::dns1123_subdomain));
        match sources.len() {
            0 => at.invalid_text("", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => at.invalid_text("", "may not have more than one field specified at a time"),
        }
    }
}

const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

pub(super) const FILE_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// What a pod tells of itself, though not everywhere.
const CONVERTED: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

pub(super) fn field_ref(at: &At<'_>, supported: &[&str]) {
    let (version, path) = (at.get("apiVersion"), at.field("fieldPath"));
    let unknown = |why: String| path.invalid(&format!("error converting fieldPath: {why}"));
    match (version, path.text()) {
        ("", _) => at.field("apiVersion").required(""),
        (_, "") => path.required(""),
        ("v1", text) => match subscript(text) {
            Some(("metadata.annotations", key)) => {
                names::qualified_name(&key.to_lowercase())
                    .iter()
                    .for_each(|why| at.invalid_text(&key.to_lowercase(), why));
            }
            Some(("metadata.labels", key)) => {
                names::qualified_name(key).iter().for_each(|why| at.invalid_text(key, why));
            }
            Some(_) => unknown(format!("field label does not support subscript: {text}")),
            None if text == "spec.host" => {
                if !supported.contains(&"spec.nodeName") {
                    path.unsupported_as("\"spec.nodeName\"", supported);
                }
            }
            None if CONVERTED.contains(&text) => path.one_of(supported),
            None => unknown(format!("field label not supported: {text}")),
        },
        _ => unknown(format!("unsupported pod version: {version}")),
    }
}

/// `path['key']`, in its two parts.
fn subscript(text: &str) -> Option<(&str, &str)> {
    text.strip_suffix("']")?.split_once("['").filter(|(path, _)| !path.is_empty())
}

const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

pub(super) fn resource_ref(at: &At<'_>, in_volume: bool) {
    let resource = at.field("resource");
    let name = resource.text();
    let huge = name.starts_with("limits.hugepages-") || name.starts_with("requests.hugepages-");
    match name {
        _ if in_volume && at.get("containerName").is_empty() => at.field("containerName").required(""),
        "" => resource.required(""),
        _ if !huge && !RESOURCES.contains(&name) => resource.unsupported(RESOURCES),
        _ => {}
    }
    divisor(&at.field("divisor"), name);
}

fn divisor(at: &At<'_>, resource: &str) {
    const SIZES: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    let shown = words::amount(at).map_or_else(String::new, |q| q.to_string());
    if shown.is_empty() || shown == "0" {
        return;
    }
    let Some(("limits" | "requests", base)) = resource.split_once('.') else { return };
    let sizes = SIZES.join(", ");
    let (allowed, values, what): (&[&str], &str, &str) = match base {
        "cpu" => (&["1m", "1"], "1m and 1", "cpu"),
        "memory" => (SIZES, &sizes, "memory"),
        "ephemeral-storage" => (SIZES, &sizes, "local ephemeral storage"),
        _ if base.starts_with("hugepages-") => (SIZES, &sizes, "hugepages"),
        _ => return,
    };
    if !allowed.contains(&shown.as_str()) {
        at.invalid_text(resource, &format!("only divisor's values {values} are supported with the {what} resource"));
    }
}
