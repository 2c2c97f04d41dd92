//! The calls of the OCI library and the mounts around them. They fork and read the environment, so they run only in a
//! short-lived child of the single-threaded pod process.

use crate::bundle::{self, Device, Facts};
use crate::{capabilities, cgroup, notes, users};
use container::{NamespaceMode, Propagation, Sandbox, Spec};
use libcontainer::container::Container;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::Mode;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The largest `/etc/passwd` or `/etc/group` read from an image. Real ones have some KiB.
const ACCOUNTS_LIMIT: u64 = 1024 * 1024;
/// Layers in one mount: overlayfs takes one page of options; the names are kept short by mounting from their directory.
const LAYERS_LIMIT: usize = 120;
/// The most devices of the host given to a privileged container.
const DEVICES_LIMIT: usize = 4096;

/// Streams of a process: descriptors, or a console whose master is sent to the socket at this path.
pub enum Io {
    Streams { stdin: OwnedFd, stdout: OwnedFd, stderr: OwnedFd },
    Console(PathBuf),
}

/// Where a container's files lie.
pub fn root_of(dir: &Path) -> PathBuf {
    dir.join("rootfs")
}

fn states_of(dir: &Path) -> PathBuf {
    dir.join("run")
}

/// Prepares the container up to the point where only `start` is missing. Returns its process id.
pub fn create(dir: &Path, spec: &Spec, pod_pid: i32, pause: Option<i32>, io: Io) -> Result<i32, String> {
    let root = root_of(dir);
    mount_root(dir, &root, bundle::layers(spec)?)?;
    for mount in &spec.mounts {
        check_mount(mount)?;
    }
    let facts = facts(spec, &root, pod_pid, pause)?;
    make_working_directory(&root, bundle::working_directory(spec), &facts.user)?;
    let config = bundle::config(spec, &root, &facts)?;
    fs::write(dir.join("config.json"), config.to_string())
        .map_err(|e| format!("write the container's config.json: {e}"))?;
    fs::create_dir_all(states_of(dir)).map_err(|e| format!("make {}: {e}", states_of(dir).display()))?;
    let builder = ContainerBuilder::new(spec.id.clone(), SyscallType::default())
        .with_root_path(states_of(dir))
        .map_err(|e| chain(&e))?;
    let builder = match io {
        Io::Streams { stdin, stdout, stderr } => builder.with_stdin(stdin).with_stdout(stdout).with_stderr(stderr),
        Io::Console(socket) => builder.with_console_socket(Some(socket)),
    };
    let builder = builder.as_init(dir).with_systemd(false).with_detach(true);
    let container = notes::complete(dir, || builder.build().map_err(|e| chain(&e)))?;
    container.pid().map(|pid| pid.as_raw()).ok_or_else(|| "the container's process ended while it was made".to_owned())
}

/// Lets the prepared container run its command.
pub fn start(dir: &Path, id: &str) -> Result<(), String> {
    Container::load(states_of(dir).join(id)).map_err(|e| chain(&e))?.start().map_err(|e| chain(&e))
}

/// Runs a command in the running container. Returns its process id.
pub fn exec(dir: &Path, id: &str, command: Vec<String>, io: Io) -> Result<i32, String> {
    let text =
        fs::read_to_string(dir.join("config.json")).map_err(|e| format!("read the container's config.json: {e}"))?;
    let config: serde_json::Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    let mut process = config["process"].clone();
    process["args"] = command.into();
    process["terminal"] = matches!(io, Io::Console(_)).into();
    if matches!(io, Io::Console(_))
        && let Some(env) = process["env"].as_array_mut()
        && !env.iter().any(|entry| entry.as_str().is_some_and(|entry| entry.starts_with("TERM=")))
    {
        env.push("TERM=xterm".into());
    }
    let file = dir.join(format!("exec-{}.json", std::process::id()));
    fs::write(&file, process.to_string()).map_err(|e| format!("write {}: {e}", file.display()))?;
    let builder = ContainerBuilder::new(id.to_owned(), SyscallType::default())
        .with_root_path(states_of(dir))
        .map_err(|e| chain(&e))?;
    let builder = match io {
        Io::Streams { stdin, stdout, stderr } => builder.with_stdin(stdin).with_stdout(stdout).with_stderr(stderr),
        Io::Console(socket) => builder.with_console_socket(Some(socket)),
    };
    let builder = builder.as_tenant().with_process(Some(&file)).with_detach(true);
    let built = notes::complete(dir, || builder.build().map_err(|e| chain(&e)));
    let _ = fs::remove_file(&file);
    built.map(|pid| pid.as_raw())
}

