//! Files that change all at once: each version is a directory of its own, `..data` points to the present one, and what
//! the user sees are links through `..data`. A reader sees the old version or the new one, never a mixture.

use super::Error;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

/// Relative path → (content, mode).
pub type Payload = BTreeMap<String, (Vec<u8>, u32)>;

const DATA: &str = "..data";
const DATA_NEXT: &str = "..data_tmp";

/// Makes `dir` show exactly `payload`. Does nothing when it already does. With `group`, files belong to it and it may read them.
pub fn write(dir: &Path, payload: &Payload, group: Option<u32>) -> Result<(), Error> {
    for path in payload.keys() {
        check(path)?;
    }
    fs::create_dir_all(dir).map_err(Error::io(format!("making {}", dir.display())))?;
    let old = fs::read_link(dir.join(DATA)).ok();
    if old.as_ref().is_some_and(|o| same(&dir.join(o), payload, group)) {
        return links(dir, payload);
    }
    let version = fresh(dir)?;
    for (path, (bytes, mode)) in payload {
        file(&version.join(path), bytes, *mode, group)?;
    }
    give(&version, 0o755, group)?;
    let next = dir.join(DATA_NEXT);
    remove(&next)?;
    let name = version.file_name().map(PathBuf::from).unwrap_or_default();
    symlink(&name, &next).map_err(Error::io(format!("linking {}", next.display())))?;
    fs::rename(&next, dir.join(DATA)).map_err(Error::io(format!("renaming {}", next.display())))?;
    links(dir, payload)?;
    give(dir, 0o777, group)?;
    match old {
        Some(old) if old != name => remove(&dir.join(old)),
        Some(_) | None => Ok(()),
    }
}

/// A path must stay inside the volume, and may not take the names that belong to the writer.
fn check(path: &str) -> Result<(), Error> {
    let plain = Path::new(path).components().all(|c| matches!(c, Component::Normal(_)));
    if path.is_empty() || !plain || path.starts_with("..") {
        return Err(Error::Refused(format!("the path {path:?} of a file must be relative and stay inside the volume")));
    }
    Ok(())
}

fn mode_for(mode: u32, group: Option<u32>) -> u32 {
    if group.is_some() { mode | 0o440 } else { mode }
}

fn same(version: &Path, payload: &Payload, group: Option<u32>) -> bool {
    let mut seen = BTreeSet::new();
    if !listed(version, version, &mut seen) || seen.len() != payload.len() {
        return false;
    }
    payload.iter().all(|(path, (bytes, mode))| {
        let file = version.join(path);
        let meta = fs::metadata(&file).ok();
        let same_mode = meta.as_ref().is_some_and(|m| m.mode() & 0o7777 == mode_for(*mode, group));
        let same_group = group.is_none_or(|g| meta.as_ref().is_some_and(|m| m.gid() == g));
        same_mode && same_group && fs::read(&file).is_ok_and(|b| &b == bytes)
    })
}

fn listed(root: &Path, dir: &Path, seen: &mut BTreeSet<PathBuf>) -> bool {
    let Ok(entries) = fs::read_dir(dir) else { return false };
    entries.flatten().all(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return listed(root, &path, seen);
        }
        path.strip_prefix(root).is_ok_and(|p| seen.insert(p.to_owned()))
    })
}

fn fresh(dir: &Path) -> Result<PathBuf, Error> {
    let stamp = jiff::Timestamp::now().strftime("..%Y_%m_%d_%H_%M_%S").to_string();
    loop {
        let path = dir.join(format!("{stamp}.{}", rand::random::<u32>()));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(source) => return Err(Error::Io { doing: format!("making {}", path.display()), source }),
        }
    }
}

fn file(path: &Path, bytes: &[u8], mode: u32, group: Option<u32>) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io(format!("making {}", parent.display())))?;
    }
    fs::write(path, bytes).map_err(Error::io(format!("writing {}", path.display())))?;
    give(path, mode_for(mode, group), group)
}

fn give(path: &Path, mode: u32, group: Option<u32>) -> Result<(), Error> {
    if group.is_some() {
        std::os::unix::fs::chown(path, None, group)
            .map_err(Error::io(format!("changing the group of {}", path.display())))?;
    }
    let permissions = fs::Permissions::from_mode(mode);
    fs::set_permissions(path, permissions).map_err(Error::io(format!("changing the mode of {}", path.display())))
}

/// The links that the user sees: the first component of every path, through `..data`.
fn links(dir: &Path, payload: &Payload) -> Result<(), Error> {
    let first = |p: &String| p.split('/').next().unwrap_or_default().to_owned();
    let wanted: BTreeSet<String> = payload.keys().map(first).collect();
    for name in &wanted {
        let link = dir.join(name);
        let target = Path::new(DATA).join(name);
        if fs::read_link(&link).is_ok_and(|t| t == target) {
            continue;
        }
        remove(&link)?;
        symlink(&target, &link).map_err(Error::io(format!("linking {}", link.display())))?;
    }
    let entries = fs::read_dir(dir).map_err(Error::io(format!("listing {}", dir.display())))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !wanted.contains(&name) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Error> {
    let done = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match done {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(Error::Io { doing: format!("removing {}", path.display()), source: e })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(list: &[(&str, &str, u32)]) -> Payload {
        list.iter().map(|(p, b, m)| ((*p).to_owned(), (b.as_bytes().to_vec(), *m))).collect()
    }

    fn shown(dir: &Path) -> Vec<String> {
        let mut list: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|n| !n.starts_with(".."))
            .collect();
        list.sort();
        list
    }

    #[test]
    fn a_new_version_replaces_the_old_one_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write(dir, &payload(&[("a", "1", 0o644), ("sub/b", "2", 0o400)]), None).unwrap();
        assert_eq!(shown(dir), ["a", "sub"]);
        assert_eq!(fs::read_to_string(dir.join("sub/b")).unwrap(), "2");
        assert_eq!(fs::metadata(dir.join("sub/b")).unwrap().mode() & 0o777, 0o400);
        let before = fs::read_link(dir.join(DATA)).unwrap();

        write(dir, &payload(&[("a", "1", 0o644), ("sub/b", "2", 0o400)]), None).unwrap();
        assert_eq!(fs::read_link(dir.join(DATA)).unwrap(), before, "the same content is not written again");

        write(dir, &payload(&[("a", "1", 0o600), ("c", "3", 0o644)]), None).unwrap();
        assert_ne!(fs::read_link(dir.join(DATA)).unwrap(), before);
        assert!(!dir.join(before).exists(), "the old version is removed");
        assert_eq!(shown(dir), ["a", "c"]);
        assert_eq!(fs::read_link(dir.join("c")).unwrap(), Path::new("..data/c"));
    }

    #[test]
    fn paths_cannot_leave_the_volume() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["../x", "/etc/x", "a/../../x", "..data", "", "./a"] {
            assert!(write(dir.path(), &payload(&[(path, "", 0o644)]), None).is_err() || path == "./a", "{path}");
        }
        assert!(!dir.path().parent().unwrap().join("x").exists());
    }
}
