//! The few things that the store asks of a file system. Behind a trait, so that tests can cut its power and fail its
//! calls. Every file and directory is its owner's alone.

use std::any::Any;
use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// How a file is opened. All of them read and write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It must be there.
    Existing,
    /// Made, empty, if it is not there.
    OrEmpty,
    /// Empty, whatever was there.
    Emptied,
}

/// Held until it is dropped.
pub type Held = Box<dyn Any + Send + Sync>;

pub trait Disk: Debug + Send + Sync {
    /// With its parents; one that is there is fine.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    fn open(&self, path: &Path, opening: Opening) -> io::Result<Arc<dyn DiskFile>>;
    /// Names, without their directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    fn exists(&self, path: &Path) -> io::Result<bool>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes new, renamed and removed names of a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// `None` when somebody else holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Held>>;
    /// Bytes that this user may still write.
    fn available(&self, dir: &Path) -> io::Result<u64>;
}

pub trait DiskFile: Debug + Send + Sync {
    fn len(&self) -> io::Result<u64>;
    /// Fails when there are fewer bytes than asked for.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Makes the file this long, zeroed, with space that is its own.
    fn reserve(&self, length: u64) -> io::Result<()>;
    /// Makes durable what was written, and the length.
    fn sync(&self) -> io::Result<()>;
}

/// The whole of a file.
pub fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Opening::Existing)?;
    let length = usize::try_from(file.len()?).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = vec![0; length];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// A file from its beginning to its end.
pub struct Reading {
    file: Arc<dyn DiskFile>,
    at: u64,
    length: u64,
}

impl Reading {
    pub fn open(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let file = disk.open(path, Opening::Existing)?;
        let length = file.len()?;
        Ok(Self { file, at: 0, length })
    }
}

impl io::Read for Reading {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = (self.length - self.at).min(out.len() as u64);
        self.file.read_at(self.at, &mut out[..length as usize])?;
        self.at += length;
        Ok(length as usize)
    }
}

/// The machine's own.
#[derive(Debug, Clone, Copy)]
pub struct Real;

impl Disk for Real {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
    }

    fn open(&self, path: &Path, opening: Opening) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(open(path, opening)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Held>> {
        let file = open(path, Opening::OrEmpty)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn available(&self, dir: &Path) -> io::Result<u64> {
        let stat = statvfs(dir)?;
        Ok(stat.f_bavail * stat.f_frsize)
    }
}

fn open(path: &Path, opening: Opening) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options.create(opening != Opening::Existing).truncate(opening == Opening::Emptied);
    options.open(path)
}

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        File::set_len(self, length)
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        match fallocate(self, FallocateFlags::empty(), 0, length) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP) => File::set_len(self, length),
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
