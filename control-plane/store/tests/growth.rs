//! What is written over and over takes no more space than what there is, and what is old is forgotten.

use std::path::Path;
use std::time::Duration;

use store::{Config, Error, Keep, Op, Revision, Store, Txn};

const VALUE: usize = 2048;
const WRITES: usize = 8000;
const WRITERS: usize = 64;

fn size(path: &Path) -> u64 {
    let meta = std::fs::metadata(path).unwrap();
    if meta.is_file() {
        return meta.len();
    }
    std::fs::read_dir(path).unwrap().map(|entry| size(&entry.unwrap().path())).sum()
}

/// The same hundred keys again and again.
async fn write(store: &Store) {
    let mut writing = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writing.spawn(async move {
            for number in 0..WRITES / WRITERS {
                let key = format!("/{}", (writer + number) % 100).into();
                let op = Op::Put { key, value: vec![b'x'; VALUE].into(), lease: 0 };
                store.txn(Txn { ops: vec![op], ..Txn::default() }).await.unwrap();
            }
        });
    }
    writing.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_do_not_grow_with_updates_and_old_revisions_are_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    config.keep = Keep { age: Duration::from_millis(200), changes: 1000, bytes: 2 << 20 };
    let store = Store::open(config).await.unwrap();
    write(&store).await;
    let once = size(dir.path());
    for _ in 0..3 {
        write(&store).await;
    }
    let (often, written) = (size(dir.path()), 4 * (WRITES * VALUE) as u64);
    assert!(often < 2 * once, "{once} bytes after {WRITES} writes, {often} after four times as many");
    assert!(often < written / 4 * 3, "{often} bytes for {written} that were written");
    let old = store.list(b"/", b"0", Some(Revision(2)), 10).await.unwrap_err();
    assert!(matches!(old, Error::Compacted { asked: Revision(2), .. }), "{old}");
    assert!(old.to_string().contains("has been compacted; the oldest is"), "{old}");
    assert_eq!(store.list(b"/", b"0", None, 0).await.unwrap().items.len(), 100);
    store.close().await.unwrap();
}
