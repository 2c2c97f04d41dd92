//! The checks of the Pod Security Standards, baseline first, in the order in which they are reported.

use super::super::fields::{list, text};
use super::{Level, Policy};
use api::Value;

/// What is violated, and by what.
type Violation = Option<(&'static str, String)>;

/// The capabilities that container runtimes give by default.
const DEFAULT_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// The sysctls that concern the pod's own namespaces, with the minor version that allowed them.
const SAFE_SYSCTLS: [(&str, u32); 10] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
];
const SAFE_SELINUX: [(&str, u32); 5] =
    [("", 0), ("container_t", 0), ("container_init_t", 0), ("container_kvm_t", 0), ("container_engine_t", 31)];
const SAFE_VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

pub(super) fn run(policy: Policy, spec: &Value) -> Vec<(&'static str, String)> {
    let from = |minor: u32| policy.minor.is_none_or(|m| m >= minor);
    let restricted = policy.level == Level::Restricted;
    let mut found: Vec<Violation> = Vec::new();
    if policy.level >= Level::Baseline {
        found.push(app_armor(spec));
        if !restricted || !from(22) {
            found.push(capabilities(spec, &DEFAULT_CAPABILITIES, "non-default capabilities", false));
        }
        found.push(host_namespaces(spec));
        if !restricted {
            found.push(host_paths(spec));
        }
        found.push(host_ports(spec));
        if from(34) {
            found.push(probe_hosts(spec));
        }
        found.push(flag(spec, "privileged", "must not set securityContext.privileged=true"));
        found.push(proc_mount(spec));
        found.push(selinux(spec, policy.minor));
        if !restricted && from(19) {
            found.push(unconfined(spec).map(|why| ("seccompProfile", why)));
        }
        found.push(sysctls(spec, policy.minor));
        found.push(host_process(spec));
    }
    if restricted {
        let windows = text(spec, &["os", "name"]) == "windows" && from(25);
        if from(8) && !windows {
            found.push(escalation(spec));
        }
        if from(22) && !windows {
            found.push(capabilities(spec, &["NET_BIND_SERVICE"], "unrestricted capabilities", true));
        }
        found.push(volumes(spec));
        found.push(non_root(spec));
        if from(23) {
            found.push(root_user(spec));
        }
        if from(19) && !windows {
            found.push(seccomp(spec));
        }
    }
    found.into_iter().flatten().collect()
}

fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(|key| list(spec, &[key]))
}

fn context<'a>(of: &'a Value, path: &[&str]) -> Option<&'a Value> {
    of.get("securityContext")?.at(path)
}

fn name(container: &Value) -> String {
    format!("{:?}", text(container, &["name"]))
}

/// `container "a"`, `containers "a", "b"`.
fn named(names: &[String]) -> String {
    format!("{}{} {}", "container", if names.len() == 1 { "" } else { "s" }, names.join(", "))
}

fn bad<'a>(spec: &'a Value, is: impl Fn(&&'a Value) -> bool) -> Vec<String> {
    containers(spec).filter(is).map(name).collect()
}

fn flag(spec: &Value, key: &'static str, rule: &str) -> Violation {
    let names = bad(spec, |c| context(c, &[key]).and_then(Value::as_bool) == Some(true));
    (!names.is_empty()).then(|| (key, format!("{} {rule}", named(&names))))
}

/// Those who set something: the pod, containers, or both.
fn setters(pod: bool, names: &[String]) -> Option<String> {
    let who = [pod.then(|| "pod".to_owned()), (!names.is_empty()).then(|| named(names))];
    let who: Vec<String> = who.into_iter().flatten().collect();
    (!who.is_empty()).then(|| who.join(" and "))
}

fn app_armor(spec: &Value) -> Violation {
    let kind = |of: &Value| context(of, &["appArmorProfile", "type"]).and_then(Value::as_str).unwrap_or("").to_owned();
    let forbidden = |of: &Value| kind(of) == "Unconfined";
    let names = bad(spec, |c| forbidden(c));
    let who = setters(forbidden(spec), &names)?;
    Some(("forbidden AppArmor profile", format!("{who} must not set AppArmor profile type to \"Unconfined\"")))
}

