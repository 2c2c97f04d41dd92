//! Containers end to end: made, run, asked, ended and removed without a trace. Needs root and a static busybox.

mod runner;
mod world;

use container::{Error, ExecSpec, Executor, ImageContent, NamespaceMode, Resources, Spec, State, Stdio};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use world::{World, wait};

fn main() {
    oci::reexec();
    if !runner::possible("containers") {
        return;
    }
    let tests: [runner::Test; 10] = [
        ("output_and_exit_code", Box::pin(output_and_exit_code())),
        ("commands_in_a_running_container", Box::pin(commands_in_a_running_container())),
        ("a_console_has_a_size", Box::pin(a_console_has_a_size())),
        ("containers_outlive_the_executor", Box::pin(containers_outlive_the_executor())),
        ("limits_take_effect", Box::pin(limits_take_effect())),
        ("attached_input_reaches_the_container", Box::pin(attached_input_reaches_the_container())),
        ("users_and_capabilities", Box::pin(users_and_capabilities())),
        ("a_shared_process_namespace", Box::pin(a_shared_process_namespace())),
        ("what_cannot_run_says_why", Box::pin(what_cannot_run_says_why())),
        ("a_killed_pod_process_is_noticed", Box::pin(a_killed_pod_process_is_noticed())),
    ];
    runner::run(tests);
}

async fn output_and_exit_code() {
    let world = World::new("out", |_| {}).await;
    let script = "echo $GREETING $FROM_IMAGE $HOSTNAME; pwd; hostname; cat /etc/resolv.conf; echo bad >&2; exit 3";
    let (code, reason, log) = world.finish(&world.spec("a", &["sh", "-c", script])).await;
    assert_eq!((code, reason.as_str()), (3, "Error"));
    let expected =
        ["stdout F hello yes pod-host", "stdout F /work/here", "stdout F nameserver 10.96.0.10", "stderr F bad"];
    for line in expected {
        assert!(log.contains(&format!("{line}\n")), "{line:?} is not in {log}");
    }
    let (code, reason, _) = world.finish(&world.spec("b", &["echo"])).await;
    assert_eq!((code, reason.as_str()), (0, "Completed"));
    world.executor.delete(&world.spec("a", &[]).id).await.expect("deleted");
    assert!(matches!(world.executor.state(&world.spec("a", &[]).id).await, Err(Error::NotFound(_))));
    world.close().await;
}

async fn commands_in_a_running_container() {
    let world = World::new("exec", |_| {}).await;
    let spec = world.spec("a", &["sleep", "1000"]);
    world.run(&spec).await;
    assert_eq!(world.exec(&spec, &["sh", "-c", "echo $GREETING; exit 7"]).await, (7, "hello\n".into()));
    let many = world.exec(&spec, &["sh", "-c", "dd if=/dev/zero bs=1000 count=50 2>/dev/null"]).await;
    assert_eq!((many.0, many.1.len()), (0, 50_000));
    let exec = ExecSpec { command: vec!["nothing-here".into()], tty: false };
    let stdio = Stdio { stdin: None, stdout: None, stderr: None, resize: None };
    let error = world.executor.exec(&spec.id, &exec, stdio).await.expect_err("no such program").to_string();
    assert!(error.contains("nothing-here"), "{error}");
    let mut exits = world.executor.exits();
    world.executor.kill(&spec.id, libc::SIGKILL).await.expect("killed");
    assert_eq!(wait(&mut exits, &spec.id).await, (137, "Error".into()));
    world.close().await;
}

async fn a_console_has_a_size() {
    let world = World::new("tty", |_| {}).await;
    let spec = world.spec("a", &["sleep", "1000"]);
    world.run(&spec).await;
    let (mut ours, theirs) = tokio::io::duplex(1 << 16);
    let (mut input, stdin) = tokio::io::duplex(1 << 16);
    let (sizes, resize) = tokio::sync::mpsc::channel(1);
    let stdio =
        Stdio { stdin: Some(Box::new(stdin)), stdout: Some(Box::new(theirs)), stderr: None, resize: Some(resize) };
    sizes.send((123, 45)).await.expect("sent");
    // The shell reads its first line only after the size was set: it comes by the same console.
    let exec = ExecSpec {
        command: vec!["sh".into(), "-c".into(), "read line; stty size; test -t 0 && exit 4".into()],
        tty: true,
    };
    let id = spec.id.clone();
    let client = async {
        // The size travels apart from the input: ask until it is there.
        input.write_all(b"go\n").await.expect("written");
        let mut output = String::new();
        let _ = ours.read_to_string(&mut output).await;
        output
    };
    let (code, output) = tokio::join!(world.executor.exec(&id, &exec, stdio), client);
    assert_eq!(code.expect("run"), 4, "{output}");
    assert!(output.contains("45 123"), "{output}");
    let mut own = world.spec("b", &["sh", "-c", "stty -a | head -1; test -t 1 && echo terminal"]);
    own.tty = true;
    let (code, _, log) = world.finish(&own).await;
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("stdout F terminal"), "{log}");
    world.close().await;
}

