//! Guests with a command world: what they are given, how they end, exec and attach.

use crate::harness::{Node, env, eventually, mounted, stdio};
use container::{Error, ExecSpec, Executor as _, Resources, State};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ARGS: &str = include_str!("../guests/args.wat");
const EXIT: &str = include_str!("../guests/exit.wat");
const LOOP: &str = include_str!("../guests/loop.wat");
const COPY: &str = include_str!("../guests/copy.wat");
const ECHO: &str = include_str!("../guests/echo.wat");
const COMMAND: &str = include_str!("../guests/command.wat");

#[tokio::test]
async fn a_module_gets_arguments_and_environment_and_its_lines_are_in_the_log() {
    let node = Node::new();
    let mut spec = node.spec("args", ARGS);
    spec.sandbox = std::sync::Arc::new(container::Sandbox { hostname: "web-0".into(), ..(*spec.sandbox).clone() });
    spec.args = vec!["-v".into()];
    spec.image.env = vec!["A=image".into(), "B=image".into()];
    spec.env = vec![env("B", "pod")];
    let exit = node.finish(&spec).await;
    assert_eq!((exit.code, exit.reason.as_str()), (0, "Completed"));
    assert_eq!(
        node.log("args"),
        "stdout F demo\nstdout F -v\nstdout F HOSTNAME=web-0\nstdout F A=image\nstdout F B=pod\n"
    );
    assert!(matches!(node.executor.state("args").await.unwrap(), State::Exited { .. }));
    node.executor.delete("args").await.unwrap();
    node.executor.delete("args").await.unwrap();
    assert!(matches!(node.executor.state("args").await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn an_exit_code_and_a_line_without_an_end_are_kept() {
    let node = Node::new();
    let exit = node.finish(&node.spec("exit", EXIT)).await;
    assert_eq!((exit.code, exit.reason.as_str()), (7, "Error"));
    assert_eq!(node.log("exit"), "stderr P done\n");
}

#[tokio::test]
async fn a_component_with_a_command_world_runs() {
    let node = Node::new();
    let exit = node.finish(&node.spec("command", COMMAND)).await;
    assert_eq!(exit.code, 1);
    assert_eq!(node.log("command"), "stdout F hello from 0.2\n");
}

#[tokio::test]
async fn a_looping_guest_ends_by_signal_and_uses_no_more_cpu_than_its_quota() {
    let node = Node::new();
    let mut spec = node.spec("loop", LOOP);
    spec.resources = Resources { cpu_quota_us: 10_000, cpu_period_us: 100_000, ..Resources::default() };
    let start = Instant::now();
    node.run(&spec).await;
    eventually("60 ms of CPU time", async || node.executor.stats("loop").await.unwrap().cpu_ns > 60_000_000).await;
    // 10 ms are there at once, the other 50 ms take 100 ms each 10.
    assert!(start.elapsed() > Duration::from_millis(400), "60 ms of CPU after {:?}", start.elapsed());
    assert!(matches!(node.executor.delete("loop").await, Err(Error::Illegal(_))));
    node.executor.kill("loop", 9).await.unwrap();
    assert_eq!(node.exit("loop").await.code, 137);
    node.run(&node.spec("loop2", LOOP)).await;
    node.executor.kill("loop2", 15).await.unwrap();
    assert_eq!(node.exit("loop2").await.code, 143);
    node.executor.kill("loop2", 9).await.unwrap();
    let Ok(State::Exited { exit, .. }) = node.executor.state("loop2").await else { panic!("it has ended") };
    assert_eq!(exit.code, 143, "the end is what it was");
    assert!(matches!(node.executor.kill("nobody", 9).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn a_mount_is_read_and_written_and_a_read_only_one_only_read() {
    let node = Node::new();
    let data = node.dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("in"), "from the volume\n").unwrap();
    let mut spec = node.spec("copy", COPY);
    spec.mounts = vec![mounted(&data, "/data", false)];
    assert_eq!(node.finish(&spec).await.code, 0);
    assert_eq!(node.log("copy"), "stdout F from the volume\n");
    assert_eq!(std::fs::read_to_string(data.join("out")).unwrap(), "from the volume\n");
    std::fs::remove_file(data.join("out")).unwrap();
    let mut spec = node.spec("copy-ro", COPY);
    spec.mounts = vec![mounted(&data, "/data", true)];
    assert_ne!(node.finish(&spec).await.code, 0);
    assert_eq!(node.log("copy-ro"), "stdout F from the volume\n");
    assert!(!data.join("out").exists());
}

#[tokio::test]
async fn attach_feeds_the_guest_and_exec_runs_it_once_more() {
    let node = Node::new();
    let mut spec = node.spec("echo", ECHO);
    (spec.stdin, spec.stdin_once) = (true, true);
    node.run(&spec).await;

    let (mut input, stdin) = tokio::io::duplex(1 << 16);
    let (streams, mut out, _err) = stdio(Some(stdin));
    input.write_all(b"to the exec").await.unwrap();
    drop(input);
    let exec = ExecSpec { command: vec!["echo".into()], tty: false };
    assert_eq!(node.executor.exec("echo", &exec, streams).await.unwrap(), 0);
    let mut text = String::new();
    out.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "to the exec");
    assert_eq!(node.log("echo"), "", "an exec's output is not the container's");

    let (mut input, stdin) = tokio::io::duplex(1 << 16);
    let (streams, mut out, _err) = stdio(Some(stdin));
    input.write_all(b"to the guest\n").await.unwrap();
    drop(input);
    node.executor.attach("echo", streams).await.unwrap();
    let mut text = String::new();
    out.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "to the guest\n");
    assert_eq!(node.exit("echo").await.code, 0, "stdinOnce: the input's end is the guest's");
    assert_eq!(node.log("echo"), "stdout F to the guest\n");
}
