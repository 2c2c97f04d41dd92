//! Several members in one thread and in a time of their own: clients put and get through any of them while messages are
//! lost, members are cut off, and lose their power in the middle of a write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::disk::Simulated;
use super::net::Net;
use super::{Chance, budget, seeded, simulate};
use crate::contract::{Event, Op, Revision, Txn, TxnOutcome};
use crate::store::{Cluster, Config, Store, Timing};
use crate::{read, state};

const KEYS: u64 = 4;
const CLIENTS: u64 = 5;
/// Longer than a write looks for a leader and a quorum, in the time of the simulation.
const ABANDONED: Duration = Duration::from_secs(30);
/// So that rows are often on their way into the tables.
const ENOUGH: u64 = 60_000;

/// Members by number; one that is down has a disk and no store.
struct Town {
    net: Net,
    disks: BTreeMap<u64, Simulated>,
    up: Arc<Mutex<BTreeMap<u64, Store>>>,
    chance: Chance,
}

fn address(id: u64) -> String {
    format!("member-{id}")
}

impl Town {
    fn new(seed: u64) -> Self {
        Self { net: Net::new(seed), disks: BTreeMap::new(), up: Arc::default(), chance: Chance::new(seed + 1) }
    }

    async fn start(&mut self, id: u64, join: &[u64]) -> crate::contract::Result<()> {
        let disk = self.disks.entry(id).or_default().clone();
        let at = address(id);
        let cluster = Cluster {
            address: at.clone(),
            join: join.iter().copied().map(address).collect(),
            timing: Timing::default(),
            wire: self.net.wire(&at),
            serve: self.net.serve(&at),
        };
        let config = Config {
            node_id: id,
            cluster: Some(cluster),
            disk: Arc::new(disk),
            enough: ENOUGH,
            ..Config::new(format!("/{id}"))
        };
        let store = seeded(self.chance.below(u64::MAX), Store::open(config)).await?;
        self.up.lock().insert(id, store);
        Ok(())
    }

    /// The power of one member goes, now or within its next writes.
    async fn crash(&mut self, id: u64, within: u64) {
        let disk = self.disks[&id].clone();
        disk.die_at(1 + self.chance.below(within));
        let until = Instant::now() + Duration::from_secs(2);
        while !disk.is_dead() && Instant::now() < until {
            sleep(Duration::from_millis(5)).await;
        }
        disk.die_at(0);
        self.net.gone(&address(id));
        let store = self.up.lock().remove(&id);
        self.disks.insert(id, disk.after_cut_now(&mut self.chance));
        if let Some(store) = store {
            // What it still says, nobody hears, and what it still writes is gone.
            let _ = timeout(Duration::from_secs(30), store.close()).await;
        }
    }

    fn any(&mut self) -> Option<Store> {
        let up = self.up.lock();
        let at = self.chance.below(up.len() as u64) as usize;
        up.values().nth(at).cloned()
    }
}

/// One finished request: when it was made and answered, of which key, and which revision it wrote or saw.
#[derive(Debug, Clone)]
struct Done {
    begun: Instant,
    ended: Instant,
    key: Bytes,
    revision: u64,
    value: Option<Bytes>,
    wrote: bool,
}

type Record = Arc<Mutex<Vec<Done>>>;

/// Puts and gets through members taken by chance.
async fn client(number: u64, up: Arc<Mutex<BTreeMap<u64, Store>>>, record: Record, until: Instant, mut chance: Chance) {
    let mut count = 0;
    while Instant::now() < until {
        sleep(Duration::from_millis(chance.below(30))).await;
        let store = {
            let up = up.lock();
            let at = chance.below(up.len() as u64) as usize;
            up.values().nth(at).cloned()
        };
        let Some(store) = store else { continue };
        let key = Bytes::from(format!("/{}", chance.below(KEYS)));
        let begun = Instant::now();
        if chance.one_in(2) {
            count += 1;
            let value = Bytes::from(format!("{number} {count}"));
            let op = Op::Put { key: key.clone(), value: value.clone(), lease: 0 };
            let put = timeout(Duration::from_secs(8), store.txn(Txn { ops: vec![op], ..Txn::default() })).await;
            if let Ok(Ok(TxnOutcome::Committed(Revision(revision)))) = put {
                let value = Some(value);
                record.lock().push(Done { begun, ended: Instant::now(), key, revision, value, wrote: true });
            }
        } else if let Ok(Ok(found)) = timeout(Duration::from_secs(8), store.get(&key, None)).await {
            let revision = found.as_ref().map_or(0, |kv| kv.mod_revision.0);
            let value = found.map(|kv| kv.value);
            record.lock().push(Done { begun, ended: Instant::now(), key, revision, value, wrote: false });
        }
    }
}

