//! The log file of a container in the form that the CRI demands:
//! `2026-01-02T03:04:05.999999999Z stdout F line`.
//!
//! Synchronous on purpose: the pod process, which has neither threads nor a runtime, writes with it too.

use jiff::Timestamp;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The longest piece of a line written at once. A longer line is cut into pieces tagged `P`: readers of the kubelet keep
/// one piece in memory, and 16 KiB is what container runtimes have agreed on.
pub const LINE_LIMIT: usize = 16 * 1024;

/// Which stream a piece of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// One container's log file, open for appending.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Log {
    /// Opens the file at `path` for appending, making it and its directory where they are missing.
    pub fn open(path: &Path) -> io::Result<Log> {
        Ok(Log { path: path.to_owned(), file: append(path)?, stdout: Vec::new(), stderr: Vec::new() })
    }

    /// Opens the path anew: after a rotation it names another file.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.file = append(&self.path)?;
        Ok(())
    }

    /// Appends output. What does not end in a newline waits for its rest, up to [`LINE_LIMIT`].
    pub fn write(&mut self, stream: Stream, now: Timestamp, bytes: &[u8]) -> io::Result<()> {
        let pending = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let mut entries = Vec::with_capacity(bytes.len() + 64);
        frame(pending, bytes, |tag, line| entry(&mut entries, now, stream, tag, line));
        if entries.is_empty() { Ok(()) } else { self.file.write_all(&entries) }
    }

    /// Writes what still waits for its newline. To be called when a stream has ended.
    pub fn finish(&mut self, stream: Stream, now: Timestamp) -> io::Result<()> {
        let pending = match stream {
            Stream::Stdout => std::mem::take(&mut self.stdout),
            Stream::Stderr => std::mem::take(&mut self.stderr),
        };
        if pending.is_empty() {
            return Ok(());
        }
        let mut entries = Vec::with_capacity(pending.len() + 64);
        entry(&mut entries, now, stream, b'P', &pending);
        self.file.write_all(&entries)
    }
}

fn append(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// Cuts `pending` followed by `bytes` into lines and over-long pieces; what is left stays in `pending`.
fn frame(pending: &mut Vec<u8>, mut bytes: &[u8], mut emit: impl FnMut(u8, &[u8])) {
    while !bytes.is_empty() {
        let room = LINE_LIMIT - pending.len();
        let window = &bytes[..bytes.len().min(room + 1)];
        match window.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                if pending.is_empty() {
                    emit(b'F', &bytes[..end]);
                } else {
                    pending.extend_from_slice(&bytes[..end]);
                    emit(b'F', pending);
                    pending.clear();
                }
                bytes = &bytes[end + 1..];
            }
            None if window.len() > room => {
                pending.extend_from_slice(&bytes[..room]);
                emit(b'P', pending);
                pending.clear();
                bytes = &bytes[room..];
            }
            None => {
                pending.extend_from_slice(bytes);
                bytes = &[];
            }
        }
    }
}

fn entry(out: &mut Vec<u8>, now: Timestamp, stream: Stream, tag: u8, line: &[u8]) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{now:.9} {} {} ", stream.name(), tag as char);
    out.extend_from_slice(line);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(pieces: &[&[u8]]) -> (Vec<(char, usize)>, usize) {
        let mut pending = Vec::new();
        let mut got = Vec::new();
        for piece in pieces {
            frame(&mut pending, piece, |tag, line| got.push((tag as char, line.len())));
        }
        (got, pending.len())
    }

    #[test]
    fn lines_are_cut_at_newlines_and_at_the_limit() {
        let long = vec![b'x'; LINE_LIMIT * 2 + 10];
        let exact = [vec![b'y'; LINE_LIMIT], b"\n".to_vec()].concat();
        // Pieces as they come, the entries with their lengths, and what still waits.
        type Case<'a> = (&'a [&'a [u8]], &'a [(char, usize)], usize);
        let cases: &[Case<'_>] = &[
            (&[b"a\nbc\n"], &[('F', 1), ('F', 2)], 0),
            (&[b"a", b"b", b"\n\n"], &[('F', 2), ('F', 0)], 0),
            (&[b"no newline"], &[], 10),
            (&[&long, b"\n"], &[('P', LINE_LIMIT), ('P', LINE_LIMIT), ('F', 10)], 0),
            (&[&exact], &[('F', LINE_LIMIT)], 0),
            (&[&exact[..LINE_LIMIT], b"\n"], &[('F', LINE_LIMIT)], 0),
        ];
        for (pieces, entries, rest) in cases {
            let got = framed(pieces);
            assert_eq!((got.0.as_slice(), got.1), (*entries, *rest), "of {} pieces", pieces.len());
        }
    }

    #[test]
    fn entries_have_the_form_of_the_cri_and_rotation_starts_a_new_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("c/0.log");
        let mut log = Log::open(&path).expect("a log");
        let now: Timestamp = "2026-01-02T03:04:05.000000007Z".parse().expect("a time");
        log.write(Stream::Stdout, now, b"hello\nrest").expect("written");
        log.write(Stream::Stderr, now, b"oh\n").expect("written");
        log.finish(Stream::Stdout, now).expect("written");
        let first = directory.path().join("c/0.log.1");
        std::fs::rename(&path, &first).expect("rotated");
        log.reopen().expect("reopened");
        log.write(Stream::Stdout, now, b"new\n").expect("written");
        assert_eq!(
            std::fs::read_to_string(first).expect("read"),
            "2026-01-02T03:04:05.000000007Z stdout F hello\n\
             2026-01-02T03:04:05.000000007Z stderr F oh\n\
             2026-01-02T03:04:05.000000007Z stdout P rest\n"
        );
        assert_eq!(std::fs::read_to_string(path).expect("read"), "2026-01-02T03:04:05.000000007Z stdout F new\n");
    }
}
