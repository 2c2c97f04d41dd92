//! A shim of a test: served in this process on a socket of its own, and asked as a kubelet asks.

use crate::runner::{BUSYBOX, no_groups, no_mounts};
use container::Executor;
use rpc::cri::image_service_client::ImageServiceClient;
use rpc::cri::runtime_service_client::RuntimeServiceClient;
use rpc::cri::*;
use rpc::tonic::transport::{Channel, Endpoint};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::oneshot;

pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    name: String,
    pub(crate) mirrors: cri::images::Mirrors,
    served: Option<(oneshot::Sender<()>, tokio::task::JoinHandle<()>)>,
}

impl World {
    pub(crate) async fn new(name: &str) -> World {
        let mut world = World {
            directory: tempfile::tempdir().expect("a directory"),
            name: format!("shim-{name}-{}", std::process::id()),
            mirrors: cri::images::Mirrors::default(),
            served: None,
        };
        world.start().await;
        world
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("shim")
    }

    pub(crate) fn config(&self) -> cri::Config {
        cri::Config {
            root: self.root(),
            socket: self.directory.path().join("cri.sock"),
            cni: cni::Config {
                bridge: "shimtest0".into(),
                pod_cidr: "10.77.0.0/24".parse().expect("a range"),
                state_dir: self.directory.path().join("cni"),
                mtu: 1500,
            },
            host_ports: None,
            mirrors: self.mirrors.clone(),
            version: "0.0.0-test".into(),
        }
    }

    pub(crate) async fn start(&mut self) {
        let (stop, stopped) = oneshot::channel::<()>();
        let executor: Arc<dyn Executor> = Arc::new(oci::Oci::new(self.root().join("oci")).expect("an executor"));
        let config = self.config();
        let socket = config.socket.clone();
        let served = tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            cri::serve(config, vec![executor], stop).await.expect("served");
        });
        while tokio::net::UnixStream::connect(&socket).await.is_err() {
            assert!(!served.is_finished(), "the shim does not serve");
            tokio::task::yield_now().await;
        }
        self.served = Some((stop, served));
    }

    pub(crate) async fn stop(&mut self) {
        if let Some((stop, served)) = self.served.take() {
            let _ = stop.send(());
            served.await.expect("stopped");
        }
    }

    pub(crate) async fn channel(&self) -> Channel {
        let address = format!("unix:{}", self.directory.path().join("cri.sock").display());
        Endpoint::try_from(address).expect("an address").connect().await.expect("connected")
    }

    pub(crate) async fn runtime(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(self.channel().await)
    }

    pub(crate) async fn images(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(self.channel().await)
    }

    pub(crate) fn store(&self) -> cri::images::Store {
        cri::images::Store::open(self.root().join("images")).expect("a store")
    }

    pub(crate) fn build(&self, name: &str) -> String {
        build(&self.store(), self.directory.path(), name)
    }

    pub(crate) fn pod(&self) -> PodSandboxConfig {
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: "web".into(),
                uid: "u1".into(),
                namespace: "default".into(),
                attempt: 0,
            }),
            hostname: "web".into(),
            log_directory: self.directory.path().join("logs").to_string_lossy().into_owned(),
            dns_config: Some(DnsConfig {
                servers: vec!["10.96.0.10".into()],
                searches: vec!["svc".into()],
                options: vec![],
            }),
            labels: [("app".to_owned(), "web".to_owned())].into(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: format!("/wherry-test/{}", self.name),
                security_context: Some(LinuxSandboxSecurityContext {
                    namespace_options: Some(NamespaceOption {
                        pid: NamespaceMode::Container as i32,
                        ..Default::default()
                    }),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    pub(crate) fn container(&self, image: &str, script: &str) -> ContainerConfig {
        ContainerConfig {
            metadata: Some(ContainerMetadata { name: "c".into(), attempt: 0 }),
            image: Some(ImageSpec { image: image.into(), ..Default::default() }),
            command: vec!["/busybox".into(), "sh".into(), "-c".into(), script.into()],
            envs: vec![KeyValue { key: "WHO".into(), value: b"world".to_vec() }],
            log_path: "c/0.log".into(),
            ..Default::default()
        }
    }

    pub(crate) async fn run(&self, config: PodSandboxConfig) -> String {
        let request = RunPodSandboxRequest { config: Some(config), runtime_handler: String::new() };
        self.runtime().await.run_pod_sandbox(request).await.expect("a sandbox").into_inner().pod_sandbox_id
    }

    pub(crate) async fn launch(&self, sandbox: &str, config: ContainerConfig) -> String {
        let mut runtime = self.runtime().await;
        let request =
            CreateContainerRequest { pod_sandbox_id: sandbox.into(), config: Some(config), sandbox_config: None };
        let id = runtime.create_container(request).await.expect("created").into_inner().container_id;
        runtime.start_container(StartContainerRequest { container_id: id.clone() }).await.expect("started");
        id
    }

    pub(crate) async fn status(&self, id: &str) -> ContainerStatus {
        let request = ContainerStatusRequest { container_id: id.into(), verbose: false };
        self.runtime().await.container_status(request).await.expect("a status").into_inner().status.expect("a status")
    }

    pub(crate) async fn exec(
        &self,
        id: &str,
        script: &str,
        timeout: i64,
    ) -> Result<ExecSyncResponse, rpc::tonic::Status> {
        let cmd = vec!["/busybox".into(), "sh".into(), "-c".into(), script.into()];
        let request = ExecSyncRequest { container_id: id.into(), cmd, timeout };
        self.runtime().await.exec_sync(request).await.map(|answer| answer.into_inner())
    }

    pub(crate) async fn remove(&self, sandbox: &str) {
        let mut runtime = self.runtime().await;
        for _ in 0..2 {
            let id = sandbox.to_owned();
            runtime.stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: id.clone() }).await.expect("stopped");
            runtime.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: id }).await.expect("removed");
        }
    }

    pub(crate) fn assert_clean(&self) {
        no_mounts(self.directory.path());
        for part in ["sandboxes", "containers", "netns", "oci"] {
            let left = std::fs::read_dir(self.root().join(part)).into_iter().flatten().count();
            assert_eq!(left, 0, "files left in {part}");
        }
        no_groups(&format!("/wherry-test/{}", self.name));
    }
}

/// A test that fails leaves nothing on the machine either.
impl Drop for World {
    fn drop(&mut self) {
        let _ = cri::reset(&self.root());
    }
}

pub(crate) fn build(store: &cri::images::Store, directory: &Path, name: &str) -> String {
    let source = directory.join("source");
    std::fs::create_dir_all(source.join("etc")).expect("made");
    std::fs::write(source.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").expect("written");
    std::fs::copy(BUSYBOX, source.join("busybox")).expect("copied");
    cri::images::build_oci(store, &source, &["/busybox".into()], name, &|_| {}).expect("built")
}
