//! The contract, through the front door.

use std::path::Path;

use bytes::Bytes;
use store::{Compare, Config, Error, Event, KeyValue, Op, Revision, Store, Txn, TxnOutcome, Watch};

async fn open(dir: &Path) -> Store {
    Store::open(Config::new(dir)).await.unwrap()
}

fn put(key: &str, value: &str) -> Txn {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    Txn { ops: vec![Op::Put { key, value, lease: 0 }], ..Txn::default() }
}

fn delete(key: &str) -> Txn {
    Txn { ops: vec![Op::Delete { key: Bytes::copy_from_slice(key.as_bytes()) }], ..Txn::default() }
}

fn only_if(key: &str, revision: u64, mut txn: Txn) -> Txn {
    txn.compare.push(Compare::ModRevision(Bytes::copy_from_slice(key.as_bytes()), Revision(revision)));
    txn
}

async fn commit(store: &Store, txn: Txn) -> u64 {
    match store.txn(txn).await.unwrap() {
        TxnOutcome::Committed(revision) => revision.0,
        conflict => panic!("{conflict:?}"),
    }
}

fn show(items: &[KeyValue]) -> Vec<String> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let one = |kv: &KeyValue| {
        format!("{}={} {}..{}", text(&kv.key), text(&kv.value), kv.create_revision.0, kv.mod_revision.0)
    };
    items.iter().map(one).collect()
}

async fn list_at(store: &Store, at: u64) -> Vec<String> {
    let at = (at != 0).then_some(Revision(at));
    show(&store.list(b"/", b"0", at, 0).await.unwrap().items)
}

