//! The defaults of pod specs, wherever they stand: in pods and in the templates of workloads.

use super::fill::{each, is_true, made, map, put, put_int, put_text, sub, text};
use super::{gates, volume_sources};
use crate::quantity::Quantity;
use crate::value::{Map, Value};

/// The defaults of a `PodTemplateSpec` below a map.
pub(super) fn template(parent: &mut Map) {
    if let Some(spec) = sub(parent, "template").and_then(|t| sub(t, "spec")) {
        pod_spec(spec);
    }
}

pub(super) fn pod_spec(spec: &mut Map) {
    gates::pod_spec(spec);
    put_text(spec, "dnsPolicy", "ClusterFirst");
    put_text(spec, "restartPolicy", "Always");
    put_text(spec, "schedulerName", "default-scheduler");
    put(spec, "terminationGracePeriodSeconds", 30);
    put(spec, "securityContext", Map::new());
    // `serviceAccount` is the old name of the same field.
    let account =
        Some(text(spec, "serviceAccountName")).filter(|t| !t.is_empty()).unwrap_or(text(spec, "serviceAccount"));
    let account = account.to_owned();
    if !account.is_empty() {
        spec.insert("serviceAccount", account.as_str());
        spec.insert("serviceAccountName", account);
    }
    each(spec, "volumes", volume_sources::volume);
    for containers in ["initContainers", "containers", "ephemeralContainers"] {
        each(spec, containers, container);
    }
}

/// What pods have beyond their specs: service links, requests, host ports.
pub(super) fn pod(spec: &mut Map) {
    put(spec, "enableServiceLinks", true);
    for containers in ["initContainers", "containers"] {
        each(spec, containers, |c| {
            if let Some(resources) = sub(c, "resources") {
                requests_from_limits(resources);
            }
        });
    }
    pod_resources(spec);
    if is_true(spec, "hostNetwork") {
        for containers in ["initContainers", "containers"] {
            each(spec, containers, |c| {
                each(c, "ports", |port| {
                    let number = port.get("containerPort").and_then(Value::as_i64).unwrap_or(0);
                    put_int(port, "hostPort", number);
                });
            });
        }
    }
}

fn requests_from_limits(resources: &mut Map) {
    let Some(limits) = resources.get("limits").and_then(Value::as_map).cloned() else { return };
    let requests = made(resources, "requests");
    for (name, limit) in limits {
        if !requests.contains_key(&name) {
            requests.insert(name, limit);
        }
    }
}

/// Requests of the pod as a whole: what its containers ask for, else its own limits. Only where the pod has resources.
fn pod_resources(spec: &mut Map) {
    let Some(limits) = spec.get("resources").and_then(|r| r.get("limits")).and_then(Value::as_map).cloned() else {
        return;
    };
    let sums: Vec<(crate::value::Key, Value)> = limits
        .iter()
        .filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-"))
        .map(|(name, limit)| (name.clone(), asked(spec, name).unwrap_or_else(|| limit.clone())))
        .collect();
    let requests = made(made(spec, "resources"), "requests");
    for (name, value) in sums {
        if !requests.contains_key(&name) {
            requests.insert(name, value);
        }
    }
    if requests.is_empty() {
        made(spec, "resources").remove("requests");
    }
}

/// The sum over the containers if all of them ask.
fn asked(spec: &Map, name: &str) -> Option<Value> {
    let containers = spec.get("containers")?.as_list()?;
    let mut total: Option<Quantity> = None;
    for container in containers {
        let text = container.at(&["resources", "requests", name]).and_then(Value::as_str);
        if let Some(quantity) = text.and_then(|t| Quantity::parse(t).ok()) {
            total = Some(total.map_or(quantity, |t| t.add(quantity)));
        }
    }
    total.map(|t| Value::from(t.to_string()))
}

fn container(c: &mut Map) {
    put_text(c, "terminationMessagePath", "/dev/termination-log");
    put_text(c, "terminationMessagePolicy", "File");
    let policy = pull_policy(text(c, "image"));
    put_text(c, "imagePullPolicy", policy);
    each(c, "ports", |port| put_text(port, "protocol", "TCP"));
    each(c, "env", |variable| {
        if let Some(field) = sub(variable, "valueFrom").and_then(|v| sub(v, "fieldRef")) {
            put_text(field, "apiVersion", "v1");
        }
        if let Some(file) = sub(variable, "valueFrom").and_then(|v| sub(v, "fileKeyRef")) {
            put(file, "optional", false);
        }
    });
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(p) = sub(c, name) {
            probe(p);
        }
    }
    if let Some(lifecycle) = sub(c, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(h) = sub(lifecycle, name) {
                handler(h);
            }
        }
    }
}

