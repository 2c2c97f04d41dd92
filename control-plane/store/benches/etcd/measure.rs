//! What is done to each side, and what it costs.

use std::fs::File;
use std::future::Future;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

/// Of a put; a small pod has it.
const VALUE: usize = 2048;
/// Of the objects that the store grows by.
const OBJECT: usize = 1500;
const FOR: Duration = Duration::from_secs(3);
const WATCHERS: usize = 200;
const WATCHED_WRITES: usize = 200;
/// Background work of the phases before ends in it.
const SETTLE: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(20);
/// As many as there are in that time.
const LEASE_TICKS: usize = 10;
/// Of a Lease, as it is stored.
const LEASE: usize = 400;

/// What a server has used so far.
#[derive(Debug, Clone, Copy)]
pub struct Costs {
    pub processor: Duration,
    pub syncs: u64,
    pub written_bytes: u64,
    pub resident_bytes: u64,
}

/// One of the two that are compared.
pub trait Side: Clone + Send + Sync + 'static {
    type Watcher: Watcher;

    fn put(&self, key: String, value: Vec<u8>) -> impl Future<Output = ()> + Send;
    /// A put of a Lease, as each side's apiserver does it.
    fn renew(&self, key: String, value: Vec<u8>) -> impl Future<Output = ()> + Send;
    fn get(&self, key: String) -> impl Future<Output = ()> + Send;
    fn watch(&self, prefix: &str) -> impl Future<Output = Self::Watcher> + Send;
    /// Forgets every old version.
    fn compact(&self) -> impl Future<Output = ()> + Send;
    fn costs(&self) -> impl Future<Output = Costs> + Send;
}

pub trait Watcher: Send + 'static {
    /// How many events came.
    fn next(&mut self) -> impl Future<Output = usize> + Send;
}

pub fn from_environment(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

pub fn figure(name: &str, value: f64) {
    println!("{name}\t{value}");
}

pub async fn all(side: &impl Side, dir: &Path) {
    let floor = floor(dir);
    figure("sync floor, ms", floor * 1e3);
    puts(side, 1, Some(floor)).await;
    puts(side, 64, None).await;
    for clients in [1, 64] {
        let prefix = format!("/registry/bench/{clients}-");
        gets(side, clients, &prefix, 50, &format!("gets, {clients} clients")).await;
    }
    watches(side).await;
    growth(side).await;
    idle(side).await;
}

/// Reads what the growth has left.
pub async fn first_answer(side: &impl Side) {
    side.get(object(0)).await;
}

/// The seconds that the disk needs for one write and sync of a value.
fn floor(dir: &Path) -> f64 {
    let file = File::create(dir.join("floor")).expect("a file");
    let block = vec![7; VALUE];
    file.write_all_at(&vec![0; 8 << 20], 0).expect("written");
    file.sync_all().expect("synced");
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < FOR / 2 {
        let since = Instant::now();
        file.write_all_at(&block, (times.len() as u64 % 4096) * VALUE as u64).expect("written");
        rustix::fs::fdatasync(&file).expect("synced");
        times.push(since.elapsed());
    }
    percentile(&mut times, 50)
}

fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) * percent / 100).map_or(0.0, Duration::as_secs_f64)
}

/// What clients do over and over, for a while; how long each took.
async fn busy<F: Future<Output = ()> + Send>(
    clients: usize,
    work: impl Fn(usize, usize) -> F + Send + Sync + 'static,
) -> Vec<Duration> {
    let (work, until) = (Arc::new(work), Instant::now() + FOR);
    let mut running = JoinSet::new();
    for client in 0..clients {
        let work = work.clone();
        running.spawn(async move {
            let mut times = Vec::new();
            while Instant::now() < until {
                let since = Instant::now();
                work(client, times.len()).await;
                times.push(since.elapsed());
            }
            times
        });
    }
    running.join_all().await.into_iter().flatten().collect()
}

async fn puts(side: &impl Side, clients: usize, floor: Option<f64>) {
    let (before, since, writer) = (side.costs().await, Instant::now(), side.clone());
    let mut times = busy(clients, move |client, number| {
        let writer = writer.clone();
        async move { writer.put(format!("/registry/bench/{clients}-{client}-{}", number % 50), vec![b'x'; VALUE]).await }
    })
    .await;
    let (after, took, done) = (side.costs().await, since.elapsed(), times.len() as f64);
    let name = format!("puts, {clients} clients");
    figure(&format!("{name}: per second"), done / took.as_secs_f64());
    figure(&format!("{name}: p50, ms"), percentile(&mut times, 50) * 1e3);
    figure(&format!("{name}: p99, ms"), percentile(&mut times, 99) * 1e3);
    if let Some(floor) = floor {
        figure(&format!("{name}: p50 over the sync floor"), percentile(&mut times, 50) / floor);
    }
    figure(&format!("{name}: syncs per put"), (after.syncs - before.syncs) as f64 / done);
    figure(&format!("{name}: CPU per put, µs"), micros(before, after) / done);
    figure(&format!("{name}: bytes written per put"), (after.written_bytes - before.written_bytes) as f64 / done);
}

