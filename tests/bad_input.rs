//! What a person gets wrong is answered by what to do about it, and the rest of the cluster goes on.

use crate::harness::{Cluster, Host, guest, possible, text, until};
use std::process::Output;
use std::sync::Arc;

fn deployment(fields: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: wrong}}\nspec:\n  {fields}\n  selector: {{matchLabels: {{a: b}}}}\n  \
         template: {{metadata: {{labels: {{a: b}}}}, spec: {{containers: [{{name: a, image: a}}]}}}}\n"
    )
}

fn pod(name: &str, image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: main, image: \"{image}\"}}]}}\n"
    )
}

fn failed(out: &Output, parts: &[&str]) {
    let said = text(&out.stderr);
    assert!(!out.status.success(), "it succeeded: {said}");
    for part in parts {
        assert!(said.contains(part), "no {part:?} in: {said}");
    }
}

#[test]
fn wrong_manifests_and_images_are_explained() {
    if !possible() {
        return;
    }
    let mut cluster = Cluster::new();
    cluster.image("foreign:1", &guest("foreign.wat"));
    let files = tempfile::tempdir().expect("a directory");
    for (file, content, parts) in [
        ("not.wasm", "hello", ["not.wasm is not WebAssembly", "wherry image build"]),
        ("not.wat", "(module (nonsense))", ["not.wat is not WebAssembly text", "(module (nonsense))"]),
    ] {
        let file = files.path().join(file);
        std::fs::write(&file, content).expect("written");
        failed(
            &cluster.wherry(&["image", "build", "--tag", "not:1"]).arg(&file).output().expect("wherry runs"),
            &parts,
        );
    }
    cluster.up(&[]);

    let file = files.path().join("manifest.yaml");
    for (manifest, part) in [
        (deployment("replicas: three"), "spec.replicas of type int32"),
        (deployment("replicaz: 3"), "unknown field \"spec.replicaz\""),
        (pod("Wrong_Name", "a"), "metadata.name: Invalid value: \"Wrong_Name\": a lowercase RFC 1123 subdomain"),
        ("apiVersion: acme.example/v1\nkind: Rocket\nmetadata: {name: a}\n".into(), "no matches for kind \"Rocket\""),
    ] {
        std::fs::write(&file, manifest).expect("written");
        let said = cluster.fails(&["apply", "-f", file.to_str().expect("a path")]);
        assert!(said.contains(part), "no {part:?} in: {said}");
    }

    cluster.apply(&pod("absent", "127.0.0.1:1/absent:1"));
    cluster.apply(&pod("foreign", "foreign:1"));
    cluster.apply(&pod("right", "hello-wasm:1"));
    for (name, reasons, parts) in [
        ("absent", &["ErrImagePull", "ImagePullBackOff"][..], &["127.0.0.1:1/absent:1 cannot be pulled"][..]),
        ("foreign", &["CreateContainerError"], &["world we do not offer", "acme:queue/consumer", "wasi:http/proxy"]),
    ] {
        let waiting = |field| {
            let path = format!("jsonpath={{.status.containerStatuses[0].state.waiting.{field}}}");
            cluster.ok(&["get", "pod", name, "-o", &path])
        };
        until(name, || reasons.contains(&waiting("reason").as_str()));
        let message = waiting("message");
        assert!(parts.iter().all(|p| message.contains(p)), "{message}");
    }
    cluster.ok(&["wait", "pod/right", "--for=condition=Ready", "--timeout=300s"]);

    let other = tempfile::tempdir().expect("a directory");
    let port = cluster.ok(&["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"]);
    let port = port.rsplit(':').next().expect("a port");
    let dir = other.path().to_str().expect("a path");
    let mut second = cluster.host.command(crate::harness::wherry());
    let out = second.args(["up", "--data-dir", dir, "--secure-port", port]).output().expect("wherry runs");
    failed(&out, &["cannot listen on", port, "--secure-port"]);
    failed(&cluster.wherry(&["up"]).output().expect("wherry runs"), &["another wherry uses", "--data-dir"]);
    cluster.ok(&["get", "pod", "right"]);
}

#[test]
fn without_control_groups_only_containers_are_refused() {
    if !possible() {
        return;
    }
    let mut cluster = Cluster::on(Arc::new(Host::without_cgroups()));
    cluster.up(&["--apply", concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello")]);
    cluster.ok(&["rollout", "status", "deployment/hello-wasm", "--timeout=300s"]);
    let path = "jsonpath={.items[0].status.containerStatuses[0].state.waiting.message}";
    let mut message = String::new();
    until("a container that cannot be made", || {
        message = cluster.ok(&["get", "pods", "-l", "app=hello-web", "-o", path]);
        !message.is_empty()
    });
    assert!(message.contains("control groups") && message.contains("mount -t cgroup2"), "{message}");
}

#[test]
fn a_directory_of_another_layout_is_left_alone() {
    if !possible() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("cluster.json"), r#"{"layout": 99}"#).expect("written");
    for command in ["up", "reset"] {
        let mut wherry = std::process::Command::new(crate::harness::wherry());
        let out = wherry.args([command, "--data-dir"]).arg(dir.path()).output().expect("wherry runs");
        failed(&out, &["another version of wherry", "--data-dir"]);
    }
    assert_eq!(std::fs::read_to_string(dir.path().join("cluster.json")).expect("still there"), r#"{"layout": 99}"#);
}

#[test]
fn without_root_it_says_so() {
    if !possible() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mut nobody = std::process::Command::new("setpriv");
    nobody.args(["--reuid", "65534", "--clear-groups", crate::harness::wherry(), "up", "--data-dir"]).arg(dir.path());
    match nobody.output() {
        // setpriv itself fails with 126 or 127 where another user cannot reach the binary, and is not everywhere.
        Ok(out) if !matches!(out.status.code(), Some(126 | 127)) => failed(&out, &["needs root", "sudo"]),
        other => eprintln!("SKIPPED: nobody cannot run wherry here: {other:?}"),
    }
    assert_eq!(std::fs::read_dir(dir.path()).expect("the directory").count(), 0, "nothing was made");
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_else() {
    if !possible() {
        return;
    }
    let mut cluster = Cluster::bare(Arc::new(Host::new()));
    let store = cluster.dir.path().join("store");
    std::fs::create_dir(&store).expect("made");
    // Unmounted by the reset at the end, like all that lies below the directory of a cluster.
    let mount =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=96m", "tmpfs"]).arg(&store).status();
    assert!(mount.is_ok_and(|s| s.success()), "a small disk");
    cluster.up(&[]);
    let filler = store.join("filler");
    let full = std::io::copy(&mut std::io::repeat(0), &mut std::fs::File::create(&filler).expect("a file"));
    assert_eq!(full.expect_err("no end").kind(), std::io::ErrorKind::StorageFull);
    let write = ["create", "configmap", "more", "--from-literal=a=b"];
    let said = cluster.fails(&write);
    assert!(said.contains("the store cannot write") && said.contains("free some space"), "{said}");
    cluster.ok(&["get", "namespace", "default"]);
    std::fs::remove_file(&filler).expect("removed");
    until("writes", || cluster.kubectl(&write).status.success());
}
