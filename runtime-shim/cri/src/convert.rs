//! Between CRI's messages and the plain data of crate `container`. Pure.

use container::{
    Capabilities, DnsConfig, Env, Image, Mount, NamespaceMode, Port, Propagation, Resources, Sandbox, Security, Spec,
    State,
};
use rpc::cri;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// The pod's container ports, which CRI itself does not carry: JSON `[{"port":8080,"protocol":"TCP"}]`.
pub const PORTS_ANNOTATION: &str = "io.wherry.container.ports";
/// Ports of one container; a manifest with more is a mistake.
const PORTS_LIMIT: usize = 1024;

type Result<T> = std::result::Result<T, String>;

pub fn namespace(mode: i32, target: &str) -> NamespaceMode {
    match cri::NamespaceMode::try_from(mode) {
        Ok(cri::NamespaceMode::Pod) => NamespaceMode::Pod,
        Ok(cri::NamespaceMode::Node) => NamespaceMode::Node,
        Ok(cri::NamespaceMode::Target) => NamespaceMode::Target(target.to_owned()),
        Ok(cri::NamespaceMode::Container) | Err(_) => NamespaceMode::Container,
    }
}

pub fn options(config: &cri::PodSandboxConfig) -> cri::NamespaceOption {
    let security = config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
    security.and_then(|security| security.namespace_options.clone()).unwrap_or_default()
}

pub fn on_host_network(config: &cri::PodSandboxConfig) -> bool {
    options(config).network == cri::NamespaceMode::Node as i32
}

/// What is asked of a sandbox and not offered.
pub fn check_sandbox(config: &cri::PodSandboxConfig) -> Result<()> {
    let users = options(config).userns_options;
    if users.is_some_and(|users| users.mode == cri::NamespaceMode::Pod as i32) {
        return Err("a user namespace for a pod (hostUsers: false) is not offered".into());
    }
    // Whatever its address will be.
    crate::host_ports::of(config, std::net::Ipv4Addr::UNSPECIFIED.into()).map(drop)
}

/// The sandbox of a configuration; addresses are still to come.
pub fn sandbox(
    id: &str,
    config: &cri::PodSandboxConfig,
    state_dir: &Path,
    netns: Option<PathBuf>,
    host: &str,
) -> Sandbox {
    let metadata = config.metadata.clone().unwrap_or_default();
    let linux = config.linux.clone().unwrap_or_default();
    let options = options(config);
    let parent = linux.cgroup_parent.trim_matches('/');
    let dns = config.dns_config.clone().unwrap_or_default();
    Sandbox {
        id: id.to_owned(),
        pod_name: metadata.name,
        pod_namespace: metadata.namespace,
        pod_uid: metadata.uid,
        hostname: if netns.is_none() { host.to_owned() } else { config.hostname.clone() },
        netns,
        ips: Vec::new(),
        dns: DnsConfig { servers: dns.servers, searches: dns.searches, options: dns.options },
        resolv_conf: state_dir.join("resolv.conf"),
        hostname_file: state_dir.join("hostname"),
        shm: (options.ipc != cri::NamespaceMode::Node as i32).then(|| state_dir.join("shm")),
        cgroup_parent: if parent.is_empty() { format!("wherry/{id}") } else { parent.to_owned() },
        pid: namespace(options.pid, &options.target_id),
        ipc: namespace(options.ipc, ""),
        sysctls: linux.sysctls.into_iter().collect(),
        labels: config.labels.clone().into_iter().collect(),
        annotations: config.annotations.clone().into_iter().collect(),
        state_dir: state_dir.to_owned(),
    }
}

pub fn resolv_conf(dns: &DnsConfig) -> String {
    let mut text = String::new();
    for server in &dns.servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !dns.searches.is_empty() {
        text.push_str(&format!("search {}\n", dns.searches.join(" ")));
    }
    if !dns.options.is_empty() {
        text.push_str(&format!("options {}\n", dns.options.join(" ")));
    }
    text
}

/// The container of a configuration in a sandbox.
pub fn container(
    id: &str,
    config: &cri::ContainerConfig,
    sandbox: &Arc<Sandbox>,
    log_directory: &str,
    mut image: Image,
    state_dir: &Path,
) -> Result<Spec> {
    let metadata = config.metadata.clone().unwrap_or_default();
    let linux = config.linux.clone().unwrap_or_default();
    let security = linux.security_context.unwrap_or_default();
    if !config.devices.is_empty() && !security.privileged || !config.cdi_devices.is_empty() {
        return Err("devices of the host for a container are not offered; a privileged container has them all".into());
    }
    if let Some(signal) = stop_signal(config.stop_signal) {
        image.stop_signal = Some(signal);
    }
    // A container may ask for another process namespace than its pod: that of the host, or of one it debugs.
    let own = security.namespace_options.as_ref().map(|own| namespace(own.pid, &own.target_id));
    let mut sandbox = sandbox.clone();
    // "The pod's" is what the sandbox has, whatever that is.
    if let Some(pid) = own.filter(|pid| *pid != NamespaceMode::Pod && *pid != sandbox.pid) {
        sandbox = Arc::new(Sandbox { pid, ..(*sandbox).clone() });
    }
    Ok(Spec {
        id: id.to_owned(),
        sandbox,
        name: metadata.name,
        attempt: metadata.attempt,
        image,
        command: config.command.clone(),
        args: config.args.clone(),
        working_dir: config.working_dir.clone(),
        env: config.envs.iter().map(env).collect(),
        mounts: config.mounts.iter().map(mount).collect::<Result<_>>()?,
        ports: ports(config)?,
        resources: linux.resources.as_ref().map(resources).unwrap_or_default(),
        security: self::security(&security)?,
        tty: config.tty,
        stdin: config.stdin,
        stdin_once: config.stdin_once,
        log_path: log_path(log_directory, &config.log_path, state_dir)?,
        labels: config.labels.clone().into_iter().collect(),
        annotations: config.annotations.clone().into_iter().collect(),
        state_dir: state_dir.to_owned(),
    })
}

