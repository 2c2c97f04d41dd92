//! Security contexts of pods and containers.

use super::at::At;
use super::windows;
use crate::value::Value;

const MAX_ID: i64 = 2_147_483_647;

fn id(at: &At<'_>) {
    if at.is() {
        at.between(0, MAX_ID);
    }
}

/// The context of a pod; `spec` is its spec.
pub(super) fn pod(spec: &At<'_>) {
    let at = spec.field("securityContext");
    for key in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(&at.field(key));
    }
    at.field("supplementalGroups").items().for_each(|g| id(&g));
    if spec.field("hostPID").truth() && spec.field("shareProcessNamespace").truth() {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        at.field("shareProcessNamespace").invalid_as("true", why);
    }
    sysctls(&at.field("sysctls"), spec);
    at.field("fsGroupChangePolicy").maybe_one_of(&["Always", "OnRootMismatch"]);
    seccomp(&at.field("seccompProfile"));
    windows::options(&at.field("windowsOptions"));
    app_armor(&at.field("appArmorProfile"));
    at.field("supplementalGroupsPolicy").maybe_one_of(&["Merge", "Strict"]);
    // Volumes mounted with a label wait behind a gate that is off.
    at.field("seLinuxChangePolicy").maybe_one_of(&["Recursive"]);
}

/// A parameter of the network, or of the memory that processes share, is not the host's.
fn host_sysctl(name: &At<'_>, spec: &At<'_>) {
    // Written with slashes, what is a dot otherwise is a slash, and the other way round.
    let slashes = name.text().find(['.', '/']).is_some_and(|i| name.text().as_bytes()[i] == b'/');
    let plain = if slashes { swapped(name.text()) } else { name.text().to_owned() };
    let memory = ["kernel.shm", "kernel.msg", "fs.mqueue."];
    let field = match plain.starts_with("net.") {
        true => "hostNetwork",
        false if plain == "kernel.sem" || memory.iter().any(|p| plain.starts_with(p)) => "hostIPC",
        false => return,
    };
    if spec.field(field).truth() {
        name.invalid(&format!("may not be specified when '{field}' is true"));
    }
}

fn swapped(text: &str) -> String {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    text.chars().map(swap).collect()
}

fn sysctls(at: &At<'_>, spec: &At<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for one in at.items() {
        let name = one.field("name");
        if name.text().is_empty() {
            name.required("");
        } else if !is_sysctl(name.text()) {
            name.invalid(
                "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
            );
        } else if seen.contains(&name.text()) {
            name.duplicate();
        }
        host_sysctl(&name, spec);
        seen.push(name.text());
    }
}

fn is_sysctl(name: &str) -> bool {
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let part = |p: &str| {
        let bytes = p.as_bytes();
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
        lower(*first) && lower(*last) && bytes.iter().all(|b| lower(*b) || matches!(b, b'-' | b'_'))
    };
    name.len() <= 253 && name.split(['.', '/']).all(part)
}

const PROFILES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];

fn seccomp(at: &At<'_>) {
    if !at.is() {
        return;
    }
    let (kind, local) = (at.field("type"), at.field("localhostProfile"));
    match kind.text() {
        "" => kind.required("type is required when seccompProfile is set"),
        _ => kind.one_of(PROFILES),
    }
    match (kind.text() == "Localhost", local.is()) {
        (true, false) => local.required("must be set when seccomp type is Localhost"),
        (true, true) => super::words::local_path(&local),
        (false, true) => {
            let why = "can only be set when seccomp type is Localhost";
            at.named(local.path).invalid_inner("io.k8s.api.core.v1.SeccompProfile", why);
        }
        (false, false) => {}
    }
}

/// The longest path that Linux takes.
const MAX_PROFILE: usize = 4095;

fn app_armor(at: &At<'_>) {
    if !at.is() {
        return;
    }
    let (kind, local) = (at.field("type"), at.field("localhostProfile"));
    match kind.text() {
        "Localhost" => {
            let trimmed = local.text().trim();
            if trimmed != local.text() {
                local.invalid("must not be padded with whitespace");
            } else if trimmed.is_empty() {
                local.required("must be set when AppArmor type is Localhost");
            }
            if local.text().len() > MAX_PROFILE {
                local.too_long(MAX_PROFILE);
            }
        }
        "RuntimeDefault" | "Unconfined" if local.is() => {
            local.invalid("can only be set when AppArmor type is Localhost");
        }
        "RuntimeDefault" | "Unconfined" => {}
        "" => kind.required("type is required when appArmorProfile is set"),
        _ => kind.unsupported(PROFILES),
    }
}

/// The context of a container; `host_users` tells whether the pod shares the host's users.
pub(super) fn container(at: &At<'_>, host_users: bool) {
    if !at.is() {
        return;
    }
    id(&at.field("runAsUser"));
    id(&at.field("runAsGroup"));
    mount_of_proc(&at.field("procMount"), host_users);
    seccomp(&at.field("seccompProfile"));
    escalation(at);
    windows::options(&at.field("windowsOptions"));
    app_armor(&at.field("appArmorProfile"));
}

fn mount_of_proc(at: &At<'_>, host_users: bool) {
    if !at.is() {
        return;
    }
    at.one_of(&["Default", "Unmasked"]);
    if host_users && at.text() == "Unmasked" {
        at.invalid("`hostUsers` must be false to use `Unmasked`");
    }
}

fn escalation(at: &At<'_>) {
    let escalation = at.field("allowPrivilegeEscalation");
    if !escalation.is() || escalation.truth() {
        return;
    }
    if at.field("privileged").truth() {
        at.invalid_inner(CONTEXT, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    }
    for _ in at.fields(&["capabilities", "add"]).items().filter(|c| c.text() == "CAP_SYS_ADMIN") {
        let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        at.invalid_inner(CONTEXT, why);
    }
}

const CONTEXT: &str = "io.k8s.api.core.v1.SecurityContext";

/// What pods with users of their own may not share with the host.
pub(super) fn own_users(spec: &At<'_>, containers: &[At<'_>]) {
    const WHY: &str = "when `hostUsers` is false";
    if spec.field("hostUsers").value.and_then(Value::as_bool) != Some(false) {
        return;
    }
    for (field, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if spec.field(field).truth() {
            spec.field(shown).forbidden(WHY);
        }
    }
    for devices in containers.iter().map(|c| c.field("volumeDevices")).filter(|d| !d.is_empty()) {
        devices.forbidden(WHY);
    }
}
