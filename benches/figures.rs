//! Prints the figures that the README quotes: `cargo bench --bench figures`. Needs root and kubectl.
//!
//! Everything is measured on a cluster of its own in a network namespace, with the binary of this build, or the one that
//! WHERRY names. Times are those
//! of this machine and of this moment; what to compare is said beside each figure.

#[path = "../tests/harness.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod harness;

use harness::{Cluster, possible, text};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Pods of each kind whose start is timed, one after the other.
const PODS: usize = 20;

fn main() {
    if !possible() {
        return;
    }
    println!("binary                                {:>9.1} MiB", size(harness::wherry()));
    start_of_the_api();
    let mut cluster = Cluster::new();
    let first = start_with_a_pod(&mut cluster);
    println!("exec -> first Wasm pod Running        {}", ms(first));
    idle_memory(&cluster);
    for (what, image) in [("Wasm", "hello-wasm:1"), ("OCI", "hello-web:1")] {
        let mut times: Vec<Duration> = (0..PODS).map(|i| create_to_running(&cluster, image, i)).collect();
        times.sort();
        let (p50, min, max) = (times[PODS / 2], times[0], times[PODS - 1]);
        println!("create -> Running seen, {what:<5}         {} (min {}, max {})", ms(p50), ms(min), ms(max));
    }
    requests(&cluster);
    cluster.end(Signal::SIGINT);
}

fn ms(time: Duration) -> String {
    format!("{:>9.1} ms ", time.as_secs_f64() * 1000.0)
}

fn size(file: &str) -> f64 {
    fs::metadata(file).map_or(0.0, |m| m.len() as f64 / f64::from(1 << 20))
}

/// exec -> `/readyz` answers, five times on an empty directory: the median.
fn start_of_the_api() {
    let host = harness::Host::new();
    let mut times: Vec<Duration> = (0..5)
        .map(|_| {
            let dir = tempfile::tempdir().expect("a directory");
            let since = Instant::now();
            let mut child = host
                .command(harness::wherry())
                .args(["apiserver", "--data-dir"])
                .arg(dir.path())
                .stdout(Stdio::piped())
                .spawn()
                .expect("the apiserver starts");
            // It prints the path of its kubeconfig when `/readyz` is ok.
            let mut line = String::new();
            BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
            let took = since.elapsed();
            let _ = child.kill();
            let _ = child.wait();
            took
        })
        .collect();
    times.sort();
    println!("exec -> /readyz, empty                {} (min {}, max {})", ms(times[2]), ms(times[0]), ms(times[4]));
}

fn start_with_a_pod(cluster: &mut Cluster) -> Duration {
    let manifest = cluster.dir.path().join("first.yaml");
    fs::write(&manifest, pod("first", "hello-wasm:1")).expect("written");
    let since = Instant::now();
    cluster.up(&["--apply", manifest.to_str().expect("a path")]);
    cluster.ok(&["wait", "--for=jsonpath={.status.phase}=Running", "pod/first", "--timeout=60s"]);
    let took = since.elapsed();
    cluster.ok(&["delete", "pod", "first", "--wait"]);
    took
}

fn pod(name: &str, image: &str) -> String {
    // Not one flow mapping: kubectl takes what begins with a brace for JSON.
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\nspec: {{terminationGracePeriodSeconds: 0, \
         containers: [{{name: c, image: {image}, imagePullPolicy: IfNotPresent, ports: [{{containerPort: 8080}}]}}]}}\n"
    )
}

