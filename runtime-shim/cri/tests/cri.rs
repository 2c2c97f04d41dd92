//! The shim as a kubelet sees it: over its socket, from an image built here to a pod that is gone without a trace.
//! Needs root and a static busybox. Runs in a network namespace of its own.

use container::Executor;
use rpc::cri::image_service_client::ImageServiceClient;
use rpc::cri::runtime_service_client::RuntimeServiceClient;
use rpc::cri::*;
use rpc::tonic::Code;
use rpc::tonic::transport::{Channel, Endpoint};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

const LIMIT: Duration = Duration::from_secs(60);
const BUSYBOX: &str = "/bin/busybox";

fn main() {
    oci::reexec();
    // SAFETY: geteuid only reads.
    if unsafe { libc::geteuid() } != 0 || !Path::new(BUSYBOX).exists() {
        eprintln!("SKIPPED: the tests of the shim need root and a static {BUSYBOX} (Debian: busybox-static)");
        return;
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace of our own");
    let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip");
    assert!(up.success());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let filter = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'));
    let run = |name: &str, test: std::pin::Pin<Box<dyn Future<Output = ()>>>| {
        if filter.as_ref().is_none_or(|filter| name.contains(filter.as_str())) {
            runtime
                .block_on(async { tokio::time::timeout(LIMIT, test).await })
                .unwrap_or_else(|_| panic!("{name}: too slow"));
            println!("test {name} ... ok");
        }
    };
    run("a_pod_from_start_to_end", Box::pin(a_pod_from_start_to_end()));
    run("pods_survive_a_restart_of_the_shim", Box::pin(pods_survive_a_restart_of_the_shim()));
    run("streams_over_websocket_and_spdy", Box::pin(streams_over_websocket_and_spdy()));
    run("bad_requests_say_what_is_wrong", Box::pin(bad_requests_say_what_is_wrong()));
    run("images_are_pulled_through_a_mirror", Box::pin(images_are_pulled_through_a_mirror()));
    run("reset_removes_everything", Box::pin(reset_removes_everything()));
}

struct World {
    directory: tempfile::TempDir,
    name: String,
    mirrors: cri::images::Mirrors,
    served: Option<(oneshot::Sender<()>, tokio::task::JoinHandle<()>)>,
}

impl World {
    async fn new(name: &str) -> World {
        let mut world = World {
            directory: tempfile::tempdir().expect("a directory"),
            name: format!("shim-{name}-{}", std::process::id()),
            mirrors: cri::images::Mirrors::default(),
            served: None,
        };
        world.start().await;
        world
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("shim")
    }

    fn config(&self) -> cri::Config {
        cri::Config {
            root: self.root(),
            socket: self.directory.path().join("cri.sock"),
            cni: cni::Config {
                bridge: "shimtest0".into(),
                pod_cidr: "10.77.0.0/24".parse().expect("a range"),
                state_dir: self.directory.path().join("cni"),
                mtu: 1500,
            },
            mirrors: self.mirrors.clone(),
            version: "0.0.0-test".into(),
        }
    }

    async fn start(&mut self) {
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

    async fn stop(&mut self) {
        if let Some((stop, served)) = self.served.take() {
            let _ = stop.send(());
            served.await.expect("stopped");
        }
    }

    async fn channel(&self) -> Channel {
        let address = format!("unix:{}", self.directory.path().join("cri.sock").display());
        Endpoint::try_from(address).expect("an address").connect().await.expect("connected")
    }

    async fn runtime(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(self.channel().await)
    }

    async fn images(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(self.channel().await)
    }

    fn store(&self) -> cri::images::Store {
        cri::images::Store::open(self.root().join("images")).expect("a store")
    }

    fn build(&self, name: &str) -> String {
        build(&self.store(), self.directory.path(), name)
    }

    fn pod(&self) -> PodSandboxConfig {
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

    fn container(&self, image: &str, script: &str) -> ContainerConfig {
        ContainerConfig {
            metadata: Some(ContainerMetadata { name: "c".into(), attempt: 0 }),
            image: Some(ImageSpec { image: image.into(), ..Default::default() }),
            command: vec!["/busybox".into(), "sh".into(), "-c".into(), script.into()],
            envs: vec![KeyValue { key: "WHO".into(), value: b"world".to_vec() }],
            log_path: "c/0.log".into(),
            ..Default::default()
        }
    }

    async fn run(&self, config: PodSandboxConfig) -> String {
        let request = RunPodSandboxRequest { config: Some(config), runtime_handler: String::new() };
        self.runtime().await.run_pod_sandbox(request).await.expect("a sandbox").into_inner().pod_sandbox_id
    }

    async fn launch(&self, sandbox: &str, config: ContainerConfig) -> String {
        let mut runtime = self.runtime().await;
        let request =
            CreateContainerRequest { pod_sandbox_id: sandbox.into(), config: Some(config), sandbox_config: None };
        let id = runtime.create_container(request).await.expect("created").into_inner().container_id;
        runtime.start_container(StartContainerRequest { container_id: id.clone() }).await.expect("started");
        id
    }

    async fn status(&self, id: &str) -> ContainerStatus {
        let request = ContainerStatusRequest { container_id: id.into(), verbose: false };
        self.runtime().await.container_status(request).await.expect("a status").into_inner().status.expect("a status")
    }

    async fn exec(&self, id: &str, script: &str, timeout: i64) -> Result<ExecSyncResponse, rpc::tonic::Status> {
        let cmd = vec!["/busybox".into(), "sh".into(), "-c".into(), script.into()];
        let request = ExecSyncRequest { container_id: id.into(), cmd, timeout };
        self.runtime().await.exec_sync(request).await.map(|answer| answer.into_inner())
    }

    async fn remove(&self, sandbox: &str) {
        let mut runtime = self.runtime().await;
        for _ in 0..2 {
            let id = sandbox.to_owned();
            runtime.stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: id.clone() }).await.expect("stopped");
            runtime.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: id }).await.expect("removed");
        }
    }

    fn assert_clean(&self) {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let here = self.directory.path().to_string_lossy().into_owned();
        let left: Vec<&str> = mounts.lines().filter(|line| line.contains(&here)).collect();
        assert!(left.is_empty(), "mounts left: {left:?}");
        for part in ["sandboxes", "containers", "netns", "oci"] {
            let left = std::fs::read_dir(self.root().join(part)).into_iter().flatten().count();
            assert_eq!(left, 0, "files left in {part}");
        }
        for controller in std::fs::read_dir("/sys/fs/cgroup").expect("cgroups").flatten() {
            let group = controller.path().join("wherry-test").join(&self.name);
            assert!(!group.exists(), "{} is left", group.display());
        }
    }
}

