//! Containers of every sort.

use super::at::At;
use super::{environment, probes, resources, security};
use crate::names;
use std::collections::BTreeMap;

/// What containers may refer to in their pod.
#[derive(Debug, Default)]
pub(super) struct Pod<'a> {
    /// Volumes by name, with whether a block device may be made of them.
    pub(super) volumes: BTreeMap<&'a str, bool>,
    pub(super) claims: Vec<&'a str>,
    pub(super) host_network: bool,
    pub(super) host_users: bool,
    pub(super) grace_seconds: i64,
}

/// All containers of a pod spec.
pub(super) fn containers(spec: &At<'_>, pod: &Pod<'_>) {
    let list = spec.field("containers");
    if list.is_empty() {
        list.required("");
    }
    let mut names: Vec<&str> = Vec::new();
    for one in list.items() {
        common(&one, pod, &mut names);
        probes::lifecycle(&one.field("lifecycle"), pod.grace_seconds);
        probes::probes(&one);
        restart_rules(&one);
    }
    for one in spec.field("initContainers").items() {
        common(&one, pod, &mut names);
        init(&one, pod);
        restart_rules(&one);
    }
    for one in spec.field("ephemeralContainers").items() {
        common(&one, pod, &mut names);
        ephemeral(&one, &list, &spec.field("initContainers"));
    }
    host_ports(&list);
}

fn common<'a>(at: &At<'a>, pod: &Pod<'_>, seen: &mut Vec<&'a str>) {
    let (name, image) = (at.field("name"), at.field("image"));
    name.required_matches(names::dns1123_label);
    if !name.text().is_empty() && seen.contains(&name.text()) {
        name.duplicate();
    }
    seen.push(name.text());
    match image.text() {
        "" => image.required(""),
        text if text.trim() != text => image.invalid("must not have leading or trailing whitespace"),
        _ => {}
    }
    at.field("terminationMessagePolicy").one_of(&["File", "FallbackToLogsOnError"]);
    ports(&at.field("ports"), pod.host_network);
    environment::variables(&at.field("env"));
    environment::from_sources(&at.field("envFrom"));
    mounts(at, pod);
    devices(&at.field("volumeDevices"), pod);
    at.field("imagePullPolicy").one_of(&["Always", "IfNotPresent", "Never"]);
    resources::requirements(&at.field("resources"), &pod.claims);
    resources::resize_policy(&at.field("resizePolicy"));
    security::container(&at.field("securityContext"), pod.host_users);
}

fn ports(at: &At<'_>, host_network: bool) {
    let mut seen: Vec<&str> = Vec::new();
    for port in at.items() {
        let (name, number, host) = (port.field("name"), port.field("containerPort"), port.field("hostPort"));
        if !name.text().is_empty() {
            let wrong = super::words::port_name(name.text());
            wrong.iter().for_each(|why| name.invalid_text(name.text(), why));
            if wrong.is_empty() && seen.contains(&name.text()) {
                name.duplicate();
            }
            seen.push(name.text());
        }
        match number.int().unwrap_or(0) {
            0 => number.required(""),
            _ => number.between(1, 65535),
        }
        let on_host = host.int().unwrap_or(0);
        if on_host != 0 {
            host.between(1, 65535);
        }
        if host_network && on_host != 0 && number.int() != Some(on_host) {
            host.invalid("must match `containerPort` when `hostNetwork` is true");
        }
        port.field("protocol").one_of(&["SCTP", "TCP", "UDP"]);
    }
}

/// Two containers of a pod cannot have the same port of the host.
fn host_ports(containers: &At<'_>) {
    let mut taken: Vec<(i64, &str, &str)> = Vec::new();
    for container in containers.items() {
        for port in container.field("ports").items() {
            let number = port.field("hostPort").int().unwrap_or(0);
            let this = (number, port.get("hostIP"), port.get("protocol"));
            if number == 0 {
                continue;
            }
            if taken.contains(&this) {
                let shown = format!("\"{}/{}/{}\"", this.2, this.1, number);
                port.field("hostPort").duplicate_as(&shown, "");
            }
            taken.push(this);
        }
    }
}

fn mounts(container: &At<'_>, pod: &Pod<'_>) {
    let list = container.field("volumeMounts");
    let mut paths: Vec<&str> = Vec::new();
    for mount in list.items() {
        let (name, path) = (mount.field("name"), mount.field("mountPath"));
        match name.text() {
            "" => name.required(""),
            text if !pod.volumes.contains_key(text) => name.not_found(text, ""),
            _ => {}
        }
        match path.text() {
            "" => path.required(""),
            text if paths.contains(&text) => path.invalid("must be unique"),
            _ => {}
        }
        paths.push(path.text());
        sub_paths(&list, &mount);
        mount.field("mountPropagation").maybe_one_of(&["Bidirectional", "HostToContainer", "None"]);
        recursive(&list, &mount);
    }
}

