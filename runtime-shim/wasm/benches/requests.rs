//! What a `wasi:http` guest costs: from its creation to Running, its first request, a warm one, and requests a second with
//! the CPU time of each, a fresh instance per request.
//!
//! `cargo bench -p wasm`. With `WASM_BENCH_PEER=ADDRESS:PORT PEER_PID=PID` the same load goes to another server of the same
//! component in turn (`wasmtime serve -S cli --addr ADDRESS:PORT hello.wasm`), round by round.

use container::{Executor as _, Image, ImageContent, Port, Sandbox, Spec};
use sha2::Digest;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const HELLO: &str = include_str!("../../../examples/hello/guest.wat");
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
const CLIENTS: usize = 32;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n";

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let dir = tempfile::Builder::new().prefix("wasm-bench-").tempdir().expect("a directory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let executor = wasm::Executor::new(wasm::Config {
        root: dir.path().join("wasm"),
        exe: env!("CARGO_BIN_EXE_wasm-host").into(),
    });
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let pid = runtime.block_on(starts(&executor, dir.path(), free.port()));
    single(free);
    load(free, pid);
    memory(pid);
    runtime.block_on(executor.shutdown()).expect("the host ends");
}

/// Creation to Running, first with nothing there, then with everything.
async fn starts(executor: &wasm::Executor, dir: &Path, port: u16) -> u32 {
    for what in ["host started, code compiled", "code in memory", "code in memory again"] {
        if what.starts_with("code in memory") {
            executor.close_sandbox("bench").await.expect("closed");
        }
        let spec = spec(dir, port);
        let start = Instant::now();
        executor.create(&spec).await.expect("created");
        executor.start("bench").await.expect("started");
        println!("create → Running, {what}: {:?}", start.elapsed());
    }
    let lock = std::fs::read_to_string(dir.join("wasm/host.lock")).expect("the host's pid");
    lock.trim().parse().expect("a pid")
}

fn single(to: SocketAddr) {
    let mut stream = TcpStream::connect(to).expect("connected");
    let mut took = Vec::new();
    for _ in 0..2000 {
        let start = Instant::now();
        request(&mut stream).expect("answered");
        took.push(start.elapsed());
    }
    println!("first request: {:?}", took[0]);
    took.sort();
    println!("one client, a request: median {:?}, p99 {:?}", took[took.len() / 2], took[took.len() * 99 / 100]);
}

fn load(ours: SocketAddr, pid: u32) {
    let peer = std::env::var("WASM_BENCH_PEER").ok().map(|peer| peer.parse().expect("ADDRESS:PORT"));
    let peer_pid = std::env::var("PEER_PID").ok().map(|pid| pid.parse().expect("a process id"));
    let (mut us, mut them) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let mut turns = [(Some(ours), Some(pid), &mut us), (peer, peer_pid, &mut them)];
        if round % 2 == 1 {
            turns.reverse();
        }
        for (to, pid, results) in turns {
            if let Some(to) = to {
                results.push(storm(to, pid));
            }
        }
    }
    report("wherry", us);
    report("peer", them);
}

/// Requests a second, and CPU microseconds of the server for each.
fn storm(to: SocketAddr, pid: Option<u32>) -> (f64, f64) {
    let before = pid.map(cpu);
    let start = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(to).expect("connected");
                let mut done = 0u64;
                while start.elapsed() < ROUND {
                    request(&mut stream).expect("answered");
                    done += 1;
                }
                done
            })
        })
        .collect();
    let done: u64 = clients.into_iter().map(|client| client.join().expect("a client")).sum();
    let rate = done as f64 / start.elapsed().as_secs_f64();
    let used = pid.map(cpu).zip(before).map_or(Duration::ZERO, |(after, before)| after - before);
    (rate, used.as_secs_f64() * 1e6 / done as f64)
}

fn report(who: &str, mut results: Vec<(f64, f64)>) {
    if results.is_empty() {
        return;
    }
    results.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (low, middle, high) = (results[0], results[results.len() / 2], results[results.len() - 1]);
    println!("{who}: {:.0} requests/s (min {:.0}, max {:.0}), {:.1} µs of CPU each", middle.0, low.0, high.0, middle.1);
}

fn memory(pid: u32) {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("the host's memory");
    for line in rollup.lines().filter(|line| line.starts_with("Pss:") || line.starts_with("Pss_Anon:")) {
        println!("host after the load: {}", line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
}

/// The CPU time of a process.
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    let after_name = stat.rsplit_once(") ").expect("a name in brackets").1;
    let ticks = after_name.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks"));
    // USER_HZ is 100 on every Linux.
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// One request on a kept connection; reads the answer to the end of its last chunk.
fn request(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(REQUEST)?;
    let mut answer = Vec::with_capacity(512);
    let mut piece = [0; 4096];
    while !answer.ends_with(b"0\r\n\r\n") {
        match stream.read(&mut piece)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            length => answer.extend_from_slice(&piece[..length]),
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    Ok(())
}

fn spec(dir: &Path, port: u16) -> Spec {
    let wasm = wat::parse_str(HELLO).expect("the example is WebAssembly text");
    let file = dir.join("hello.wasm");
    std::fs::write(&file, &wasm).expect("written");
    let hex: String = sha2::Sha256::digest(&wasm).iter().map(|byte| format!("{byte:02x}")).collect();
    Spec {
        id: "bench".into(),
        sandbox: Arc::new(Sandbox { id: "bench".into(), ..Sandbox::default() }),
        name: "bench".into(),
        attempt: 0,
        image: Image {
            reference: "hello".into(),
            digest: String::new(),
            content: ImageContent::Wasm { file, digest: format!("sha256:{hex}") },
            entrypoint: Vec::new(),
            cmd: Vec::new(),
            env: Vec::new(),
            working_dir: String::new(),
            user: String::new(),
            stop_signal: None,
        },
        command: Vec::new(),
        args: Vec::new(),
        working_dir: String::new(),
        env: Vec::new(),
        mounts: Vec::new(),
        ports: vec![Port { port, protocol: "TCP".into() }],
        resources: Default::default(),
        security: Default::default(),
        tty: false,
        stdin: false,
        stdin_once: false,
        log_path: dir.join("bench.log"),
        labels: Default::default(),
        annotations: Default::default(),
        state_dir: dir.join("state"),
    }
}
