//! The security contexts of pod and container as CRI's.

use super::Invalid;
use crate::units::Unit;
use k8s_openapi::api::core::v1::{Pod, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext};
use rpc::cri::security_profile::ProfileType;
use rpc::cri::{
    Capability, Int64Value, LinuxContainerSecurityContext, LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption,
    SecurityProfile, SupplementalGroupsPolicy,
};

/// The paths that upstream hides and write-protects under `procMount: Default`.
const MASKED: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub fn namespaces(spec: &PodSpec) -> NamespaceOption {
    let host = |on: Option<bool>, other| if on == Some(true) { NamespaceMode::Node } else { other };
    let pid = if spec.share_process_namespace == Some(true) { NamespaceMode::Pod } else { NamespaceMode::Container };
    NamespaceOption {
        network: host(spec.host_network, NamespaceMode::Pod) as i32,
        pid: host(spec.host_pid, pid) as i32,
        ipc: host(spec.host_ipc, NamespaceMode::Pod) as i32,
        ..NamespaceOption::default()
    }
}

pub fn of_sandbox(pod: &Pod) -> Result<LinuxSandboxSecurityContext, Invalid> {
    let spec = crate::units::spec(pod);
    let context = spec.security_context.clone().unwrap_or_default();
    let privileged = crate::units::units(pod)
        .iter()
        .any(|u| u.spec.security_context.as_ref().and_then(|s| s.privileged) == Some(true));
    Ok(LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(&spec)),
        run_as_user: context.run_as_user.map(|value| Int64Value { value }),
        run_as_group: context.run_as_group.map(|value| Int64Value { value }),
        supplemental_groups: groups(&context),
        supplemental_groups_policy: policy(&context) as i32,
        privileged,
        seccomp: Some(seccomp(context.seccomp_profile.as_ref())?),
        ..LinuxSandboxSecurityContext::default()
    })
}

/// `target` is the id of the container whose processes an ephemeral container shares.
pub fn of_container(
    pod: &Pod,
    unit: &Unit<'_>,
    target: Option<&str>,
) -> Result<LinuxContainerSecurityContext, Invalid> {
    let spec = crate::units::spec(pod);
    let of_pod = spec.security_context.clone().unwrap_or_default();
    let own = unit.spec.security_context.clone().unwrap_or_default();
    let mut names = namespaces(&spec);
    if let Some(id) = target {
        names.pid = NamespaceMode::Target as i32;
        names.target_id = id.to_owned();
    }
    let privileged = own.privileged == Some(true);
    let unmasked = privileged || own.proc_mount.as_deref() == Some("Unmasked");
    let paths = |list: &[&str]| match unmasked {
        true => Vec::new(),
        false => list.iter().map(|p| (*p).to_owned()).collect(),
    };
    Ok(LinuxContainerSecurityContext {
        capabilities: own.capabilities.as_ref().map(|c| Capability {
            add_capabilities: c.add.clone().unwrap_or_default(),
            drop_capabilities: c.drop.clone().unwrap_or_default(),
            add_ambient_capabilities: Vec::new(),
        }),
        privileged,
        namespace_options: Some(names),
        run_as_user: own.run_as_user.or(of_pod.run_as_user).map(|value| Int64Value { value }),
        run_as_group: own.run_as_group.or(of_pod.run_as_group).map(|value| Int64Value { value }),
        readonly_rootfs: own.read_only_root_filesystem == Some(true),
        supplemental_groups: groups(&of_pod),
        supplemental_groups_policy: policy(&of_pod) as i32,
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READONLY),
        seccomp: Some(match privileged {
            true => profile(ProfileType::Unconfined, ""),
            false => seccomp(own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref()))?,
        }),
        ..LinuxContainerSecurityContext::default()
    })
}

fn groups(context: &PodSecurityContext) -> Vec<i64> {
    context.supplemental_groups.iter().flatten().copied().chain(context.fs_group).collect()
}

fn policy(context: &PodSecurityContext) -> SupplementalGroupsPolicy {
    match context.supplemental_groups_policy.as_deref() {
        Some("Strict") => SupplementalGroupsPolicy::Strict,
        Some(_) | None => SupplementalGroupsPolicy::Merge,
    }
}

fn profile(kind: ProfileType, path: &str) -> SecurityProfile {
    SecurityProfile { profile_type: kind as i32, localhost_ref: path.to_owned() }
}

fn seccomp(asked: Option<&SeccompProfile>) -> Result<SecurityProfile, Invalid> {
    match asked.map(|p| (p.type_.as_str(), p.localhost_profile.as_deref())) {
        None | Some(("Unconfined", _)) => Ok(profile(ProfileType::Unconfined, "")),
        Some(("RuntimeDefault", _)) => Ok(profile(ProfileType::RuntimeDefault, "")),
        Some(("Localhost", Some(path))) if !path.split('/').any(|p| p == "..") => {
            Ok(profile(ProfileType::Localhost, &format!("/var/lib/kubelet/seccomp/{}", path.trim_start_matches('/'))))
        }
        Some((kind, _)) => Err(Invalid(format!("seccomp profile type {kind:?} is not valid here"))),
    }
}

/// `runAsNonRoot`: the user that the container would run as must be known and not 0.
pub fn check_non_root(pod: &Pod, unit: &Unit<'_>, image_uid: Option<i64>, image_user: &str) -> Result<(), Invalid> {
    let of_pod = pod.spec.as_ref().and_then(|s| s.security_context.clone()).unwrap_or_default();
    let own: SecurityContext = unit.spec.security_context.clone().unwrap_or_default();
    if own.run_as_non_root.or(of_pod.run_as_non_root) != Some(true) {
        return Ok(());
    }
    match (own.run_as_user.or(of_pod.run_as_user), image_uid, image_user) {
        (Some(0), _, _) => Err(Invalid("container's runAsUser breaks non-root policy".into())),
        (Some(_), _, _) => Ok(()),
        (None, Some(0), _) => Err(Invalid("container has runAsNonRoot and image will run as root".into())),
        (None, Some(_), _) => Ok(()),
        (None, None, "") => Err(Invalid("container has runAsNonRoot and image will run as root".into())),
        (None, None, user) => Err(Invalid(format!(
            "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root"
        ))),
    }
}