fn sub_paths(list: &At<'_>, mount: &At<'_>) {
    let at_list = |key: &str| list.other(mount.field(key).value).named(format!("{}.{key}", list.path));
    let (path, expression) = (mount.get("subPath"), mount.field("subPathExpr"));
    if !path.is_empty() {
        super::words::local_path(&at_list("subPath"));
    }
    if !expression.text().is_empty() {
        if !path.is_empty() {
            expression.invalid("subPathExpr and subPath are mutually exclusive");
        }
        super::words::local_path(&at_list("subPathExpr"));
    }
}

fn recursive(list: &At<'_>, mount: &At<'_>) {
    let place = mount.field("recursiveReadOnly").named(format!("{}.recursiveReadOnly", list.path));
    if place.text().is_empty() || place.text() == "Disabled" {
        return;
    }
    if !["Enabled", "IfPossible"].contains(&place.text()) {
        return place.unsupported(&["Disabled", "Enabled", "IfPossible"]);
    }
    if !mount.field("readOnly").truth() {
        place.forbidden("may only be specified when readOnly is true");
    }
    let propagation = mount.get("mountPropagation");
    if !propagation.is_empty() && propagation != "None" {
        place.forbidden("may only be specified when mountPropagation is None or not specified");
    }
}

fn devices(at: &At<'_>, pod: &Pod<'_>) {
    let mut paths: Vec<&str> = Vec::new();
    for device in at.items() {
        let (name, path) = (device.field("name"), device.field("devicePath"));
        match (name.text(), pod.volumes.get(name.text())) {
            ("", _) => name.required(""),
            (text, None) => name.not_found(text, ""),
            (_, Some(false)) => {
                name.invalid("can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
            }
            (_, Some(true)) => {}
        }
        match path.text() {
            "" => path.required(""),
            text if paths.contains(&text) => path.invalid("must be unique"),
            _ => super::words::no_steps_up(&path),
        }
        paths.push(path.text());
    }
}

fn init(at: &At<'_>, pod: &Pod<'_>) {
    let policy = at.field("restartPolicy");
    if policy.text() == "Always" {
        probes::lifecycle(&at.field("lifecycle"), pod.grace_seconds);
        return probes::probes(at);
    }
    for key in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if at.has(key) {
            at.field(key).forbidden("may not be set for init containers without restartPolicy=Always");
        }
    }
}

/// What a container that is there to look around has no use for.
const NOT_EPHEMERAL: &[&str] = &[
    "lifecycle",
    "livenessProbe",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "restartPolicyRules",
    "startupProbe",
];

fn ephemeral(at: &At<'_>, containers: &At<'_>, init: &At<'_>) {
    for field in NOT_EPHEMERAL.iter().map(|key| at.field(key)) {
        let unset = field.is_empty()
            && matches!(
                field.path.rsplit('.').next(),
                Some("ports" | "resizePolicy" | "resources" | "restartPolicyRules")
            );
        if field.is() && !unset {
            field.forbidden("cannot be set for an Ephemeral Container");
        }
    }
    for mount in at.field("volumeMounts").items() {
        for key in ["subPath", "subPathExpr"] {
            if !mount.get(key).is_empty() {
                mount.field(key).forbidden("cannot be set for an Ephemeral Container");
            }
        }
    }
    let target = at.field("targetContainerName");
    let known = containers.items().chain(init.items()).any(|c| c.get("name") == target.text());
    if !target.text().is_empty() && !known {
        target.not_found(target.text(), "");
    }
}

/// Of one container, as upstream's.
const MAX_RESTART_RULES: usize = 20;

fn restart_rules(at: &At<'_>) {
    let (policy, rules) = (at.field("restartPolicy"), at.field("restartPolicyRules"));
    policy.maybe_one_of(&["Always", "Never", "OnFailure"]);
    if rules.is_empty() {
        return;
    }
    if !policy.is() {
        policy.required("must specify restartPolicy when restart rules are used");
    }
    if rules.len() > MAX_RESTART_RULES {
        rules.too_many(MAX_RESTART_RULES);
    }
    for rule in rules.items() {
        rule.field("action").one_of(&["Restart", "RestartAllContainers"]);
        let codes = rule.field("exitCodes");
        match codes.is() {
            true => codes.field("operator").one_of(&["In", "NotIn"]),
            false => codes.required("must be specified"),
        }
    }
}