/// From the object's creation to its Running phase as a watch shows it, both read on this clock.
fn create_to_running(cluster: &Cluster, image: &str, i: usize) -> Duration {
    let name = format!("timed-{i}");
    let mut watch = cluster
        .kubectl_command(&["get", "pods", "--watch-only", "-o", "json", "--output-watch-events", "--field-selector"])
        .arg(format!("metadata.name={name}"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("a watch");
    let lines = BufReader::new(watch.stdout.take().expect("piped"));
    let created = cluster.dir.path().join("timed.yaml");
    fs::write(&created, pod(&name, image)).expect("written");
    let mut apply =
        cluster.kubectl_command(&["create", "-f"]).arg(&created).stdout(Stdio::null()).spawn().expect("kubectl");
    let (mut since, mut took) = (Instant::now(), None);
    for event in serde_json::Deserializer::from_reader(lines).into_iter::<Value>().map_while(Result::ok) {
        if event["type"] == "ADDED" {
            since = Instant::now();
        }
        if event["object"]["status"]["phase"] == "Running" {
            took = Some(since.elapsed());
            break;
        }
    }
    let _ = watch.kill();
    let _ = (watch.wait(), apply.wait());
    cluster.ok(&["delete", "pod", &name, "--wait"]);
    took.expect("the pod runs")
}

/// Proportional set size of every process of ours, in KiB, with its share that is not the binary's text.
fn idle_memory(cluster: &Cluster) {
    let dir = cluster.dir.path().to_str().expect("a path");
    let mut total = 0;
    for entry in fs::read_dir("/proc").expect("the processes").flatten() {
        let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default().replace('\0', " ");
        if !command.contains(dir) || !command.contains("wherry") || command.starts_with("nsenter") {
            continue;
        }
        let rollup = fs::read_to_string(entry.path().join("smaps_rollup")).unwrap_or_default();
        let field = |name: &str| {
            let line = rollup.lines().find(|l| l.starts_with(name)).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
        };
        total += field("Pss:");
        let role = command.split_whitespace().nth(1).unwrap_or("?");
        println!("  idle {role:<12} PSS {:>7} KiB, of it anonymous {:>7} KiB", field("Pss:"), field("Pss_Anon:"));
    }
    println!("idle memory, all processes            {:>9.1} MiB", total as f64 / 1024.0);
}

/// Requests per second and CPU per request of the Wasm host, next to `wasmtime serve` of the same component in the same
/// network namespace, asked by `wrk` in turns (one, other, other, one).
fn requests(cluster: &Cluster) {
    if cluster.host.command("wrk").arg("--version").output().is_ok_and(|o| o.status.code() == Some(127)) {
        println!("SKIPPED: requests/s needs 'wrk'");
        return;
    }
    cluster.ok(&["run", "served", "--image=hello-wasm:1", "--image-pull-policy=IfNotPresent", "--port=8080"]);
    cluster.ok(&["wait", "--for=condition=Ready", "pod/served", "--timeout=60s"]);
    let ip = cluster.ok(&["get", "pod", "served", "-o", "jsonpath={.status.podIP}"]);
    let host = fs::read_to_string(cluster.dir.path().join("shim/wasm/host.lock")).unwrap_or_default();
    let ours = || load(cluster, &format!("http://{ip}:8080/"), host.trim());
    let Some(peer) = Peer::start(cluster) else {
        let one = ours();
        println!(
            "Wasm HTTP, instance per request       {:>9.0} requests/s, {:.1} us of CPU each",
            one.per_s, one.cpu_us
        );
        return;
    };
    let theirs = || load(cluster, &format!("http://{ip}:{PEER_PORT}/"), &peer.0.id().to_string());
    let (mut wherry, mut wasmtime) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        wherry.push(ours());
        wasmtime.push(theirs());
        wasmtime.push(theirs());
        wherry.push(ours());
    }
    for (what, of) in
        [("requests/s", (|l: &Load| l.per_s) as fn(&Load) -> f64), ("us of CPU per request", |l| l.cpu_us)]
    {
        let (a, b) = (Spread::of(&wherry, of), Spread::of(&wasmtime, of));
        println!("Wasm HTTP, {what}: Wherry {a}, wasmtime serve {b}, ratio {:.2}", a.median / b.median);
    }
}

/// Rounds of four runs each.
const ROUNDS: usize = 5;
const SECONDS: u32 = 3;
const PEER_PORT: u16 = 9099;

struct Load {
    per_s: f64,
    cpu_us: f64,
}

fn load(cluster: &Cluster, url: &str, pid: &str) -> Load {
    let before = cpu_ticks(pid);
    let out = cluster.host.command("wrk").args(["-t1", "-c32", &format!("-d{SECONDS}s"), url]).output();
    let said = text(&out.expect("wrk runs").stdout);
    let done = said.lines().find_map(|l| l.trim().split_once(" requests in")?.0.parse::<f64>().ok());
    let done = done.unwrap_or_else(|| panic!("wrk said: {said}"));
    let ticks = cpu_ticks(pid).saturating_sub(before) as f64;
    assert!(!said.contains("Non-2xx"), "{said}");
    Load { per_s: done / f64::from(SECONDS), cpu_us: ticks * 10_000.0 / done.max(1.0) }
}

struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(runs: &[Load], figure: fn(&Load) -> f64) -> Spread {
        let mut all: Vec<f64> = runs.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        Spread { median: all[all.len() / 2], min: all[0], max: all[all.len() - 1] }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} ({:.0} to {:.0})", self.median, self.min, self.max)
    }
}

