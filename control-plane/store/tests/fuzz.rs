//! Whatever a file or another member says is read or refused. The fuzz targets of `fuzz/` go on where these end.

use proptest::prelude::*;
use store::{Config, Op, Store, Txn, readers};

/// A store's own files, to be damaged: a snapshot, and a piece of the log after its header.
fn written() -> (Vec<u8>, Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("snapshot");
    runtime.block_on(async {
        let store = Store::open(Config::new(dir.path().join("store"))).await.unwrap();
        let lease = store.grant_lease(60).await.unwrap();
        for number in 0..30 {
            let key = format!("/{}", number % 10).into();
            let op = Op::Put { key, value: vec![b'x'; 50].into(), lease: if number % 3 == 0 { lease } else { 0 } };
            store.txn(Txn { ops: vec![op], ..Txn::default() }).await.unwrap();
        }
        store.save(&file).await.unwrap();
        store.close().await.unwrap();
    });
    let segment = std::fs::read_dir(dir.path().join("store/log")).unwrap().next().unwrap().unwrap().path();
    let segment = std::fs::read(segment).unwrap();
    let used = segment.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    (std::fs::read(file).unwrap()[8..].to_vec(), segment[16..used].to_vec())
}

#[test]
fn what_was_written_is_read_and_what_was_damaged_is_not_taken_for_it() {
    let (snapshot, segment) = written();
    let whole = readers::snapshot(&snapshot).unwrap();
    assert!(whole.problems.is_empty() && whole.keys == 10, "{whole:?}");
    // Its sequence number is another one's in general; the first segment's is 1, as the reader expects.
    let records = readers::segment(&segment, true).unwrap();
    assert!(records > 30, "{records} records");
    // Each looks through whole segments.
    let config = ProptestConfig { cases: 24, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let damage = (any::<prop::sample::Index>(), 1..=255_u8, any::<bool>());
    let run = runner.run(&damage, |(at, flip, shorter)| {
        for bytes in [&snapshot, &segment] {
            let mut damaged = bytes.clone();
            let at = at.index(damaged.len());
            damaged[at] ^= flip;
            if shorter {
                damaged.truncate(at + 1);
            }
            prop_assert!(readers::snapshot(&damaged).is_err());
            if let Ok(read) = readers::segment(&damaged, true) {
                prop_assert!(read <= records);
            }
        }
        Ok(())
    });
    run.unwrap();
}

proptest! {
    #[test]
    fn no_bytes_end_the_process(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        readers::record(&bytes);
        readers::message(&bytes);
        let _ = readers::segment(&bytes, bytes.len() % 2 == 0);
        let _ = readers::snapshot(&bytes);
        let _ = readers::snapshot_rows(&bytes);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _ = runtime.block_on(readers::frames(bytes));
    }
}