/// A test that fails leaves nothing on the machine either.
impl Drop for World {
    fn drop(&mut self) {
        let _ = cri::reset(&self.root());
    }
}

fn build(store: &cri::images::Store, directory: &Path, name: &str) -> String {
    let source = directory.join("source");
    std::fs::create_dir_all(source.join("etc")).expect("made");
    std::fs::write(source.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").expect("written");
    std::fs::copy(BUSYBOX, source.join("busybox")).expect("copied");
    cri::images::build_oci(store, &source, &["/busybox".into()], name, &|_| {}).expect("built")
}

async fn next_event(events: &mut rpc::tonic::Streaming<ContainerEventResponse>, id: &str, kind: ContainerEventType) {
    loop {
        let event = events.message().await.expect("an event").expect("more events");
        if event.container_id == id && event.container_event_type == kind as i32 {
            return;
        }
    }
}

async fn a_pod_from_start_to_end() {
    let world = World::new("life").await;
    let digest = world.build("web");
    let mut runtime = world.runtime().await;
    let mut events = runtime.get_container_events(GetEventsRequest {}).await.expect("events").into_inner();
    let sandbox = world.run(world.pod()).await;
    let status = runtime
        .pod_sandbox_status(PodSandboxStatusRequest { pod_sandbox_id: sandbox.clone(), verbose: false })
        .await
        .expect("a status")
        .into_inner()
        .status
        .expect("a status");
    let ip = status.network.expect("a network").ip;
    assert!(ip.starts_with("10.77.0."), "{ip}");
    let script = "echo hello $WHO; cat /etc/resolv.conf; hostname; busybox ip addr show eth0; exec /busybox sleep 1000";
    let mut config = world.container(
        "web",
        &script
            .replace("cat", "/busybox cat")
            .replace("hostname", "/busybox hostname")
            .replace("busybox ip", "/busybox ip"),
    );
    config.linux = Some(LinuxContainerConfig {
        resources: Some(LinuxContainerResources { memory_limit_in_bytes: 64 << 20, ..Default::default() }),
        security_context: None,
    });
    let id = world.launch(&sandbox, config).await;
    next_event(&mut events, &id, ContainerEventType::ContainerStartedEvent).await;
    let running = world.status(&id).await;
    assert_eq!(running.state, ContainerState::ContainerRunning as i32);
    assert_eq!(running.image_ref, digest);
    let answer = world.exec(&id, "echo out; echo err >&2; exit 3", 30).await.expect("run");
    assert_eq!((answer.stdout, answer.stderr, answer.exit_code), (b"out\n".to_vec(), b"err\n".to_vec(), 3));
    let late = world.exec(&id, "/busybox sleep 1000", 1).await.expect_err("too slow");
    assert_eq!(late.code(), Code::DeadlineExceeded);
    let stats = runtime
        .container_stats(ContainerStatsRequest { container_id: id.clone() })
        .await
        .expect("stats")
        .into_inner()
        .stats
        .expect("stats");
    assert!(stats.memory.expect("memory").usage_bytes.expect("a figure").value > 0);
    // An init of a process namespace ignores signals it has no handler for: the grace passes, then it is killed.
    runtime.stop_container(StopContainerRequest { container_id: id.clone(), timeout: 1 }).await.expect("stopped");
    next_event(&mut events, &id, ContainerEventType::ContainerStoppedEvent).await;
    let ended = world.status(&id).await;
    assert_eq!((ended.state, ended.exit_code), (ContainerState::ContainerExited as i32, 137));
    let log = std::fs::read_to_string(world.directory.path().join("logs/c/0.log")).expect("a log");
    for line in ["stdout F hello world", "nameserver 10.96.0.10", "stdout F web", ip.as_str()] {
        assert!(log.contains(line), "{line:?} is not in {log}");
    }
    world.remove(&sandbox).await;
    world.assert_clean();
}

async fn pods_survive_a_restart_of_the_shim() {
    let mut world = World::new("again").await;
    world.build("web");
    let sandbox = world.run(world.pod()).await;
    let long = world.launch(&sandbox, world.container("web", "exec /busybox sleep 1000")).await;
    let pipe = world.directory.path().join("go");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let mut config = world.container("web", "read line < /go; echo $line; exit 9");
    config.log_path = "short/0.log".into();
    config.mounts = vec![Mount {
        container_path: "/go".into(),
        host_path: pipe.to_string_lossy().into_owned(),
        ..Default::default()
    }];
    let short = world.launch(&sandbox, config).await;
    let before = world.status(&long).await;
    world.stop().await;
    // What a sandbox that was never finished leaves behind.
    let half = world.root().join("sandboxes/half");
    std::fs::create_dir_all(&half).expect("made");
    std::fs::write(world.root().join("netns/half"), "").expect("written");
    // It ends while no shim is there.
    std::fs::write(&pipe, "while away\n").expect("written");
    world.start().await;
    let after = world.status(&long).await;
    assert_eq!(after.started_at, before.started_at);
    assert!(!half.exists() && !world.root().join("netns/half").exists(), "an unfinished sandbox is left");
    assert_eq!(after.state, ContainerState::ContainerRunning as i32);
    assert_eq!(world.exec(&long, "echo here", 30).await.expect("run").stdout, b"here\n");
    let mut events =
        world.runtime().await.get_container_events(GetEventsRequest {}).await.expect("events").into_inner();
    let ended = loop {
        let status = world.status(&short).await;
        if status.state == ContainerState::ContainerExited as i32 {
            break status;
        }
        next_event(&mut events, &short, ContainerEventType::ContainerStoppedEvent).await;
    };
    assert_eq!(ended.exit_code, 9);
    let log = std::fs::read_to_string(world.directory.path().join("logs/short/0.log")).expect("a log");
    assert!(log.contains("stdout F while away"), "{log}");
    let listed = world.runtime().await.list_pod_sandbox(ListPodSandboxRequest { filter: None }).await.expect("a list");
    assert_eq!(listed.into_inner().items.len(), 1);
    world.remove(&sandbox).await;
    world.assert_clean();
}

/// A client's side of a WebSocket, unmasked answers and masked messages.
struct Client(tokio::net::TcpStream);

impl Client {
    async fn connect(url: &str, protocol: &str) -> Client {
        let (host, path) = url.strip_prefix("http://").expect("http").split_once('/').expect("a path");
        let mut socket = tokio::net::TcpStream::connect(host).await.expect("connected");
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.expect("written");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.expect("an answer"));
        }
        let head = String::from_utf8_lossy(&head);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert!(
            head.to_lowercase().contains(&format!("sec-websocket-protocol: {}", protocol.to_lowercase())),
            "{head}"
        );
        Client(socket)
    }

    async fn send(&mut self, message: &[u8]) {
        let mut frame = vec![0x82, 0xfe];
        frame.extend((message.len() as u16).to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(message);
        self.0.write_all(&frame).await.expect("written");
    }

    async fn receive(&mut self) -> Option<Vec<u8>> {
        let kind = self.0.read_u8().await.ok()?;
        let length = match self.0.read_u8().await.ok()? {
            126 => self.0.read_u16().await.ok()? as usize,
            127 => self.0.read_u64().await.ok()? as usize,
            short => short as usize,
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await.ok()?;
        (kind == 0x82).then_some(payload)
    }
}

async fn streams_over_websocket_and_spdy() {
    let world = World::new("stream").await;
    world.build("web");
    let mut runtime = world.runtime().await;
    let sandbox = world.run(world.pod()).await;
    let id = world
        .launch(&sandbox, world.container("web", "while :; do /busybox nc -l -p 8080 -e /busybox cat; done"))
        .await;
    let request = ExecRequest {
        container_id: id.clone(),
        cmd: vec!["/busybox".into(), "sh".into(), "-c".into(), "/busybox cat; echo bad >&2; exit 4".into()],
        stdin: true,
        stdout: true,
        stderr: true,
        tty: false,
    };
    let url = runtime.exec(request).await.expect("a url").into_inner().url;
    let mut client = Client::connect(&url, "v5.channel.k8s.io").await;
    client.send(b"\x00hello").await;
    client.send(b"\xff\x00").await;
    let mut seen = std::collections::BTreeMap::<u8, String>::new();
    while let Some(message) = client.receive().await {
        seen.entry(message[0]).or_default().push_str(&String::from_utf8_lossy(&message[1..]));
    }
    assert_eq!((seen[&1].as_str(), seen[&2].as_str()), ("hello", "bad\n"));
    assert!(seen[&3].contains("\"ExitCode\"") && seen[&3].contains("\"4\""), "{seen:?}");
    let url = url.replace("http://", "");
    let (host, path) = url.split_once('/').expect("a path");
    let mut again = tokio::net::TcpStream::connect(host).await.expect("connected");
    again.write_all(format!("GET /{path} HTTP/1.0\r\n\r\n").as_bytes()).await.expect("written");
    let mut refused = String::new();
    again.read_to_string(&mut refused).await.expect("an answer");
    assert!(refused.contains("404"), "a token is good once: {refused}");

    let request = PortForwardRequest { pod_sandbox_id: sandbox.clone(), port: vec![8080] };
    let url = runtime.port_forward(request).await.expect("a url").into_inner().url;
    let mut client = Client::connect(&url, stream::channel::PORT_FORWARD_TUNNEL).await;
    let (mut encoder, mut decoder) = (stream::spdy::Encoder::default(), stream::spdy::Decoder::default());
    let mut bytes = bytes::BytesMut::new();
    for (stream, kind) in [(1, "error"), (3, "data")] {
        let headers =
            vec![("streamtype".into(), kind.into()), ("port".into(), "8080".into()), ("requestid".into(), "0".into())];
        encoder.encode(&stream::spdy::Frame::SynStream { stream, fin: false, headers }, &mut bytes).expect("encoded");
    }
    let data = bytes::Bytes::from_static(b"ping through the pod");
    encoder
        .encode(&stream::spdy::Frame::Data { stream: 3, fin: true, data: data.clone() }, &mut bytes)
        .expect("encoded");
    client.send(&bytes).await;
    let mut echoed = Vec::new();
    'all: while let Some(message) = client.receive().await {
        decoder.push(&message);
        while let Some(frame) = decoder.next_frame().expect("a frame") {
            if let stream::spdy::Frame::Data { stream: 3, fin, data } = frame {
                echoed.extend(data);
                if fin {
                    break 'all;
                }
            }
        }
    }
    assert_eq!(echoed, data);
    world.remove(&sandbox).await;
    world.assert_clean();
}

