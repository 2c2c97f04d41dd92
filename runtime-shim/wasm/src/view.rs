//! The directories that a guest sees: its mounts, and nothing else of the node.
//!
//! WASI opens directories only. A mount of a single file therefore shows in a directory of the container's own, made for
//! the file's parent: as a hard link, so that what the guest writes is seen outside; as a copy where it is read-only; and
//! as a mount where it lies on another file system (a Secret's, say, which must not be copied to the disk).

use container::{Error, Mount};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The largest file that is copied into a view: ConfigMaps and Secrets have at most 1 MiB.
const COPY_LIMIT: u64 = 4 << 20;

/// A directory that is opened for each instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preopen {
    pub host: PathBuf,
    pub guest: String,
    pub readonly: bool,
}

/// Makes the view of `mounts` under `dir`, which is emptied first.
pub fn build(mounts: &[Mount], dir: &Path) -> Result<Vec<Preopen>, Error> {
    remove(dir)?;
    let mut preopens = Vec::new();
    let mut files: BTreeMap<&Path, Vec<&Mount>> = BTreeMap::new();
    for mount in mounts {
        let meta = std::fs::metadata(&mount.host_path)
            .map_err(|err| Error::failed(format!("looking at the mount {}", mount.host_path.display()), err))?;
        if meta.is_dir() {
            preopens.push(Preopen {
                host: mount.host_path.clone(),
                guest: mount.container_path.to_string_lossy().into_owned(),
                readonly: mount.readonly,
            });
        } else if meta.is_file() {
            let parent = mount.container_path.parent().unwrap_or(Path::new("/"));
            files.entry(parent).or_default().push(mount);
        } else {
            return Err(Error::Unsupported(format!(
                "{} is neither a file nor a directory: a WebAssembly guest has no devices and no sockets of the node",
                mount.host_path.display()
            )));
        }
    }
    for (index, (parent, mounts)) in files.into_iter().enumerate() {
        preopens.push(file_view(parent, &mounts, &dir.join(index.to_string()))?);
    }
    // The outermost first: where views lie in one another, libc looks for the longest.
    preopens.sort_by_key(|preopen| preopen.guest.len());
    Ok(preopens)
}

/// Removes a view, and the mounts in it first.
pub fn remove(dir: &Path) -> Result<(), Error> {
    let failed = |err| Error::failed(format!("removing {}", dir.display()), err);
    let parents = match std::fs::read_dir(dir) {
        Ok(parents) => parents,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(failed(err)),
    };
    for parent in parents {
        for shown in std::fs::read_dir(parent.map_err(failed)?.path()).map_err(failed)? {
            // Most are no mounts, which is an error to pass over; one that stays makes the removal fail.
            let _ = umount2(&shown.map_err(failed)?.path(), MntFlags::MNT_DETACH);
        }
    }
    std::fs::remove_dir_all(dir).map_err(failed)
}

fn file_view(parent: &Path, mounts: &[&Mount], dir: &Path) -> Result<Preopen, Error> {
    std::fs::create_dir_all(dir).map_err(|err| Error::failed(format!("making {}", dir.display()), err))?;
    for mount in mounts {
        let name = mount
            .container_path
            .file_name()
            .ok_or_else(|| Error::Invalid(format!("a file cannot be mounted at {}", mount.container_path.display())))?;
        show(mount, dir, &dir.join(name))
            .map_err(|err| Error::failed(format!("showing {} to the guest", mount.host_path.display()), err))?;
    }
    Ok(Preopen {
        host: dir.to_owned(),
        guest: parent.to_string_lossy().into_owned(),
        readonly: mounts.iter().all(|mount| mount.readonly),
    })
}

