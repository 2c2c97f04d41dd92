//! A CRI runtime whose containers are entries of a table. It speaks gRPC over a unix socket.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::Frame;
use parking_lot::Mutex;
use rpc::cri;
use rpc::prost::Message;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::broadcast;

type Reply = Result<Vec<u8>, (u16, String)>;

struct Container {
    sandbox: String,
    config: cri::ContainerConfig,
    log_path: String,
    status: cri::ContainerStatus,
}

#[derive(Default)]
struct Table {
    sandboxes: Vec<cri::PodSandboxStatus>,
    logs: Vec<(String, String)>,
    containers: Vec<Container>,
    calls: Vec<String>,
    probes: u64,
    probes_at_restart: u64,
    /// What every container uses.
    memory: u64,
}

pub struct FakeCri {
    table: Mutex<Table>,
    events: broadcast::Sender<Vec<u8>>,
    next: AtomicU64,
    echo: std::net::SocketAddr,
}

impl FakeCri {
    pub async fn serve(socket: &Path) -> Arc<FakeCri> {
        let (events, _) = broadcast::channel(256);
        let echo = echo().await;
        let fake = Arc::new(FakeCri { table: Mutex::default(), events, next: AtomicU64::new(1), echo });
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        let router = Router::new().fallback(call).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    pub fn calls(&self) -> Vec<String> {
        self.table.lock().calls.clone()
    }

    /// Calls that change something.
    pub fn changes(&self) -> Vec<String> {
        self.calls()
    }

    pub fn container(&self, name: &str) -> cri::ContainerConfig {
        let table = self.table.lock();
        let found = table.containers.iter().rev().find(|c| c.config.metadata.as_ref().unwrap().name == name);
        found.unwrap().config.clone()
    }

    pub fn log_path(&self, name: &str) -> String {
        let table = self.table.lock();
        let found = table.containers.iter().rev().find(|c| c.config.metadata.as_ref().unwrap().name == name);
        found.unwrap().log_path.clone()
    }

    pub fn empty(&self) -> bool {
        let table = self.table.lock();
        table.sandboxes.is_empty() && table.containers.is_empty()
    }

    pub fn uses_memory(&self, bytes: u64) {
        self.table.lock().memory = bytes;
    }

    pub fn mark_restart(&self) {
        let mut table = self.table.lock();
        table.probes_at_restart = table.probes;
    }

    pub fn probed_since_restart(&self) -> bool {
        let table = self.table.lock();
        table.probes > table.probes_at_restart
    }

    /// The newest running container of that name ends by itself.
    pub fn exit(&self, name: &str, code: i32) {
        let mut table = self.table.lock();
        let found = table.containers.iter_mut().rev().find(|c| c.config.metadata.as_ref().unwrap().name == name);
        end(found.unwrap(), code);
        drop(table);
        self.announce();
    }

    fn announce(&self) {
        let pod = self.table.lock().sandboxes.last().cloned();
        let kind = cri::ContainerEventType::ContainerStoppedEvent as i32;
        let event =
            cri::ContainerEventResponse { pod_sandbox_status: pod, container_event_type: kind, ..Default::default() };
        let _ = self.events.send(frame(&event.encode_to_vec()));
    }

    fn id(&self, what: &str) -> String {
        format!("{what}-{}", self.next.fetch_add(1, Ordering::SeqCst))
    }

    fn answer(&self, method: &str, body: &[u8]) -> Reply {
        let table = &mut *self.table.lock();
        match method {
            "Version" => ok(cri::VersionResponse {
                runtime_name: "fake".into(),
                runtime_version: "1".into(),
                ..Default::default()
            }),
            "Status" => ok(cri::StatusResponse::default()),
            "ListImages" => ok(cri::ListImagesResponse::default()),
            "ImageStatus" => self.image(&read::<cri::ImageStatusRequest>(body)),
            "PullImage" => Err((5, "manifest unknown".into())),
            "RunPodSandbox" => self.run(table, read(body)),
            "StopPodSandbox" => {
                let id = read::<cri::StopPodSandboxRequest>(body).pod_sandbox_id;
                table.calls.push("stop sandbox".into());
                for s in table.sandboxes.iter_mut().filter(|s| s.id == id) {
                    s.state = cri::PodSandboxState::SandboxNotready as i32;
                }
                ok(cri::StopPodSandboxResponse {})
            }
            "RemovePodSandbox" => {
                let id = read::<cri::RemovePodSandboxRequest>(body).pod_sandbox_id;
                table.sandboxes.retain(|s| s.id != id);
                table.containers.retain(|c| c.sandbox != id);
                ok(cri::RemovePodSandboxResponse {})
            }
            "ListPodSandbox" => ok(list_sandboxes(table, &read(body))),
            "PodSandboxStatus" => {
                let id = read::<cri::PodSandboxStatusRequest>(body).pod_sandbox_id;
                let status =
                    table.sandboxes.iter().find(|s| s.id == id).cloned().ok_or((5, "no sandbox".to_owned()))?;
                ok(cri::PodSandboxStatusResponse { status: Some(status), ..Default::default() })
            }
            "CreateContainer" => self.create(table, read(body)),
            "StartContainer" => {
                let id = read::<cri::StartContainerRequest>(body).container_id;
                let c = find(table, &id)?;
                c.status.state = cri::ContainerState::ContainerRunning as i32;
                c.status.started_at = now();
                let name = c.config.metadata.as_ref().unwrap().name.clone();
                table.calls.push(format!("start {name}"));
                ok(cri::StartContainerResponse {})
            }
            "StopContainer" => {
                let call = read::<cri::StopContainerRequest>(body);
                let c = find(table, &call.container_id)?;
                end(c, 143);
                let name = c.config.metadata.as_ref().unwrap().name.clone();
                table.calls.push(format!("stop {name} {}", call.timeout));
                ok(cri::StopContainerResponse {})
            }
            "RemoveContainer" => {
                let id = read::<cri::RemoveContainerRequest>(body).container_id;
                table.containers.retain(|c| c.status.id != id);
                ok(cri::RemoveContainerResponse {})
            }
            "ListContainers" => ok(list_containers(table, &read(body))),
            "ContainerStatus" => {
                let id = read::<cri::ContainerStatusRequest>(body).container_id;
                let status = Some(find(table, &id)?.status.clone());
                ok(cri::ContainerStatusResponse { status, ..Default::default() })
            }
            "ContainerStats" => ok(cri::ContainerStatsResponse {
                stats: Some(cri::ContainerStats {
                    memory: Some(cri::MemoryUsage {
                        working_set_bytes: Some(cri::UInt64Value { value: table.memory }),
                        ..Default::default()
                    }),
                    ..Default::default()
                }),
            }),
            "ListPodSandboxStats" => ok(stats(table)),
            "UpdateContainerResources" => {
                let call = read::<cri::UpdateContainerResourcesRequest>(body);
                let limits = call.linux.unwrap();
                let c = find(table, &call.container_id)?;
                c.status.resources = Some(cri::ContainerResources { linux: Some(limits.clone()), windows: None });
                let name = c.config.metadata.as_ref().unwrap().name.clone();
                let (quota, memory) = (limits.cpu_quota, limits.memory_limit_in_bytes);
                table.calls.push(format!("update {name} {quota} {memory}"));
                ok(cri::UpdateContainerResourcesResponse {})
            }
            "ExecSync" => {
                table.probes += 1;
                let failed = read::<cri::ExecSyncRequest>(body).cmd == ["fail"];
                ok(cri::ExecSyncResponse { exit_code: i32::from(failed), stdout: b"said".to_vec(), stderr: Vec::new() })
            }
            "Exec" => ok(cri::ExecResponse { url: format!("http://{}/exec/token", self.echo) }),
            other => Err((12, format!("{other} is not played"))),
        }
    }

    fn image(&self, call: &cri::ImageStatusRequest) -> Reply {
        let name = call.image.as_ref().unwrap().image.clone();
        let there = cri::Image { id: format!("sha256:{name}"), repo_tags: vec![name.clone()], ..Default::default() };
        ok(cri::ImageStatusResponse {
            image: Some(there).filter(|_| !name.starts_with("missing")),
            ..Default::default()
        })
    }

    fn run(&self, table: &mut Table, call: cri::RunPodSandboxRequest) -> Reply {
        let config = call.config.unwrap();
        let id = self.id("sandbox");
        table.calls.push("run sandbox".into());
        table.logs.push((id.clone(), config.log_directory));
        table.sandboxes.push(cri::PodSandboxStatus {
            id: id.clone(),
            metadata: config.metadata,
            state: cri::PodSandboxState::SandboxReady as i32,
            created_at: now(),
            network: Some(cri::PodSandboxNetworkStatus { ip: "10.1.0.2".into(), additional_ips: Vec::new() }),
            labels: config.labels,
            annotations: config.annotations,
            ..Default::default()
        });
        ok(cri::RunPodSandboxResponse { pod_sandbox_id: id })
    }

    fn create(&self, table: &mut Table, call: cri::CreateContainerRequest) -> Reply {
        let config = call.config.unwrap();
        let id = self.id("container");
        let dir = table.logs.iter().find(|(s, _)| s == &call.pod_sandbox_id).unwrap().1.clone();
        table.calls.push(format!("create {}", config.metadata.as_ref().unwrap().name));
        let log_path = format!("{dir}/{}", config.log_path);
        let status = cri::ContainerStatus {
            id: id.clone(),
            metadata: config.metadata.clone(),
            state: cri::ContainerState::ContainerCreated as i32,
            created_at: now(),
            image: config.image.clone(),
            image_ref: "sha256:app".into(),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            log_path: log_path.clone(),
            resources: Some(cri::ContainerResources {
                linux: config.linux.as_ref().and_then(|l| l.resources.clone()),
                windows: None,
            }),
            ..Default::default()
        };
        table.containers.push(Container { sandbox: call.pod_sandbox_id, config, log_path, status });
        ok(cri::CreateContainerResponse { container_id: id })
    }
}

fn now() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap()
}

