//! The store beside a real etcd: the same puts, gets and watches on the same disk, in turns. `cargo bench -p store`.
//!
//! Each side of each round is a process of its own, begun in an empty directory. The store is called in its process, as
//! the apiserver calls it, and its load is counted with it; etcd is asked over gRPC, as every user of it does, and of its
//! processor time only the server's counts. Environment: `BENCH_ETCD` (the program, default `etcd`), `BENCH_DIR` (where
//! the data goes), `BENCH_ROUNDS` (default 5), `BENCH_OBJECTS` (default 100000).

mod embedded;
mod etcd;
mod grpc;
mod measure;
mod report;
mod syncs;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use report::Report;

/// What a process of a round is for: `embedded`, `etcd`, `reopen`, and its directory.
const PART: &str = "BENCH_PART";

fn main() {
    if let Ok(part) = std::env::var(PART) {
        let dir = PathBuf::from(std::env::var_os("BENCH_PART_DIR").expect("a part has a directory"));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        return runtime.block_on(run(&part, &dir));
    }
    // `cargo test --benches` asks for no figures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let peer = etcd::program();
    if peer.is_none() {
        println!("SKIPPED: the comparison needs an etcd; name it with BENCH_ETCD, or install etcd-server");
    }
    let mut report = Report::default();
    for round in 0..measure::from_environment("BENCH_ROUNDS", 5) {
        let mut order = vec!["embedded", "etcd"];
        order.retain(|side| *side == "embedded" || peer.is_some());
        if round % 2 == 1 {
            order.reverse();
        }
        for side in order {
            let dir =
                tempfile::tempdir_in(std::env::var_os("BENCH_DIR").unwrap_or_else(|| ".".into())).expect("a directory");
            one_side(side, dir.path(), &mut report);
        }
        eprintln!("round {} is done\n{}", round + 1, report.text());
    }
    println!("{}", report.text());
}

/// One side's figures of a round; then the same directory once more, after a kill.
fn one_side(side: &str, dir: &Path, report: &mut Report) {
    for (name, value) in part(side, dir) {
        report.add(side, &name, value);
    }
    let reopened = if side == "etcd" { "etcd-reopen" } else { "reopen" };
    for (name, value) in part(reopened, dir) {
        report.add(side, &name, value);
    }
}

/// Said by a process when it could answer; how long that is after its start, its reader knows.
const RECOVERED: &str = "start after a kill, ms";

fn part(name: &str, dir: &Path) -> Vec<(String, f64)> {
    let program = std::env::current_exe().expect("this program");
    let started = Instant::now();
    let mut child = Command::new(program)
        .env(PART, name)
        .env("BENCH_PART_DIR", dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the part starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let figures = lines.filter_map(|line| {
        let (name, value) = line.split_once('\t')?;
        let value = if name == RECOVERED { started.elapsed().as_secs_f64() * 1e3 } else { value.parse().ok()? };
        Some((name.to_owned(), value))
    });
    let figures = figures.collect();
    // It ends by a signal of its own, as a kill does.
    child.wait().expect("the part ended");
    figures
}

async fn run(part: &str, dir: &Path) {
    match part {
        "embedded" => {
            let side = embedded::Embedded::open(dir).await;
            measure::all(&side, dir).await;
            embedded::die();
        }
        "reopen" => {
            let side = embedded::Embedded::open(dir).await;
            measure::first_answer(&side).await;
            recovered();
            embedded::die();
        }
        "etcd" => {
            let side = etcd::Etcd::start(dir).await;
            measure::all(&side, dir).await;
            side.kill();
        }
        "etcd-reopen" => {
            let side = etcd::Etcd::start(dir).await;
            measure::first_answer(&side).await;
            recovered();
            side.kill();
        }
        other => panic!("there is no part {other}"),
    }
}

fn recovered() {
    measure::figure(RECOVERED, 0.0);
}
