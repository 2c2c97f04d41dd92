//! Killed at any moment, the store has everything that it acknowledged. A child process writes and says so on its
//! standard output; the parent kills it with SIGKILL, opens the directory and looks.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use store::{Config, Error, Op, Revision, Store, Txn, TxnOutcome};

const DIR: &str = "WHERRY_STORE_TEST_DIR";
const WRITERS: usize = 8;

/// Numbers that look random and repeat with their seed.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn put(key: String, value: Vec<u8>) -> Txn {
    Txn { ops: vec![Op::Put { key: key.into(), value: value.into(), lease: 0 }], ..Txn::default() }
}

fn counted(counter: u64, size: usize) -> Vec<u8> {
    let mut value = counter.to_string().into_bytes();
    value.push(b' ');
    value.resize(value.len() + size, b'x');
    value
}

fn counter(value: &[u8]) -> u64 {
    let digits = value.split(|byte| *byte == b' ').next().unwrap();
    std::str::from_utf8(digits).unwrap().parse().unwrap()
}

fn key(writer: usize) -> String {
    format!("/writer/{writer}")
}

fn child(test: &str, dir: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).env(DIR, dir);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// The child of the test below; by itself it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn child_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let store = Store::open(Config::new(dir)).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            let before = store.get(key(writer).as_bytes(), None).await.unwrap();
            let mut counter = before.map_or(0, |kv| counter(&kv.value));
            let mut sizes = Seeded(writer as u64 + 1);
            loop {
                counter += 1;
                let size = sizes.below(20_000) as usize;
                let outcome = store.txn(put(key(writer), counted(counter, size))).await.unwrap();
                let TxnOutcome::Committed(revision) = outcome else { panic!("{outcome:?}") };
                let mut out = std::io::stdout().lock();
                writeln!(out, "ack {writer} {counter} {}", revision.0).unwrap();
                out.flush().unwrap();
            }
        });
    }
    writers.join_next().await;
}

/// Reads acknowledgements, kills the child after some, and returns all that it got out before.
fn kill_after(mut child: Child, acknowledgements: u64) -> Vec<(usize, u64, u64)> {
    let mut seen = Vec::new();
    let output = child.stdout.take().unwrap();
    for line in BufReader::new(output).lines() {
        let line = line.unwrap();
        let words: Vec<_> = line.split(' ').collect();
        if let ["ack", writer, counter, revision] = words[..] {
            seen.push((writer.parse().unwrap(), counter.parse().unwrap(), revision.parse().unwrap()));
        }
        if seen.len() as u64 == acknowledgements {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_to_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut chance = Seeded(0x5eed);
    let mut acknowledged: BTreeMap<u64, (usize, u64)> = BTreeMap::new();
    for round in 0..6 {
        let kill = child("child_writes_until_it_is_killed", dir.path());
        let seen = kill_after(kill, 1 + chance.below(600));
        assert!(!seen.is_empty());
        for (writer, counter, revision) in seen {
            let other = acknowledged.insert(revision, (writer, counter));
            assert_eq!(other, None, "revision {revision} was given out twice");
        }
        let store = Store::open(Config::new(dir.path())).await.unwrap();
        let newest = acknowledged.keys().last().copied().unwrap();
        assert!(store.revision() >= Revision(newest), "round {round}");
        for (revision, (writer, expected)) in &acknowledged {
            let kv = store.get(key(*writer).as_bytes(), Some(Revision(*revision))).await.unwrap().unwrap();
            assert_eq!((kv.mod_revision, counter(&kv.value)), (Revision(*revision), *expected), "round {round}");
        }
        store.close().await.unwrap();
    }
    assert!(acknowledged.len() > 500, "only {} writes", acknowledged.len());
}

fn newest_segment(dir: &Path) -> std::path::PathBuf {
    let names = std::fs::read_dir(dir.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let with_records = |path: &std::path::PathBuf| std::fs::read(path).unwrap()[16..].iter().any(|byte| *byte != 0);
    names.filter(with_records).max().unwrap()
}

/// A record is its length, twelve bytes more, what it holds, and zeros up to a multiple of eight.
fn end_of_records(bytes: &[u8]) -> usize {
    let mut at = 16;
    loop {
        match u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize {
            0 => return at,
            length => at += (16 + length).next_multiple_of(8),
        }
    }
}

async fn write_some(dir: &Path) {
    let store = Store::open(Config::new(dir)).await.unwrap();
    for number in 0..20 {
        store.txn(put(format!("/{number}"), counted(number, 100))).await.unwrap();
    }
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_end_is_cut_and_damage_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    write_some(dir.path()).await;
    let segment = newest_segment(dir.path());
    let mut bytes = std::fs::read(&segment).unwrap();
    let end = end_of_records(&bytes);
    bytes[end..end + 100].fill(0xab);
    std::fs::write(&segment, &bytes).unwrap();
    let store = Store::open(Config::new(dir.path())).await.unwrap();
    assert_eq!(store.list(b"/", b"0", None, 0).await.unwrap().items.len(), 20);
    store.close().await.unwrap();
    drop(store);

    let mut bytes = std::fs::read(&segment).unwrap();
    assert_eq!(bytes.windows(4).filter(|four| *four == [0xab; 4]).count(), 0, "the torn end is gone from the disk");
    bytes[1000] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let error = Store::open(Config::new(dir.path())).await.err().unwrap();
    assert!(matches!(error, Error::Data(_)));
    let message = error.to_string();
    let named = message.contains(segment.to_str().unwrap()) && message.contains("damaged at byte");
    assert!(named && message.contains("Restore"), "{message}");
}

/// The child of the test below, in a mount namespace of its own.
#[tokio::test(flavor = "multi_thread")]
async fn child_fills_its_disk() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=48m", "none"]).arg(&dir).status().unwrap();
    assert!(mounted.success());
    let dir = Path::new(&dir);
    let store = Store::open(Config::new(dir.join("store"))).await.unwrap();
    store.txn(put("/kept".into(), b"1".to_vec())).await.unwrap();
    let ballast = dir.join("ballast");
    std::fs::write(&ballast, vec![1; 20 << 20]).unwrap();
    let mut refused = store.txn(put("/more".into(), b"1".to_vec())).await;
    assert!(matches!(&refused, Err(Error::Disk(why)) if why.contains("free some space")), "{refused:?}");
    assert_eq!(store.get(b"/kept", None).await.unwrap().unwrap().value, Bytes::from_static(b"1"));
    let delete = Txn { ops: vec![Op::Delete { key: Bytes::from_static(b"/kept") }], ..Txn::default() };
    assert!(matches!(store.txn(delete).await, Ok(TxnOutcome::Committed(_))), "deleting is the way out");
    std::fs::remove_file(&ballast).unwrap();
    refused = store.txn(put("/more".into(), b"1".to_vec())).await;
    assert!(matches!(refused, Ok(TxnOutcome::Committed(_))), "{refused:?}");
    store.close().await.unwrap();
    println!("disk full: seen");
}

#[test]
fn a_full_disk_refuses_writes_and_serves_reads() {
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !root {
        eprintln!("SKIPPED: a_full_disk_refuses_writes_and_serves_reads needs root to mount a small disk");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--"]).arg(std::env::current_exe().unwrap());
    command.args(["child_fills_its_disk", "--exact", "--nocapture"]).env(DIR, dir.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("disk full: seen"), "{output:?}");
}
