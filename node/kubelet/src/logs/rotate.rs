//! Rotation: a log of more than 10 MiB is renamed and reopened; of a container's old ones the newest four are kept.

use crate::node::Node;
use jiff::Timestamp;
use std::path::{Path, PathBuf};

/// Upstream's `containerLogMaxSize` and `containerLogMaxFiles`.
const MOST_BYTES: u64 = 10 << 20;
const FILES: usize = 5;

/// Looks at the log of every running container once.
pub async fn rotate(node: &Node) {
    for shown in node.board.all() {
        for c in shown.containers.iter().filter(|c| c.running()) {
            let path = Path::new(&c.log_path);
            if !std::fs::metadata(path).is_ok_and(|m| m.len() > MOST_BYTES) {
                continue;
            }
            if let Err(error) = one(node, &c.id, path).await {
                tracing::warn!(path = %path.display(), error, "rotating a log");
            }
        }
    }
}

async fn one(node: &Node, id: &str, path: &Path) -> Result<(), String> {
    let stamp = Timestamp::now().strftime("%Y%m%d-%H%M%S");
    let to = PathBuf::from(format!("{}.{stamp}", path.display()));
    std::fs::rename(path, &to).map_err(|e| format!("renaming: {e}"))?;
    if let Err(e) = node.runtime.reopen_log(id).await {
        // The runtime still writes to the old file: give it its name back.
        std::fs::rename(&to, path).map_err(|e| format!("renaming back: {e}"))?;
        return Err(e.to_string());
    }
    prune(path).map_err(|e| format!("removing old logs: {e}"))
}

/// Removes all but the newest of what was rotated away from `path`.
fn prune(path: &Path) -> std::io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let prefix = format!("{}.", name.to_string_lossy());
    let mut old: Vec<PathBuf> = std::fs::read_dir(dir)?
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with(&prefix))
        .map(|e| e.path())
        .collect();
    old.sort();
    old.truncate(old.len().saturating_sub(FILES - 1));
    old.iter().try_for_each(std::fs::remove_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_old_logs_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        for i in 1..=7 {
            std::fs::write(dir.path().join(format!("0.log.2026010{i}-000000")), "").unwrap();
        }
        std::fs::write(&path, "").unwrap();
        prune(&path).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left.len(), 5);
        assert_eq!(left[1], "0.log.20260104-000000");
    }
}
