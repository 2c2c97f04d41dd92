//! Every call to the disk fails once: the store says what it was doing, and nothing that was acknowledged is lost.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::cuts::{Told, config, verify, write};
use super::disk::Simulated;
use super::{Chance, budget, seeded};
use crate::contract::{Error, Op, Result, Txn};
use crate::store::Store;

/// A failure is told at once; this is for a busy machine.
const SOON: Duration = Duration::from_secs(120);
/// Between writes that are refused, as they also are while a busy machine makes the store elect itself anew.
const AGAIN: Duration = Duration::from_millis(100);

/// Few large writes: a new segment and a checkpoint in as few calls as can be.
async fn run(disk: &Simulated, told: &Arc<Mutex<Told>>, failed_for_good: &mut u64) -> Result<()> {
    let store = Store::open(config(disk)).await?;
    write(&store, disk, told, 7, 8, 220_000).await;
    // The disk fails once: what goes on being refused is refused for good, and whoever runs the store hears of it.
    let outcome = async {
        loop {
            let op = Op::Put { key: Bytes::from_static(b"/later"), value: Bytes::from_static(b"x"), lease: 0 };
            if store.txn(Txn { ops: vec![op], ..Txn::default() }).await.is_ok() {
                return None;
            }
            if let Ok(error) = tokio::time::timeout(AGAIN, store.failed()).await {
                return Some(error);
            }
        }
    };
    let outcome = tokio::time::timeout(SOON, outcome).await.expect("it neither writes nor says that it has failed");
    if let Some(error) = outcome {
        assert!(is_clear(&error), "{:?} failed, and the store is unclear: {error}", disk.failed());
        *failed_for_good += 1;
    }
    store.close().await
}

fn is_clear(error: &Error) -> bool {
    match error {
        Error::Disk(why) | Error::Data(why) => why.contains("/store"),
        Error::Unavailable(why) => !why.is_empty(),
        Error::Compacted { .. } | Error::Future { .. } | Error::Invalid(_) => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_may_fail_once() {
    // All of them with 1; every so many-th without.
    seeded(1, fail_each(budget("WHERRY_STORE_ANOMALIES_STRIDE", 23))).await;
}

async fn fail_each(stride: u64) {
    let (mut call, mut failures, mut failed_for_good) = (budget("WHERRY_STORE_ANOMALIES_FIRST", 1), 0, 0);
    loop {
        let disk = Simulated::default();
        disk.fail_at(call);
        let told = Arc::new(Mutex::new(Told::new()));
        let ended = run(&disk, &told, &mut failed_for_good).await;
        let Some(failed) = disk.failed() else { break };
        failures += 1;
        let what = format!("call {call}, {failed}");
        if let Err(error) = ended {
            assert!(is_clear(&error), "{what}: unclear: {error}");
        }
        let told = told.lock().clone();
        let upto = told.keys().last().copied();
        verify(&disk.after_kill(), &told, upto, true, &format!("{what}, started again")).await;
        let cut = disk.after_cut(disk.steps().len(), &mut Chance::new(call));
        verify(&cut, &told, upto, false, &format!("{what}, and the power went")).await;
        call += stride;
    }
    assert!(failures > 3, "only {failures} calls failed");
    assert!(failed_for_good > 0, "no store has failed for good");
    println!("{failures} calls failed, one at a time, {failed_for_good} of them for good: nothing lost");
}
