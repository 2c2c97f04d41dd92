//! `hostPath`: a path of the node, checked or made as its type says.

use super::Error;
use k8s_openapi::api::core::v1::HostPathVolumeSource;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

pub(super) fn mount(source: &HostPathVolumeSource) -> Result<(), Error> {
    let path = Path::new(&source.path);
    let kind = source.type_.as_deref().unwrap_or_default();
    match kind {
        "DirectoryOrCreate" if !path.exists() => {
            fs::create_dir_all(path).map_err(Error::io(format!("making {}", path.display())))?;
            return mode(path, 0o755);
        }
        "FileOrCreate" if !path.exists() => {
            fs::write(path, b"").map_err(Error::io(format!("making {}", path.display())))?;
            return mode(path, 0o644);
        }
        _ => {}
    }
    let is = |want: fn(&fs::FileType) -> bool| fs::metadata(path).is_ok_and(|m| want(&m.file_type()));
    let (fits, noun) = match kind {
        "" => return Ok(()),
        "Directory" | "DirectoryOrCreate" => (is(fs::FileType::is_dir), "directory"),
        "File" | "FileOrCreate" => (is(fs::FileType::is_file), "file"),
        "Socket" => (is(FileTypeExt::is_socket), "socket file"),
        "CharDevice" => (is(FileTypeExt::is_char_device), "character device"),
        "BlockDevice" => (is(FileTypeExt::is_block_device), "block device"),
        other => return Err(Error::Refused(format!("the hostPath type {other:?} is not known"))),
    };
    match fits {
        true => Ok(()),
        false => Err(Error::Refused(format!("hostPath type check failed: {} is not a {noun}", path.display()))),
    }
}

fn mode(path: &Path, mode: u32) -> Result<(), Error> {
    let permissions = fs::Permissions::from_mode(mode);
    fs::set_permissions(path, permissions).map_err(Error::io(format!("changing the mode of {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_checked_or_made() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        for (path, kind, fits) in [
            (at("file"), "File", true),
            (at("file"), "Directory", false),
            (at("file"), "Socket", false),
            (at("none"), "", true),
            (at("none"), "File", false),
            (at("new/dir"), "DirectoryOrCreate", true),
            (at("newfile"), "FileOrCreate", true),
            ("/dev/null".to_owned(), "CharDevice", true),
            ("/dev/null".to_owned(), "BlockDevice", false),
            (at("file"), "Bogus", false),
        ] {
            let source = HostPathVolumeSource { path: path.clone(), type_: Some(kind.to_owned()) };
            assert_eq!(mount(&source).is_ok(), fits, "{path} {kind}");
        }
        assert!(dir.path().join("new/dir").is_dir() && dir.path().join("newfile").is_file());
    }
}
