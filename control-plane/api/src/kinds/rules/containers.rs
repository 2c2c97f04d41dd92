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
    pub(super) host_users: bool,
    pub(super) grace_seconds: i64,
    pub(super) restart_policy: &'a str,
}

/// All containers of a pod spec.
pub(super) fn containers(spec: &At<'_>, pod: &Pod<'_>) {
    let (list, init) = (spec.field("containers"), spec.field("initContainers"));
    let mut names: Vec<&str> = Vec::new();
    if list.is_empty() {
        list.required("");
    }
    for one in list.items() {
        common(&one, pod);
        once(&one, &mut names, true);
        probes::lifecycle(&one.field("lifecycle"), pod.grace_seconds);
        probes::probes(&one);
        restart_rules(&one, false);
    }
    host_ports(&list);
    let mut names: Vec<&str> = list.items().map(|c| c.get("name")).collect();
    for one in init.items() {
        common(&one, pod);
        restart_rules(&one, true);
        once(&one, &mut names, false);
        init_rules(&one, pod);
    }
    let others: Vec<&str> = list.items().chain(init.items()).map(|c| c.get("name")).collect();
    let mut names = others.clone();
    for one in spec.field("ephemeralContainers").items() {
        common(&one, pod);
        trimmed_image(&one);
        once(&one, &mut names, true);
        ephemeral(&one, &others);
    }
}

/// Complains of a name that another container has; one without a letter may or may not count as a name.
fn once<'a>(at: &At<'a>, seen: &mut Vec<&'a str>, empty_counts: bool) {
    let name = at.field("name");
    if seen.contains(&name.text()) {
        name.duplicate_as(&format!("{:?}", name.text()), "");
    } else if empty_counts || !name.text().is_empty() {
        seen.push(name.text());
    }
}

fn common(at: &At<'_>, pod: &Pod<'_>) {
    at.field("name").required_matches(names::dns1123_label);
    at.field("image").not_empty();
    let policy = at.field("terminationMessagePolicy");
    match policy.text() {
        "" => policy.required(""),
        _ => policy.one_of(&["File", "FallbackToLogsOnError"]),
    }
    ports(&at.field("ports"));
    environment::variables(&at.field("env"));
    environment::from_sources(&at.field("envFrom"));
    mounts(at, pod);
    devices(at, pod);
    let policy = at.field("imagePullPolicy");
    match policy.text() {
        "" => policy.required(""),
        _ => policy.one_of(&["Always", "IfNotPresent", "Never"]),
    }
    resources::requirements(&at.field("resources"), &pod.claims);
    resources::resize_policy(&at.field("resizePolicy"), pod.restart_policy);
    security::container(&at.field("securityContext"), pod.host_users);
}

/// Of pods, and not of templates: images are not fetched by padded names.
pub(super) fn trimmed_image(container: &At<'_>) {
    let image = container.field("image");
    if image.text().trim() != image.text() {
        image.invalid("must not have leading or trailing whitespace");
    }
}

fn ports(at: &At<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for port in at.items() {
        let (name, number, host) = (port.field("name"), port.field("containerPort"), port.field("hostPort"));
        if !name.text().is_empty() {
            let wrong = super::words::port_name(name.text());
            wrong.iter().for_each(|why| name.invalid_text(name.text(), why));
            if wrong.is_empty() && seen.contains(&name.text()) {
                name.duplicate();
            }
            if wrong.is_empty() {
                seen.push(name.text());
            }
        }
        match number.int().unwrap_or(0) {
            0 => number.required(""),
            _ => number.between(1, 65535),
        }
        if host.int().unwrap_or(0) != 0 {
            host.between(1, 65535);
        }
        let protocol = port.field("protocol");
        match protocol.text() {
            "" => protocol.required(""),
            _ => protocol.one_of(&["SCTP", "TCP", "UDP"]),
        }
    }
}

/// On the host's network a container's port is the host's; `all` asks also of ports without one of the host.
pub(super) fn ports_of_host(containers: &At<'_>, all: bool) {
    for container in containers.items() {
        for port in container.field("ports").items() {
            let (number, host) = (port.field("containerPort"), port.field("hostPort"));
            let (number, on_host) = (number.int().unwrap_or(0), host.int().unwrap_or(0));
            if (all || on_host != 0) && number != on_host {
                host.invalid_as(&on_host.to_string(), "must match `containerPort` when `hostNetwork` is true");
            }
        }
    }
}

/// Two containers of a pod cannot have the same port of the host.
fn host_ports(containers: &At<'_>) {
    let mut taken = Vec::new();
    containers.items().for_each(|c| ports_once(&c, &mut taken));
}

