//! What a durable put costs: syncs of the log per put, puts per second, and processor time, beside the disk's own
//! floor (appending and syncing the same bytes to a preallocated file). `cargo bench -p store`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use store::{Config, Op, Store, Txn};

const VALUE: usize = 2048;
const FOR: Duration = Duration::from_secs(3);

fn floor(dir: &std::path::Path) -> f64 {
    let file = File::create(dir.join("floor")).unwrap();
    let block = vec![7; VALUE];
    file.write_all_at(&vec![0; 8 << 20], 0).unwrap();
    file.sync_all().unwrap();
    let (start, mut syncs) = (Instant::now(), 0);
    while start.elapsed() < FOR {
        file.write_all_at(&block, (syncs % 4096) * VALUE as u64).unwrap();
        file.sync_data().unwrap();
        syncs += 1;
    }
    syncs as f64 / start.elapsed().as_secs_f64()
}

/// Processor seconds of this process so far.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    // Fields 14 and 15, in ticks of which Linux shows 100 a second.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

async fn puts(store: &Store, writers: usize, volatile: bool) -> u64 {
    let until = Instant::now() + FOR;
    let mut running = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let store = store.clone();
        running.spawn(async move {
            let mut done = 0_u64;
            while Instant::now() < until {
                let key = format!("/registry/pods/bench/{writer}-{}", done % 50).into();
                let op = Op::Put { key, value: vec![b'x'; VALUE].into(), lease: 0 };
                store.txn(Txn { ops: vec![op], volatile, ..Txn::default() }).await.unwrap();
                done += 1;
            }
            done
        });
    }
    let mut total = 0;
    while let Some(done) = running.join_next().await {
        total += done.unwrap();
    }
    total
}

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir_in(std::env::var_os("BENCH_DIR").unwrap_or_else(|| ".".into())).unwrap();
    let start = Instant::now();
    let store = Store::open(Config::new(dir.path().join("store"))).await.unwrap();
    println!("open an empty store: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    println!("{VALUE}-byte values   puts/s  syncs/put  of the floor  processor µs/put");
    for (writers, volatile) in [(1, false), (64, false), (1, true), (64, true)] {
        let floor = floor(dir.path());
        let (syncs, time, before) = (store.syncs(), Instant::now(), processor());
        let total = puts(&store, writers, volatile).await as f64;
        let rate = total / time.elapsed().as_secs_f64();
        println!(
            "{writers:>3} {}  {rate:>10.0}  {:>9.4}  {:>11.2}×  {:>16.1}",
            if volatile { "volatile" } else { "durable " },
            (store.syncs() - syncs) as f64 / total,
            rate / floor,
            (processor() - before) / total * 1e6,
        );
    }
    store.close().await.unwrap();
    drop(store);
    let start = Instant::now();
    let store = Store::open(Config::new(dir.path().join("store"))).await.unwrap();
    println!("open it again: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    store.close().await.unwrap();
    let (tables, log) = (size(&dir.path().join("store/state.redb")), size(&dir.path().join("store/log")));
    println!("on disk: tables {:.1} MiB, log {:.1} MiB", tables as f64 / 1048576.0, log as f64 / 1048576.0);
}

fn size(path: &std::path::Path) -> u64 {
    let meta = std::fs::metadata(path).unwrap();
    if meta.is_file() {
        return meta.len();
    }
    std::fs::read_dir(path).unwrap().map(|entry| size(&entry.unwrap().path())).sum()
}
