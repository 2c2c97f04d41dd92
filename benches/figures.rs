//! Prints the figures that the README quotes: `cargo bench --bench figures`. Needs root and kubectl.
//!
//! Everything is measured on a cluster of its own in a network namespace, with the binary of this build. Times are those
//! of this machine and of this moment; what to compare is said beside each figure.

#[path = "../tests/harness.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod harness;

use harness::{Cluster, possible, text};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
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

/// CPU of the Wasm host per request and requests per second, asked by `wrk` where it is installed.
fn requests(cluster: &Cluster) {
    cluster.ok(&["run", "served", "--image=hello-wasm:1", "--image-pull-policy=IfNotPresent", "--port=8080"]);
    cluster.ok(&["wait", "--for=condition=Ready", "pod/served", "--timeout=60s"]);
    let ip = cluster.ok(&["get", "pod", "served", "-o", "jsonpath={.status.podIP}"]);
    let host = fs::read_to_string(cluster.dir.path().join("shim/wasm/host.lock")).unwrap_or_default();
    let before = cpu_ticks(&host);
    let load = cluster.host.command("wrk").args(["-t1", "-c32", "-d5s", &format!("http://{ip}:8080/")]).output();
    match load {
        Ok(out) if out.status.success() => {
            let said = text(&out.stdout);
            let done =
                said.lines().find_map(|l| l.trim().split_once(" requests in")?.0.parse::<f64>().ok()).unwrap_or(0.0);
            let ticks = cpu_ticks(&host).saturating_sub(before) as f64;
            println!("Wasm HTTP, instance per request       {:>9.0} requests/s with 32 clients", done / 5.0);
            println!("Wasm HTTP, CPU of the host            {:>9.1} us per request", ticks * 10_000.0 / done.max(1.0));
        }
        _ => println!("SKIPPED: requests/s needs 'wrk'"),
    }
}

/// User and system time of a process, in ticks of 10 ms.
fn cpu_ticks(pid: &str) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let tick = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    tick(11) + tick(12)
}
