//! `subPath`: a path inside a volume that no link may lead out of.
//!
//! The path is walked one component at a time from the volume's root with `openat2(RESOLVE_BENEATH)`, missing directories
//! are made on the way, and what was opened is bind-mounted to a place that only the kubelet can change: a container that
//! swaps a directory for a link afterwards changes nothing.

use super::Error;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, mkdirat};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// Returns the place that the container's mount is to come from.
pub(super) fn resolve(volume: &Path, sub: &str, target: &Path) -> Result<PathBuf, Error> {
    let relative = Path::new(sub);
    if relative.components().any(|c| !matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err(Error::Refused(format!("subPath {sub:?} must be relative and stay inside the volume")));
    }
    let found = open(volume, relative, sub)?;
    if !nix::unistd::geteuid().is_root() {
        return Ok(volume.join(relative));
    }
    place(&found, target)?;
    Ok(target.to_owned())
}

fn open(volume: &Path, relative: &Path, sub: &str) -> Result<OwnedFd, Error> {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC);
    let beneath = how.resolve(ResolveFlag::RESOLVE_BENEATH);
    let root = nix::fcntl::open(volume, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|e| Error::Io { doing: format!("opening {}", volume.display()), source: e.into() })?;
    let fail = |e: nix::Error| Error::Io { doing: format!("opening subPath {sub:?}"), source: e.into() };
    let mut done = PathBuf::from(".");
    let mut at = openat2(root.as_fd(), &done, beneath).map_err(fail)?;
    for part in relative.components() {
        done.push(part);
        at = match openat2(root.as_fd(), &done, beneath) {
            Err(nix::Error::ENOENT) => {
                mkdirat(at.as_fd(), Path::new(part.as_os_str()), Mode::from_bits_truncate(0o755)).map_err(fail)?;
                openat2(root.as_fd(), &done, beneath).map_err(fail)?
            }
            other => other.map_err(fail)?,
        };
    }
    Ok(at)
}

fn place(found: &OwnedFd, target: &Path) -> Result<(), Error> {
    let io = |e: std::io::Error| Error::Io { doing: format!("preparing {}", target.display()), source: e };
    super::memory::unmount_below(target)?;
    let source = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(io)?;
    }
    match fs::metadata(&source).map_err(io)?.is_dir() {
        true => fs::create_dir_all(target).map_err(io)?,
        false => fs::write(target, b"").map_err(io)?,
    }
    mount(Some(&source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(|e| Error::Io { doing: format!("binding {}", target.display()), source: e.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_cannot_lead_out() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("volume");
        fs::create_dir_all(volume.join("a")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        std::os::unix::fs::symlink("../outside", volume.join("out")).unwrap();
        std::os::unix::fs::symlink("a", volume.join("in")).unwrap();
        for (sub, fits) in [
            ("a", true),
            ("a/new/deep", true),
            ("in", true),
            ("out", false),
            ("out/x", false),
            ("../outside", false),
            ("/etc", false),
        ] {
            assert_eq!(open_checked(&volume, sub), fits, "{sub}");
        }
        assert!(volume.join("a/new/deep").is_dir());
        assert!(!dir.path().join("outside/x").exists());
    }

    fn open_checked(volume: &Path, sub: &str) -> bool {
        let relative = Path::new(sub);
        let plain = relative.components().all(|c| matches!(c, Component::Normal(_)));
        plain && open(volume, relative, sub).is_ok()
    }
}
