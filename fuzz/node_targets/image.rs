//! Images as a registry hands them out: names, manifests, indexes, configurations, and layers whose entries go where they
//! like. All of it is read or refused, and nothing outside of the store changes.
#![no_main]

use cri::images::{Store, normalize};
use std::path::Path;

/// Where an entry may be, or lead to.
const PLACES: [&str; 8] = ["a", "a/b", "../out", "/out", "a/../../out", ".wh.a", "a/.wh..wh..opq", "."];
/// File, hard link, link, directory, the long name of the next entry, its attributes.
const KINDS: &[u8] = b"0125Lx";

/// One entry of an archive, whose header has the right sum.
fn entry(piece: &[u8]) -> Vec<u8> {
    let at = |i: usize| usize::from(piece.get(i).copied().unwrap_or(0));
    let (kind, content) = (KINDS[at(0) % KINDS.len()], piece.get(3..).unwrap_or(&[]));
    let size = if kind == b'0' || kind == b'L' || kind == b'x' { content.len() } else { 0 };
    let mut header = [0u8; 512];
    let mut put = |from: usize, text: &[u8]| header[from..from + text.len()].copy_from_slice(text);
    put(0, PLACES[at(1) % PLACES.len()].as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(157, PLACES[at(2) % PLACES.len()].as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut whole = header.to_vec();
    whole.extend_from_slice(&content[..size]);
    whole.resize(whole.len().next_multiple_of(512), 0);
    whole
}

fn image(store: &Store, config: &[u8], layer: &[u8]) -> Option<String> {
    let descriptor = |bytes: &[u8]| {
        let digest = store.put(bytes).ok()?;
        Some(serde_json::json!({"mediaType": "", "digest": digest, "size": bytes.len()}))
    };
    let manifest = serde_json::json!({"schemaVersion": 2, "config": descriptor(config)?, "layers": [descriptor(layer)?]});
    store.put(manifest.to_string().as_bytes()).ok()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = std::str::from_utf8(bytes).map(normalize);
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("out"), "untouched").expect("written");
    let store = Store::open(dir.path().join("store")).expect("a store");
    if let Ok(digest) = store.put(bytes) {
        let _ = store.manifest(&digest);
        let _ = store.prepare("fuzz", &digest);
    }
    let mut archive: Vec<u8> = bytes.split_inclusive(|b| *b > 127).take(16).flat_map(entry).collect();
    archive.resize(archive.len() + 1024, 0);
    for (config, layer) in [(&b"{}"[..], archive.as_slice()), (&b"{}"[..], bytes), (bytes, &[0u8; 1024][..])] {
        if let Some(digest) = image(&store, config, layer) {
            let _ = store.prepare("fuzz", &digest);
        }
    }
    assert_eq!(names(dir.path()), ["out", "store"], "something was written beside the store");
    assert_eq!(std::fs::read_to_string(dir.path().join("out")).ok().as_deref(), Some("untouched"));
});
