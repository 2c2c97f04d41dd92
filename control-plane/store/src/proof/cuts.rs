//! The power goes, at every sync and at random moments between: nothing that was acknowledged is lost, and every store
//! opens.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::disk::{Simulated, Step};
use super::{Chance, budget, seeded};
use crate::contract::{Op, Revision, Txn, TxnOutcome};
use crate::store::{Config, Store};
use crate::{read, state};

const WRITERS: u64 = 6;
/// So that rows are often on their way into the tables.
const ENOUGH: u64 = 300_000;

pub fn config(disk: &Simulated) -> Config {
    Config { disk: Arc::new(disk.clone()), enough: ENOUGH, ..Config::new("/store") }
}

/// What was acknowledged, by revision; `None` is a deletion.
pub type Told = BTreeMap<u64, (Bytes, Option<Bytes>)>;

/// Writes from several tasks until each has made its share, noting each acknowledgement on the disk's own record.
/// Volatile writes are made and not noted.
pub async fn write(store: &Store, disk: &Simulated, told: &Arc<Mutex<Told>>, seed: u64, each: u64, largest: u64) {
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (store, disk, told) = (store.clone(), disk.clone(), told.clone());
        let mut chance = Chance::new(seed * WRITERS + writer + 1);
        writers.spawn(async move {
            for number in 0..each {
                let key = Bytes::from(format!("/{writer}/{}", chance.below(9)));
                let value = (!chance.one_in(9)).then(|| {
                    let mut value = format!("{writer} {number} ").into_bytes();
                    value.resize(value.len() + chance.below(largest) as usize, b'.');
                    Bytes::from(value)
                });
                let op = match &value {
                    Some(value) => Op::Put { key: key.clone(), value: value.clone(), lease: 0 },
                    None => Op::Delete { key: key.clone() },
                };
                let volatile = chance.one_in(5);
                let before = store.revision();
                let outcome = store.txn(Txn { ops: vec![op], volatile, ..Txn::default() }).await;
                // After a failure nothing more is acknowledged; what was stays.
                let Ok(TxnOutcome::Committed(revision)) = outcome else { return };
                let nothing_deleted = value.is_none() && revision <= before;
                if !volatile && !nothing_deleted && told.lock().insert(revision.0, (key, value)).is_none() {
                    disk.note(revision.0);
                }
            }
        });
    }
    writers.join_all().await;
}

/// Opens what the cut left, and looks for what had been acknowledged.
pub async fn verify(disk: &Simulated, told: &Told, upto: Option<u64>, whole: bool, what: &str) {
    let store = match Store::open(config(disk)).await {
        Ok(store) => store,
        Err(error) => panic!("{what}: the store does not open: {error}"),
    };
    let newest = upto.unwrap_or_default();
    assert!(store.revision() >= Revision(newest), "{what}: at {:?}, acknowledged {newest}", store.revision());
    let rows = &store.tables().layers;
    for (at, (key, value)) in told.range(..=newest) {
        let found = read::get(rows, key, Some(Revision(*at))).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = found.map(|kv| kv.value);
        assert!(found == *value, "{what}: {} at {at}: {:?} bytes", key.escape_ascii(), found.map(|value| value.len()));
    }
    if whole {
        let history = read::events(rows, b"", state::FIRST, usize::MAX);
        let events = history.unwrap_or_else(|error| panic!("{what}: history: {error}")).events;
        assert!(events.len() as u64 >= newest.saturating_sub(state::FIRST.0), "{what}: {} events", events.len());
        let op = Op::Put { key: Bytes::from_static(b"/after"), value: Bytes::from_static(b"x"), lease: 0 };
        let written = store.txn(Txn { ops: vec![op], ..Txn::default() }).await;
        assert!(matches!(written, Ok(TxnOutcome::Committed(_))), "{what}: it does not write: {written:?}");
    }
    store.close().await.unwrap_or_else(|error| panic!("{what}: closing: {error}"));
}

/// The largest acknowledged revision among the first steps. Acknowledgements come in the order of the log.
fn acknowledged(steps: &[Step]) -> Option<u64> {
    let told = steps.iter().filter_map(|step| match step {
        Step::Note(revision) => Some(*revision),
        _ => None,
    });
    told.max()
}

/// Where to cut: right before and after syncs, and anywhere.
fn moments(steps: &[Step], cuts: u64, chance: &mut Chance) -> Vec<usize> {
    let syncs: Vec<usize> = (0..steps.len())
        .filter(|at| matches!(steps[*at], Step::Sync(_) | Step::SyncNames))
        .flat_map(|at| [at, at + 1])
        .collect();
    let mut moments = Vec::new();
    for _ in 0..cuts / 2 {
        moments.push(syncs[chance.below(syncs.len() as u64) as usize]);
        moments.push(chance.below(steps.len() as u64 + 1) as usize);
    }
    if cuts >= syncs.len() as u64 * 2 {
        moments.truncate(cuts as usize - syncs.len());
        moments.extend(syncs);
    }
    moments
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_to_a_power_cut() {
    let seed = budget("WHERRY_STORE_SEED", 1);
    seeded(seed, cut_everywhere(seed, budget("WHERRY_STORE_CUTS", 48))).await;
}

async fn cut_everywhere(seed: u64, cuts: u64) {
    let disk = Simulated::default();
    let told = Arc::new(Mutex::new(Told::new()));
    // Twice, so that cuts hit starts too; enough to begin new segments and to drop old ones.
    for half in 0..2 {
        let store = Store::open(config(&disk)).await.unwrap();
        write(&store, &disk, &told, 2 * seed + half, 60, 40_000).await;
        store.close().await.unwrap();
    }
    let (steps, told) = (disk.steps(), Arc::into_inner(told).unwrap().into_inner());
    assert!(steps.iter().any(|step| matches!(step, Step::Remove(_))), "no segment was dropped: {} steps", steps.len());
    let mut chance = Chance::new(seed);
    for (number, at) in moments(&steps, cuts, &mut chance).into_iter().enumerate() {
        let what = format!("seed {seed}, cut {number} before step {at} of {}", steps.len());
        let left = disk.after_cut(at, &mut chance);
        let upto = acknowledged(&steps[..at]);
        verify(&left, &told, upto, number % 8 == 0, &what).await;
        if number % 8 == 0 {
            // The start itself is cut as well, and what it left opens again.
            let steps = left.steps();
            let again = left.after_cut(chance.below(steps.len() as u64 + 1) as usize, &mut chance);
            verify(&again, &told, upto, false, &format!("{what}, and again")).await;
        }
    }
    println!("{cuts} cuts in {} steps, {} acknowledged: none lost, all opened", steps.len(), told.len());
}
