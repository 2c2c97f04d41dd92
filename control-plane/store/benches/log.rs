//! Why the log is not in redb: the same groups of entries, appended and made durable in a redb table and in a file that is
//! preallocated, with a checksum per record, in turns; the oldest are dropped after every 4 MiB. `cargo bench -p store`.

#[path = "etcd/syncs.rs"]
mod syncs;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use redb::{Database, Durability, TableDefinition};

const ENTRY: usize = 2048;
const KEEP: usize = 4 << 20;
const FOR: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");

/// Per group: milliseconds, syncs, KiB that reached the disk, processor µs.
type Figures = [f64; 4];

fn measure(mut append: impl FnMut()) -> Figures {
    let before = (syncs::so_far(), written(), processor());
    let (since, mut groups) = (Instant::now(), 0.0);
    while since.elapsed() < FOR {
        append();
        groups += 1.0;
    }
    let took = since.elapsed().as_secs_f64() * 1e3;
    [
        took / groups,
        (syncs::so_far() - before.0) as f64 / groups,
        (written() - before.1) as f64 / 1024.0 / groups,
        (processor() - before.2) / groups,
    ]
}

fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").expect("/proc");
    io.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok()).expect("a number")
}

/// Microseconds of this thread.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("/proc");
    stat.split(' ').next().and_then(|word| word.parse::<f64>().ok()).expect("a number") / 1e3
}

fn in_redb(dir: &Path, group: usize) -> Figures {
    let database = Database::create(dir.join("log.redb")).expect("a database");
    let (entry, mut next, mut first) = (vec![b'x'; ENTRY], 0_u64, 0_u64);
    measure(|| {
        let mut txn = database.begin_write().expect("a transaction");
        txn.set_durability(Durability::Immediate).expect("durable");
        {
            let mut table = txn.open_table(LOG).expect("a table");
            for _ in 0..group {
                table.insert(next, &entry[..]).expect("inserted");
                next += 1;
            }
            if (next - first) as usize * ENTRY > 2 * KEEP {
                let upto = next - (KEEP / ENTRY) as u64;
                table.retain_in(first..upto, |_, _| false).expect("dropped");
                first = upto;
            }
        }
        txn.commit().expect("committed");
    })
}

fn in_segments(dir: &Path, group: usize) -> Figures {
    let entry = vec![b'x'; ENTRY];
    let segment = |number: u64| -> File {
        let path = dir.join(format!("{number}.log"));
        let file = File::create(&path).expect("a file");
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, KEEP as u64).expect("space");
        file.sync_data().expect("synced");
        file
    };
    let (mut number, mut at) = (0, 0_u64);
    let mut file = segment(number);
    measure(|| {
        let mut bytes = Vec::with_capacity(group * (ENTRY + 16));
        for _ in 0..group {
            bytes.extend_from_slice(&(ENTRY as u64).to_le_bytes());
            bytes.extend_from_slice(&u64::from(crc32fast::hash(&entry)).to_le_bytes());
            bytes.extend_from_slice(&entry);
        }
        if at as usize + bytes.len() > KEEP {
            number += 1;
            (file, at) = (segment(number), 0);
            if number > 1 {
                std::fs::remove_file(dir.join(format!("{}.log", number - 2))).expect("dropped");
            }
        }
        file.write_all_at(&bytes, at).expect("written");
        at += bytes.len() as u64;
        file.sync_data().expect("synced");
    })
}

fn main() {
    // `cargo test --benches` asks for no figures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!("| a group of | where | ms | syncs | KiB written | CPU, µs |\n|---|---|---|---|---|---|");
    for group in [1, 32] {
        let (mut tables, mut segments) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            for turn in [round % 2, 1 - round % 2] {
                let parent = std::env::var_os("BENCH_DIR").unwrap_or_else(|| ".".into());
                let dir = tempfile::tempdir_in(parent).expect("a directory");
                match turn {
                    0 => tables.push(in_redb(dir.path(), group)),
                    _ => segments.push(in_segments(dir.path(), group)),
                }
            }
        }
        for (name, rounds) in [("redb", tables), ("segments", segments)] {
            let figures = [0, 1, 2, 3].map(|column| {
                let mut all: Vec<f64> = rounds.iter().map(|figures| figures[column]).collect();
                all.sort_by(f64::total_cmp);
                format!("{:.2} ({:.2}–{:.2})", all[all.len() / 2], all[0], all[all.len() - 1])
            });
            println!("| {group} | {name} | {} |", figures.join(" | "));
        }
    }
}