fn end(c: &mut Container, code: i32) {
    c.status.state = cri::ContainerState::ContainerExited as i32;
    c.status.finished_at = now();
    c.status.exit_code = code;
}

fn find<'a>(table: &'a mut Table, id: &str) -> Result<&'a mut Container, (u16, String)> {
    table.containers.iter_mut().find(|c| c.status.id == id).ok_or((5, "no container".into()))
}

fn fits(have: &std::collections::HashMap<String, String>, want: &std::collections::HashMap<String, String>) -> bool {
    want.iter().all(|(k, v)| have.get(k) == Some(v))
}

fn list_sandboxes(table: &Table, call: &cri::ListPodSandboxRequest) -> cri::ListPodSandboxResponse {
    let want = call.filter.clone().unwrap_or_default().label_selector;
    let items = table.sandboxes.iter().filter(|s| fits(&s.labels, &want)).map(|s| cri::PodSandbox {
        id: s.id.clone(),
        metadata: s.metadata.clone(),
        state: s.state,
        created_at: s.created_at,
        labels: s.labels.clone(),
        annotations: s.annotations.clone(),
        runtime_handler: String::new(),
    });
    cri::ListPodSandboxResponse { items: items.collect() }
}

fn list_containers(table: &Table, call: &cri::ListContainersRequest) -> cri::ListContainersResponse {
    let want = call.filter.clone().unwrap_or_default().label_selector;
    let list = table.containers.iter().filter(|c| fits(&c.status.labels, &want)).map(|c| cri::Container {
        id: c.status.id.clone(),
        pod_sandbox_id: c.sandbox.clone(),
        metadata: c.status.metadata.clone(),
        state: c.status.state,
        created_at: c.status.created_at,
        labels: c.status.labels.clone(),
        ..Default::default()
    });
    cri::ListContainersResponse { containers: list.collect() }
}

