//! The plan of a container: from what was asked to the runtime specification's `config.json`. Pure.

use crate::users::User;
use container::{ImageContent, Mount, NamespaceMode, Propagation, Spec};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What the plan needs to know of the machine and of the container's own root.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub user: User,
    pub capabilities: Vec<String>,
    pub cgroup_v2: bool,
    /// The kernel can limit memory and swap together.
    pub counts_swap: bool,
    /// `/proc/PID/ns` of the pod process, which holds the namespaces that the pod's containers share.
    pub pod_namespaces: PathBuf,
    /// `/proc/PID/ns/pid` of the process whose process namespace to join.
    pub pid_namespace: Option<PathBuf>,
    /// The hard limit of open files of this machine.
    pub open_files: u64,
    /// The host's devices, for a privileged container.
    pub devices: Vec<Device>,
    /// The nearest value to the wanted one that this machine allows.
    pub oom_score_adj: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub path: PathBuf,
    pub block: bool,
    pub major: u64,
    pub minor: u64,
    pub mode: u32,
}

/// Executables are looked for here where the image says nothing.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The layers of the image, for overlayfs.
pub fn layers(spec: &Spec) -> Result<&[PathBuf], String> {
    match &spec.image.content {
        ImageContent::Layers(layers) => Ok(layers),
        ImageContent::Wasm { .. } => Err(format!(
            "image {} is a WebAssembly artifact and has no root file system: run it with the RuntimeClass handler \"wasm\" or without one",
            spec.image.reference
        )),
    }
}

/// The runtime specification of the container, whose root is at `root`.
pub fn config(spec: &Spec, root: &Path, facts: &Facts) -> Result<Value, String> {
    let security = &spec.security;
    Ok(json!({
        "ociVersion": "1.0.2",
        "root": { "path": root, "readonly": security.readonly_rootfs },
        "process": process(spec, facts)?,
        "mounts": mounts(spec),
        "linux": {
            "cgroupsPath": cgroup(spec),
            "namespaces": namespaces(spec, facts),
            "resources": resources(spec, facts),
            "devices": facts.devices.iter().map(device).collect::<Vec<_>>(),
            "rootfsPropagation": propagation(spec),
            "maskedPaths": if security.privileged { &[][..] } else { &security.masked_paths },
            "readonlyPaths": if security.privileged { &[][..] } else { &security.readonly_paths },
        },
    }))
}

/// The cgroup of a container, below the root of every hierarchy.
pub fn cgroup(spec: &Spec) -> PathBuf {
    Path::new("/").join(spec.sandbox.cgroup_parent.trim_start_matches('/')).join(&spec.id)
}

fn process(spec: &Spec, facts: &Facts) -> Result<Value, String> {
    let user = &facts.user;
    let capabilities = &facts.capabilities;
    Ok(json!({
        "terminal": spec.tty,
        "user": { "uid": user.uid, "gid": user.gid, "additionalGids": user.groups },
        "args": command(spec)?,
        "env": environment(spec, facts),
        "cwd": working_directory(spec),
        "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
                          "inheritable": [], "ambient": [] },
        "noNewPrivileges": spec.security.no_new_privs,
        "oomScoreAdj": facts.oom_score_adj,
        "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": facts.open_files, "soft": facts.open_files }],
    }))
}

/// What to run. A command of the pod's own replaces the image's entry point and its arguments.
pub fn command(spec: &Spec) -> Result<Vec<String>, String> {
    let image = &spec.image;
    let whole = if !spec.command.is_empty() {
        [&spec.command[..], &spec.args].concat()
    } else if !spec.args.is_empty() {
        [&image.entrypoint[..], &spec.args].concat()
    } else {
        [&image.entrypoint[..], &image.cmd].concat()
    };
    if whole.is_empty() {
        return Err(format!("image {} has no command: set `command` in the pod's container", image.reference));
    }
    Ok(whole)
}

pub fn working_directory(spec: &Spec) -> &str {
    [&spec.working_dir, &spec.image.working_dir].into_iter().find(|d| !d.is_empty()).map_or("/", String::as_str)
}

fn environment(spec: &Spec, facts: &Facts) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut set = |entry: String| {
        let name = entry.split('=').next().unwrap_or_default().to_owned();
        all.retain(|old| old.split('=').next() != Some(&name));
        all.push(entry);
    };
    set(PATH.to_owned());
    set(format!("HOSTNAME={}", spec.sandbox.hostname));
    set(format!("HOME={}", facts.user.home));
    if spec.tty {
        set("TERM=xterm".to_owned());
    }
    spec.image.env.iter().cloned().for_each(&mut set);
    spec.env.iter().map(|env| format!("{}={}", env.name, env.value)).for_each(&mut set);
    all
}

