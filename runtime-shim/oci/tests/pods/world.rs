//! A sandbox of a test with the executor that made it.

use crate::runner::{BUSYBOX, no_groups, no_mounts};
use container::{ExecSpec, Executor, Image, ImageContent, NamespaceMode, Resources, Sandbox, Security, Spec, Stdio};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::io::AsyncReadExt;

pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) executor: oci::Oci,
    pub(crate) sandbox: Arc<Sandbox>,
}

impl World {
    pub(crate) async fn new(name: &str, change: impl FnOnce(&mut Sandbox)) -> World {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        let layer = root.join("layers/base");
        std::fs::create_dir_all(layer.join("bin")).expect("made");
        std::fs::create_dir_all(layer.join("etc")).expect("made");
        std::fs::copy(BUSYBOX, layer.join("bin/busybox")).expect("copied");
        for applet in ["sh", "echo", "sleep", "cat", "id", "stty", "hostname", "ps", "dd", "tail"] {
            std::os::unix::fs::symlink("busybox", layer.join("bin").join(applet)).expect("linked");
        }
        std::fs::write(layer.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:44::/www:/bin/sh\n")
            .expect("written");
        std::fs::write(root.join("resolv.conf"), "nameserver 10.96.0.10\n").expect("written");
        std::fs::write(root.join("hostname"), "pod-host\n").expect("written");
        let id = format!("shim-{name}-{}", std::process::id());
        let mut sandbox = Sandbox {
            cgroup_parent: format!("/wherry-test/{id}"),
            id,
            hostname: "pod-host".into(),
            resolv_conf: root.join("resolv.conf"),
            hostname_file: root.join("hostname"),
            shm: Some(root.join("shm")),
            state_dir: root.join("sandbox"),
            pid: NamespaceMode::Container,
            ipc: NamespaceMode::Pod,
            ..Sandbox::default()
        };
        change(&mut sandbox);
        let sandbox = Arc::new(sandbox);
        let executor = oci::Oci::new(root.join("oci")).expect("an executor");
        executor.open_sandbox(&sandbox).await.expect("a sandbox");
        World { directory, executor, sandbox }
    }

    pub(crate) fn spec(&self, name: &str, command: &[&str]) -> Spec {
        let root = self.directory.path();
        Spec {
            id: format!("{}-{name}", self.sandbox.id),
            sandbox: self.sandbox.clone(),
            name: name.into(),
            attempt: 0,
            image: Image {
                reference: "test".into(),
                digest: String::new(),
                content: ImageContent::Layers(vec![root.join("layers/base")]),
                entrypoint: Vec::new(),
                cmd: Vec::new(),
                env: vec!["FROM_IMAGE=yes".into()],
                working_dir: "/work/here".into(),
                user: String::new(),
                stop_signal: None,
            },
            command: command.iter().map(|c| c.to_string()).collect(),
            args: Vec::new(),
            working_dir: String::new(),
            env: vec![container::Env { name: "GREETING".into(), value: "hello".into() }],
            mounts: Vec::new(),
            ports: Vec::new(),
            resources: Resources::default(),
            security: Security::default(),
            tty: false,
            stdin: false,
            stdin_once: false,
            log_path: root.join(format!("{name}.log")),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            state_dir: root.join("containers").join(name),
        }
    }

    pub(crate) async fn run(&self, spec: &Spec) {
        self.executor.create(spec).await.unwrap_or_else(|e| panic!("create {}: {e:?}", spec.name));
        self.executor.start(&spec.id).await.unwrap_or_else(|e| panic!("start {}: {e:?}", spec.name));
    }

    /// Runs to the end and returns code, reason and log.
    pub(crate) async fn finish(&self, spec: &Spec) -> (i32, String, String) {
        let mut exits = self.executor.exits();
        self.run(spec).await;
        let (code, reason) = wait(&mut exits, &spec.id).await;
        (code, reason, self.log(&spec.name))
    }

    pub(crate) fn log(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.directory.path().join(format!("{name}.log"))).unwrap_or_default();
        text.lines().filter_map(|line| line.split_once(' ')).map(|(_, rest)| rest.to_owned() + "\n").collect()
    }

    pub(crate) async fn exec(&self, spec: &Spec, command: &[&str]) -> (i32, String) {
        let (mut reader, writer) = tokio::io::duplex(1 << 16);
        let stdio = Stdio { stdin: None, stdout: Some(Box::new(writer)), stderr: None, resize: None };
        let exec = ExecSpec { command: command.iter().map(|c| c.to_string()).collect(), tty: false };
        let code =
            self.executor.exec(&spec.id, &exec, stdio).await.unwrap_or_else(|e| panic!("exec {command:?}: {e:?}"));
        let mut output = String::new();
        reader.read_to_string(&mut output).await.expect("text");
        (code, output)
    }

    /// Closes everything and looks for leftovers.
    pub(crate) async fn close(self) {
        self.executor.close_sandbox(&self.sandbox.id).await.expect("closed");
        self.executor.close_sandbox(&self.sandbox.id).await.expect("closed twice");
        let root = self.directory.path().to_owned();
        no_mounts(&root);
        assert!(!self.sandbox.state_dir.join("oci").exists(), "the pod's files are left");
        no_groups(&self.sandbox.cgroup_parent);
    }
}

/// A test that fails leaves nothing on the machine either.
impl Drop for World {
    fn drop(&mut self) {
        let _ = oci::reset(&self.directory.path().join("oci"));
    }
}

pub(crate) async fn wait(
    exits: &mut tokio::sync::broadcast::Receiver<(String, container::Exit)>,
    id: &str,
) -> (i32, String) {
    loop {
        let (ended, exit) = exits.recv().await.expect("an exit");
        if ended == id {
            return (exit.code, exit.reason);
        }
    }
}