fn micros(before: Costs, after: Costs) -> f64 {
    (after.processor - before.processor).as_secs_f64() * 1e6
}

async fn gets(side: &impl Side, clients: usize, prefix: &str, keys: usize, name: &str) {
    let (before, since, reader, prefix) = (side.costs().await, Instant::now(), side.clone(), prefix.to_owned());
    let of_clients = prefix.ends_with('-');
    let mut times = busy(clients, move |client, number| {
        let (reader, prefix) = (reader.clone(), prefix.clone());
        async move {
            let key = match of_clients {
                true => format!("{prefix}{client}-{}", number % keys),
                // Anywhere, evenly: a step that has no divisor in common with a round number.
                false => object((client * 1009 + number * 7919) % keys),
            };
            reader.get(key).await;
        }
    })
    .await;
    let (after, took) = (side.costs().await, since.elapsed());
    figure(&format!("{name}: per second"), times.len() as f64 / took.as_secs_f64());
    figure(&format!("{name}: p99, ms"), percentile(&mut times, 99) * 1e3);
    figure(&format!("{name}: CPU per get, µs"), micros(before, after) / times.len() as f64);
}

/// One write after the other, each awaited by every watcher.
async fn watches(side: &impl Side) {
    let (heard, mut hearing) = tokio::sync::mpsc::channel(WATCHERS * 4);
    let memory = side.costs().await.resident_bytes;
    // Ended with this phase.
    let mut watching = JoinSet::new();
    for _ in 0..WATCHERS {
        let (mut watcher, heard) = (side.watch("/registry/watched/").await, heard.clone());
        watching.spawn(async move {
            loop {
                let events = watcher.next().await;
                if heard.send(events).await.is_err() {
                    return;
                }
            }
        });
    }
    let before = side.costs().await;
    figure("an idle watch, KiB", before.resident_bytes.saturating_sub(memory) as f64 / 1024.0 / WATCHERS as f64);
    let mut times = Vec::new();
    for number in 0..WATCHED_WRITES {
        let since = Instant::now();
        side.put(format!("/registry/watched/{}", number % 10), vec![b'x'; VALUE]).await;
        let mut events = 0;
        while events < WATCHERS {
            events += hearing.recv().await.expect("the watchers live");
        }
        times.push(since.elapsed());
    }
    let after = side.costs().await;
    figure("a write and its 200 watchers: p50, ms", percentile(&mut times, 50) * 1e3);
    figure("a write and its 200 watchers: p99, ms", percentile(&mut times, 99) * 1e3);
    figure("CPU per event, µs", micros(before, after) / (WATCHERS * WATCHED_WRITES) as f64);
}

fn object(number: usize) -> String {
    format!("/registry/pods/default/object-{number:08}")
}

async fn fill(side: &impl Side, from: usize, upto: usize) {
    let mut running = JoinSet::new();
    for client in 0..64 {
        let side = side.clone();
        running.spawn(async move {
            for number in (from + client..upto).step_by(64) {
                side.put(object(number), vec![b'x'; OBJECT]).await;
            }
        });
    }
    running.join_all().await;
}

/// The same work with few objects and with many; then what a compaction does to who writes.
async fn growth(side: &impl Side) {
    let many = from_environment("BENCH_OBJECTS", 100_000);
    let few = many / 100;
    fill(side, 0, few).await;
    let (small, memory) = (at_size(side, few).await, side.costs().await.resident_bytes);
    let since = Instant::now();
    fill(side, few, many).await;
    figure("filling: objects per second", (many - few) as f64 / since.elapsed().as_secs_f64());
    let large = at_size(side, many).await;
    figure("growth to 100 times the objects: CPU per put, ratio", large.0 / small.0);
    figure("growth to 100 times the objects: CPU per get, ratio", large.1 / small.1);
    let grown = side.costs().await.resident_bytes.saturating_sub(memory) as f64;
    figure("growth to 100 times the objects: memory over the bytes", grown / ((many - few) * OBJECT) as f64);
    compaction(side, many).await;
}

