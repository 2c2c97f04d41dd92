//! A kubelet between the two fakes, with certificates of its own.

use crate::fake_api::FakeApi;
use crate::fake_cri::FakeCri;
use kubelet::Config;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

pub struct Cluster {
    pub api: Arc<FakeApi>,
    pub cri: Arc<FakeCri>,
    dir: tempfile::TempDir,
    ca: Issuer<'static, KeyPair>,
    port: u16,
    stop: CancellationToken,
    running: JoinHandle<Result<(), kubelet::Error>>,
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(dir: &Path) -> Issuer<'static, KeyPair> {
    let key = KeyPair::generate().unwrap();
    let mut params = named("test ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(dir.join("ca.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    Issuer::new(params, key)
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Cluster {
    pub async fn start() -> Cluster {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let ca = authority(dir.path());
        let key = KeyPair::generate().unwrap();
        let certificate = named("node").signed_by(&key, &ca).unwrap();
        std::fs::write(dir.path().join("tls.crt"), certificate.pem()).unwrap();
        std::fs::write(dir.path().join("tls.key"), key.serialize_pem()).unwrap();
        std::fs::write(dir.path().join("resolv.conf"), "nameserver 192.0.2.1\nsearch example.org\n").unwrap();
        let cri = FakeCri::serve(&dir.path().join("cri.sock")).await;
        Cluster::run(FakeApi::new(), cri, dir, ca).await
    }

    async fn run(
        api: Arc<FakeApi>,
        cri: Arc<FakeCri>,
        dir: tempfile::TempDir,
        ca: Issuer<'static, KeyPair>,
    ) -> Cluster {
        let (stop, port) = (CancellationToken::new(), free_port());
        let running = tokio::spawn(kubelet::run(config(dir.path(), port), api.client(), stop.clone()));
        Cluster { api, cri, dir, ca, port, stop, running }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("kubelet")
    }

    pub async fn restart(self) -> Cluster {
        self.restart_with(|_| ()).await
    }

    /// Stops the kubelet, lets `meanwhile` happen, and starts it again.
    pub async fn restart_with(mut self, meanwhile: impl FnOnce(&FakeApi)) -> Cluster {
        self.stop.cancel();
        (&mut self.running).await.unwrap().unwrap();
        self.cri.mark_restart();
        meanwhile(&self.api);
        Cluster::run(self.api, self.cri, self.dir, self.ca).await
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
        let config = config(self.dir.path(), self.port);
        kubelet::stop_all_pods(&config.cri_endpoint, &config.root_dir, Duration::from_secs(1)).await.unwrap();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&*self.dir.path().to_string_lossy()), "a mount was left: {mounts}");
    }

    /// Waits for what announces itself nowhere.
    pub async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let wait = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, wait).await.unwrap_or_else(|_| panic!("{what}: {:?}", self.cri.calls()));
    }

    async fn connect(&self, who: Option<&str>) -> TlsStream<tokio::net::TcpStream> {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.dir.path().join("ca.crt")).unwrap()).unwrap();
        let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
        let config = match who {
            Some(name) => {
                let key = KeyPair::generate().unwrap();
                let certificate = named(name).signed_by(&key, &self.ca).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    /// Status and body of a GET.
    pub async fn get(&self, who: Option<&str>, path: &str) -> (u16, String) {
        self.ask(who, "GET", path).await
    }

    /// Status and body of a POST of the apiserver's.
    pub async fn post(&self, path: &str) -> (u16, String) {
        self.ask(Some("kube-apiserver-kubelet-client"), "POST", path).await
    }

    async fn ask(&self, who: Option<&str>, verb: &str, path: &str) -> (u16, String) {
        let mut stream = self.connect(who).await;
        let request = format!("{verb} {path} HTTP/1.0\r\nHost: node\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A server that closes without a TLS goodbye has still said everything.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Upgrades a connection, sends `bytes`, and returns as many.
    pub async fn upgrade(&self, path: &str, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect(Some("kube-apiserver-kubelet-client")).await;
        let request = format!("POST {path} HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        stream.write_all(bytes).await.unwrap();
        let mut back = vec![0; bytes.len()];
        stream.read_exact(&mut back).await.unwrap();
        back
    }
}

fn config(dir: &Path, port: u16) -> Config {
    Config {
        node_name: "n1".into(),
        node_ips: vec!["127.0.0.1".parse().unwrap()],
        root_dir: dir.join("kubelet"),
        cri_endpoint: dir.join("cri.sock"),
        static_pods: None,
        cluster_dns: vec!["10.96.0.10".parse().unwrap()],
        cluster_domain: "cluster.local".into(),
        bind: "127.0.0.1".parse().unwrap(),
        port,
        tls_cert: dir.join("tls.crt"),
        tls_key: dir.join("tls.key"),
        client_ca: dir.join("ca.crt"),
        max_pods: 110,
        labels: Default::default(),
        annotations: Default::default(),
        pod_cidr: None,
        taints: Vec::new(),
        host_dns: dir.join("resolv.conf"),
        version: "v1.36.0+wherry".into(),
    }
}
