//! What the OCI library says about a failure: its errors carry only their top line out of the processes that it forks, but
//! it logs the cause. A subscriber of errors alone writes them to a file, which the error's text is completed from.

use std::fmt::{Debug, Write as _};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

/// The most of the notes that goes into an error. The kubelet shows it in an event of at most 1 KiB.
const LIMIT: usize = 800;

struct Notes {
    file: File,
}

/// Runs `work`; the text of its error is completed by what the library logged meanwhile.
pub fn complete<T>(dir: &Path, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let path: PathBuf = dir.join(format!("notes-{}", std::process::id()));
    let Ok(file) = File::options().create(true).append(true).open(&path) else { return work() };
    let result = tracing::subscriber::with_default(Notes { file }, work);
    let notes = std::fs::read_to_string(&path).unwrap_or_default();
    let _ = std::fs::remove_file(&path);
    result.map_err(|error| match notes.lines().next().filter(|first| !error.contains(*first)) {
        Some(first) => {
            let cut = first.char_indices().nth(LIMIT).map_or(first.len(), |(at, _)| at);
            format!("{error}: {}", &first[..cut])
        }
        None => error,
    })
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?} "),
            name => write!(self.0, "({name}: {value:?}) "),
        };
    }
}

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() == Level::ERROR
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let mut line = text.0.trim().replace('\n', " ");
        line.push('\n');
        let _ = (&self.file).write_all(line.as_bytes());
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