fn capabilities(spec: &Value, allowed: &[&str], what: &'static str, drop_all: bool) -> Violation {
    let words = |c: &Value, key| -> Vec<String> {
        let list = context(c, &["capabilities", key]).and_then(Value::as_list).unwrap_or(&[]);
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut reasons = Vec::new();
    let keeps = bad(spec, |c| !words(c, "drop").iter().any(|d| d == "ALL"));
    if drop_all && !keeps.is_empty() {
        reasons.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", named(&keeps)));
    }
    let extra =
        |c: &Value| -> Vec<String> { words(c, "add").into_iter().filter(|w| !allowed.contains(&w.as_str())).collect() };
    let names = bad(spec, |c| !extra(c).is_empty());
    if !names.is_empty() {
        let mut added: Vec<String> = containers(spec).flat_map(extra).map(|w| format!("{w:?}")).collect();
        added.sort();
        added.dedup();
        reasons.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            named(&names),
            added.join(", ")
        ));
    }
    (!reasons.is_empty()).then(|| (what, reasons.join("; ")))
}

fn host_namespaces(spec: &Value) -> Violation {
    let set = |key: &&str| spec.get(key).and_then(Value::as_bool) == Some(true);
    let keys: Vec<String> =
        ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(set).map(|key| format!("{key}=true")).collect();
    (!keys.is_empty()).then(|| ("host namespaces", keys.join(", ")))
}

fn host_paths(spec: &Value) -> Violation {
    let names: Vec<String> =
        list(spec, &["volumes"]).iter().filter(|v| v.get("hostPath").is_some()).map(name).collect();
    let plural = if names.len() == 1 { "volume" } else { "volumes" };
    (!names.is_empty()).then(|| ("hostPath volumes", format!("{plural} {}", names.join(", "))))
}

fn host_ports(spec: &Value) -> Violation {
    let ports = |c: &Value| -> Vec<i64> {
        let ports = list(c, &["ports"]).iter().filter_map(|p| p.get("hostPort")?.as_i64());
        ports.filter(|p| *p != 0).collect()
    };
    let names = bad(spec, |c| !ports(c).is_empty());
    let mut numbers: Vec<i64> = containers(spec).flat_map(ports).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let uses = if names.len() == 1 { "uses" } else { "use" };
    let plural = if numbers.len() == 1 { "hostPort" } else { "hostPorts" };
    let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
    (!names.is_empty()).then(|| ("hostPort", format!("{} {uses} {plural} {}", named(&names), numbers.join(", "))))
}

/// A probe or a hook that names a host lets the kubelet be pointed at others.
fn probe_hosts(spec: &Value) -> Violation {
    const HANDLERS: [&[&str]; 5] = [
        &["livenessProbe"],
        &["readinessProbe"],
        &["startupProbe"],
        &["lifecycle", "postStart"],
        &["lifecycle", "preStop"],
    ];
    let hosts = |c: &Value| {
        let host = |path: &&[&str]| {
            let handler = c.at(path);
            let at = |key| handler.is_some_and(|h| !text(h, &[key, "host"]).is_empty());
            at("httpGet") || at("tcpSocket")
        };
        HANDLERS.iter().any(host)
    };
    let names = bad(spec, |c| hosts(c));
    let uses = if names.len() == 1 { "uses" } else { "use" };
    (!names.is_empty())
        .then(|| ("probe or lifecycle host", format!("{} {uses} a host in a probe or lifecycle hook", named(&names))))
}

fn proc_mount(spec: &Value) -> Violation {
    let kind = |c: &Value| context(c, &["procMount"]).and_then(Value::as_str).unwrap_or("Default").to_owned();
    let names = bad(spec, |c| kind(c) != "Default");
    let first = containers(spec).map(kind).find(|k| k != "Default")?;
    Some(("procMount", format!("{} must not set securityContext.procMount to {first:?}", named(&names))))
}

fn selinux(spec: &Value, minor: Option<u32>) -> Violation {
    let options =
        |of: &Value, key: &str| context(of, &["seLinuxOptions", key]).and_then(Value::as_str).unwrap_or("").to_owned();
    let safe = |kind: &str| SAFE_SELINUX.iter().any(|(t, since)| *t == kind && minor.is_none_or(|m| m >= *since));
    let forbidden =
        |of: &Value| !safe(&options(of, "type")) || !options(of, "user").is_empty() || !options(of, "role").is_empty();
    let who = setters(forbidden(spec), &bad(spec, |c| forbidden(c)))?;
    let all = || std::iter::once(spec).chain(containers(spec));
    let mut kinds: Vec<String> =
        all().map(|of| options(of, "type")).filter(|k| !safe(k)).map(|k| format!("{k:?}")).collect();
    kinds.sort();
    kinds.dedup();
    let mut reasons = Vec::new();
    if !kinds.is_empty() {
        reasons.push(format!("{} {}", if kinds.len() == 1 { "type" } else { "types" }, kinds.join(", ")));
    }
    for key in ["user", "role"] {
        if all().any(|of| !options(of, key).is_empty()) {
            reasons.push(format!("{key} may not be set"));
        }
    }
    Some(("seLinuxOptions", format!("{who} set forbidden securityContext.seLinuxOptions: {}", reasons.join("; "))))
}

