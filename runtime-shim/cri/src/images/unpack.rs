//! Unpacks one layer into a directory for overlayfs. An archive is a stranger's: no entry may leave the directory.

use super::{Error, Result};
use flate2::read::MultiGzDecoder;
use nix::sys::stat::{Mode, SFlag, mknod};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The most a layer may unpack to: an archive of zeroes must not fill the disk.
const BYTES_LIMIT: u64 = 32 * 1024 * 1024 * 1024;
/// The most entries of a layer; large distributions have some hundred thousand files.
const ENTRIES_LIMIT: usize = 2_000_000;

/// Unpacks the archive `blob` in `temporary` and renames that to `target`.
pub fn layer(blob: &Path, temporary: &Path, target: &Path) -> Result<()> {
    let doing = || format!("unpack layer {}", target.file_name().unwrap_or_default().to_string_lossy());
    fs::create_dir_all(temporary).map_err(Error::io(doing()))?;
    let result = File::open(blob).and_then(|file| unpack(file, temporary)).map_err(with_cause);
    if let Err(error) = result {
        let _ = fs::remove_dir_all(temporary);
        return Err(Error::io(doing())(error));
    }
    match fs::rename(temporary, target) {
        Ok(()) => Ok(()),
        // Someone else has unpacked the same layer meanwhile.
        Err(_) if target.is_dir() => fs::remove_dir_all(temporary).map_err(Error::io(doing())),
        Err(error) => Err(Error::io(doing())(error)),
    }
}

/// The archive library's errors show only that an entry failed; why is underneath.
fn with_cause(error: io::Error) -> io::Error {
    match error.get_ref().and_then(|inner| inner.source()) {
        Some(cause) => io::Error::new(error.kind(), format!("{error}: {cause}")),
        None => error,
    }
}

fn unpack(mut file: File, root: &Path) -> io::Result<()> {
    let mut magic = [0u8; 4];
    let count = file.read(&mut magic)?;
    io::Seek::rewind(&mut file)?;
    let file = io::BufReader::with_capacity(1 << 16, file);
    let plain: Box<dyn Read> = match &magic[..count] {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd] => {
            return Err(io::Error::other(
                "the layer is compressed with zstd, which is not supported: build the image with gzip layers",
            ));
        }
        _ => Box::new(file),
    };
    let mut archive = tar::Archive::new(plain.take(BYTES_LIMIT));
    archive.set_preserve_permissions(true);
    // SAFETY: geteuid only reads.
    archive.set_preserve_ownerships(unsafe { libc::geteuid() } == 0);
    archive.set_unpack_xattrs(true);
    for (number, entry) in archive.entries()?.enumerate() {
        if number == ENTRIES_LIMIT {
            return Err(io::Error::other(format!("more than {ENTRIES_LIMIT} entries")));
        }
        let mut entry = entry?;
        let path = clean(&entry.path()?)?;
        match path.file_name().and_then(|name| name.to_str()) {
            Some(".wh..wh..opq") => opaque(root, path.parent().unwrap_or(Path::new("")))?,
            Some(name) if name.starts_with(".wh.") => whiteout(root, &path.with_file_name(&name[4..]))?,
            Some(_) | None => {
                entry.unpack_in(root)?;
            }
        }
    }
    Ok(())
}

/// The path without `.` and a leading `/`; an archive with `..` is refused.
fn clean(path: &Path) -> io::Result<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(io::Error::other(format!("an entry is named {}, which leaves the image", path.display())));
            }
        }
    }
    Ok(clean)
}

/// The directory `path` below `root`, made where it is missing; never through a link.
fn directory(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut at = root.to_owned();
    for part in path.components() {
        at.push(part);
        match fs::symlink_metadata(&at) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(io::Error::other(format!("{} is not a directory", path.display()))),
            Err(_) => fs::create_dir(&at)?,
        }
    }
    Ok(at)
}

/// Hides a name of the layers below: for overlayfs a character device 0/0.
fn whiteout(root: &Path, path: &Path) -> io::Result<()> {
    let parent = directory(root, path.parent().unwrap_or(Path::new("")))?;
    let target = parent.join(path.file_name().unwrap_or_default());
    if target.symlink_metadata().is_ok() {
        return Ok(());
    }
    mknod(&target, SFlag::S_IFCHR, Mode::empty(), 0).map_err(io::Error::from)
}

/// Hides everything that the layers below have in a directory.
fn opaque(root: &Path, path: &Path) -> io::Result<()> {
    let target = directory(root, path)?;
    let name = CString::new(target.as_os_str().as_bytes()).map_err(io::Error::other)?;
    // SAFETY: both strings end with a zero, and the value has the length given.
    let set = unsafe { libc::setxattr(name.as_ptr(), c"trusted.overlay.opaque".as_ptr(), c"y".as_ptr().cast(), 1, 0) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().expect("gnu").name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_cksum();
            builder.append(&header, text.as_bytes()).expect("appended");
        }
        builder.into_inner().expect("an archive")
    }

    #[test]
    fn entries_stay_inside_and_whiteouts_become_devices() {
        let directory = tempfile::tempdir().expect("a directory");
        let run = |name: &str, entries: &[(&str, &str)]| {
            let blob = directory.path().join(format!("{name}.tar"));
            fs::write(&blob, archive(entries)).expect("written");
            let target = directory.path().join(name);
            layer(&blob, &directory.path().join("tmp"), &target).map(|()| target).map_err(|e| e.to_string())
        };
        let good = run("good", &[("/a/b", "text"), ("./c", "more")]).expect("unpacked");
        assert_eq!(fs::read_to_string(good.join("a/b")).expect("read"), "text");
        assert!(run("up", &[("../evil", "x")]).expect_err("refused").contains("leaves the image"));
        assert!(!directory.path().join("evil").exists());
        // SAFETY: geteuid only reads.
        if unsafe { libc::geteuid() } != 0 {
            eprintln!("SKIPPED: whiteouts need root");
            return;
        }
        let white = run("white", &[("d/.wh.gone", ""), ("e/.wh..wh..opq", "")]).expect("unpacked");
        use std::os::unix::fs::FileTypeExt;
        assert!(fs::symlink_metadata(white.join("d/gone")).expect("there").file_type().is_char_device());
        assert!(white.join("e").is_dir());
    }
}
