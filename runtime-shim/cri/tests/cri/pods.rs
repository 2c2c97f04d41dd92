//! Pods from their start to their end, across restarts of the shim, and what cannot become one.

use crate::world::World;
use rpc::cri::*;
use rpc::tonic::Code;
use std::time::Duration;

async fn next_event(events: &mut rpc::tonic::Streaming<ContainerEventResponse>, id: &str, kind: ContainerEventType) {
    loop {
        let event = events.message().await.expect("an event").expect("more events");
        if event.container_id == id && event.container_event_type == kind as i32 {
            return;
        }
    }
}

pub(crate) async fn a_pod_from_start_to_end() {
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

pub(crate) async fn pods_survive_a_restart_of_the_shim() {
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

pub(crate) async fn bad_requests_say_what_is_wrong() {
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

/// A kubelet whose pod is deleted while a container is made does not wait for the answer.
pub(crate) async fn what_nobody_waits_for_is_removed_too() {
    let mut world = World::new("unawaited").await;
    let image = world.build("web");
    for milliseconds in [0, 1, 2, 4, 8, 12, 16, 24, 32, 64] {
        let sandbox = world.run(world.pod()).await;
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.clone(),
            config: Some(world.container(&image, "exec /busybox sleep 1000")),
            sandbox_config: None,
        };
        let mut runtime = world.runtime().await;
        // Whether it is cut off before, in the middle or after makes no difference.
        let _ = tokio::time::timeout(Duration::from_millis(milliseconds), runtime.create_container(request)).await;
        world.remove(&sandbox).await;
    }
    world.assert_clean();
    world.stop().await;
}

pub(crate) async fn reset_removes_everything() {
    let mut world = World::new("reset").await;
    world.build("web");
    let sandbox = world.run(world.pod()).await;
    world.launch(&sandbox, world.container("web", "exec /busybox sleep 1000")).await;
    world.stop().await;
    cri::reset(&world.root()).expect("reset");
    assert!(!world.root().exists());
    world.assert_clean();
}