fn namespaces(spec: &Spec, facts: &Facts) -> Vec<Value> {
    let sandbox = &spec.sandbox;
    let mut all = vec![json!({ "type": "mount" })];
    if let Some(netns) = &sandbox.netns {
        all.push(json!({ "type": "network", "path": netns }));
        all.push(json!({ "type": "uts", "path": facts.pod_namespaces.join("uts") }));
    }
    match sandbox.ipc {
        NamespaceMode::Node => {}
        NamespaceMode::Container => all.push(json!({ "type": "ipc" })),
        NamespaceMode::Pod | NamespaceMode::Target(_) => {
            all.push(json!({ "type": "ipc", "path": facts.pod_namespaces.join("ipc") }));
        }
    }
    match (&sandbox.pid, &facts.pid_namespace) {
        (NamespaceMode::Node, _) => {}
        (_, Some(path)) => all.push(json!({ "type": "pid", "path": path })),
        (_, None) => all.push(json!({ "type": "pid" })),
    }
    if facts.cgroup_v2 {
        all.push(json!({ "type": "cgroup" }));
    }
    all
}

fn resources(spec: &Spec, facts: &Facts) -> Value {
    let limits = &spec.resources;
    let set = |value: i64| (value != 0).then_some(value);
    let memory = set(limits.memory_limit_bytes);
    let swap = if facts.counts_swap || facts.cgroup_v2 { memory } else { None };
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    let quota = set(limits.cpu_quota_us);
    let mut all = without_nulls(json!({
        "memory": without_nulls(json!({ "limit": memory, "swap": swap })),
        "cpu": without_nulls(json!({
            "shares": set(limits.cpu_shares as i64),
            "quota": quota,
            "period": quota.map(|_| if limits.cpu_period_us > 0 { limits.cpu_period_us } else { 100_000 }),
            "cpus": text(&limits.cpuset_cpus),
            "mems": text(&limits.cpuset_mems),
        })),
        "pids": (limits.pids_limit > 0).then(|| json!({ "limit": limits.pids_limit })),
    }));
    all["devices"] = if spec.security.privileged {
        json!([{ "allow": true, "access": "rwm" }])
    } else {
        json!([{ "allow": false, "access": "rwm" }])
    };
    all
}

fn without_nulls(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.retain(|_, field| !field.is_null());
    }
    value
}

fn device(device: &Device) -> Value {
    json!({
        "path": device.path, "type": if device.block { "b" } else { "c" },
        "major": device.major, "minor": device.minor, "fileMode": device.mode, "uid": 0, "gid": 0,
    })
}

fn propagation(spec: &Spec) -> &'static str {
    if spec.mounts.iter().any(|mount| mount.propagation == Propagation::Bidirectional) { "shared" } else { "slave" }
}

fn mounts(spec: &Spec) -> Vec<Value> {
    let sandbox = &spec.sandbox;
    let access = if spec.security.privileged { "rw" } else { "ro" };
    let mount = |to: &str, kind: &str, from: &str, options: &[&str]| json!({ "destination": to, "type": kind, "source": from, "options": options });
    let mut all = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", access]),
    ];
    let shm = match (&sandbox.ipc, &sandbox.shm) {
        (NamespaceMode::Node, _) => Some(PathBuf::from("/dev/shm")),
        (_, shm) => shm.clone(),
    };
    all.push(match shm {
        Some(shm) => json!({ "destination": "/dev/shm", "type": "bind", "source": shm, "options": ["rbind", "nosuid", "nodev", "noexec"] }),
        None => mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
    });
    let taken = |path: &str| spec.mounts.iter().any(|mount| mount.container_path == Path::new(path));
    for (to, from) in [("/etc/resolv.conf", &sandbox.resolv_conf), ("/etc/hostname", &sandbox.hostname_file)] {
        if !taken(to) && !from.as_os_str().is_empty() {
            all.push(
                json!({ "destination": to, "type": "bind", "source": from, "options": ["rbind", "rprivate", "rw"] }),
            );
        }
    }
    // The pod's own mounts replace ours of the same place; a parent comes before what lies in it.
    all.retain(|ours| !ours["destination"].as_str().is_some_and(taken));
    let mut own: Vec<&Mount> = spec.mounts.iter().collect();
    own.sort_by_key(|mount| mount.container_path.components().count());
    all.extend(own.into_iter().map(bind));
    all
}

fn bind(mount: &Mount) -> Value {
    let propagation = match mount.propagation {
        Propagation::Private => "rprivate",
        Propagation::HostToContainer => "rslave",
        Propagation::Bidirectional => "rshared",
    };
    let access = if mount.readonly { "ro" } else { "rw" };
    json!({ "destination": mount.container_path, "type": "bind", "source": mount.host_path,
            "options": ["rbind", propagation, access] })
}
