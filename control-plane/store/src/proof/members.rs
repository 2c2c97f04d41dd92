//! Several members in one thread and in a time of their own: clients put and get through any of them, and keep leases
//! alive, while messages are lost, members are cut off, and lose their power in the middle of a write. Each member has a
//! clock of its own that runs wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::clock::Clock;
use super::disk::Simulated;
use super::leases::{self, keeper};
use super::net::Net;
use super::{Chance, budget, seeded, simulate};
use crate::contract::{Error, Event, Op, Revision, Txn, TxnOutcome};
use crate::history::Keep;
use crate::store::{Cluster, Config, Store, Timing};
use crate::{read, state};

const KEYS: u64 = 4;
const CLIENTS: u64 = 5;
/// Of a client with one request.
const PATIENCE: Duration = Duration::from_secs(8);
/// Longer than a write looks for a leader and a quorum by the slowest clock.
const ABANDONED: Duration = Duration::from_secs(90);
/// So that rows are often on their way into the tables.
const ENOUGH: u64 = 60_000;
const KEEPERS: u64 = 8;
/// Requests of a life at least: clocks that stand still may leave little of its time.
const FEW: usize = 200;
/// Shorter than a life, so that the age of history is judged by wrong clocks.
const AGE: Duration = Duration::from_secs(20);
/// A clock that leaps may end the time of a question at once; it is asked again.
const TRIES: usize = 30;

/// A member that runs, and the clock it lives by.
#[derive(Clone)]
pub struct Running {
    pub store: Store,
    pub clock: Arc<Clock>,
}

impl Running {
    /// What is asked of a member is timed by its clock; who asks has the true time.
    pub async fn asked<F: Future>(&self, question: F) -> Option<F::Output> {
        timeout(PATIENCE, self.clock.scope(question)).await.ok()
    }
}

pub type Up = Arc<Mutex<BTreeMap<u64, Running>>>;

pub fn any(up: &Up, chance: &mut Chance) -> Option<Running> {
    let up = up.lock();
    let at = chance.below(up.len() as u64) as usize;
    up.values().nth(at).cloned()
}

/// All clocks of a life, those of members that are gone too.
pub type Clocks = Arc<Mutex<Vec<Arc<Clock>>>>;

/// Whether some member may say that so much time is over.
pub fn may_be_over(clocks: &Clocks, time: Duration, since: Instant) -> bool {
    let now = Instant::now();
    clocks.lock().iter().any(|clock| clock.passes(since, now) >= time)
}

/// Members by number; one that is down has a disk and no store.
struct Town {
    net: Net,
    disks: BTreeMap<u64, Simulated>,
    up: Up,
    clocks: Clocks,
    keep: Keep,
    chance: Chance,
}

fn address(id: u64) -> String {
    format!("member-{id}")
}

