//! Reading a container's log as `kubectl logs` asks for it: from a line or a time on, cut, with or without times, followed.

use super::options::Options;
use super::{Line, parse, start_of_tail};
use bytes::Bytes;
use jiff::Timestamp;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often a followed log is looked at: its writer is another process that announces nothing.
const LOOK: Duration = Duration::from_millis(100);
const BLOCK: usize = 64 << 10;
/// A longer line is cut there; the runtime splits lines far shorter.
const LINE_BYTES: usize = 1 << 20;

/// Sends the log until its end; a followed one until `over` says that the container has ended and nothing is left.
/// Ends when the receiver is dropped.
pub async fn read(path: PathBuf, options: Options, over: impl Fn() -> bool, out: mpsc::Sender<std::io::Result<Bytes>>) {
    let mut reader = Reader { left: options.limit_bytes, options, rest: Vec::new(), open: [false; 2] };
    if let Err(e) = reader.run(&path, over, &out).await {
        // The client is gone: so is its interest.
        let _ = out.send(Err(e)).await;
    }
}

struct Reader {
    options: Options,
    left: Option<u64>,
    /// The begin of a line whose end is not written yet.
    rest: Vec<u8>,
    /// Whether a stream is in the middle of a split line (its time was already printed).
    open: [bool; 2],
}

impl Reader {
    async fn run(
        &mut self,
        path: &PathBuf,
        over: impl Fn() -> bool,
        out: &mpsc::Sender<std::io::Result<Bytes>>,
    ) -> std::io::Result<()> {
        let mut file = std::fs::File::open(path)?;
        let start = match self.options.tail {
            Some(lines) => start_of_tail(&mut file, lines)?,
            None => 0,
        };
        file.seek(SeekFrom::Start(start))?;
        loop {
            // Asked before the read: what was written until then is read below.
            let last = !self.options.follow || over();
            while let Some(text) = self.block(&mut file)? {
                if !text.is_empty() && out.send(Ok(text.into())).await.is_err() {
                    return Ok(());
                }
                if self.left == Some(0) {
                    return Ok(());
                }
            }
            if self.rotated(&mut file, path)? {
                continue;
            }
            if last || out.is_closed() {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The file was renamed and a new one is at its place: go on there.
    fn rotated(&self, file: &mut std::fs::File, path: &PathBuf) -> std::io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let Ok(there) = std::fs::metadata(path) else { return Ok(false) };
        if there.ino() == file.metadata()?.ino() || !self.options.follow {
            return Ok(false);
        }
        *file = std::fs::File::open(path)?;
        Ok(true)
    }

    /// The next piece of output; `None` at the end of what is there.
    fn block(&mut self, file: &mut std::fs::File) -> std::io::Result<Option<Vec<u8>>> {
        let mut raw = vec![0; BLOCK];
        let n = file.read(&mut raw)?;
        if n == 0 {
            return Ok(None);
        }
        self.rest.extend_from_slice(&raw[..n]);
        let mut text = Vec::new();
        while let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            if let Some(line) = parse(&line[..end]) {
                self.print(&line, &mut text);
            }
        }
        if self.rest.len() > LINE_BYTES {
            self.rest.clear();
        }
        if let Some(left) = &mut self.left {
            text.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= text.len() as u64;
        }
        Ok(Some(text))
    }

    fn print(&mut self, line: &Line<'_>, text: &mut Vec<u8>) {
        if self.options.stderr.is_some_and(|wanted| wanted != line.stderr) || !self.recent(line) {
            return;
        }
        let open = &mut self.open[usize::from(line.stderr)];
        if self.options.timestamps && !*open {
            text.extend_from_slice(line.time.as_bytes());
            text.push(b' ');
        }
        *open = line.partial;
        text.extend_from_slice(line.text);
        if !line.partial {
            text.push(b'\n');
        }
    }

    fn recent(&self, line: &Line<'_>) -> bool {
        match self.options.since {
            Some(since) => line.time.parse::<Timestamp>().is_ok_and(|t| t >= since),
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    const LOG: &str = "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stderr F two\n2026-01-01T00:00:03Z stdout P thr\n2026-01-01T00:00:03Z stdout F ee\n";

    async fn all(options: Options) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, LOG).unwrap();
        let (tx, mut rx) = mpsc::channel(8);
        let task = tokio::spawn(read(path, options, || true, tx));
        let mut text = Vec::new();
        while let Some(part) = rx.recv().await {
            text.extend_from_slice(&part.unwrap());
        }
        task.await.unwrap();
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn options_choose_what_is_printed() {
        let plain = Options::default;
        for (options, expected) in [
            (plain(), "one\ntwo\nthree\n"),
            (Options { tail: Some(2), ..plain() }, "three\n"),
            (Options { tail: Some(3), ..plain() }, "two\nthree\n"),
            (Options { tail: Some(0), ..plain() }, ""),
            (Options { since: "2026-01-01T00:00:02Z".parse().ok(), ..plain() }, "two\nthree\n"),
            (Options { limit_bytes: Some(6), ..plain() }, "one\ntw"),
            (Options { stderr: Some(true), ..plain() }, "two\n"),
            (Options { timestamps: true, tail: Some(2), ..plain() }, "2026-01-01T00:00:03Z three\n"),
            (Options { follow: true, ..plain() }, "one\ntwo\nthree\n"),
        ] {
            assert_eq!(all(options.clone()).await, expected, "{options:?}");
        }
    }

    #[tokio::test]
    async fn following_goes_on_in_the_next_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "t stdout F a\n").unwrap();
        let (tx, mut rx) = mpsc::channel(8);
        let over = Arc::new(AtomicBool::new(false));
        let seen = over.clone();
        let options = Options { follow: true, ..Options::default() };
        tokio::spawn(read(path.clone(), options, move || seen.load(Ordering::SeqCst), tx));
        assert_eq!(rx.recv().await.unwrap().unwrap(), "a\n");
        std::fs::rename(&path, dir.path().join("old")).unwrap();
        std::fs::write(&path, "t stdout F b\n").unwrap();
        assert_eq!(rx.recv().await.unwrap().unwrap(), "b\n");
        over.store(true, Ordering::SeqCst);
        assert!(rx.recv().await.is_none());
    }
}
