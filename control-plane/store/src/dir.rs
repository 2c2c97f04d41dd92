//! The data directory: who holds it, which version wrote it, who may read it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::contract::{Error, Result};

/// What this build writes. Another number means another layout.
const VERSION: &str = "wherry store 1\n";

/// A directory that this process holds alone until it is dropped.
#[derive(Debug)]
pub struct Dir {
    path: PathBuf,
    _lock: File,
}

impl Dir {
    pub fn open(path: &Path) -> Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| io_error("create", path, &error))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .map_err(|error| io_error("restrict the mode of", path, &error))?;
        let lock = lock(path)?;
        check_version(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub fn tables(&self) -> PathBuf {
        self.path.join("state.redb")
    }

    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }
}

fn lock(path: &Path) -> Result<File> {
    let name = path.join("lock");
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.open(&name).map_err(|error| io_error("open", &name, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Data(format!(
            "{} is in use by another process; stop that one first, or choose another data directory",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(io_error("lock", &name, &error)),
    }
}

fn check_version(path: &Path) -> Result<()> {
    let name = path.join("version");
    match fs::read_to_string(&name) {
        Ok(found) if found == VERSION => Ok(()),
        Ok(found) => Err(Error::Data(format!(
            "{} says {:?}, this program writes {:?}: start the version of wherry that wrote it, or move {} away to \
             start empty",
            name.display(),
            found.trim_end(),
            VERSION.trim_end(),
            path.display(),
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => write_version(path, &name),
        Err(error) => Err(io_error("read", &name, &error)),
    }
}

/// Only into a directory that holds no data yet: without the file nobody knows what the rest is.
fn write_version(path: &Path, name: &Path) -> Result<()> {
    if path.join("log").exists() || path.join("state.redb").exists() {
        return Err(Error::Data(format!(
            "{} is missing although {} holds data: put it back from a copy, or move the directory away to start empty",
            name.display(),
            path.display(),
        )));
    }
    let temporary = path.join("version.new");
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        io::Write::write_all(&mut file, VERSION.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, name)?;
        sync_dir(path)
    };
    write().map_err(|error| io_error("write", name, &error))
}

/// Makes new, renamed and removed names of a directory durable.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// An IO error as the contract's, naming what was being done to which file.
pub fn io_error(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::Disk(format!("{what} {}: {error}", path.display()))
}