fn env(entry: &cri::KeyValue) -> Env {
    Env { name: entry.key.clone(), value: String::from_utf8_lossy(&entry.value).into_owned() }
}

fn log_path(directory: &str, path: &str, state_dir: &Path) -> Result<PathBuf> {
    if directory.is_empty() || path.is_empty() {
        return Ok(state_dir.join("container.log"));
    }
    if Path::new(path).components().any(|part| !matches!(part, Component::Normal(_))) {
        return Err(format!("log path {path:?} leaves the pod's log directory"));
    }
    Ok(Path::new(directory).join(path))
}

fn mount(mount: &cri::Mount) -> Result<Mount> {
    if mount.image.as_ref().is_some_and(|image| !image.image.is_empty()) {
        return Err(format!("an image as a volume ({}) is not offered", mount.container_path));
    }
    if !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() {
        return Err(format!("mapped owners of a volume ({}) are not offered", mount.container_path));
    }
    Ok(Mount {
        host_path: PathBuf::from(&mount.host_path),
        container_path: Path::new("/").join(&mount.container_path),
        readonly: mount.readonly,
        propagation: match cri::MountPropagation::try_from(mount.propagation) {
            Ok(cri::MountPropagation::PropagationHostToContainer) => Propagation::HostToContainer,
            Ok(cri::MountPropagation::PropagationBidirectional) => Propagation::Bidirectional,
            Ok(cri::MountPropagation::PropagationPrivate) | Err(_) => Propagation::Private,
        },
    })
}

fn ports(config: &cri::ContainerConfig) -> Result<Vec<Port>> {
    let Some(text) = config.annotations.get(PORTS_ANNOTATION).filter(|text| !text.is_empty()) else {
        return Ok(Vec::new());
    };
    let ports: Vec<Port> = serde_json::from_str(text).map_err(|e| format!("annotation {PORTS_ANNOTATION}: {e}"))?;
    if ports.len() > PORTS_LIMIT {
        return Err(format!("{} container ports; at most {PORTS_LIMIT} are taken", ports.len()));
    }
    Ok(ports)
}

pub fn resources(resources: &cri::LinuxContainerResources) -> Resources {
    let unified = |name: &str| resources.unified.get(name).and_then(|value| value.parse().ok()).unwrap_or(0);
    Resources {
        cpu_shares: resources.cpu_shares.max(0) as u64,
        cpu_quota_us: resources.cpu_quota,
        cpu_period_us: resources.cpu_period.max(0) as u64,
        memory_limit_bytes: resources.memory_limit_in_bytes,
        oom_score_adj: resources.oom_score_adj,
        cpuset_cpus: resources.cpuset_cpus.clone(),
        cpuset_mems: resources.cpuset_mems.clone(),
        pids_limit: unified("pids.max"),
    }
}

/// What a container has, in CRI's words.
pub fn resources_back(resources: &Resources) -> cri::LinuxContainerResources {
    cri::LinuxContainerResources {
        cpu_period: resources.cpu_period_us as i64,
        cpu_quota: resources.cpu_quota_us,
        cpu_shares: resources.cpu_shares as i64,
        memory_limit_in_bytes: resources.memory_limit_bytes,
        oom_score_adj: resources.oom_score_adj,
        cpuset_cpus: resources.cpuset_cpus.clone(),
        cpuset_mems: resources.cpuset_mems.clone(),
        ..Default::default()
    }
}

/// New limits on top of old ones: zero leaves one as it is.
pub fn merge(old: &Resources, new: &Resources) -> Resources {
    let number = |old: i64, new: i64| if new != 0 { new } else { old };
    let text = |old: &String, new: &String| if new.is_empty() { old.clone() } else { new.clone() };
    Resources {
        cpu_shares: number(old.cpu_shares as i64, new.cpu_shares as i64) as u64,
        cpu_quota_us: number(old.cpu_quota_us, new.cpu_quota_us),
        cpu_period_us: number(old.cpu_period_us as i64, new.cpu_period_us as i64) as u64,
        memory_limit_bytes: number(old.memory_limit_bytes, new.memory_limit_bytes),
        oom_score_adj: number(old.oom_score_adj, new.oom_score_adj),
        cpuset_cpus: text(&old.cpuset_cpus, &new.cpuset_cpus),
        cpuset_mems: text(&old.cpuset_mems, &new.cpuset_mems),
        pids_limit: number(old.pids_limit, new.pids_limit),
    }
}