async fn bad_requests_say_what_is_wrong() {
    let world = World::new("bad").await;
    world.build("web");
    let mut runtime = world.runtime().await;
    let request = RunPodSandboxRequest { config: Some(world.pod()), runtime_handler: "nothing".into() };
    let error = runtime.run_pod_sandbox(request).await.expect_err("no such handler");
    assert!(error.message().contains("no runtime handler is called \"nothing\""), "{error}");
    let sandbox = world.run(world.pod()).await;
    let create = async |config: ContainerConfig| {
        let request =
            CreateContainerRequest { pod_sandbox_id: sandbox.clone(), config: Some(config), sandbox_config: None };
        world.runtime().await.create_container(request).await.expect_err("refused")
    };
    let error = create(world.container("nothing-here", "true")).await;
    assert!(error.code() == Code::NotFound && error.message().contains("is not on this node"), "{error}");
    let mut config = world.container("web", "true");
    config.command = vec!["/not/there".into()];
    let error = create(config).await;
    assert!(error.message().contains("/not/there"), "{error}");
    let fake = world.directory.path().join("fake.wasm");
    std::fs::write(&fake, "this is text").expect("written");
    let error = cri::images::build_wasm(&world.store(), &fake, "fake", &|_| {}).expect_err("not WebAssembly");
    assert!(error.to_string().contains("is not WebAssembly"), "{error}");
    let wat = world.directory.path().join("real.wat");
    std::fs::write(&wat, "(module)").expect("written");
    cri::images::build_wasm(&world.store(), &wat, "real", &|_| {}).expect("built");
    let error = create(world.container("real", "true")).await;
    assert!(error.message().contains("no runtime handler is called \"wasm\""), "a node without it says so: {error}");
    let image = world.store().find("real").expect("found").expect("there");
    let prepared = world.store().prepare("real", &image.digest).expect("prepared");
    assert!(matches!(prepared.content, container::ImageContent::Wasm { .. }), "{prepared:?}");
    let pull = PullImageRequest {
        image: Some(ImageSpec { image: "127.0.0.1:1/none".into(), ..Default::default() }),
        ..Default::default()
    };
    let error = world.images().await.pull_image(pull).await.expect_err("no registry there");
    assert!(error.message().contains("127.0.0.1:1"), "{error}");
    world.remove(&sandbox).await;
    world.assert_clean();
}

