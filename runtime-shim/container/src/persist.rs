//! Small state files that a crash leaves either old or new, never torn.

use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, Write};
use std::path::Path;

/// The largest state file read back. Ours are a few KiB; anything larger is not ours.
const FILE_LIMIT: u64 = 8 * 1024 * 1024;

/// Writes `value` as JSON at `path`, replacing what was there in one step.
pub fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = directory.join(name);
    let mut file = std::fs::File::create(&fresh)?;
    file.write_all(&serde_json::to_vec(value).map_err(io::Error::other)?)?;
    drop(file);
    std::fs::rename(&fresh, path)
}

/// Reads what [`write`] wrote.
pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let length = std::fs::metadata(path)?.len();
    if length > FILE_LIMIT {
        return Err(io::Error::other(format!(
            "{} has {length} bytes; a state file has at most {FILE_LIMIT}",
            path.display()
        )));
    }
    serde_json::from_slice(&std::fs::read(path)?)
        .map_err(|error| io::Error::other(format!("{} is not a state file of ours: {error}", path.display())))
}