fn probe(p: &mut Map) {
    put_int(p, "timeoutSeconds", 1);
    put_int(p, "periodSeconds", 10);
    put_int(p, "successThreshold", 1);
    put_int(p, "failureThreshold", 3);
    handler(p);
    if let Some(grpc) = sub(p, "grpc") {
        put(grpc, "service", "");
    }
}

fn handler(h: &mut Map) {
    if let Some(get) = sub(h, "httpGet") {
        put_text(get, "path", "/");
        put_text(get, "scheme", "HTTP");
    }
}

/// An image without a tag, or tagged `latest`, may change: it is pulled always. What is no image's name is not pulled.
pub(super) fn pull_policy(image: &str) -> &'static str {
    let (plain, digest) = image.split_once('@').map_or((image, None), |(plain, digest)| (plain, Some(digest)));
    let (path, tag) = match plain.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (plain, None),
    };
    let always = is_image(path) && tag.is_none_or(|t| t == "latest") && digest.is_none();
    if always { "Always" } else { "IfNotPresent" }
}

/// Whether a text without tag and digest names an image: perhaps a host, then steps of small letters.
fn is_image(text: &str) -> bool {
    let (host, path) = match text.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" || host != host.to_lowercase() => {
            (Some(host), path)
        }
        _ => (None, text),
    };
    let hex = |t: &str| t.len() == 64 && t.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    host.is_none_or(is_host) && path.split('/').all(is_step) && !hex(text) && text.len() <= MAX_IMAGE
}

/// As upstream's.
const MAX_IMAGE: usize = 255;

fn is_host(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, "0"), |(host, port)| (host, port));
    let label = |l: &str| {
        !l.is_empty()
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    host.split('.').all(label) && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

/// Small letters and digits, with a dot, one or two underscores or any number of dashes between.
fn is_step(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let between = |s: &str| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-');
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    plain(*first) && plain(*last) && text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).all(between)
}

/// The pod's class of service, from the requests and limits of its containers, or its own.
pub(super) fn qos_class(spec: &Map) -> &'static str {
    let parts: Vec<&Map> = match spec.get("resources").and_then(Value::as_map).filter(|r| !r.is_empty()) {
        Some(own) => vec![own],
        None => ["containers", "initContainers"]
            .iter()
            .filter_map(|l| spec.get(l)?.as_list())
            .flatten()
            .map(|c| c.get("resources").and_then(Value::as_map).unwrap_or(const { &Map::new() }))
            .collect(),
    };
    let amount = |part: &Map, list: &str, name: &str| {
        let text = part.get(list).and_then(|l| l.get(name)).and_then(Value::as_str)?;
        Quantity::parse(text).ok().filter(|q| q.signum() > 0)
    };
    let both = ["cpu", "memory"];
    let asks = |p: &&Map| both.iter().any(|n| amount(p, "requests", n).is_some() || amount(p, "limits", n).is_some());
    let full = |p: &&Map| {
        both.iter().all(|n| {
            let limit = amount(p, "limits", n);
            limit.is_some() && amount(p, "requests", n).is_none_or(|r| Some(r) == limit)
        })
    };
    match (parts.iter().any(asks), parts.iter().all(full)) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// The status a pod starts with.
pub(super) fn first_status(spec: &Map, now: &str) -> Value {
    let mut status = Map::new();
    status.insert("phase", "Pending");
    status.insert("qosClass", qos_class(spec));
    if spec.get("schedulingGates").and_then(Value::as_list).is_some_and(|g| !g.is_empty()) {
        let gated = map([
            ("type", "PodScheduled".into()),
            ("status", "False".into()),
            ("reason", "SchedulingGated".into()),
            ("message", "Scheduling is blocked due to non-empty scheduling gates".into()),
            ("lastProbeTime", Value::Null),
            ("lastTransitionTime", now.into()),
        ]);
        status.insert("conditions", vec![gated]);
    }
    Value::Map(status)
}