async fn containers_outlive_the_executor() {
    let mut world = World::new("outlive", |_| {}).await;
    let long = world.spec("long", &["sleep", "1000"]);
    let short = world.spec("short", &["sh", "-c", "read line; echo $line; exit 5"]);
    let mut short = short;
    short.stdin = true;
    world.run(&long).await;
    world.run(&short).await;
    let before = world.executor.state(&long.id).await.expect("a state");
    let root = world.directory.path().join("oci");
    world.executor = oci::Oci::new(root.clone()).expect("another executor");
    let recovered: BTreeMap<String, State> = world.executor.recover().await.expect("recovered").into_iter().collect();
    assert_eq!(recovered.len(), 2);
    assert_eq!(recovered[&long.id], before);
    // It ends while nobody listens …
    let mut exits = world.executor.exits();
    let (mut input, stdin) = tokio::io::duplex(64);
    input.write_all(b"late\n").await.expect("written");
    let stdio = Stdio { stdin: Some(Box::new(stdin)), stdout: None, stderr: None, resize: None };
    world.executor.attach(&short.id, stdio).await.expect("attached");
    assert_eq!(wait(&mut exits, &short.id).await.0, 5);
    // … and is known by the next one with its code and its log.
    world.executor = oci::Oci::new(root).expect("another executor");
    let recovered: BTreeMap<String, State> = world.executor.recover().await.expect("recovered").into_iter().collect();
    assert!(matches!(&recovered[&short.id], State::Exited { exit, .. } if exit.code == 5), "{recovered:?}");
    assert_eq!(world.log("short"), "stdout F late\n");
    assert_eq!(world.exec(&long, &["echo", "still"]).await, (0, "still\n".into()));
    world.close().await;
}

async fn limits_take_effect() {
    let world = World::new("limits", |_| {}).await;
    let mut spec = world.spec("eats", &["sh", "-c", "tail /dev/zero"]);
    spec.resources = Resources {
        memory_limit_bytes: 16 << 20,
        cpu_shares: 512,
        cpu_quota_us: 50_000,
        pids_limit: 50,
        ..Resources::default()
    };
    let (code, reason, _) = world.finish(&spec).await;
    assert!(code != 0, "it was not stopped");
    assert_eq!(reason, "OOMKilled", "code {code}");
    let mut calm = world.spec("calm", &["sleep", "1000"]);
    calm.resources = spec.resources.clone();
    world.run(&calm).await;
    let stats = world.executor.stats(&calm.id).await.expect("stats");
    assert!(stats.usage_bytes > 0 && stats.usage_bytes < 16 << 20, "{stats:?}");
    for limit in [64 << 20, 8 << 20] {
        let more = Resources { memory_limit_bytes: limit, cpu_quota_us: 70_000, ..Resources::default() };
        world.executor.update(&calm.id, &more).await.expect("updated");
        let file = format!("/sys/fs/cgroup/memory{}/{}/memory.limit_in_bytes", world.sandbox.cgroup_parent, calm.id);
        if let Ok(text) = std::fs::read_to_string(file) {
            assert_eq!(text.trim(), limit.to_string());
        }
    }
    world.close().await;
}