impl Town {
    fn new(seed: u64) -> Self {
        let mut keep = Keep::default();
        if seed.is_multiple_of(3) {
            keep.age = AGE;
        }
        let (disks, up, clocks) = Default::default();
        Self { net: Net::new(seed), disks, up, clocks, keep, chance: Chance::new(seed + 1) }
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
            keep: self.keep,
            disk: Arc::new(disk),
            enough: ENOUGH,
            ..Config::new(format!("/{id}"))
        };
        let clock = {
            let mut clocks = self.clocks.lock();
            let clock = Clock::new(1 + clocks.len() as u64, Chance::new(self.chance.below(u64::MAX)));
            clocks.push(clock.clone());
            clock
        };
        let store = clock.scope(seeded(self.chance.below(u64::MAX), Store::open(config))).await?;
        self.up.lock().insert(id, Running { store, clock });
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
        let member = self.up.lock().remove(&id);
        self.disks.insert(id, disk.after_cut_now(&mut self.chance));
        if let Some(member) = member {
            // What it still says, nobody hears, and what it still writes is gone.
            let _ = timeout(Duration::from_secs(30), member.clock.scope(member.store.close())).await;
        }
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
async fn client(number: u64, up: Up, record: Record, until: Instant, mut chance: Chance) {
    let mut count = 0;
    while Instant::now() < until || record.lock().len() < FEW {
        sleep(Duration::from_millis(chance.below(30))).await;
        let Some(member) = any(&up, &mut chance) else { continue };
        let key = Bytes::from(format!("/{}", chance.below(KEYS)));
        let begun = Instant::now();
        if chance.one_in(2) {
            count += 1;
            let value = Bytes::from(format!("{number} {count}"));
            let op = Op::Put { key: key.clone(), value: value.clone(), lease: 0 };
            let put = member.asked(member.store.txn(Txn { ops: vec![op], ..Txn::default() })).await;
            if let Some(Ok(TxnOutcome::Committed(Revision(revision)))) = put {
                let value = Some(value);
                record.lock().push(Done { begun, ended: Instant::now(), key, revision, value, wrote: true });
            }
        } else if let Some(Ok(found)) = member.asked(member.store.get(&key, None)).await {
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

/// Every member has the same history, with everything in it that was acknowledged and that nobody may have forgotten.
async fn check_members(town: &Town, record: &[Done], what: &str) {
    let members: Vec<_> = town.up.lock().iter().map(|(id, member)| (*id, member.clone())).collect();
    let mut first: Option<Vec<Event>> = None;
    for (id, member) in members {
        let what = format!("{what}: member {id}");
        let newest = insist(&what, &member, || member.store.current_revision()).await;
        let rows = &member.store.tables().layers;
        let compacted = rows.view().numbers().compacted;
        let events = read::events(rows, b"", compacted, usize::MAX).unwrap().events;
        let revisions: BTreeSet<u64> = events.iter().map(|event| revision_of(event).0).collect();
        assert!(revisions.into_iter().eq(compacted.0 + 1..=newest.0), "{what} has a gap");
        for done in record.iter().filter(|done| done.wrote) {
            if done.revision < compacted.0 {
                let why = "forgot revision";
                assert!(may_be_over(&town.clocks, town.keep.age, done.begun), "{what} {why} {}", done.revision);
                continue;
            }
            let found = read::get(rows, &done.key, Some(Revision(done.revision))).unwrap();
            assert_eq!(found.map(|kv| kv.value), done.value, "{what} lost revision {}", done.revision);
        }
        match &mut first {
            Some(first) => {
                // History may be forgotten from one member to the next.
                first.retain(|event| revision_of(event) > compacted);
                assert!(*first == events, "{what} has another history");
            }
            None => first = Some(events),
        }
    }
}

/// Asks until there is an answer: with nothing else in the way, a clock is all that can have prevented it.
pub async fn insist<T, F>(what: &str, member: &Running, ask: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, Error>>,
{
    let mut last = None;
    for _ in 0..TRIES {
        match member.asked(ask()).await {
            Some(Ok(answer)) => return answer,
            failed => last = failed.and_then(Result::err),
        }
        sleep(Duration::from_millis(200)).await;
    }
    panic!("{what}: does not answer: {last:?}");
}

fn revision_of(event: &Event) -> Revision {
    match event {
        Event::Put { kv, .. } => kv.mod_revision,
        Event::Delete { revision, .. } | Event::Progress(revision) => *revision,
    }
}

/// Revisions that a watcher heard of, and the last one of each time it was told that it had come too late for some.
#[derive(Default)]
struct Heard {
    revisions: Vec<u64>,
    forgotten: Vec<(u64, u64)>,
}

/// Follows one member after the other from the first revision on: nothing twice, nothing missing, in order.
async fn watcher(up: Up, heard: Arc<Mutex<Heard>>, mut chance: Chance) {
    let mut last = state::FIRST;
    loop {
        sleep(Duration::from_millis(50)).await;
        let Some(member) = any(&up, &mut chance) else { continue };
        let Some(begun) = member.asked(member.store.watch(b"/", last)).await else { continue };
        let mut watch = match begun {
            Ok(watch) => watch,
            Err(error) => {
                last = forgotten(&heard, last, &error);
                continue;
            }
        };
        let clock = member.clock.clone();
        drop(member);
        while let Ok(Some(events)) = timeout(Duration::from_secs(3), clock.scope(watch.next())).await {
            let events = match events {
                Ok(events) => events,
                Err(error) => {
                    last = forgotten(&heard, last, &error);
                    break;
                }
            };
            for event in events {
                let revision = revision_of(&event);
                if !matches!(event, Event::Progress(_)) {
                    heard.lock().revisions.push(revision.0);
                }
                last = last.max(revision);
            }
        }
    }
}

/// Where a watcher goes on.
fn forgotten(heard: &Mutex<Heard>, last: Revision, error: &Error) -> Revision {
    let Error::Compacted { oldest, .. } = error else { return last };
    heard.lock().forgotten.push((last.0, oldest.0));
    *oldest
}

impl Heard {
    fn reached(&self) -> u64 {
        let forgotten = self.forgotten.last().map(|(_, upto)| *upto);
        self.revisions.last().copied().max(forgotten).unwrap_or_default()
    }

    fn check(&self, newest: Revision, compacted: Revision, what: &str) {
        let missed = |revision: &u64| self.forgotten.iter().any(|(after, upto)| (after + 1..=*upto).contains(revision));
        let expected: Vec<u64> = (state::FIRST.0 + 1..=newest.0).filter(|revision| !missed(revision)).collect();
        assert!(self.revisions == expected, "{what}: the watcher missed some, or heard some twice");
        assert!(
            self.forgotten.iter().all(|(_, upto)| *upto <= compacted.0),
            "{what}: told of a compaction that is none"
        );
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
            clocks: town.clocks.clone(),
            keep: town.keep,
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
    let (record, heard): (Record, Arc<Mutex<Heard>>) = Default::default();
    let until = Instant::now() + Duration::from_secs(6 * troubles);
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let chance = Chance::new(seed * 100 + number);
        clients.spawn(client(number, town.up.clone(), record.clone(), until, chance));
    }
    let mut keepers = tokio::task::JoinSet::new();
    for number in 0..KEEPERS {
        let chance = Chance::new(seed * 100 + 50 + number);
        keepers.spawn(keeper(number, town.up.clone(), town.clocks.clone(), until, chance));
    }
    let watching = tokio::spawn(watcher(town.up.clone(), heard.clone(), Chance::new(seed + 7)));
    for _ in 0..troubles {
        trouble(&mut town, members).await;
    }
    clients.join_all().await;
    let kept = keepers.join_all().await.into_iter().sum::<leases::Kept>();
    town.net.heal();
    town.net.disturb(0, 0);
    restart(&mut town, members).await;
    // Writes that nobody waits for any more come to their end, so that members are compared at one moment.
    sleep(ABANDONED).await;
    leases::all_end(&town.up, &mut town.chance, &what).await;
    let record = record.lock().clone();
    let writes = record.iter().filter(|done| done.wrote).count();
    assert!(writes > 20, "{what}: only {writes} writes");
    check_order(&record, &what);
    check_members(&town, &record, &what).await;
    let newest = any(&town.up, &mut town.chance).expect("every member is up").store.revision();
    let told = timeout(Duration::from_secs(60), async {
        while heard.lock().reached() < newest.0 {
            sleep(Duration::from_millis(100)).await;
        }
    });
    let told = told.await;
    watching.abort();
    let heard = std::mem::take(&mut *heard.lock());
    assert!(told.is_ok(), "{what}: the watcher heard of {:?} of {newest:?}", heard.revisions.last());
    let members: Vec<_> = std::mem::take(&mut *town.up.lock()).into_values().collect();
    let compacted = members.iter().map(|member| member.store.tables().layers.view().numbers().compacted).max();
    let compacted = compacted.expect("every member is up");
    heard.check(newest, compacted, &what);
    for member in members {
        let closed = member.clock.scope(member.store.close()).await;
        closed.unwrap_or_else(|error| panic!("{what}: closing: {error}"));
    }
    format!(
        "{what}: {writes} writes, {} reads, {kept}, revision {}, compacted {}, {} messages",
        record.len() - writes,
        newest.0,
        compacted.0,
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
