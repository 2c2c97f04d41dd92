//! Removes everything that a shim has left on the machine, for when none runs.

use crate::record::{self, ContainerRecord, SandboxRecord};
use crate::{Error, Result, netns};
use std::path::Path;

/// Ends pods and removes their processes, mounts, namespaces, groups and files; images too. The network's own links and
/// leases are crate `cni`'s to remove.
pub fn reset(root: &Path) -> Result<()> {
    oci::reset(&root.join("oci")).map_err(Error::failed("end the pods of containers"))?;
    for record in record::read_all::<ContainerRecord>(&root.join("containers")) {
        let group = oci::cgroup::Cgroup::of(&record.spec.sandbox.cgroup_parent, &record.spec.id);
        group.remove().map_err(Error::failed("remove a container's cgroup"))?;
    }
    for record in record::read_all::<SandboxRecord>(&root.join("sandboxes")) {
        // Others may use it: then it is not empty, and theirs.
        let _ = oci::cgroup::Cgroup::at(&record.spec.cgroup_parent).remove();
    }
    for entry in std::fs::read_dir(root.join("netns")).into_iter().flatten().flatten() {
        netns::remove(&entry.path()).map_err(Error::failed(format!("unpin {}", entry.path().display())))?;
    }
    unmount_below(root)?;
    match std::fs::remove_dir_all(root) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::failed(format!("remove {}", root.display()))(error))
        }
        _ => Ok(()),
    }
}

/// Unmounts what is still mounted below the root, the deepest first: removing files must never reach into a mount.
fn unmount_below(root: &Path) -> Result<()> {
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let table = std::fs::read_to_string("/proc/self/mountinfo").map_err(Error::failed("read the mounts"))?;
    let mut points: Vec<String> = table.lines().filter_map(|line| Some(unescape(line.split(' ').nth(4)?))).collect();
    points.retain(|point| Path::new(point).starts_with(&root) && Path::new(point) != root);
    points.sort_by_key(|point| std::cmp::Reverse(point.len()));
    for point in points {
        nix::mount::umount2(point.as_str(), nix::mount::MntFlags::MNT_DETACH)
            .map_err(Error::failed(format!("unmount {point}")))?;
    }
    Ok(())
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}
