//! Three servers are one cluster: each may be killed at any time, nothing acknowledged is lost, and the others go on.

use crate::harness::{Host, Running, kubectl_program, possible, text, until, wherry};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often a server is killed: each once, unless a longer run is asked for.
fn kills() -> usize {
    std::env::var("WHERRY_SERVER_KILLS").ok().map_or(3, |text| text.parse().expect("a number of kills"))
}

/// Creates that are under way at once.
const WRITERS: usize = 4;
/// A request to a server that was just killed, or one without a quorum, must not hold the load up.
const REQUEST: Duration = Duration::from_secs(10);
/// Objects that two servers must take while the third is down.
const MEANWHILE: usize = 20;

struct Servers {
    host: Host,
    dir: tempfile::TempDir,
    running: [Option<Running>; 3],
}

impl Servers {
    fn new() -> Servers {
        let host = Host::new();
        for i in 0..3 {
            let address = format!("{}/24", Servers::address(i));
            let added = host.command("ip").args(["address", "add", &address, "dev", "node0"]).status();
            assert!(added.is_ok_and(|s| s.success()), "the address {address}");
        }
        Servers { host, dir: tempfile::tempdir().expect("a directory"), running: [None, None, None] }
    }

    fn address(i: usize) -> String {
        format!("192.168.77.{}", 11 + i)
    }

    fn data(&self, i: usize) -> PathBuf {
        self.dir.path().join(format!("server{i}"))
    }

    fn kubeconfig(&self, i: usize) -> PathBuf {
        self.data(i).join("admin.kubeconfig")
    }

    /// Starts a server in its place; `more` says how it gets one.
    fn start(&mut self, i: usize, more: &[&str]) {
        let address = Servers::address(i);
        let mut command = self.host.command(wherry());
        command.arg("server").arg("--data-dir").arg(self.data(i)).args([
            "--secure-port",
            "6443",
            "--peer-port",
            "2380",
        ]);
        command.args(["--bind-address", &address, "--advertise-address", &address]);
        command.args(["--leader-elect-lease-duration", "4s", "--leader-elect-renew-deadline", "3s"]);
        command.args(["--leader-elect-retry-period", "1s"]).args(more);
        self.running[i] = Some(Running::spawn(&mut command));
    }

    fn end(&mut self, i: usize, signal: Signal) {
        self.running[i].take().expect("it runs").end(signal);
    }

    fn kubectl(&self, i: usize, args: &[&str]) -> Output {
        let mut command = self.host.command(&kubectl_program());
        command.env("KUBECACHEDIR", self.dir.path().join("kubectl")).arg("--kubeconfig").arg(self.kubeconfig(i));
        command.args(["--request-timeout", "15s"]).args(args).output().expect("kubectl runs")
    }

    fn ok(&self, i: usize, args: &[&str]) -> String {
        let out = self.kubectl(i, args);
        assert!(out.status.success(), "server {i}: kubectl {args:?}: {}", text(&out.stderr));
        text(&out.stdout)
    }

    fn ready(&self, i: usize) {
        until(&format!("server {i}"), || {
            self.kubeconfig(i).exists() && self.kubectl(i, &["get", "--raw", "/readyz"]).status.success()
        });
    }

    /// The addresses behind the Service `kubernetes`, as a server sees them.
    fn endpoints(&self, i: usize) -> BTreeSet<String> {
        let path = "jsonpath={.endpoints[*].addresses[0]}";
        let out = self.kubectl(i, &["get", "endpointslice", "kubernetes", "-o", path]);
        text(&out.stdout).split_whitespace().map(str::to_owned).collect()
    }

    /// Who leads in a role.
    fn holder(&self, i: usize, role: &str) -> String {
        let out =
            self.kubectl(i, &["-n", "kube-system", "get", "lease", role, "-o", "jsonpath={.spec.holderIdentity}"]);
        text(&out.stdout)
    }

    /// When the leader of each role last said that it is there.
    fn renewed(&self, i: usize) -> [String; 2] {
        let path = "jsonpath={.spec.renewTime}";
        ROLES.map(|role| text(&self.kubectl(i, &["-n", "kube-system", "get", "lease", role, "-o", path]).stdout))
    }

    fn configmaps(&self, i: usize) -> BTreeSet<String> {
        let names = self.ok(i, &["get", "configmaps", "-o", "jsonpath={.items[*].metadata.name}"]);
        names.split(' ').map(str::to_owned).collect()
    }
}

/// Objects that are created through all servers for as long as the value lives.
struct Load {
    acknowledged: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(servers: &Servers) -> Load {
        let (acknowledged, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (network, configs) = (servers.host.network(), [0, 1, 2].map(|i| servers.kubeconfig(i)));
        let (written, over) = (Arc::clone(&acknowledged), stop.clone());
        let thread = std::thread::spawn(move || {
            // Of this thread alone, and of all sockets that it makes.
            setns(network, CloneFlags::CLONE_NEWNET).expect("the servers' network");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut clients = Vec::new();
                for config in &configs {
                    clients.push(client(config).await);
                }
                let writers = (0..WRITERS).map(|writer| write(&clients, writer, &written, &over));
                futures::future::join_all(writers).await;
            });
        });
        Load { acknowledged, stop, thread: Some(thread) }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().expect("the names").len()
    }

    /// Waits until more objects were acknowledged.
    fn goes_on(&self, why: &str) {
        let before = self.count();
        until(why, || self.count() >= before + MEANWHILE);
    }

    fn end(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it runs").join().expect("the load ended well");
        std::mem::take(&mut *self.acknowledged.lock().expect("the names"))
    }
}

