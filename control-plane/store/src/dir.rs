//! The data directory: who holds it, which version wrote it, who may read it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::contract::{Error, Result};
use crate::disk::{self, Disk, Held, Opening};

/// What this build writes. Another number means another layout.
const VERSION: &str = "wherry store 1\n";

/// A directory that this process holds alone until it is dropped.
pub struct Dir {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    _lock: Held,
}

impl Dir {
    /// Made if it is not there.
    pub fn open(disk: Arc<dyn Disk>, path: &Path) -> Result<Self> {
        create(&*disk, path)?;
        Self::hold(disk, path)
    }

    /// Refuses a directory that holds no store.
    pub fn existing(disk: Arc<dyn Disk>, path: &Path) -> Result<Self> {
        let version = path.join("version");
        if !disk.exists(&version).map_err(|error| io_error("look for", &version, &error))? {
            return Err(Error::Data(format!("{} holds no store: {} is missing", path.display(), version.display())));
        }
        Self::hold(disk, path)
    }

    fn hold(disk: Arc<dyn Disk>, path: &Path) -> Result<Self> {
        let lock = lock(&*disk, path)?;
        check_version(&*disk, path)?;
        Ok(Self { path: path.to_owned(), disk, _lock: lock })
    }

    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub fn tables(&self) -> PathBuf {
        self.path.join("state.redb")
    }

    /// Tables on their way to become the others.
    pub fn new_tables(&self) -> PathBuf {
        self.path.join("state.new")
    }

    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether a process has this store open now.
pub fn is_in_use(disk: &dyn Disk, path: &Path) -> Result<bool> {
    let name = path.join("lock");
    let held = disk.lock(&name).map_err(|error| io_error("lock", &name, &error))?;
    Ok(held.is_none())
}

/// Makes a directory if it is not there, so that a power cut does not take it away again.
pub fn create(disk: &dyn Disk, path: &Path) -> Result<()> {
    let create = || -> io::Result<()> {
        let there = disk.exists(path)?;
        disk.create_dir(path)?;
        match path.parent() {
            Some(parent) if !there && !parent.as_os_str().is_empty() => disk.sync_dir(parent),
            _ => Ok(()),
        }
    };
    create().map_err(|error| io_error("create", path, &error))
}

fn lock(disk: &dyn Disk, path: &Path) -> Result<Held> {
    let name = path.join("lock");
    let held = disk.lock(&name).map_err(|error| io_error("lock", &name, &error))?;
    held.ok_or_else(|| {
        Error::Data(format!(
            "{} is in use by another process; stop that one first, or choose another data directory",
            path.display()
        ))
    })
}

fn check_version(disk: &dyn Disk, path: &Path) -> Result<()> {
    let name = path.join("version");
    match disk::read(disk, &name) {
        Ok(found) if found == VERSION.as_bytes() => Ok(()),
        Ok(found) => Err(Error::Data(format!(
            "{} says {:?}, this program writes {:?}: start the version of wherry that wrote it, or move {} away to \
             start empty",
            name.display(),
            String::from_utf8_lossy(&found).trim_end(),
            VERSION.trim_end(),
            path.display(),
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => write_version(disk, path, &name),
        Err(error) => Err(io_error("read", &name, &error)),
    }
}

/// Only into a directory that holds no data yet: without the file nobody knows what the rest is.
fn write_version(disk: &dyn Disk, path: &Path, name: &Path) -> Result<()> {
    let there = |entry: &str| {
        let entry = path.join(entry);
        disk.exists(&entry).map_err(|error| io_error("look for", &entry, &error))
    };
    if there("log")? || there("state.redb")? {
        return Err(Error::Data(format!(
            "{} is missing although {} holds data: put it back from a copy, or move the directory away to start empty",
            name.display(),
            path.display(),
        )));
    }
    let temporary = path.join("version.new");
    let write = || -> io::Result<()> {
        let file = disk.open(&temporary, Opening::Emptied)?;
        file.write_at(0, VERSION.as_bytes())?;
        file.sync()?;
        disk.rename(&temporary, name)?;
        disk.sync_dir(path)
    };
    write().map_err(|error| io_error("write", name, &error))
}

/// An IO error as the contract's, naming what was being done to which file.
pub fn io_error(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::Disk(format!("{what} {}: {error}", path.display()))
}