fn profile(of: &Value) -> &str {
    context(of, &["seccompProfile", "type"]).and_then(Value::as_str).unwrap_or("")
}

/// Who turns system call filtering off.
fn unconfined(spec: &Value) -> Option<String> {
    let off = |of: &Value| profile(of) == "Unconfined";
    let who = setters(off(spec), &bad(spec, |c| off(c)))?;
    Some(format!("{who} must not set securityContext.seccompProfile.type to \"Unconfined\""))
}

fn sysctls(spec: &Value, minor: Option<u32>) -> Violation {
    let safe = |name: &str| SAFE_SYSCTLS.iter().any(|(s, since)| *s == name && minor.is_none_or(|m| m >= *since));
    let all = list(spec, &["securityContext", "sysctls"]).iter().map(|s| text(s, &["name"]));
    let names: Vec<&str> = all.filter(|name| !safe(name)).collect();
    (!names.is_empty()).then(|| ("forbidden sysctls", names.join(", ")))
}

fn host_process(spec: &Value) -> Violation {
    let on = |of: &Value| context(of, &["windowsOptions", "hostProcess"]).and_then(Value::as_bool) == Some(true);
    let who = setters(on(spec), &bad(spec, |c| on(c)))?;
    Some(("hostProcess", format!("{who} must not set securityContext.windowsOptions.hostProcess=true")))
}

fn escalation(spec: &Value) -> Violation {
    let names = bad(spec, |c| context(c, &["allowPrivilegeEscalation"]).and_then(Value::as_bool) != Some(false));
    let why = || format!("{} must set securityContext.allowPrivilegeEscalation=false", named(&names));
    (!names.is_empty()).then(|| ("allowPrivilegeEscalation != false", why()))
}

fn volumes(spec: &Value) -> Violation {
    let kind = |v: &Value| -> Option<String> {
        let mut keys = v.as_map()?.keys().filter(|k| k.as_str() != "name");
        keys.find(|k| !SAFE_VOLUMES.contains(&k.as_str())).map(ToString::to_string)
    };
    let found: Vec<(&Value, String)> = list(spec, &["volumes"]).iter().filter_map(|v| Some((v, kind(v)?))).collect();
    let names: Vec<String> = found.iter().map(|(v, _)| name(v)).collect();
    let mut kinds: Vec<String> = found.iter().map(|(_, k)| format!("{k:?}")).collect();
    kinds.sort();
    kinds.dedup();
    let (volumes, uses) = if names.len() == 1 { ("volume", "uses") } else { ("volumes", "use") };
    let types = if kinds.len() == 1 { "type" } else { "types" };
    let why = || format!("{volumes} {} {uses} restricted volume {types} {}", names.join(", "), kinds.join(", "));
    (!found.is_empty()).then(|| ("restricted volume types", why()))
}

fn non_root(spec: &Value) -> Violation {
    let set = |of: &Value| context(of, &["runAsNonRoot"]).and_then(Value::as_bool);
    let what = "runAsNonRoot != true";
    let wrong = bad(spec, |c| set(c) == Some(false));
    let all_say = containers(spec).all(|c| set(c).is_some());
    if let Some(who) = setters(set(spec) == Some(false) && !all_say, &wrong) {
        return Some((what, format!("{who} must not set securityContext.runAsNonRoot=false")));
    }
    let silent = bad(spec, |c| set(c).is_none());
    let missing = set(spec) != Some(true) && !silent.is_empty();
    missing.then(|| (what, format!("pod or {} must set securityContext.runAsNonRoot=true", named(&silent))))
}

fn root_user(spec: &Value) -> Violation {
    let root = |of: &Value| context(of, &["runAsUser"]).and_then(Value::as_i64) == Some(0);
    let who = setters(root(spec), &bad(spec, |c| root(c)))?;
    Some(("runAsUser=0", format!("{who} must not set runAsUser=0")))
}

fn seccomp(spec: &Value) -> Violation {
    if let Some(why) = unconfined(spec) {
        return Some(("seccompProfile", why));
    }
    let good = |of: &Value| matches!(profile(of), "RuntimeDefault" | "Localhost");
    let silent = bad(spec, |c| !good(c));
    let why = || {
        format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            named(&silent)
        )
    };
    (!good(spec) && !silent.is_empty()).then(|| ("seccompProfile", why()))
}