/// The ports of one container, with those that others have `taken`.
fn ports_once<'a>(container: &At<'a>, taken: &mut Vec<(i64, &'a str, &'a str)>) {
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

fn mounts(container: &At<'_>, pod: &Pod<'_>) {
    let (list, devices) = (container.field("volumeMounts"), container.field("volumeDevices"));
    let mut paths: Vec<&str> = Vec::new();
    for mount in list.items() {
        let (name, path) = (mount.field("name"), mount.field("mountPath"));
        name.not_empty();
        if !pod.volumes.contains_key(name.text()) {
            name.not_found(name.text(), "");
        }
        path.not_empty();
        if paths.contains(&path.text()) {
            path.invalid_text(path.text(), "must be unique");
        }
        paths.push(path.text());
        if devices.items().any(|d| d.get("name") == name.text()) {
            name.invalid_text(name.text(), "must not already exist in volumeDevices");
        }
        if devices.items().any(|d| d.get("devicePath") == path.text()) {
            path.invalid_text(path.text(), "must not already exist as a path in volumeDevices");
        }
        sub_paths(&list, &mount);
        propagation(&list, &mount, container);
        recursive(&list, &mount);
    }
}

fn propagation(list: &At<'_>, mount: &At<'_>, container: &At<'_>) {
    let place = mount.field("mountPropagation").named(format!("{}.mountPropagation", list.path));
    place.maybe_one_of(&["Bidirectional", "HostToContainer", "None"]);
    if place.text() == "Bidirectional" && !container.fields(&["securityContext", "privileged"]).truth() {
        place.forbidden("Bidirectional mount propagation is available only to privileged containers");
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
    if !place.is() || place.text() == "Disabled" {
        return;
    }
    if !["Enabled", "IfPossible"].contains(&place.text()) {
        return place.unsupported(&["Disabled", "Enabled", "IfPossible"]);
    }
    if !mount.field("readOnly").truth() {
        place.forbidden("may only be specified when readOnly is true");
    }
    if mount.has("mountPropagation") && mount.get("mountPropagation") != "None" {
        place.forbidden("may only be specified when mountPropagation is None or not specified");
    }
}

fn devices(container: &At<'_>, pod: &Pod<'_>) {
    let mounts = container.field("volumeMounts");
    let (mut names, mut paths): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for device in container.field("volumeDevices").items() {
        let (name, path) = (device.field("name"), device.field("devicePath"));
        name.not_empty();
        if !name.is_empty() && names.contains(&name.text()) {
            name.invalid("must be unique");
        }
        match pod.volumes.get(name.text()) {
            None => name.not_found(name.text(), ""),
            Some(false) => {
                name.invalid("can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
            }
            Some(true) => {}
        }
        path.not_empty();
        if paths.contains(&path.text()) {
            path.invalid_text(path.text(), "must be unique");
        }
        match path.text().split('/').any(|part| part == "..") {
            true => path.invalid("can not contain backsteps ('..')"),
            false => paths.push(path.text()),
        }
        if mounts.items().any(|m| m.get("name") == name.text()) {
            name.invalid_text(name.text(), "must not already exist in volumeMounts");
        }
        if mounts.items().any(|m| m.get("mountPath") == path.text()) {
            path.invalid_text(path.text(), "must not already exist as a path in volumeMounts");
        }
        names.push(name.text());
    }
}

fn init_rules(at: &At<'_>, pod: &Pod<'_>) {
    ports_once(at, &mut Vec::new());
    if at.get("restartPolicy") == "Always" {
        probes::lifecycle(&at.field("lifecycle"), pod.grace_seconds);
        return probes::probes(at);
    }
    for key in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if at.has(key) {
            at.field(key).forbidden("may not be set for init containers without restartPolicy=Always");
        }
    }
    for policy in at.field("resizePolicy").items().map(|p| p.field("restartPolicy")) {
        if policy.text() == "RestartContainer" {
            policy.invalid("must not be set to 'RestartContainer' for non-sidecar initContainers");
        }
    }
}

/// What a container that is there to look around has no use for.
const NOT_EPHEMERAL: &[&str] = &[
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

fn ephemeral(at: &At<'_>, others: &[&str]) {
    let target = at.field("targetContainerName");
    if !target.text().is_empty() && !others.contains(&target.text()) {
        target.not_found(target.text(), "");
    }
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
}

/// Of one container, and exit codes of one rule, as upstream's.
const MAX_RESTART_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;

fn restart_rules(at: &At<'_>, is_init: bool) {
    let (policy, rules) = (at.field("restartPolicy"), at.field("restartPolicyRules"));
    policy.maybe_one_of(&["Always", "Never", "OnFailure"]);
    if rules.is_empty() {
        return;
    }
    if !policy.is() {
        policy.required("must specify restartPolicy when restart rules are used");
        if is_init {
            return;
        }
    }
    if rules.len() > MAX_RESTART_RULES {
        rules.too_many(MAX_RESTART_RULES);
    }
    for rule in rules.items() {
        rule.field("action").one_of(&["Restart", "RestartAllContainers"]);
        let codes = rule.field("exitCodes");
        if !codes.is() {
            codes.required("must be specified");
            continue;
        }
        codes.field("operator").one_of(&["In", "NotIn"]);
        if codes.field("values").len() > MAX_EXIT_CODES {
            codes.field("values").too_many(MAX_EXIT_CODES);
        }
    }
}