/// Releases what `create` made: group, mount and state. The container has no process any more.
pub fn delete(dir: &Path, group: &cgroup::Cgroup) -> Result<(), String> {
    let root = root_of(dir);
    match umount2(&root, MntFlags::MNT_DETACH) {
        Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
        Err(errno) => return Err(format!("unmount {}: {errno}", root.display())),
    }
    for name in ["rootfs", "upper", "work", "run"] {
        match fs::remove_dir_all(dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(format!("remove {}: {error}", dir.join(name).display()));
            }
            _ => {}
        }
    }
    group.remove().map_err(|e| e.to_string())
}

fn mount_root(dir: &Path, root: &Path, layers: &[PathBuf]) -> Result<(), String> {
    if layers.is_empty() || layers.len() > LAYERS_LIMIT {
        return Err(format!("the image has {} layers; between 1 and {LAYERS_LIMIT} can be mounted", layers.len()));
    }
    for name in ["rootfs", "upper", "work"] {
        fs::create_dir_all(dir.join(name)).map_err(|e| format!("make {}: {e}", dir.join(name).display()))?;
    }
    // Names relative to the layers' common directory keep the options below a page.
    let common = layers[0].parent().filter(|common| layers.iter().all(|layer| layer.starts_with(common)));
    let mut lower = Vec::new();
    for layer in layers {
        let name = common.and_then(|common| layer.strip_prefix(common).ok()).unwrap_or(layer);
        let name = name.to_str().filter(|name| !name.contains([':', ',', '\\']));
        lower.push(name.ok_or_else(|| format!("{} cannot be named in a mount", layer.display()))?);
    }
    if let Some(common) = common {
        std::env::set_current_dir(common).map_err(|e| format!("enter {}: {e}", common.display()))?;
    }
    let (upper, work) = (dir.join("upper"), dir.join("work"));
    let options = format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), upper.display(), work.display());
    let mounted = mount(Some("overlay"), root, Some("overlay"), MsFlags::empty(), Some(options.as_str()));
    let _ = std::env::set_current_dir("/");
    mounted.map_err(|errno| format!("mount the image's {} layers with overlayfs: {errno}", layers.len()))
}

fn check_mount(mount: &container::Mount) -> Result<(), String> {
    if !mount.host_path.exists() {
        return Err(format!(
            "the volume for {} is missing: {} does not exist",
            mount.container_path.display(),
            mount.host_path.display()
        ));
    }
    if mount.propagation == Propagation::Bidirectional && !shared(&mount.host_path) {
        return Err(format!(
            "{} is asked for with Bidirectional mount propagation, but {} is not on a shared mount (make it one with `mount --make-rshared`)",
            mount.container_path.display(),
            mount.host_path.display()
        ));
    }
    Ok(())
}

/// Whether the mount that holds `path` is shared.
fn shared(path: &Path) -> bool {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let holder = table
        .lines()
        .filter(|line| line.split(' ').nth(4).is_some_and(|point| path.starts_with(point)))
        .max_by_key(|line| line.split(' ').nth(4).map_or(0, str::len));
    holder.is_some_and(|line| line.split(" - ").next().is_some_and(|head| head.contains(" shared:")))
}

fn facts(spec: &Spec, root: &Path, pod_pid: i32, pause: Option<i32>) -> Result<Facts, String> {
    let security = &spec.security;
    let asked = users::Asked {
        uid: security.run_as_user,
        gid: security.run_as_group,
        name: &security.run_as_username,
        image: &spec.image.user,
        supplemental: &security.supplemental_groups,
        strict: security.strict_groups,
    };
    let passwd = read_in(root, "etc/passwd");
    let group = read_in(root, "etc/group");
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|e| format!("read the limit of open files: {e}"))?;
    Ok(Facts {
        user: users::resolve(asked, &passwd, &group)?,
        capabilities: capabilities::plan(&security.capabilities, security.privileged, capabilities::available())?,
        cgroup_v2: cgroup::unified(),
        counts_swap: cgroup::counts_swap(),
        pod_namespaces: PathBuf::from(format!("/proc/{pod_pid}/ns")),
        pid_namespace: pid_namespace(&spec.sandbox, pause)?,
        open_files: hard,
        devices: if security.privileged { host_devices() } else { Vec::new() },
        oom_score_adj: allowed_oom_score(spec.resources.oom_score_adj),
    })
}