async fn images_are_pulled_through_a_mirror() {
    let mut world = World::new("pull").await;
    let elsewhere = tempfile::tempdir().expect("a directory");
    let remote = cri::images::Store::open(elsewhere.path()).expect("a store");
    let digest = build(&remote, world.directory.path(), "nginx:1.27");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let registry = tokio::spawn(async move { axum::serve(listener, cri::images::registry::router(remote)).await });
    world.stop().await;
    let mirror = serde_json::json!({ "mirrors": { "docker.io": { "endpoints": [format!("http://{address}")] } } });
    world.mirrors = serde_json::from_value(mirror).expect("mirrors");
    world.start().await;
    let spec = ImageSpec { image: "nginx:1.27".into(), ..Default::default() };
    let mut images = world.images().await;
    let pull = PullImageRequest { image: Some(spec.clone()), ..Default::default() };
    assert_eq!(images.pull_image(pull).await.expect("pulled").into_inner().image_ref, digest);
    let status =
        images.image_status(ImageStatusRequest { image: Some(spec.clone()), verbose: false }).await.expect("a status");
    let image = status.into_inner().image.expect("an image");
    assert_eq!(image.repo_tags, ["docker.io/library/nginx:1.27"]);
    assert_eq!(image.repo_digests, [format!("docker.io/library/nginx@{digest}")]);
    // And back under another name.
    let auth = cri::images::Auth::default();
    let name = format!("{address}/copy/web:2");
    world.store().name(&name, &digest).expect("named");
    cri::images::push(&world.store(), &name, &auth, &|_| {}).await.expect("pushed");
    let pushed =
        cri::images::Store::open(elsewhere.path()).expect("a store").find("docker.io/copy/web:2").expect("found");
    assert_eq!(pushed.expect("it is there").digest, digest);
    world.store().remove(&name, &Default::default()).expect("removed");
    images.remove_image(RemoveImageRequest { image: Some(spec) }).await.expect("removed");
    let left = std::fs::read_dir(world.root().join("images/blobs/sha256")).expect("read").count();
    assert_eq!(left, 0, "blobs are left");
    registry.abort();
}

async fn reset_removes_everything() {
    let mut world = World::new("reset").await;
    world.build("web");
    let sandbox = world.run(world.pod()).await;
    world.launch(&sandbox, world.container("web", "exec /busybox sleep 1000")).await;
    world.stop().await;
    cri::reset(&world.root()).expect("reset");
    assert!(!world.root().exists());
    world.assert_clean();
}
