//! A real etcd, asked over gRPC on one connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::grpc::{self, Channel, bytes, number};
use crate::measure::{self, Costs, Side, Watcher};

/// Longer than any start here.
const PATIENCE: Duration = Duration::from_secs(120);

/// The etcd to compare with, if there is one.
pub fn program() -> Option<PathBuf> {
    let named = std::env::var_os("BENCH_ETCD").map(PathBuf::from);
    let on_path = || {
        let dirs = std::env::var_os("PATH")?;
        std::env::split_paths(&dirs).map(|dir| dir.join("etcd")).find(|file| file.is_file())
    };
    named.or_else(on_path)
}

#[derive(Clone)]
pub struct Etcd {
    channel: Channel,
    address: SocketAddr,
    child: Arc<Mutex<Child>>,
    pid: String,
}

impl Etcd {
    pub async fn start(dir: &Path) -> Self {
        let [client, peer] = [free(), free()];
        let (url, peers) = (format!("http://{client}"), format!("http://{peer}"));
        let child = Command::new(program().expect("there is an etcd"))
            .arg("--data-dir")
            .arg(dir.join("etcd"))
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("default={peers}"), "--log-level", "error"])
            .args(["--quota-backend-bytes", "8589934592"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd starts");
        let until = Instant::now() + PATIENCE;
        let channel = loop {
            if let Ok(channel) = Channel::connect(client).await
                && channel.call("/etcdserverpb.KV/Range", bytes(1, b"/")).await.is_ok()
            {
                break channel;
            }
            assert!(Instant::now() < until, "etcd never answered");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let pid = child.id().to_string();
        Self { channel, address: client, child: Arc::new(Mutex::new(child)), pid }
    }

    pub fn kill(&self) {
        let mut child = self.child.lock().expect("nobody panics with it");
        child.kill().expect("killed");
        child.wait().expect("ended");
    }

    /// Syncs of its log, and commits of its tables, each of which syncs at least once.
    fn syncs(&self) -> u64 {
        let mut stream = TcpStream::connect(self.address).expect("its metrics");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("asked");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("answered");
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("etcd counts it");
            line.trim().parse::<u64>().expect("a number")
        };
        value("etcd_disk_wal_fsync_duration_seconds_count") + value("etcd_disk_backend_commit_duration_seconds_count")
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

impl Side for Etcd {
    type Watcher = Events;

    async fn put(&self, key: String, value: Vec<u8>) {
        let request = [bytes(1, key.as_bytes()), bytes(2, &value)].concat();
        self.channel.call("/etcdserverpb.KV/Put", request).await.expect("put");
    }

    async fn renew(&self, key: String, value: Vec<u8>) {
        self.put(key, value).await;
    }

    async fn get(&self, key: String) {
        let answer = self.channel.call("/etcdserverpb.KV/Range", bytes(1, key.as_bytes())).await.expect("got");
        assert_eq!(grpc::count(&answer, 2), 1, "{key} is there");
    }

    async fn watch(&self, prefix: &str) -> Events {
        let mut end = prefix.as_bytes().to_vec();
        *end.last_mut().expect("a prefix") += 1;
        let create = bytes(1, &[bytes(1, prefix.as_bytes()), bytes(2, &end)].concat());
        let mut stream = self.channel.stream("/etcdserverpb.Watch/Watch", create).await.expect("watched");
        // It says so when it watches.
        stream.next().await.expect("created");
        Events(stream)
    }

    async fn compact(&self) {
        let answer = self.channel.call("/etcdserverpb.KV/Range", bytes(1, b"/")).await.expect("asked");
        let header = grpc::field(&answer, 1).expect("an answer has a header");
        let revision = grpc::varint_field(&header, 3).expect("a header has a revision");
        let request = [number(1, revision), number(2, 1)].concat();
        self.channel.call("/etcdserverpb.KV/Compact", request).await.expect("compacted");
    }

    async fn costs(&self) -> Costs {
        let side = self.clone();
        let syncs = tokio::task::spawn_blocking(move || side.syncs()).await.expect("its metrics");
        measure::costs(&self.pid, measure::processor_of(&self.pid), syncs)
    }
}

pub struct Events(grpc::Messages);

impl Watcher for Events {
    async fn next(&mut self) -> usize {
        let message = self.0.next().await.expect("etcd goes on");
        grpc::count(&message, 11)
    }
}
