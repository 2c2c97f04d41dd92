//! Security contexts of pods and containers.

use super::at::At;

const MAX_ID: i64 = 2_147_483_647;

fn id(at: &At<'_>) {
    if at.is() {
        at.between(0, MAX_ID);
    }
}

/// The context of a pod; `spec` is its spec.
pub(super) fn pod(spec: &At<'_>) {
    let at = spec.field("securityContext");
    if spec.field("hostPID").truth() && spec.field("shareProcessNamespace").truth() {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        at.field("shareProcessNamespace").invalid_as("true", why);
    }
    for key in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(&at.field(key));
    }
    at.field("supplementalGroups").items().for_each(|g| id(&g));
    sysctls(&at.field("sysctls"));
    at.field("fsGroupChangePolicy").maybe_one_of(&["Always", "OnRootMismatch"]);
    profile(&at.field("seccompProfile"), "seccomp");
    at.field("supplementalGroupsPolicy").maybe_one_of(&["Merge", "Strict"]);
    profile(&at.field("appArmorProfile"), "AppArmor");
    at.field("seLinuxChangePolicy").maybe_one_of(&["MountOption", "Recursive"]);
}

fn sysctls(at: &At<'_>) {
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

fn profile(at: &At<'_>, what: &str) {
    if !at.is() {
        return;
    }
    let (kind, local) = (at.field("type"), at.field("localhostProfile"));
    match kind.text() {
        "Localhost" if !local.is() => local.required(&format!("must be set when {what} type is Localhost")),
        "Localhost" => super::words::local_path(&local),
        "RuntimeDefault" | "Unconfined" if local.is() => {
            local.invalid(&format!("can only be set when {what} type is Localhost"));
        }
        "RuntimeDefault" | "Unconfined" => {}
        "" => kind.required(&format!("type is required when {what}Profile is set")),
        _ => kind.unsupported(&["Localhost", "RuntimeDefault", "Unconfined"]),
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
    escalation(at);
    profile(&at.field("seccompProfile"), "seccomp");
    profile(&at.field("appArmorProfile"), "AppArmor");
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
    if at.fields(&["capabilities", "add"]).items().any(|c| c.text() == "CAP_SYS_ADMIN") {
        let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        at.invalid_inner(CONTEXT, why);
    }
}

const CONTEXT: &str = "io.k8s.api.core.v1.SecurityContext";

/// What a pod of one system may not set; `containers` are all of its containers.
pub(super) fn system(spec: &At<'_>, containers: &[At<'_>]) {
    let context = spec.field("securityContext");
    let windows = |at: &At<'_>| at.fields(&["windowsOptions", "hostProcess"]).truth();
    let contexts = || containers.iter().map(|c| c.field("securityContext"));
    if (windows(&context) || contexts().any(|c| windows(&c))) && !spec.field("hostNetwork").truth() {
        spec.field("hostNetwork")
            .invalid_as("false", "hostNetwork must be true if pod contains any hostProcess containers");
    }
    let os = spec.fields(&["os", "name"]);
    match os.text() {
        "linux" => {
            for at in std::iter::once(context).chain(contexts()).map(|c| c.field("windowsOptions")).filter(At::is) {
                at.forbidden("windows options cannot be set for a linux pod");
            }
        }
        "windows" => {
            let banned = ["seLinuxOptions", "seccompProfile", "fsGroup", "runAsUser", "runAsGroup", "sysctls"];
            for at in banned.iter().map(|b| context.field(b)).filter(At::is) {
                at.forbidden("cannot be set for a windows pod");
            }
        }
        "" if spec.field("os").is() => os.required(""),
        "" => {}
        _ => os.named(spec.field("os").path).unsupported(&["linux", "windows"]),
    }
}