fn show(mount: &Mount, dir: &Path, shown: &Path) -> io::Result<()> {
    // A symlink (ConfigMaps are full of them) is followed: the guest gets the file.
    let host = std::fs::canonicalize(&mount.host_path)?;
    let meta = std::fs::metadata(&host)?;
    if meta.dev() != std::fs::metadata(dir)?.dev() {
        return bind(&host, shown, mount.readonly);
    }
    if !mount.readonly {
        return std::fs::hard_link(&host, shown);
    }
    if meta.len() > COPY_LIMIT {
        return Err(io::Error::other(format!("it is larger than {COPY_LIMIT} bytes: mount its directory instead")));
    }
    std::fs::copy(&host, shown).map(drop)
}

fn bind(host: &Path, shown: &Path, readonly: bool) -> io::Result<()> {
    std::fs::File::create(shown)?;
    mount(Some(host), shown, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    if readonly {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, shown, None::<&str>, flags, None::<&str>)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use container::Propagation;

    fn mounted(host: PathBuf, at: &str, readonly: bool) -> Mount {
        Mount { host_path: host, container_path: at.into(), readonly, propagation: Propagation::Private }
    }

    #[test]
    fn files_show_in_a_directory_of_their_own_and_writes_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let host = |name: &str| dir.path().join(name);
        std::fs::create_dir(host("data")).unwrap();
        std::fs::write(host("hosts"), "127.0.0.1 localhost").unwrap();
        std::fs::write(host("log"), "").unwrap();
        std::fs::write(host("conf"), "a=1").unwrap();
        let mounts = [
            mounted(host("data"), "/data", true),
            mounted(host("hosts"), "/etc/hosts", false),
            mounted(host("conf"), "/etc/app/conf", true),
            mounted(host("log"), "/dev/termination-log", false),
        ];
        let preopens = build(&mounts, &host("view")).unwrap();
        let seen: Vec<_> = preopens.iter().map(|preopen| (preopen.guest.as_str(), preopen.readonly)).collect();
        assert_eq!(seen, [("/dev", false), ("/etc", false), ("/data", true), ("/etc/app", true)]);
        std::fs::write(preopens[0].host.join("termination-log"), "bye").unwrap();
        assert_eq!(std::fs::read_to_string(host("log")).unwrap(), "bye");
        std::fs::write(preopens[3].host.join("conf"), "a=2").unwrap();
        assert_eq!(std::fs::read_to_string(host("conf")).unwrap(), "a=1", "a read-only file was changed");
        assert_eq!(build(&mounts, &host("view")).unwrap(), preopens, "a view can be made again");
    }

    #[test]
    fn a_file_of_another_file_system_is_mounted_not_copied() {
        // A tmpfs, as Secrets are on.
        let (Ok(memory), Ok(disk)) = (tempfile::tempdir_in("/dev/shm"), tempfile::tempdir_in("/var/tmp")) else {
            return eprintln!("SKIPPED: there are no two file systems");
        };
        // SAFETY: geteuid cannot fail and touches no memory.
        if unsafe { libc::geteuid() } != 0 {
            return eprintln!("SKIPPED: mounting needs root");
        }
        let (secret, log) = (memory.path().join("secret"), memory.path().join("log"));
        std::fs::write(&secret, "s3cret").unwrap();
        std::fs::write(&log, "").unwrap();
        let view = disk.path().join("view");
        let mounts = [mounted(secret, "/run/secret", true), mounted(log.clone(), "/run/log", false)];
        let shown = build(&mounts, &view).unwrap().remove(0).host;
        assert_eq!(std::fs::read_to_string(shown.join("secret")).unwrap(), "s3cret");
        assert!(std::fs::write(shown.join("secret"), "x").is_err(), "a read-only file was written");
        std::fs::write(shown.join("log"), "bye").unwrap();
        assert_eq!(std::fs::read_to_string(log).unwrap(), "bye");
        remove(&view).unwrap();
        remove(&view).unwrap();
        assert!(!view.exists());
    }

    #[test]
    fn a_missing_mount_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let err = build(&[mounted(dir.path().join("gone"), "/x", true)], &dir.path().join("view")).unwrap_err();
        assert!(err.to_string().contains("gone"), "{err}");
    }
}