async fn attached_input_reaches_the_container() {
    let world = World::new("attach", |_| {}).await;
    let mut spec = world.spec("a", &["sh", "-c", "cat; echo done"]);
    spec.stdin = true;
    spec.stdin_once = true;
    let mut exits = world.executor.exits();
    world.run(&spec).await;
    let (mut input, stdin) = tokio::io::duplex(64);
    let (mut output, stdout) = tokio::io::duplex(1 << 20);
    let stdio = Stdio { stdin: Some(Box::new(stdin)), stdout: Some(Box::new(stdout)), stderr: None, resize: None };
    let big = "0123456789abcde\n".repeat(20_000);
    let client = async {
        input.write_all(big.as_bytes()).await.expect("written");
        drop(input);
        let mut text = String::new();
        output.read_to_string(&mut text).await.expect("text");
        text
    };
    let (attached, text) = tokio::join!(world.executor.attach(&spec.id, stdio), client);
    attached.expect("attached");
    assert_eq!(text.len(), big.len() + 5);
    assert_eq!(wait(&mut exits, &spec.id).await.0, 0);
    world.close().await;
}

async fn users_and_capabilities() {
    let world = World::new("users", |_| {}).await;
    let mut spec = world.spec("a", &["sh", "-c", "id; cat /proc/self/status; echo > /file"]);
    spec.image.user = "web".into();
    spec.security.readonly_rootfs = true;
    spec.security.no_new_privs = true;
    spec.security.supplemental_groups = vec![77];
    let (code, _, log) = world.finish(&spec).await;
    assert_eq!(code, 1, "{log}");
    for part in ["uid=33", "gid=44", "77", "NoNewPrivs:\t1", "CapEff:\t0000000000000000", "Read-only file system"] {
        assert!(log.contains(part), "{part:?} is not in {log}");
    }
    let mut spec = world.spec("b", &["sh", "-c", "cat /proc/self/status; cat /proc/version"]);
    spec.security.capabilities.drop = vec!["ALL".into()];
    spec.security.capabilities.add = vec!["NET_BIND_SERVICE".into()];
    spec.security.masked_paths = vec!["/proc/version".into(), "/proc/not-there".into()];
    let (code, _, log) = world.finish(&spec).await;
    assert_eq!(code, 0, "a masked file reads as empty: {log}");
    assert!(log.contains("CapEff:\t0000000000000400"), "{log}");
    world.close().await;
}

async fn a_shared_process_namespace() {
    let world = World::new("pids", |sandbox| sandbox.pid = NamespaceMode::Pod).await;
    let one = world.spec("one", &["sleep", "4321"]);
    world.run(&one).await;
    let (code, _, log) = world.finish(&world.spec("two", &["sh", "-c", "ps -o args | cat"])).await;
    assert_eq!(code, 0);
    assert!(log.contains("sleep 4321"), "{log}");
    world.close().await;
}

type Change = fn(&mut Spec);

async fn what_cannot_run_says_why() {
    let world = World::new("bad", |_| {}).await;
    let create = async |change: Change, name: &str| {
        let mut spec = world.spec(name, &["sh"]);
        change(&mut spec);
        world.executor.create(&spec).await.expect_err("it cannot run").to_string()
    };
    let missing: Change = |s| s.command = vec!["/bin/nothing-here".into()];
    let cases: [(Change, &str); 5] = [
        (missing, "nothing-here"),
        (|s| s.command.clear(), "has no command"),
        (|s| s.security.run_as_username = "ghost".into(), "no user \"ghost\""),
        (|s| s.security.capabilities.add = vec!["FLY".into()], "not a Linux capability"),
        (
            |s| s.image.content = ImageContent::Wasm { file: PathBuf::from("/x"), digest: String::new() },
            "WebAssembly artifact",
        ),
    ];
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        let error = create(change, &format!("c{number}")).await;
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
    }
    world.close().await;
}

async fn a_killed_pod_process_is_noticed() {
    let world = World::new("killed", |_| {}).await;
    let spec = world.spec("a", &["sleep", "1000"]);
    let mut exits = world.executor.exits();
    world.run(&spec).await;
    let text = std::fs::read_to_string(world.sandbox.state_dir.join("oci/pod.json")).expect("recorded");
    let process: oci::process::Process = serde_json::from_str(&text).expect("a process");
    let private: u64 = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid))
        .expect("smaps")
        .lines()
        .filter(|line| line.starts_with("Private_"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum();
    println!("a pod process has {private} KiB of private memory");
    assert!(private <= 1536, "a pod process has {private} KiB of private memory");
    process.end();
    assert_eq!(wait(&mut exits, &spec.id).await, (255, "PodProcessGone".into()));
    world.executor.delete(&spec.id).await.expect("deleted");
    world.close().await;
}
