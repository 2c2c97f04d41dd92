//! Snapshot files, and where they come from: tables in use, or the files of a member that does not run.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::EntryPayload;
use redb::{Database, ReadTransaction};

use crate::contract::{Error, Result, Revision};
use crate::database;
use crate::dir::{Dir, io_error};
use crate::disk::Real;
use crate::image;
use crate::layers::{self, Layers};
use crate::log::Log;
use crate::state::{self, State};
use crate::tables;

/// Entries of the log that are applied in one go.
const ENTRIES_AT_ONCE: u64 = 256;

/// A snapshot that is being written: under another name until it is whole, and gone if it never is.
pub struct SnapshotFile {
    out: BufWriter<File>,
    temporary: PathBuf,
    path: PathBuf,
    whole: bool,
}

impl SnapshotFile {
    pub fn create(path: &Path) -> Result<Self> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".part");
        let temporary = PathBuf::from(temporary);
        let file = File::options().create_new(true).write(true).mode(0o600).open(&temporary);
        let file = file.map_err(|error| io_error("write the snapshot", &temporary, &error))?;
        let mut snapshot = Self { out: BufWriter::new(file), temporary, path: path.to_owned(), whole: false };
        snapshot.block(image::MAGIC)?;
        Ok(snapshot)
    }

    pub fn block(&mut self, block: &[u8]) -> Result<()> {
        self.out.write_all(block).map_err(|error| self.failed(&error))
    }

    /// Everything is in it: from here on it has its name.
    pub fn finish(mut self) -> Result<()> {
        self.out.flush().and_then(|()| self.out.get_ref().sync_all()).map_err(|error| self.failed(&error))?;
        std::fs::rename(&self.temporary, &self.path)
            .map_err(|error| io_error("name the snapshot", &self.path, &error))?;
        self.whole = true;
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> Error {
        io_error("write the snapshot", &self.temporary, error)
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        if !self.whole {
            // The error that matters came before.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Everything that is in the tables. Its revision.
pub fn save(read: &ReadTransaction, path: &Path) -> Result<Revision> {
    let mut snapshot = SnapshotFile::create(path)?;
    let revision = tables::load(read)?.0.revision;
    image::write(read, &mut |block| snapshot.block(&block))?;
    snapshot.finish()?;
    Ok(revision)
}

/// Everything that the files of a member have which does not run: its tables, and what its log adds to them. The end of
/// the log may hold writes that were not acknowledged yet. Nothing of the member is changed.
pub fn save_stopped(path: &Path, to: &Path) -> Result<Revision> {
    let dir = Dir::existing(Arc::new(Real), path)?;
    let mut copy = to.as_os_str().to_owned();
    copy.push(".tables");
    let copy = Removed(PathBuf::from(copy));
    std::fs::copy(dir.tables(), &copy.0).map_err(|error| io_error("copy the tables to", &copy.0, &error))?;
    let log = Log::open(dir.disk().clone(), &dir.log(), true)?;
    let database = database::open_copy(&**dir.disk(), &copy.0)?;
    save(&apply(database, &log)?.read_tables()?, to)
}

/// A file that is in nobody's way afterwards.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn apply(database: Database, log: &Log) -> Result<Layers> {
    let layers = Layers::new(database, layers::ENOUGH)?;
    loop {
        let from = layers.view().applied().log_id.map_or(0, |applied| applied.index + 1);
        let entries = log.entries(from, from + ENTRIES_AT_ONCE).map_err(|error| Error::Disk(error.to_string()))?;
        let more = !entries.is_empty();
        let changed = layers.change(|rows| {
            let mut numbers = rows.fresh.numbers;
            for entry in entries {
                rows.fresh.applied.log_id = Some(entry.log_id);
                // Who is a member is no part of a snapshot file.
                let EntryPayload::Normal(group) = entry.payload else { continue };
                for command in group.commands.iter() {
                    state::apply(&mut State { rows: &mut *rows, numbers: &mut numbers }, command)?;
                }
            }
            rows.fresh.numbers = numbers;
            Ok(())
        });
        let failed = |error: io::Error| Error::Disk(error.to_string());
        changed.map_err(failed)?;
        if !more || layers.is_due() {
            // Its log is on the disk.
            layers.flush(|| Ok(())).map_err(failed)?;
        }
        if !more {
            return Ok(layers);
        }
    }
}
