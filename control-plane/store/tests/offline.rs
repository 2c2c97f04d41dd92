//! What is done to a directory that nobody uses: snapshots, checks, writing the tables anew.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use store::{Config, Error, Op, Revision, Store, Txn, TxnOutcome, offline};

fn put(key: String, value: Vec<u8>) -> Txn {
    Txn { ops: vec![Op::Put { key: key.into(), value: value.into(), lease: 0 }], ..Txn::default() }
}

const AT_ONCE: usize = 50;

/// Keys from 0 to `count`, then the even ones deleted, [`AT_ONCE`] to a revision.
async fn write(dir: &Path, count: usize) {
    let store = Store::open(Config::new(dir)).await.unwrap();
    let key = |number: usize| Bytes::from(format!("/{number:05}"));
    let puts = (0..count).map(|number| Op::Put { key: key(number), value: vec![b'x'; 4000].into(), lease: 0 });
    let deletes = (0..count).step_by(2).map(|number| Op::Delete { key: key(number) });
    let ops: Vec<Op> = puts.chain(deletes).collect();
    for ops in ops.chunks(AT_ONCE) {
        store.txn(Txn { ops: ops.to_vec(), ..Txn::default() }).await.unwrap();
    }
    store.close().await.unwrap();
}

async fn keys(store: &Store) -> Vec<(Bytes, Bytes, Revision)> {
    let list = store.list(b"/", b"0", None, 0).await.unwrap();
    list.items.into_iter().map(|kv| (kv.key, kv.value, kv.mod_revision)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_becomes_another_store() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new, file) = (dir.path().join("old"), dir.path().join("new"), dir.path().join("snapshot"));
    write(&old, 300).await;
    let store = Store::open(Config::new(&old)).await.unwrap();
    let lease = store.grant_lease(600).await.unwrap();
    let leased = Op::Put { key: Bytes::from_static(b"/leased"), value: Bytes::new(), lease };
    store.txn(Txn { ops: vec![leased], ..Txn::default() }).await.unwrap();
    let (saved, expected) = (store.save(&file).await.unwrap(), keys(&store).await);
    store.txn(put("/later".into(), vec![])).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    assert_eq!(saved, Revision(1 + 450 / AT_ONCE as u64 + 1));

    let refused = offline::restore(&file, &old).unwrap_err();
    assert!(refused.to_string().contains("is there already"), "{refused}");
    let restored = offline::restore(&file, &new).unwrap();
    assert!(restored > Revision(saved.0 + 1_000_000));
    let store = Store::open(Config::new(&new)).await.unwrap();
    assert_eq!(keys(&store).await, expected);
    let stale = store.watch(b"/", saved).await.err().unwrap();
    assert!(matches!(stale, Error::Compacted { .. }), "a client of the old store starts anew: {stale}");
    let outcome = store.txn(put("/next".into(), vec![])).await.unwrap();
    assert_eq!(outcome, TxnOutcome::Committed(Revision(restored.0 + 1)));
    assert_eq!(store.revoke(lease).await.unwrap(), Revision(restored.0 + 2));
    assert!(store.get(b"/leased", None).await.unwrap().is_none());
    store.close().await.unwrap();
    drop(store);
    assert_eq!(offline::check(&new).unwrap().problems, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (old, file) = (dir.path().join("old"), dir.path().join("snapshot"));
    write(&old, 50).await;
    let store = Store::open(Config::new(&old)).await.unwrap();
    store.save(&file).await.unwrap();
    store.close().await.unwrap();
    let whole = std::fs::read(&file).unwrap();
    for (number, at) in [0, 8, 12, 100, whole.len() / 2, whole.len() - 1].into_iter().enumerate() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&file, &bytes).unwrap();
        let refused = offline::restore(&file, &dir.path().join(format!("flipped-{number}")));
        assert!(matches!(refused, Err(Error::Data(_))), "byte {at}: {refused:?}");
    }
    for (number, length) in [3, 10, 100, whole.len() - 1].into_iter().enumerate() {
        std::fs::write(&file, &whole[..length]).unwrap();
        let refused = offline::restore(&file, &dir.path().join(format!("short-{number}")));
        assert!(matches!(refused, Err(Error::Data(_))), "{length} bytes: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn defrag_gives_space_back_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 4000).await;
    let store = Store::open(Config::new(dir.path())).await.unwrap();
    let (expected, newest) = (keys(&store).await, store.revision());
    store.compact(newest).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let (before, after) = offline::defrag(dir.path()).unwrap();
    assert!(after < before * 3 / 4, "{before} became {after}");
    let status = offline::status(dir.path()).unwrap();
    assert_eq!((status.keys, status.revision, status.tables_bytes), (2000, newest, after));
    assert_eq!(offline::check(dir.path()).unwrap().problems, [] as [&str; 0]);
    let store = Store::open(Config::new(dir.path())).await.unwrap();
    assert_eq!((keys(&store).await, store.revision()), (expected, newest));
    let outcome = store.txn(put("/next".into(), vec![])).await.unwrap();
    assert_eq!(outcome, TxnOutcome::Committed(Revision(newest.0 + 1)));
    store.close().await.unwrap();
}

fn segment(dir: &Path) -> PathBuf {
    std::fs::read_dir(dir.join("log")).unwrap().map(|entry| entry.unwrap().path()).min().unwrap()
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 1;
    std::fs::write(file, &bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_names_what_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 100).await;
    let sound = offline::check(dir.path()).unwrap();
    assert_eq!((sound.problems.len(), sound.keys, sound.changes), (0, 50, 150));
    assert!(sound.records >= 150 / AT_ONCE, "{sound:?}");

    let log = segment(dir.path());
    flip(&log, 5000);
    let checked = offline::check(dir.path()).unwrap();
    assert_eq!(checked.problems.len(), 1, "{checked:?}");
    assert!(checked.problems[0].contains(log.to_str().unwrap()) && checked.problems[0].contains("at byte"));
    flip(&log, 5000);

    let tables = dir.path().join("state.redb");
    let bytes = std::fs::read(&tables).unwrap();
    let value = bytes.windows(64).position(|window| window == [b'x'; 64]).unwrap();
    flip(&tables, value + 100);
    let checked = offline::check(dir.path()).unwrap();
    assert!(checked.problems.iter().any(|problem| problem.contains("state.redb")), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_its_files_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 4000).await;
    for file in std::fs::read_dir(dir.path().join("log")).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let error = Store::open(Config::new(dir.path())).await.err().unwrap();
    assert!(matches!(&error, Error::Data(why) if why.contains("the end of the log is missing")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_lost_its_end_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 100).await;
    let log = segment(dir.path());
    let file = std::fs::File::options().write(true).open(&log).unwrap();
    file.set_len(100_000).unwrap();
    let error = Store::open(Config::new(dir.path())).await.err().unwrap();
    assert!(matches!(&error, Error::Data(why) if why.contains("damaged at byte 100000")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_store_that_was_killed_are_saved_with_what_only_its_log_has() {
    let dir = tempfile::tempdir().unwrap();
    let (old, killed, new) = (dir.path().join("old"), dir.path().join("killed"), dir.path().join("new"));
    let store = Store::open(Config::new(&old)).await.unwrap();
    for number in 0..50 {
        store.txn(put(format!("/{number:03}"), vec![b'x'; 100])).await.unwrap();
    }
    let expected = keys(&store).await;
    // As a kill leaves them: the tables were never synced since they were made.
    std::fs::create_dir_all(killed.join("log")).unwrap();
    for file in ["version", "state.redb"] {
        std::fs::copy(old.join(file), killed.join(file)).unwrap();
    }
    for file in std::fs::read_dir(old.join("log")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), killed.join("log").join(file.file_name())).unwrap();
    }
    assert!(offline::is_in_use(&old).unwrap());
    assert!(!offline::is_in_use(&killed).unwrap());
    let snapshot = dir.path().join("snapshot");
    offline::save(&killed, &snapshot).unwrap();
    assert!(!dir.path().join("snapshot.tables").exists(), "nothing else is left");
    offline::restore(&snapshot, &new).unwrap();
    store.close().await.unwrap();
    let restored = Store::open(Config::new(&new)).await.unwrap();
    assert_eq!(keys(&restored).await, expected);
    restored.close().await.unwrap();
}