/// `wasmtime serve` in the network namespace of the pod `served`, with the component of its image.
struct Peer(Child);

impl Peer {
    fn start(cluster: &Cluster) -> Option<Peer> {
        let wasmtime = wasmtime()?;
        let blobs = cluster.dir.path().join("shim/images/blobs");
        let component = files_below(&blobs).find(|f| fs::read(f).is_ok_and(|b| b.starts_with(b"\0asm")))?;
        let namespace = fs::read_dir(cluster.dir.path().join("shim/netns")).ok()?.flatten().next()?.path();
        let child = Command::new("nsenter")
            .arg(format!("--net={}", namespace.display()))
            .arg(wasmtime)
            .args(["serve", "-Scli", "--addr", &format!("0.0.0.0:{PEER_PORT}")])
            .arg(component)
            .stderr(Stdio::null())
            .spawn()
            .expect("wasmtime starts");
        let peer = Peer(child);
        let ip = cluster.ok(&["get", "pod", "served", "-o", "jsonpath={.status.podIP}"]);
        harness::until("wasmtime serve", || cluster.host.get(&format!("http://{ip}:{PEER_PORT}/")).is_some());
        Some(peer)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The `wasmtime` program of the version that Wherry links; built once, which takes minutes.
fn wasmtime() -> Option<PathBuf> {
    let lock = include_str!("../Cargo.lock");
    let version = lock.split("name = \"wasmtime\"\nversion = \"").nth(1)?.split('"').next()?;
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("wasmtime-{version}"));
    let program = root.join("bin/wasmtime");
    if !program.exists() {
        eprintln!("building wasmtime-cli {version} to compare with");
        let features =
            "run,serve,cranelift,pooling-allocator,component-model,component-model-async,parallel-compilation";
        let built = Command::new("cargo")
            .args(["install", "wasmtime-cli", "--version", version, "--locked", "--quiet", "--root"])
            .arg(&root)
            .args(["--no-default-features", "--features", features])
            .status();
        if !built.is_ok_and(|s| s.success()) {
            println!("SKIPPED: wasmtime-cli {version} could not be built to compare with");
            return None;
        }
    }
    Some(program)
}

fn files_below(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let mut open = vec![dir.to_owned()];
    std::iter::from_fn(move || {
        while let Some(next) = open.pop() {
            if !next.is_dir() {
                return Some(next);
            }
            open.extend(fs::read_dir(&next).into_iter().flatten().flatten().map(|e| e.path()));
        }
        None
    })
}

/// User and system time of a process, in ticks of 10 ms.
fn cpu_ticks(pid: &str) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let tick = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    tick(11) + tick(12)
}
