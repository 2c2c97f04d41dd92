//! The directories that a guest sees: its mounts, and nothing else of the node.
//!
//! WASI opens directories only. A mount of a single file therefore shows in a directory of the container's own, made for
//! the file's parent, which holds the file itself (a hard link, so that what the guest writes is seen outside) or, where
//! it is read-only or on another file system, a copy.

use container::{Error, Mount};
use std::collections::BTreeMap;
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
    if dir.exists() {
        std::fs::remove_dir_all(dir).map_err(|err| Error::failed(format!("emptying {}", dir.display()), err))?;
    }
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

fn file_view(parent: &Path, mounts: &[&Mount], dir: &Path) -> Result<Preopen, Error> {
    std::fs::create_dir_all(dir).map_err(|err| Error::failed(format!("making {}", dir.display()), err))?;
    for mount in mounts {
        let name = mount
            .container_path
            .file_name()
            .ok_or_else(|| Error::Invalid(format!("a file cannot be mounted at {}", mount.container_path.display())))?;
        let shown = dir.join(name);
        let failed = |err| Error::failed(format!("showing {} to the guest", mount.host_path.display()), err);
        // A symlink (ConfigMaps are full of them) is followed: the guest gets the file.
        let host = std::fs::canonicalize(&mount.host_path).map_err(failed)?;
        if mount.readonly || std::fs::hard_link(&host, &shown).is_err() {
            if std::fs::metadata(&host).map_err(failed)?.len() > COPY_LIMIT {
                return Err(Error::Unsupported(format!(
                    "the file mount {} is larger than {COPY_LIMIT} bytes: mount its directory instead",
                    mount.host_path.display()
                )));
            }
            std::fs::copy(&host, &shown).map_err(failed)?;
        }
    }
    Ok(Preopen {
        host: dir.to_owned(),
        guest: parent.to_string_lossy().into_owned(),
        readonly: mounts.iter().all(|mount| mount.readonly),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use container::Propagation;

    fn mount(host: PathBuf, at: &str, readonly: bool) -> Mount {
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
            mount(host("data"), "/data", true),
            mount(host("hosts"), "/etc/hosts", false),
            mount(host("conf"), "/etc/app/conf", true),
            mount(host("log"), "/dev/termination-log", false),
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
    fn a_missing_mount_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let err = build(&[mount(dir.path().join("gone"), "/x", true)], &dir.path().join("view")).unwrap_err();
        assert!(err.to_string().contains("gone"), "{err}");
    }
}