/// What happened to a key must be explained by one order that agrees with the clock: revisions are that order.
fn check_order(record: &[Done], what: &str) {
    let mut values: BTreeMap<u64, (Bytes, Option<Bytes>)> = BTreeMap::new();
    for done in record.iter().filter(|done| done.revision != 0) {
        let said = (done.key.clone(), done.value.clone());
        let known = values.entry(done.revision).or_insert_with(|| said.clone());
        assert_eq!(*known, said, "{what}: revision {} is two things", done.revision);
    }
    for (at, later) in record.iter().enumerate() {
        for (other, earlier) in record.iter().enumerate() {
            if at == other || earlier.key != later.key || earlier.ended >= later.begun {
                continue;
            }
            let in_order = match later.wrote {
                true => earlier.revision < later.revision,
                false => earlier.revision <= later.revision,
            };
            assert!(in_order, "{what}: {later:?} came after {earlier:?}");
        }
    }
}

/// Every member has the same history, with everything in it that was acknowledged.
async fn check_members(town: &Town, record: &[Done], what: &str) {
    let stores: Vec<_> = town.up.lock().iter().map(|(id, store)| (*id, store.clone())).collect();
    let mut first: Option<Vec<Event>> = None;
    for (id, store) in stores {
        let newest = store.current_revision().await.unwrap_or_else(|error| panic!("{what}: member {id}: {error}"));
        let rows = &store.tables().layers;
        let events = read::events(rows, b"", state::FIRST, usize::MAX).unwrap().events;
        assert_eq!(events.len() as u64, newest.0 - state::FIRST.0, "{what}: member {id} has a gap");
        for done in record.iter().filter(|done| done.wrote) {
            let found = read::get(rows, &done.key, Some(Revision(done.revision))).unwrap();
            assert_eq!(found.map(|kv| kv.value), done.value, "{what}: member {id} lost revision {}", done.revision);
        }
        match &first {
            Some(first) => assert!(*first == events, "{what}: member {id} has another history"),
            None => first = Some(events),
        }
    }
}

/// Follows one member after the other from the first revision on: nothing twice, nothing missing, in order.
async fn watcher(up: Arc<Mutex<BTreeMap<u64, Store>>>, seen: Arc<Mutex<Vec<u64>>>, mut chance: Chance) {
    let mut last = state::FIRST;
    loop {
        sleep(Duration::from_millis(50)).await;
        let store = {
            let up = up.lock();
            let at = chance.below(up.len() as u64) as usize;
            up.values().nth(at).cloned()
        };
        let Some(store) = store else { continue };
        let Ok(Ok(mut watch)) = timeout(Duration::from_secs(8), store.watch(b"/", last)).await else { continue };
        drop(store);
        while let Ok(Some(Ok(events))) = timeout(Duration::from_secs(3), watch.next()).await {
            for event in events {
                match event {
                    Event::Put { kv, .. } => {
                        last = kv.mod_revision;
                        seen.lock().push(last.0);
                    }
                    Event::Delete { revision, .. } => last = revision,
                    Event::Progress(revision) => last = last.max(revision),
                }
            }
        }
    }
}

async fn trouble(town: &mut Town, members: u64) {
    let id = 1 + town.chance.below(members);
    let others: Vec<u64> = (1..=members).filter(|other| *other != id).collect();
    let for_a_while = Duration::from_millis(200 + town.chance.below(4000));
    match town.chance.below(5) {
        0 => {
            town.net.disturb(4 + town.chance.below(20), 3);
            sleep(for_a_while).await;
            town.net.disturb(0, 8);
        }
        1 => {
            let one_way = town.chance.one_in(2);
            for other in others {
                town.net.cut(&address(id), &address(other));
                if !one_way {
                    town.net.cut(&address(other), &address(id));
                }
            }
            sleep(for_a_while).await;
            town.net.heal();
        }
        2 => {
            // Everybody at once.
            for id in 1..=members {
                town.crash(id, 1).await;
            }
            restart(town, members).await;
        }
        _ => {
            town.crash(id, 30).await;
            sleep(for_a_while).await;
            restart(town, members).await;
        }
    }
    sleep(Duration::from_millis(town.chance.below(3000))).await;
}