/// Processor time per put and per get among so many objects.
async fn at_size(side: &impl Side, objects: usize) -> (f64, f64) {
    let (before, writer) = (side.costs().await, side.clone());
    let puts = busy(64, move |client, number| {
        let (writer, key) = (writer.clone(), object((client * 1009 + number * 7919) % objects));
        async move { writer.put(key, vec![b'y'; OBJECT]).await }
    })
    .await;
    let between = side.costs().await;
    let reader = side.clone();
    let gets = busy(64, move |client, number| {
        let (reader, key) = (reader.clone(), object((client * 1009 + number * 7919) % objects));
        async move { reader.get(key).await }
    })
    .await;
    let after = side.costs().await;
    let (put, get) = (micros(before, between) / puts.len() as f64, micros(between, after) / gets.len() as f64);
    figure(&format!("CPU per put among {objects}, µs"), put);
    figure(&format!("CPU per get among {objects}, µs"), get);
    (put, get)
}

/// One client writes all the time, before and during a compaction.
async fn compaction(side: &impl Side, objects: usize) {
    let over = Arc::new(AtomicBool::new(false));
    let (writer, stop) = (side.clone(), over.clone());
    let writing = tokio::spawn(async move {
        let mut times: Vec<(Instant, Duration)> = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let since = Instant::now();
            writer.put(object(times.len() * 7919 % objects), vec![b'z'; OBJECT]).await;
            times.push((since, since.elapsed()));
        }
        times
    });
    tokio::time::sleep(FOR).await;
    let since = Instant::now();
    side.compact().await;
    let compacted = since.elapsed();
    // What is done behind the answer belongs to it.
    tokio::time::sleep(FOR).await;
    over.store(true, Ordering::Relaxed);
    let times = writing.await.expect("the writer ended");
    let (before, during): (Vec<_>, Vec<_>) = times.into_iter().partition(|(at, took)| *at + *took < since);
    let longest = |times: Vec<(Instant, Duration)>| {
        let mut times: Vec<Duration> = times.into_iter().map(|(_, took)| took).collect();
        (percentile(&mut times, 99) * 1e3, percentile(&mut times, 100) * 1e3)
    };
    let ((p99, most), (p99_during, most_during)) = (longest(before), longest(during));
    figure("compaction: it took, ms", compacted.as_secs_f64() * 1e3);
    figure("puts before a compaction: p99, ms", p99);
    figure("puts before a compaction: longest, ms", most);
    figure("puts during a compaction: p99, ms", p99_during);
    figure("puts during a compaction: longest, ms", most_during);
}

/// Nobody asks for anything; then a cluster without work: two leaders renew their Leases every two seconds, a node its
/// every ten.
async fn idle(side: &impl Side) {
    tokio::time::sleep(SETTLE).await;
    let before = side.costs().await;
    tokio::time::sleep(IDLE).await;
    used(side, before, "idle").await;
    let before = side.costs().await;
    let mut ticks = tokio::time::interval(Duration::from_secs(2));
    for tick in 0..LEASE_TICKS {
        ticks.tick().await;
        let leases = ["kube-controller-manager", "kube-scheduler", "node"];
        for lease in &leases[..if tick % 5 == 0 { 3 } else { 2 }] {
            side.renew(format!("/registry/leases/{lease}"), vec![b'x'; LEASE]).await;
        }
    }
    used(side, before, "idle with Leases").await;
}

async fn used(side: &impl Side, before: Costs, name: &str) {
    let after = side.costs().await;
    let per_second = |count: u64| count as f64 / IDLE.as_secs_f64();
    figure(&format!("{name}: bytes written per second"), per_second(after.written_bytes - before.written_bytes));
    figure(&format!("{name}: syncs per second"), per_second(after.syncs - before.syncs));
    figure(&format!("{name}: CPU, µs per second"), micros(before, after) / IDLE.as_secs_f64());
}

/// What every thread of another process has run: finer than the ticks of `stat`. None of etcd's threads ends.
pub fn processor_of(pid: &str) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives").flatten();
    let ran = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok());
    Duration::from_nanos(ran.filter_map(|text| text.split(' ').next()?.parse::<u64>().ok()).sum())
}

/// Of a process, from /proc; its syncs and processor time are counted elsewhere.
pub fn costs(pid: &str, processor: Duration, syncs: u64) -> Costs {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).expect("the process lives");
    let number = |text: &str, name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel says it");
        line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
    };
    Costs {
        processor,
        syncs,
        written_bytes: number(&read("io"), "write_bytes:"),
        resident_bytes: number(&read("status"), "VmRSS:") * 1024,
    }
}
