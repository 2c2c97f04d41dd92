//! Clients in other languages run their documented examples against the API alone, and Helm keeps a chart of ours.

use super::{Api, brought, layer};
use crate::harness::{Cluster, ROOT, guest, possible, text, until};
use std::path::Path;
use std::process::Command;

/// Runs a program of examples, which prints `NAME ok` for each.
fn examples(mut command: Command, names: &[&str]) {
    let out = command.output().expect("the examples start");
    let said = text(&out.stdout);
    assert!(out.status.success(), "{said}{}", text(&out.stderr));
    let missing: Vec<_> = names.iter().filter(|n| !said.lines().any(|l| l == format!("{n} ok"))).collect();
    assert!(missing.is_empty(), "examples that did not run: {missing:?}");
}

#[test]
fn examples_of_the_python_client() {
    let Some(folder) = brought(&["python"], "python-37.0.2") else { return };
    let api = Api::shared();
    let mut command = Command::new(folder.join("bin/python"));
    command.arg(Path::new(ROOT).join("tests/clients/python/examples.py")).arg(api.kubeconfig());
    examples(
        command,
        &["namespaces", "deployments", "patches", "errors", "watched", "pages", "from_yaml", "untyped", "custom"],
    );
}

#[test]
fn examples_of_the_javascript_client() {
    let Some(folder) = brought(&["node"], "node-1.4.0") else { return };
    let api = Api::shared();
    // Node looks for packages beside the program.
    let program = folder.join(format!("examples-{}.mjs", std::process::id()));
    std::fs::copy(Path::new(ROOT).join("tests/clients/javascript/examples.mjs"), &program).expect("copied");
    let mut command = Command::new("node");
    command.arg(&program).arg(api.kubeconfig());
    examples(command, &["namespaces", "errors", "deployments", "watched", "informed", "untyped", "custom"]);
    std::fs::remove_file(&program).expect("removed");
}

/// Helm against a cluster, its output; `Err` with its errors.
fn helm(cluster: &Cluster, program: &Path, line: &str) -> Result<String, String> {
    let own = cluster.dir.path().join("helm");
    let mut command = cluster.host.command(program.to_str().expect("a path"));
    for part in ["CACHE", "CONFIG", "DATA"] {
        command.env(format!("HELM_{part}_HOME"), own.join(part));
    }
    command.arg("--kubeconfig").arg(cluster.kubeconfig());
    let chart = Path::new(ROOT).join("tests/clients/chart");
    command.args(line.split(' ').map(|word| if word == "CHART" { chart.as_os_str() } else { word.as_ref() }));
    let out = command.output().expect("helm runs");
    if out.status.success() { Ok(text(&out.stdout)) } else { Err(text(&out.stderr)) }
}

#[test]
fn helm_installs_upgrades_rolls_back_and_uninstalls() {
    if !possible() {
        return;
    }
    let Some(program) = layer("1.37", "helm") else { return };
    let mut cluster = Cluster::new();
    cluster.image("before:1", &guest("args.wat"));
    cluster.up(&[]);
    let does = |line: &str| helm(&cluster, &program, line).unwrap_or_else(|e| panic!("helm {line}: {e}"));
    assert!(does("version --short").starts_with("v4."), "Helm 4 is meant");
    let greeting = || cluster.ok(&["get", "configmap", "shop", "-o", "jsonpath={.data.greeting}"]);
    let replicas = || cluster.ok(&["get", "deployment", "shop", "-o", "jsonpath={.status.readyReplicas}"]);

    does("install shop CHART --wait --timeout 100s");
    assert_eq!((greeting().as_str(), replicas().as_str()), ("hello", "1"));
    let version = cluster.ok(&["get", "configmap", "shop", "-o", "jsonpath={.data.cluster} {.data.autoscaling}"]);
    assert!(version.starts_with("v1.36.") && version.ends_with(" true"), "{version}");
    assert!(helm(&cluster, &program, "install shop CHART").is_err_and(|e| e.contains("name")), "the name is in use");

    does("upgrade shop CHART --wait --timeout 100s --set greeting=moin,extra=true,replicas=2");
    assert_eq!((greeting().as_str(), replicas().as_str()), ("moin", "2"));
    let found = cluster.ok(&["get", "secret", "shop-extra", "-o", "go-template={{.data.found | base64decode}}"]);
    assert_eq!(found, "hello", "what a template looked up before the upgrade");
    assert!(does("get manifest shop").contains("greeting: moin"));
    assert!(does("list").contains("deployed"));

    does("rollback shop 1 --wait --timeout 100s");
    assert_eq!((greeting().as_str(), replicas().as_str()), ("hello", "1"));
    assert!(cluster.fails(&["get", "secret", "shop-extra"]).contains("not found"), "what only the second had is gone");
    let history = does("history shop");
    assert_eq!(history.lines().count(), 4, "three revisions below their heads: {history}");

    does("uninstall shop --wait --timeout 100s");
    until("everything to go", || {
        let kinds = "deployments,replicasets,pods,configmaps,secrets,serviceaccounts,roles,rolebindings,services";
        !cluster.ok(&["get", kinds, "-o", "name"]).contains("shop")
    });
    assert!(helm(&cluster, &program, "status shop").is_err(), "the release is forgotten");
}