/// Every running container has used a quarter of a second and the same memory.
fn stats(table: &Table) -> cri::ListPodSandboxStatsResponse {
    let value = |value: u64| Some(cri::UInt64Value { value });
    let cpu = || cri::CpuUsage { timestamp: now(), usage_core_nano_seconds: value(250_000_000), ..Default::default() };
    let memory = || cri::MemoryUsage { timestamp: now(), working_set_bytes: value(table.memory), ..Default::default() };
    let one = |c: &Container| cri::ContainerStats {
        attributes: Some(cri::ContainerAttributes {
            id: c.status.id.clone(),
            labels: c.status.labels.clone(),
            ..Default::default()
        }),
        cpu: Some(cpu()),
        memory: Some(memory()),
        ..Default::default()
    };
    let of = |s: &cri::PodSandboxStatus| cri::PodSandboxStats {
        attributes: Some(cri::PodSandboxAttributes {
            id: s.id.clone(),
            labels: s.labels.clone(),
            ..Default::default()
        }),
        linux: Some(cri::LinuxPodSandboxStats {
            cpu: Some(cpu()),
            memory: Some(memory()),
            network: Some(cri::NetworkUsage {
                timestamp: now(),
                default_interface: Some(cri::NetworkInterfaceUsage {
                    name: "eth0".into(),
                    rx_bytes: value(7),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            containers: table.containers.iter().filter(|c| c.sandbox == s.id).map(one).collect(),
            ..Default::default()
        }),
        windows: None,
    };
    cri::ListPodSandboxStatsResponse { stats: table.sandboxes.iter().map(of).collect() }
}

fn read<M: Message + Default>(body: &[u8]) -> M {
    M::decode(&body[5..]).unwrap()
}

fn ok(message: impl Message) -> Reply {
    Ok(message.encode_to_vec())
}

fn frame(message: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    out.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    out.extend_from_slice(message);
    out
}

type Frames = Result<Frame<Bytes>, std::convert::Infallible>;

fn trailers(code: u16, message: &str) -> Frames {
    let mut map = http::HeaderMap::new();
    map.insert("grpc-status", code.into());
    map.insert("grpc-message", message.parse().unwrap());
    Ok(Frame::trailers(map))
}

async fn call(State(fake): State<Arc<FakeCri>>, request: Request) -> Response {
    let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
    let response = Response::builder().header("content-type", "application/grpc");
    if method == "GetContainerEvents" {
        let events = fake.events.subscribe();
        let stream = futures::stream::unfold(events, |mut events| async move {
            let event = events.recv().await.ok()?;
            let frame: Frames = Ok(Frame::data(event.into()));
            Some((frame, events))
        });
        return response.body(Body::new(http_body_util::StreamBody::new(stream))).unwrap();
    }
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let frames = match fake.answer(&method, &body) {
        Ok(message) => vec![Ok(Frame::data(frame(&message).into())), trailers(0, "")],
        Err((code, text)) => vec![trailers(code, &text)],
    };
    if method == "StopContainer" {
        fake.announce();
    }
    response.body(Body::new(http_body_util::StreamBody::new(futures::stream::iter(frames)))).unwrap()
}

/// A streaming server: takes any upgrade and sends back what it gets.
async fn echo() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                assert!(head.starts_with("POST /exec/token HTTP/1.1"), "{head}");
                assert!(head.to_lowercase().contains("upgrade: spdy/3.1"), "{head}");
                let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n";
                stream.write_all(answer).await.unwrap();
                let (mut input, mut output) = stream.split();
                let _ = tokio::io::copy(&mut input, &mut output).await;
            });
        }
    });
    address
}