fn security(security: &cri::LinuxContainerSecurityContext) -> Result<Security> {
    let capabilities = security.capabilities.clone().unwrap_or_default();
    if !capabilities.add_ambient_capabilities.is_empty() {
        return Err("ambient capabilities are not offered".into());
    }
    let profile =
        security.seccomp.clone().unwrap_or(cri::SecurityProfile { profile_type: 1, localhost_ref: String::new() });
    let seccomp = match cri::security_profile::ProfileType::try_from(profile.profile_type) {
        Ok(cri::security_profile::ProfileType::RuntimeDefault) => "RuntimeDefault".to_owned(),
        Ok(cri::security_profile::ProfileType::Localhost) => {
            return Err(format!(
                "the seccomp profile {:?} cannot be loaded: profiles of the node are not offered",
                profile.localhost_ref
            ));
        }
        Ok(cri::security_profile::ProfileType::Unconfined) | Err(_) => "Unconfined".to_owned(),
    };
    Ok(Security {
        privileged: security.privileged,
        run_as_user: security.run_as_user.as_ref().map(|value| value.value),
        run_as_group: security.run_as_group.as_ref().map(|value| value.value),
        run_as_username: security.run_as_username.clone(),
        supplemental_groups: security.supplemental_groups.clone(),
        strict_groups: security.supplemental_groups_policy == cri::SupplementalGroupsPolicy::Strict as i32,
        readonly_rootfs: security.readonly_rootfs,
        no_new_privs: security.no_new_privs,
        capabilities: Capabilities { add: capabilities.add_capabilities, drop: capabilities.drop_capabilities },
        masked_paths: security.masked_paths.clone(),
        readonly_paths: security.readonly_paths.clone(),
        seccomp,
    })
}

/// The number of one of CRI's signal names, on Linux.
fn stop_signal(signal: i32) -> Option<i32> {
    let name = cri::Signal::try_from(signal).ok()?.as_str_name().strip_prefix("SIGNAL_")?;
    if let Some(number) = name.strip_prefix("SIGRTMINPLUS") {
        return number.parse::<i32>().ok().map(|n| 34 + n);
    }
    if let Some(number) = name.strip_prefix("SIGRTMAXMINUS") {
        return number.parse::<i32>().ok().map(|n| 64 - n);
    }
    match name {
        "RUNTIME_DEFAULT" => None,
        "SIGRTMIN" => Some(34),
        "SIGRTMAX" => Some(64),
        "SIGCLD" => Some(libc::SIGCHLD),
        "SIGIOT" => Some(libc::SIGABRT),
        "SIGPOLL" => Some(libc::SIGIO),
        other => crate::images::signal(other),
    }
}

pub fn state(state: &State) -> cri::ContainerState {
    match state {
        State::Created { .. } => cri::ContainerState::ContainerCreated,
        State::Running { .. } => cri::ContainerState::ContainerRunning,
        State::Exited { .. } => cri::ContainerState::ContainerExited,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_offered_is_refused_by_name() {
        let mut config = cri::ContainerConfig::default();
        config.annotations.insert(PORTS_ANNOTATION.into(), r#"[{"port":8080,"protocol":"TCP"}]"#.into());
        assert_eq!(ports(&config), Ok(vec![Port { port: 8080, protocol: "TCP".into() }]));
        config.annotations.insert(PORTS_ANNOTATION.into(), "nonsense".into());
        assert!(ports(&config).is_err_and(|e| e.contains(PORTS_ANNOTATION)));
        assert!(log_path("/var/log/pods/x", "../../etc/passwd", Path::new("/s")).is_err());
        assert_eq!(log_path("/l", "c/0.log", Path::new("/s")), Ok(PathBuf::from("/l/c/0.log")));
        let pod = cri::PodSandboxConfig {
            port_mappings: vec![cri::PortMapping { host_port: 80, host_ip: "::1".into(), ..Default::default() }],
            ..Default::default()
        };
        assert!(check_sandbox(&pod).is_err_and(|e| e.contains("hostPort 80")));
    }

    #[test]
    fn signals_have_their_numbers() {
        let cases = [
            (cri::Signal::RuntimeDefault, None),
            (cri::Signal::Sigquit, Some(3)),
            (cri::Signal::Sigterm, Some(15)),
            (cri::Signal::Sigrtminplus3, Some(37)),
            (cri::Signal::Sigrtmaxminus1, Some(63)),
        ];
        for (signal, number) in cases {
            assert_eq!(stop_signal(signal as i32), number, "for {signal:?}");
        }
    }
}