async fn client(config: &Path) -> Api<ConfigMap> {
    let file = Kubeconfig::read_from(config).expect("a kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("a config");
    Api::default_namespaced(kube::Client::try_from(config).expect("a client"))
}

async fn write(clients: &[Api<ConfigMap>], writer: usize, written: &Mutex<Vec<String>>, over: &AtomicBool) {
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("load-{writer}-{number}");
        let map = ConfigMap {
            metadata: kube::api::ObjectMeta { name: Some(name.clone()), ..Default::default() },
            ..Default::default()
        };
        let api = &clients[(writer + number) % clients.len()];
        match tokio::time::timeout(REQUEST, api.create(&PostParams::default(), &map)).await {
            Ok(Ok(_)) => written.lock().expect("the names").push(name),
            // Refused, or nobody knows: it need not be there.
            Ok(Err(_)) | Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// The servers that run go on without the one that was killed; then it comes back and has everything.
fn kill_and_return(servers: &mut Servers, load: &Load, victim: usize, holders: &mut [BTreeSet<String>; 2]) {
    let other = (victim + 1) % 3;
    let before = ROLES.map(|role| servers.holder(other, role));
    servers.end(victim, Signal::SIGKILL);
    load.goes_on("writes without the server that was killed");
    // Only one that lives renews a lease: had the one that was killed the lead, it has moved by then.
    let last = servers.renewed(other);
    until("leaders that live", || {
        let now = servers.renewed(other);
        now.iter().zip(&last).all(|(now, last)| !now.is_empty() && now != last)
    });
    servers.start(victim, &[]);
    servers.ready(victim);
    let all: BTreeSet<String> = (0..3).map(Servers::address).collect();
    until("every server among the endpoints", || servers.endpoints(victim) == all);
    for ((role, seen), before) in ROLES.iter().zip(holders).zip(before) {
        seen.extend([before, servers.holder(victim, role)].into_iter().filter(|holder| !holder.is_empty()));
    }
}

const ROLES: [&str; 2] = ["kube-controller-manager", "kube-scheduler"];

#[test]
fn three_servers_lose_nothing_when_each_is_killed() {
    if !possible() {
        return;
    }
    let mut servers = Servers::new();
    servers.start(0, &["--cluster-init"]);
    servers.ready(0);
    let token = servers.data(0).join("server.token").display().to_string();
    servers.start(1, &["--join", &token]);
    servers.start(2, &["--join", &token]);
    let all: BTreeSet<String> = (0..3).map(Servers::address).collect();
    for i in 1..3 {
        servers.ready(i);
        until("every server among the endpoints", || servers.endpoints(i) == all);
    }
    until("leaders", || ROLES.iter().all(|role| !servers.holder(0, role).is_empty()));

    let load = Load::start(&servers);
    load.goes_on("writes through every server");
    let mut holders = [BTreeSet::new(), BTreeSet::new()];
    for kill in 0..kills() {
        kill_and_return(&mut servers, &load, kill % 3, &mut holders);
    }
    let acknowledged = load.end();
    let maps = [0, 1, 2].map(|i| servers.configmaps(i));
    for (i, maps) in maps.iter().enumerate() {
        let lost: Vec<&String> = acknowledged.iter().filter(|name| !maps.contains(*name)).collect();
        assert!(lost.is_empty(), "server {i} has lost {lost:?} of {}", acknowledged.len());
    }
    assert!(maps[0] == maps[1] && maps[1] == maps[2], "the servers agree");
    for (role, holders) in ROLES.iter().zip(&holders) {
        assert!(holders.len() > 1, "the lead of {role} has moved: {holders:?}");
    }
    eprintln!("{} kills, {} acknowledged objects, none lost; leaders {holders:?}", kills(), acknowledged.len());

    servers.ok(1, &["create", "deployment", "work", "--image=none:1", "--replicas=2"]);
    until("the controllers' work", || {
        servers.ok(2, &["get", "pods", "-l", "app=work", "-o", "name"]).lines().count() == 2
    });

    servers.end(0, Signal::SIGKILL);
    servers.end(1, Signal::SIGKILL);
    assert!(!servers.kubectl(2, &["create", "configmap", "alone"]).status.success(), "a minority takes no writes");
    let read = servers.kubectl(2, &["get", "configmap", "kube-root-ca.crt"]);
    assert!(!read.status.success(), "a minority answers no consistent reads");
    servers.start(0, &[]);
    until("a majority", || servers.kubectl(2, &["create", "configmap", "together"]).status.success());
    servers.start(1, &[]);
    servers.ready(1);
    assert!(servers.configmaps(1).contains("together"), "it has caught up");
    for i in 0..3 {
        servers.end(i, Signal::SIGTERM);
    }
}
