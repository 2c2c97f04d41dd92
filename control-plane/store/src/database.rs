//! The file of the tables: how it comes to be, how another takes its place, and what redb asks of the disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, DatabaseError, StorageBackend, StorageError};

use crate::contract::{Error, Result};
use crate::dir::{Dir, io_error};
use crate::disk::{Disk, DiskFile, Opening};
use crate::tables::{self, TableError};

/// redb's page cache. The whole cluster has 40 MiB when idle; with 16 or 32 a get among 100,000 costs the same.
const CACHE_BYTES: usize = 4 << 20;

/// Opens the tables of a directory, or makes empty ones.
pub fn open(dir: &Dir) -> Result<Database> {
    let path = dir.tables();
    let exists = dir.disk().exists(&path).map_err(|error| io_error("look for", &path, &error))?;
    if exists {
        return open_at(&**dir.disk(), &path, Opening::Existing);
    }
    // Under another name until it is whole: a start after a power cut must not find half a file.
    replace(dir, |_| Ok(()))
}

/// Fills new tables, and puts them in the place of those that are there once the disk has them.
pub fn replace(dir: &Dir, fill: impl FnOnce(&Database) -> Result<()>) -> Result<Database> {
    let (new, path) = (dir.new_tables(), dir.tables());
    let database = open_at(&**dir.disk(), &new, Opening::Emptied)?;
    fill(&database)?;
    // An empty transaction that is synced makes everything before it durable.
    tables::begin(&database, true)?.commit().map_err(TableError::from)?;
    let place = || -> io::Result<()> {
        dir.disk().rename(&new, &path)?;
        dir.disk().sync_dir(dir.path())
    };
    place().map_err(|error| io_error("put new tables at", &path, &error))?;
    Ok(database)
}

/// Opens a copy of the tables, for reading what would have been.
pub fn open_copy(disk: &dyn Disk, path: &Path) -> Result<Database> {
    open_at(disk, path, Opening::Existing)
}

fn open_at(disk: &dyn Disk, path: &Path, opening: Opening) -> Result<Database> {
    let file = disk.open(path, opening).map_err(|error| io_error("open", path, &error))?;
    let opened =
        Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(Backend { file, path: path.to_owned() });
    let database = opened.map_err(|error| refused(path, &error))?;
    tables::create(&database)?;
    Ok(database)
}

/// What redb says of a file that it does not open.
pub fn refused(path: &Path, error: &DatabaseError) -> Error {
    match error {
        DatabaseError::Storage(StorageError::Io(error)) => io_error("read the tables in", path, error),
        damaged => Error::Data(format!(
            "{} is damaged: {damaged}. Restore the data directory from a copy, or a snapshot with `wherry store \
             snapshot restore`; the file is left as it is",
            path.display()
        )),
    }
}

/// redb's view of one of our files.
#[derive(Debug)]
struct Backend {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
}

impl Backend {
    /// redb's own errors name no file.
    fn named<T>(&self, what: &str, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| io::Error::new(error.kind(), format!("{what} {}: {error}", self.path.display())))
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.named("measure", self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.named("read", self.file.read_at(offset, out))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.named("resize", self.file.set_len(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.named("sync", self.file.sync())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.named("write", self.file.write_at(offset, bytes))
    }
}
