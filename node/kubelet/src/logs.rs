//! CRI log files: `<RFC 3339 time> stdout|stderr F|P <text>`, one a line.

pub mod options;
pub mod read;
pub mod rotate;

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub time: &'a str,
    pub stderr: bool,
    /// The text goes on in the next line of the same stream.
    pub partial: bool,
    pub text: &'a [u8],
}

/// `None` for what is no such line.
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |b| *b == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stderr = match parts.next()? {
        b"stdout" => false,
        b"stderr" => true,
        _ => return None,
    };
    let tag = parts.next()?;
    let partial = tag.split(|b| *b == b':').next()? == b"P";
    let text = parts.next().unwrap_or_default();
    Some(Line { time, stderr, partial, text })
}

/// Where the last `lines` whole lines of a file begin.
pub fn start_of_tail(file: &mut std::fs::File, lines: usize) -> std::io::Result<u64> {
    const BLOCK: u64 = 64 << 10;
    let end = file.seek(SeekFrom::End(0))?;
    let mut at = end;
    let mut seen = 0;
    let mut first = true;
    while at > 0 {
        let from = at.saturating_sub(BLOCK);
        let mut block = vec![0; usize::try_from(at - from).unwrap_or(0)];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut block)?;
        for (i, byte) in block.iter().enumerate().rev() {
            // The end of the last line is not the begin of another.
            let last = std::mem::take(&mut first);
            if *byte == b'\n' && !last {
                seen += 1;
            }
            if *byte == b'\n' && seen == lines && !last {
                return Ok(from + i as u64 + 1);
            }
        }
        at = from;
    }
    Ok(if lines == 0 { end } else { 0 })
}

/// The text of the last lines, at most `bytes` of it. Empty where there is no log.
pub fn tail(path: &Path, lines: usize, bytes: usize) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let start = start_of_tail(&mut file, lines)?;
        file.seek(SeekFrom::Start(start))?;
        let mut raw = Vec::new();
        file.read_to_end(&mut raw)?;
        Ok(raw)
    };
    let raw = read().unwrap_or_default();
    let mut text = Vec::new();
    for line in raw.split(|b| *b == b'\n').filter_map(parse) {
        text.extend_from_slice(line.text);
        if !line.partial {
            text.push(b'\n');
        }
    }
    let from = text.len().saturating_sub(bytes);
    String::from_utf8_lossy(&text[from..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed() {
        let line = parse(b"2026-01-02T03:04:05.678Z stderr P a b").unwrap();
        assert_eq!(line, Line { time: "2026-01-02T03:04:05.678Z", stderr: true, partial: true, text: b"a b" });
        assert_eq!(parse(b"t stdout F").unwrap().text, b"");
        for bad in ["", "x", "t stdin F x", "just some words here"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn the_tail_has_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let text: String = (0..5).map(|i| format!("t stdout F {i}\n")).collect();
        std::fs::write(&path, &text).unwrap();
        for (lines, bytes, expected) in [(2, 100, "3\n4\n"), (9, 100, "0\n1\n2\n3\n4\n"), (0, 100, ""), (5, 3, "\n4\n")]
        {
            assert_eq!(tail(&path, lines, bytes), expected, "{lines} {bytes}");
        }
        assert_eq!(tail(&dir.path().join("none"), 2, 9), "");
    }
}