fn pid_namespace(sandbox: &Sandbox, pause: Option<i32>) -> Result<Option<PathBuf>, String> {
    match (&sandbox.pid, pause) {
        (NamespaceMode::Pod, Some(pause)) => Ok(Some(format!("/proc/{pause}/ns/pid").into())),
        (NamespaceMode::Pod, None) => Err("the pod's shared process namespace is gone".to_owned()),
        (NamespaceMode::Container | NamespaceMode::Node, _) => Ok(None),
        // The executor has put the process of the container in the place of its id.
        (NamespaceMode::Target(pid), _) => Ok(Some(format!("/proc/{pid}/ns/pid").into())),
    }
}

/// Lowering the score below one's own takes CAP_SYS_RESOURCE; without it the nearest allowed one is taken.
fn allowed_oom_score(wanted: i64) -> i64 {
    let file = "/proc/self/oom_score_adj";
    let own = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    if wanted >= own || fs::write(file, wanted.to_string()).is_ok() { wanted } else { own }
}

/// Reads a small file below `root`, following links as the container itself would. Missing is empty.
fn read_in(root: &Path, path: &str) -> String {
    let open = || -> io::Result<String> {
        let directory = File::open(root)?;
        let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        let file = File::from(openat2(&directory, path, how)?);
        let mut text = String::new();
        file.take(ACCOUNTS_LIMIT).read_to_string(&mut text)?;
        Ok(text)
    };
    open().unwrap_or_default()
}

/// Makes the working directory where the image has none, owned by the user, as other runtimes do.
fn make_working_directory(root: &Path, path: &str, user: &users::User) -> Result<(), String> {
    let failed = |e: nix::errno::Errno| format!("make the working directory {path}: {e}");
    if !path.starts_with('/') {
        return Err(format!("the working directory {path:?} is not an absolute path"));
    }
    let mut at = OwnedFd::from(File::open(root).map_err(|e| format!("open {}: {e}", root.display()))?);
    let mut below = PathBuf::from(".");
    for part in Path::new(path).components().skip(1) {
        below.push(part);
        let directory = File::open(root).map_err(|e| format!("open {}: {e}", root.display()))?;
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT);
        at = match openat2(&directory, &below, how) {
            Ok(found) => found,
            Err(nix::errno::Errno::ENOENT) => {
                nix::sys::stat::mkdirat(&at, Path::new(part.as_os_str()), Mode::from_bits_truncate(0o755))
                    .map_err(failed)?;
                let made = openat2(&directory, &below, how).map_err(failed)?;
                nix::unistd::fchownat(
                    &made,
                    "",
                    Some(user.uid.into()),
                    Some(user.gid.into()),
                    nix::fcntl::AtFlags::AT_EMPTY_PATH,
                )
                .map_err(failed)?;
                made
            }
            Err(errno) => return Err(failed(errno)),
        };
    }
    drop(at);
    Ok(())
}

fn host_devices() -> Vec<Device> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from("/dev")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let kind = metadata.file_type();
            if kind.is_dir() && !["pts", "shm", "mqueue", "fd"].iter().any(|name| path.ends_with(name)) {
                open.push(path);
            } else if (kind.is_char_device() || kind.is_block_device())
                && !path.ends_with("console")
                && !path.ends_with("ptmx")
            {
                if found.len() == DEVICES_LIMIT {
                    return found;
                }
                let number = metadata.rdev();
                found.push(Device {
                    path,
                    block: kind.is_block_device(),
                    major: nix::sys::stat::major(number),
                    minor: nix::sys::stat::minor(number),
                    mode: metadata.mode() & 0o777,
                });
            }
        }
    }
    found
}

/// An error with everything underneath it: the library's top line alone says little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}
