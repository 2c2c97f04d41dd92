//! Watches under concurrent writers: no event is missing, none comes twice, none out of order.

use std::collections::BTreeMap;

use bytes::Bytes;
use store::{Config, Event, Op, Revision, Store, Txn, TxnOutcome};

const WRITERS: usize = 6;
const WRITES: usize = 400;

fn put(key: String, volatile: bool) -> Txn {
    Txn {
        ops: vec![Op::Put { key: key.into(), value: Bytes::from_static(b"v"), lease: 0 }],
        volatile,
        ..Txn::default()
    }
}

/// What one watcher got, by revision, until it has heard of `upto`.
async fn follow(store: Store, prefix: &'static str, after: Revision, upto: Revision) -> BTreeMap<u64, Bytes> {
    let mut watch = store.watch(prefix.as_bytes(), after).await.unwrap();
    let mut seen = BTreeMap::new();
    let mut last = after;
    while last < upto {
        for event in watch.next().await.unwrap().unwrap() {
            match event {
                Event::Put { kv, .. } => {
                    assert!(kv.mod_revision > last, "{:?} after {last:?}", kv.mod_revision);
                    last = kv.mod_revision;
                    seen.insert(last.0, kv.key);
                }
                Event::Delete { .. } => panic!("nothing is deleted"),
                Event::Progress(at) => {
                    assert!(at >= last, "{at:?} after {last:?}");
                    last = at;
                }
            }
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_gap_under_concurrent_writes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Config::new(dir.path())).await.unwrap();
    let upto = Revision(1 + (WRITERS * WRITES) as u64);
    let mut watchers = Vec::new();
    for (prefix, after) in [("/", 1), ("/0/", 1), ("/3/", 1), ("/none", 1)] {
        watchers.push((prefix, after, tokio::spawn(follow(store.clone(), prefix, Revision(after), upto))));
    }
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            let mut written = BTreeMap::new();
            for number in 0..WRITES {
                let key = format!("/{writer}/{number}");
                let outcome = store.txn(put(key.clone(), number % 20 != 0)).await.unwrap();
                let TxnOutcome::Committed(revision) = outcome else { panic!("{outcome:?}") };
                written.insert(revision.0, Bytes::from(key));
            }
            written
        });
    }
    let mut written = BTreeMap::new();
    while let Some(of_one) = writers.join_next().await {
        written.extend(of_one.unwrap());
        // Some begin in the middle, out of history or out of memory.
        let after = Revision(store.revision().0 / 2);
        watchers.push(("/", after.0, tokio::spawn(follow(store.clone(), "/", after, upto))));
    }
    assert_eq!((written.len(), store.revision()), (WRITERS * WRITES, upto));
    for (prefix, after, watcher) in watchers {
        let expected: BTreeMap<_, _> = written
            .range(after + 1..)
            .filter(|(_, key)| key.starts_with(prefix.as_bytes()))
            .map(|(revision, key)| (*revision, key.clone()))
            .collect();
        assert_eq!(watcher.await.unwrap(), expected, "under {prefix} after {after}");
    }
    store.close().await.unwrap();
}
