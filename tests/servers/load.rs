//! Objects that are created through all servers, by a library and by kubectl, and who was told that they are there.

use super::Servers;
use crate::harness::{kubectl_program, until};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use nix::sched::{CloneFlags, setns};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Creates that are under way at once through one server: one that does not answer holds up no others.
const WRITERS: usize = 2;
/// A request to a server that was just killed, or one without a quorum, must not hold the load up.
const REQUEST: Duration = Duration::from_secs(10);

/// Goes on for as long as the value lives.
pub(super) struct Load {
    seen: Arc<Account>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Account {
    acknowledged: Mutex<Vec<String>>,
    by_kubectl: AtomicUsize,
    stop: AtomicBool,
}

impl Account {
    fn add(&self, name: String) {
        self.acknowledged.lock().expect("the names").push(name);
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Load {
    pub(super) fn start(servers: &Servers) -> Load {
        let seen = Arc::<Account>::default();
        let configs: Vec<PathBuf> = (0..servers.hosts.len()).map(|i| servers.kubeconfig(i)).collect();
        let (network, library, of_library) = (servers.switch.network(), seen.clone(), configs.clone());
        let library = std::thread::spawn(move || {
            // Of this thread alone, and of all sockets that it makes.
            setns(network, CloneFlags::CLONE_NEWNET).expect("the servers' network");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut clients = Vec::new();
                for config in &of_library {
                    clients.push(client(config).await);
                }
                let writers = (0..WRITERS * clients.len())
                    .map(|writer| write(&clients[writer % clients.len()], writer, &library));
                futures::future::join_all(writers).await;
            });
        });
        let (kubectl, commands) = (seen.clone(), servers.switch.pid());
        let kubectl = std::thread::spawn(move || run_kubectl(commands, &configs, &kubectl));
        Load { seen, threads: vec![library, kubectl] }
    }

    pub(super) fn count(&self) -> usize {
        self.seen.acknowledged.lock().expect("the names").len()
    }

    pub(super) fn by_kubectl(&self) -> usize {
        self.seen.by_kubectl.load(Ordering::Relaxed)
    }

    /// Waits until more objects were acknowledged.
    pub(super) fn goes_on(&self, more: usize, why: &str) {
        let before = self.count();
        until(why, || self.count() >= before + more);
    }

    /// What was acknowledged so far.
    pub(super) fn so_far(&self) -> Vec<String> {
        self.seen.acknowledged.lock().expect("the names").clone()
    }

    pub(super) fn end(mut self) -> Vec<String> {
        self.seen.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("the load ended well");
        }
        self.so_far()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::Relaxed);
    }
}

async fn client(config: &Path) -> Api<ConfigMap> {
    let file = Kubeconfig::read_from(config).expect("a kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("a config");
    Api::default_namespaced(kube::Client::try_from(config).expect("a client"))
}

async fn write(api: &Api<ConfigMap>, writer: usize, seen: &Account) {
    for number in 0.. {
        if seen.is_over() {
            return;
        }
        let name = format!("load-{writer}-{number}");
        let map = ConfigMap {
            metadata: kube::api::ObjectMeta { name: Some(name.clone()), ..Default::default() },
            ..Default::default()
        };
        match tokio::time::timeout(REQUEST, api.create(&PostParams::default(), &map)).await {
            Ok(Ok(_)) => seen.add(name),
            // Refused, or nobody knows: it need not be there. One that is away refuses at once, and must not be asked
            // in a tight loop.
            Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn run_kubectl(network_of: u32, configs: &[PathBuf], seen: &Account) {
    let cache = tempfile::tempdir().expect("a directory");
    for number in 0.. {
        if seen.is_over() {
            return;
        }
        let name = format!("kubectl-{number}");
        let mut command = Command::new("nsenter");
        command.args(["-t", &network_of.to_string(), "--net", "--", &kubectl_program()]);
        command.env("KUBECACHEDIR", cache.path()).arg("--kubeconfig").arg(&configs[number % configs.len()]);
        command.args(["--request-timeout", "5s", "create", "configmap", &name]);
        let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if done.is_ok_and(|status| status.success()) {
            seen.add(name);
            seen.by_kubectl.fetch_add(1, Ordering::Relaxed);
        }
    }
}
