//! Files that never reach a disk: one tmpfs of the node for Secrets and the like, and tmpfs for `emptyDir` in memory.
//!
//! One mount for all pods rather than one for each volume: a mount costs kernel memory and shows in every `mount` list.

use super::Error;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use parking_lot::Mutex;
use std::fs;
use std::path::{Path, PathBuf};

/// Tokens and ConfigMaps of some ten thousand pods.
const NODE_BYTES: i64 = 512 << 20;

/// The node's tmpfs, mounted when the first volume needs it.
pub struct Memory {
    dir: PathBuf,
    ready: Mutex<bool>,
}

impl Memory {
    pub fn new(root: &Path) -> Memory {
        Memory { dir: root.join("memory"), ready: Mutex::new(false) }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Without root rights the directory stays a plain one, and the log says so.
    pub(super) fn ready(&self) -> Result<(), Error> {
        let mut ready = self.ready.lock();
        if *ready {
            return Ok(());
        }
        fs::create_dir_all(&self.dir).map_err(Error::io(format!("making {}", self.dir.display())))?;
        match tmpfs(&self.dir, Some(NODE_BYTES)) {
            Ok(()) => {}
            Err(error) if !nix::unistd::geteuid().is_root() => {
                tracing::warn!(%error, "Secrets of pods are kept in a plain directory");
            }
            Err(error) => return Err(error),
        }
        *ready = true;
        Ok(())
    }
}

/// Mounts a tmpfs at `dir` unless there is a mount already.
pub(super) fn tmpfs(dir: &Path, bytes: Option<i64>) -> Result<(), Error> {
    if mount_points()?.iter().any(|p| p == dir) {
        return Ok(());
    }
    let options = bytes.filter(|b| *b > 0).map(|b| format!("size={b},mode=0777")).unwrap_or_else(|| "mode=0777".into());
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), dir, Some("tmpfs"), flags, Some(options.as_str()))
        .map_err(|e| Error::Io { doing: format!("mounting a tmpfs at {}", dir.display()), source: e.into() })
}

/// Unmounts everything at and below `dir`, the deepest first.
pub fn unmount_below(dir: &Path) -> Result<(), Error> {
    let mut points: Vec<PathBuf> = mount_points()?.into_iter().filter(|p| p.starts_with(dir)).collect();
    points.sort_by_key(|p| std::cmp::Reverse(p.components().count()));
    for point in points {
        umount2(&point, MntFlags::MNT_DETACH)
            .map_err(|e| Error::Io { doing: format!("unmounting {}", point.display()), source: e.into() })?;
    }
    Ok(())
}

fn mount_points() -> Result<Vec<PathBuf>, Error> {
    let text = fs::read_to_string("/proc/self/mountinfo").map_err(Error::io("reading /proc/self/mountinfo"))?;
    Ok(text.lines().filter_map(|l| l.split(' ').nth(4)).map(|p| PathBuf::from(unescape(p))).collect())
}

/// The kernel writes space, tab, newline and backslash in octal.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |t, (from, to)| t.replace(from, to))
}