/// Events as text, until one of this revision or a progress to it has come.
async fn events(watch: &mut Watch, upto: u64) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        for event in watch.next().await.unwrap().unwrap() {
            let revision = match &event {
                Event::Put { kv, prev } => {
                    let prev = prev.iter().cloned().collect::<Vec<_>>();
                    seen.push(format!("put {:?} was {:?}", show(std::slice::from_ref(kv)), show(&prev)));
                    kv.mod_revision
                }
                Event::Delete { key, prev, revision } => {
                    assert_eq!(*key, prev.key);
                    seen.push(format!("delete {:?} at {}", show(std::slice::from_ref(prev)), revision.0));
                    *revision
                }
                Event::Progress(revision) => *revision,
            };
            if revision.0 >= upto {
                return seen;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_transactions_at_every_revision() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    assert_eq!(store.revision(), Revision(1));
    assert_eq!(commit(&store, put("/a", "1")).await, 2);
    assert_eq!(commit(&store, put("/b", "1")).await, 3);
    assert_eq!(commit(&store, only_if("/a", 2, put("/a", "2"))).await, 4);
    assert_eq!(commit(&store, delete("/b")).await, 5);
    assert_eq!(commit(&store, delete("/b")).await, 5, "deleting nothing takes no revision");
    assert_eq!(commit(&store, only_if("/b", 0, put("/b", "2"))).await, 6);
    let refused = store.txn(only_if("/a", 2, put("/a", "3"))).await.unwrap();
    let TxnOutcome::Conflict { current, revision } = refused else { panic!("{refused:?}") };
    assert_eq!(revision, Revision(6));
    assert_eq!(show(&current.into_iter().flatten().collect::<Vec<_>>()), ["/a=2 2..4"]);

    let history: [&[&str]; 6] = [
        &[],
        &["/a=1 2..2"],
        &["/a=1 2..2", "/b=1 3..3"],
        &["/a=2 2..4", "/b=1 3..3"],
        &["/a=2 2..4"],
        &["/a=2 2..4", "/b=2 6..6"],
    ];
    for (at, expected) in (1..).zip(history) {
        assert_eq!(list_at(&store, at).await, expected, "at {at}");
        for key in ["/a", "/b"] {
            let got = store.get(key.as_bytes(), Some(Revision(at))).await.unwrap();
            let expected = expected.iter().find(|item| item.starts_with(key)).map(|item| (*item).to_owned());
            assert_eq!(got.map(|kv| show(&[kv]).remove(0)), expected, "{key} at {at}");
        }
    }
    assert!(matches!(store.get(b"/a", Some(Revision(7))).await, Err(Error::Future { newest: Revision(6), .. })));
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_list_goes_on_at_its_revision() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for number in 0..10 {
        commit(&store, put(&format!("/{number}"), "x")).await;
    }
    let first = store.list(b"/", b"0", None, 4).await.unwrap();
    assert_eq!((first.items.len(), first.more, first.count, first.revision), (4, true, 10, Revision(11)));
    commit(&store, delete("/7")).await;
    commit(&store, put("/5x", "new")).await;
    let mut start = first.items[3].key.to_vec();
    start.push(0);
    let second = store.list(&start, b"0", Some(first.revision), 100).await.unwrap();
    assert_eq!((second.items.len(), second.more, second.revision), (6, false, Revision(11)));
    assert_eq!(store.list(b"/9", b"/0", None, 0).await.unwrap().count, 0, "an empty range");
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_sees_history_then_the_present() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    commit(&store, put("/a/1", "x")).await;
    commit(&store, put("/b/1", "x")).await;
    commit(&store, put("/a/1", "y")).await;
    // Reopened: nothing is left in memory, the past comes from the tables.
    store.close().await.unwrap();
    drop(store);
    let store = open(dir.path()).await;
    let mut watch = store.watch(b"/a/", Revision(1)).await.unwrap();
    let mut other = store.watch(b"/c/", Revision(4)).await.unwrap();
    assert_eq!(
        events(&mut watch, 4).await,
        [r#"put ["/a/1=x 2..2"] was []"#, r#"put ["/a/1=y 2..4"] was ["/a/1=x 2..2"]"#]
    );
    commit(&store, delete("/a/1")).await;
    assert_eq!(events(&mut watch, 5).await, [r#"delete ["/a/1=y 2..4"] at 5"#]);
    commit(&store, put("/b/1", "z")).await;
    assert_eq!(events(&mut watch, 6).await, [] as [&str; 0], "an idle prefix hears of progress");
    assert_eq!(events(&mut other, 6).await, [] as [&str; 0]);
    assert!(matches!(store.watch(b"/", Revision(7)).await, Err(Error::Future { .. })));
    store.close().await.unwrap();
    assert!(watch.next().await.is_none(), "a closed store ends its watches");
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_forgets_only_the_past() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    for number in 0..1500 {
        commit(&store, Txn { volatile: true, ..put("/a", &number.to_string()) }).await;
    }
    let newest = store.revision();
    assert_eq!(newest, Revision(1501));
    let mut slow = store.watch(b"/", Revision(1)).await.unwrap();
    store.compact(Revision(1400)).await.unwrap();
    assert!(matches!(
        store.get(b"/a", Some(Revision(1399))).await,
        Err(Error::Compacted { oldest: Revision(1400), .. })
    ));
    assert_eq!(list_at(&store, 1400).await, ["/a=1398 2..1400"]);
    assert_eq!(list_at(&store, 0).await, ["/a=1499 2..1501"]);
    assert!(matches!(store.watch(b"/", Revision(1399)).await, Err(Error::Compacted { .. })));
    let mut watch = store.watch(b"/", Revision(1400)).await.unwrap();
    assert_eq!(events(&mut watch, newest.0).await.len(), 101);
    assert!(matches!(store.compact(Revision(1502)).await, Err(Error::Future { .. })));
    // What a watch has in memory it still gets; it may not skip.
    let first = slow.next().await.unwrap();
    assert!(match first {
        Ok(events) => matches!(&events[0], Event::Put { kv, .. } if kv.mod_revision == Revision(2)),
        Err(error) => matches!(error, Error::Compacted { .. }),
    });
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_takes_its_keys_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let lease = store.grant_lease(1).await.unwrap();
    let kept = store.grant_lease(600).await.unwrap();
    let under = |key: &'static str, lease| Txn {
        ops: vec![Op::Put { key: Bytes::from_static(key.as_bytes()), value: Bytes::new(), lease }],
        ..Txn::default()
    };
    commit(&store, under("/short", lease)).await;
    commit(&store, under("/freed", lease)).await;
    commit(&store, under("/long", kept)).await;
    commit(&store, put("/freed", "no lease any more")).await;
    let mut watch = store.watch(b"/short", store.revision()).await.unwrap();
    assert_eq!(events(&mut watch, 6).await, [r#"delete ["/short= 2..2"] at 6"#]);
    assert_eq!(list_at(&store, 0).await, ["/freed=no lease any more 3..5", "/long= 4..4"]);
    assert!(matches!(store.keep_alive(lease).await, Err(Error::Invalid(_))));
    assert!(matches!(store.txn(under("/x", lease)).await, Err(Error::Invalid(_))));
    assert_eq!(store.keep_alive(kept).await.unwrap(), 600);
    assert_eq!(store.revoke(kept).await.unwrap(), Revision(7));
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_held_by_one_and_read_by_its_version() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let second = Store::open(Config::new(dir.path())).await.err().unwrap().to_string();
    assert!(second.contains("in use by another process"), "{second}");
    store.close().await.unwrap();
    drop(store);
    std::fs::write(dir.path().join("version"), "wherry store 9\n").unwrap();
    let other = Store::open(Config::new(dir.path())).await.err().unwrap().to_string();
    assert!(other.contains("/version says \"wherry store 9\"") && other.contains("move"), "{other}");
    std::fs::remove_file(dir.path().join("version")).unwrap();
    let missing = Store::open(Config::new(dir.path())).await.err().unwrap().to_string();
    assert!(missing.contains("/version is missing"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut pending = vec![dir.path().to_owned()];
    let mut files = 0;
    while let Some(path) = pending.pop() {
        let meta = std::fs::metadata(&path).unwrap();
        let mode = meta.permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
        if meta.is_dir() {
            pending.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            files += 1;
        }
    }
    assert!(files >= 4, "{files}");
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut twice = put("/a", "1");
    twice.ops.extend(delete("/a").ops);
    let big = "x".repeat(9 << 20);
    for (what, txn) in [("twice", twice), ("no key", put("", "1")), ("too big", put("/a", &big))] {
        assert!(matches!(store.txn(txn).await, Err(Error::Invalid(_))), "{what}");
    }
    assert_eq!(store.revision(), Revision(1));
    store.close().await.unwrap();
}
