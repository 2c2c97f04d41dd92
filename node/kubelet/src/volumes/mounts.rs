//! The mounts of one container: its volumes, `/etc/hosts` and the termination message.

use super::{Error, Kind, kind, place, pod_dir, sub_path};
use crate::node::Node;
use crate::translate::{dns, env};
use crate::units::Unit;
use k8s_openapi::api::core::v1::{Pod, Volume, VolumeMount};
use rpc::cri::{Mount, MountPropagation};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The mounts, and the host file behind the termination message.
pub fn mounts(
    node: &Node,
    pod: &Pod,
    unit: &Unit<'_>,
    attempt: u32,
    env: &[(String, String)],
    ips: &[String],
) -> Result<(Vec<Mount>, Option<PathBuf>), Error> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    if unit.spec.volume_devices.as_ref().is_some_and(|d| !d.is_empty()) {
        return Err(Error::Refused("volumeDevices are not supported by this kubelet".into()));
    }
    let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
    let mut list = Vec::new();
    for (index, mount) in unit.spec.volume_mounts.iter().flatten().enumerate() {
        let volume = volumes
            .iter()
            .find(|v| v.name == mount.name)
            .ok_or_else(|| Error::Refused(format!("volume \"{}\" of a mount is not in the pod", mount.name)))?;
        let at = pod_dir(&node.config.root_dir, uid).join("volume-subpaths").join(&volume.name).join(unit.name());
        list.push(one(node, uid, volume, mount, env, &at.join(index.to_string()))?);
    }
    let taken = |list: &[Mount], path: &str| list.iter().any(|m| m.container_path == path);
    if !taken(&list, "/etc/hosts") {
        list.push(file("/etc/hosts", &hosts(node, pod, uid, ips)?));
    }
    let message = message_file(node, uid, unit, attempt)?;
    if let (Some(file_path), Some(path)) = (&message, &unit.spec.termination_message_path) {
        list.push(file(path, file_path));
    }
    Ok((list, message))
}

fn file(container: &str, host: &Path) -> Mount {
    Mount { container_path: container.to_owned(), host_path: host.to_string_lossy().into_owned(), ..Mount::default() }
}

fn one(
    node: &Node,
    uid: &str,
    volume: &Volume,
    mount: &VolumeMount,
    env: &[(String, String)],
    sub_at: &Path,
) -> Result<Mount, Error> {
    let root = place(node, uid, volume)
        .ok_or_else(|| Error::Refused(format!("volume \"{}\" is not supported by this kubelet", volume.name)))?;
    let lookup = |n: &str| env.iter().find(|(k, _)| k == n).map(|(_, v)| v.clone());
    let sub = match (mount.sub_path.as_deref(), mount.sub_path_expr.as_deref()) {
        (Some(s), _) if !s.is_empty() => Some(s.to_owned()),
        (_, Some(e)) if !e.is_empty() => Some(env::expand(e, lookup)),
        _ => None,
    };
    let host = match sub {
        Some(sub) => sub_path::resolve(&root, &sub, sub_at)?,
        None => root,
    };
    let files = match kind(volume) {
        Kind::ConfigMap(_) | Kind::Secret(_) | Kind::DownwardApi(_) | Kind::Projected(_) => true,
        Kind::EmptyDir(_) | Kind::HostPath(_) | Kind::Unsupported(_) => false,
    };
    if mount.recursive_read_only.as_deref() == Some("Enabled") {
        return Err(Error::Refused("recursiveReadOnly: Enabled is not supported by this kubelet".into()));
    }
    let absolute = mount.mount_path.starts_with('/');
    Ok(Mount {
        container_path: if absolute { mount.mount_path.clone() } else { format!("/{}", mount.mount_path) },
        host_path: host.to_string_lossy().into_owned(),
        readonly: files || mount.read_only == Some(true),
        propagation: match mount.mount_propagation.as_deref() {
            Some("HostToContainer") => MountPropagation::PropagationHostToContainer,
            Some("Bidirectional") => MountPropagation::PropagationBidirectional,
            Some(_) | None => MountPropagation::PropagationPrivate,
        } as i32,
        ..Mount::default()
    })
}

fn hosts(node: &Node, pod: &Pod, uid: &str, ips: &[String]) -> Result<PathBuf, Error> {
    let dir = pod_dir(&node.config.root_dir, uid);
    let path = dir.join("etc-hosts");
    let shared = pod.spec.as_ref().and_then(|s| s.host_network) == Some(true);
    let own = shared.then(|| fs::read_to_string("/etc/hosts").unwrap_or_default());
    let text = dns::hosts(pod, ips, &node.config.cluster_domain, own.as_deref());
    fs::create_dir_all(&dir).map_err(Error::io(format!("making {}", dir.display())))?;
    fs::write(&path, text).map_err(Error::io(format!("writing {}", path.display())))?;
    Ok(path)
}

fn message_file(node: &Node, uid: &str, unit: &Unit<'_>, attempt: u32) -> Result<Option<PathBuf>, Error> {
    if unit.spec.termination_message_path.as_deref().unwrap_or_default().is_empty() {
        return Ok(None);
    }
    let dir = pod_dir(&node.config.root_dir, uid).join("containers").join(unit.name());
    fs::create_dir_all(&dir).map_err(Error::io(format!("making {}", dir.display())))?;
    let path = dir.join(format!("termination-{attempt}"));
    let io = |e| Error::Io { doing: format!("making {}", path.display()), source: e };
    fs::write(&path, b"").map_err(io)?;
    // Any user of the container may write it.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).map_err(io)?;
    Ok(Some(path))
}