/// Who is down comes up; a quorum may need more than one of them at once.
async fn restart(town: &mut Town, members: u64) {
    let down: Vec<u64> = (1..=members).filter(|id| !town.up.lock().contains_key(id)).collect();
    let mut starting = Vec::new();
    for id in down {
        let mut one = Town {
            net: town.net.clone(),
            disks: BTreeMap::from([(id, town.disks[&id].clone())]),
            up: town.up.clone(),
            chance: Chance::new(town.chance.below(u64::MAX)),
        };
        starting.push(async move { one.start(id, &[]).await.unwrap_or_else(|error| panic!("member {id}: {error}")) });
    }
    futures::future::join_all(starting).await;
}

/// A whole life of a cluster; a word that is the same for every run of the seed.
async fn life(seed: u64, members: u64, troubles: u64) -> String {
    let what = format!("seed {seed}");
    let mut town = Town::new(seed);
    for id in 1..=members {
        let join: &[u64] = if id == 1 { &[] } else { &[1] };
        town.start(id, join).await.unwrap_or_else(|error| panic!("{what}: member {id}: {error}"));
    }
    town.net.disturb(0, 8);
    let (record, seen): (Record, Arc<Mutex<Vec<u64>>>) = Default::default();
    let until = Instant::now() + Duration::from_secs(6 * troubles);
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let chance = Chance::new(seed * 100 + number);
        clients.spawn(client(number, town.up.clone(), record.clone(), until, chance));
    }
    let watching = tokio::spawn(watcher(town.up.clone(), seen.clone(), Chance::new(seed + 7)));
    for _ in 0..troubles {
        trouble(&mut town, members).await;
    }
    clients.join_all().await;
    town.net.heal();
    town.net.disturb(0, 0);
    restart(&mut town, members).await;
    // Writes that nobody waits for any more come to their end, so that members are compared at one moment.
    sleep(ABANDONED).await;
    let record = record.lock().clone();
    let writes = record.iter().filter(|done| done.wrote).count();
    assert!(writes > 20, "{what}: only {writes} writes");
    check_order(&record, &what);
    check_members(&town, &record, &what).await;
    let newest = town.any().expect("every member is up").revision();
    let told = timeout(Duration::from_secs(30), async {
        while seen.lock().last() < Some(&newest.0) {
            sleep(Duration::from_millis(100)).await;
        }
    });
    told.await.unwrap_or_else(|_| panic!("{what}: the watcher heard of {:?} of {newest:?}", seen.lock().last()));
    watching.abort();
    let expected: Vec<u64> = (state::FIRST.0 + 1..=newest.0).collect();
    assert!(*seen.lock() == expected, "{what}: the watcher missed some, or heard some twice");
    let stores: Vec<_> = std::mem::take(&mut *town.up.lock()).into_values().collect();
    for store in stores {
        store.close().await.unwrap_or_else(|error| panic!("{what}: closing: {error}"));
    }
    format!(
        "{what}: {writes} writes, {} reads, revision {}, {} messages",
        record.len() - writes,
        newest.0,
        town.net.messages()
    )
}

#[test]
fn three_members_agree_whatever_happens() {
    let seeds = budget("WHERRY_STORE_SEEDS", 1);
    let first = budget("WHERRY_STORE_SEED", 1);
    let random = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    for seed in (first..first + seeds).chain([random]) {
        println!("seed {seed}");
        println!("{}", simulate(seed, life(seed, 3, budget("WHERRY_STORE_TROUBLES", 3))));
    }
}

/// Only where tokio lets its own chance be seeded.
#[cfg(tokio_unstable)]
#[test]
fn a_seed_repeats() {
    let one = simulate(11, life(11, 3, 2));
    assert_eq!(one, simulate(11, life(11, 3, 2)));
}
