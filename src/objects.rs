//! The small client: `get`, `logs` and `delete` for a machine without kubectl.

use crate::cli;
use crate::manifests;
use crate::tls;
use anyhow::{Context, bail};
use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, LogParams};
use kube::discovery::{Discovery, Scope};
use kube::{Client, ResourceExt};
use serde_json::Value;

/// The form in which the server prints rows itself.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// `wherry apply`.
pub async fn apply(flags: cli::Apply) -> anyhow::Result<()> {
    let client = tls::client(&flags.client.kubeconfig()).await?;
    let mut failed = 0;
    for path in &flags.paths {
        failed += manifests::apply_all(&client, &manifests::load(path)?).await;
    }
    if failed > 0 {
        bail!("{failed} of the objects could not be applied");
    }
    Ok(())
}

/// `wherry get`.
pub async fn get(flags: cli::Get) -> anyhow::Result<()> {
    let client = tls::client(&flags.client.kubeconfig()).await?;
    let path =
        path_of(&client, &flags.resource, &flags.client.namespace, flags.all_namespaces, flags.name.as_deref()).await?;
    let request = http::Request::get(path).header(http::header::ACCEPT, TABLE).body(Vec::new())?;
    let answer: Value = client.request(request).await?;
    print!("{}", rows(&answer, flags.all_namespaces && flags.name.is_none()));
    Ok(())
}

/// The path of a resource by any of its names: plural, singular, short or kind.
async fn path_of(
    client: &Client,
    resource: &str,
    namespace: &str,
    all: bool,
    name: Option<&str>,
) -> anyhow::Result<String> {
    let discovery =
        Discovery::new(client.clone()).run_aggregated().await.context("asking the server for its resources")?;
    let wanted = resource.to_lowercase();
    let kinds = discovery.groups().flat_map(|g| g.recommended_resources());
    let known = |plural: &str, kind: &str| {
        plural == wanted || kind.to_lowercase() == wanted || short(plural) == Some(wanted.as_str())
    };
    let found = kinds.into_iter().find(|(r, _)| known(&r.plural, &r.kind));
    let (r, capabilities) = found.with_context(|| format!("the server doesn't have a resource type {resource:?}"))?;
    let mut path =
        if r.group.is_empty() { format!("/api/{}", r.version) } else { format!("/apis/{}/{}", r.group, r.version) };
    if capabilities.scope == Scope::Namespaced && !all {
        path.push_str(&format!("/namespaces/{namespace}"));
    }
    path.push_str(&format!("/{}", r.plural));
    if let Some(name) = name {
        path.push_str(&format!("/{name}"));
    }
    Ok(path)
}

fn short(plural: &str) -> Option<&'static str> {
    Some(match plural {
        "pods" => "po",
        "services" => "svc",
        "deployments" => "deploy",
        "replicasets" => "rs",
        "nodes" => "no",
        "namespaces" => "ns",
        "configmaps" => "cm",
        "events" => "ev",
        "endpointslices" => "eps",
        _ => return None,
    })
}

/// A Table as aligned text: the columns of priority 0.
fn rows(table: &Value, with_namespace: bool) -> String {
    let columns = table["columnDefinitions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let shown: Vec<usize> = (0..columns.len()).filter(|i| columns[*i]["priority"] == 0).collect();
    let mut lines: Vec<Vec<String>> = Vec::new();
    let head = shown.iter().map(|i| columns[*i]["name"].as_str().unwrap_or("").to_uppercase());
    lines.push(with_namespace.then(|| "NAMESPACE".to_owned()).into_iter().chain(head).collect());
    for row in table["rows"].as_array().into_iter().flatten() {
        let namespace = row["object"]["metadata"]["namespace"].as_str().unwrap_or("").to_owned();
        let cells = shown.iter().map(|i| match &row["cells"][*i] {
            Value::String(s) => s.clone(),
            Value::Null => "<none>".into(),
            other => other.to_string(),
        });
        lines.push(with_namespace.then_some(namespace).into_iter().chain(cells).collect());
    }
    let widths: Vec<usize> =
        (0..lines[0].len()).map(|i| lines.iter().map(|l| l[i].chars().count()).max().unwrap_or(0)).collect();
    let line = |cells: &Vec<String>| {
        let padded = cells.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}   ")).collect::<String>();
        format!("{}\n", padded.trim_end())
    };
    lines.iter().map(line).collect()
}

/// `wherry logs`.
pub async fn logs(flags: cli::Logs) -> anyhow::Result<()> {
    let client = tls::client(&flags.client.kubeconfig()).await?;
    let pods: Api<Pod> = Api::namespaced(client, &flags.client.namespace);
    let params = LogParams { follow: flags.follow, container: flags.container.clone(), ..LogParams::default() };
    let mut lines = pods.log_stream(&flags.pod, &params).await?.lines();
    while let Some(line) = lines.try_next().await? {
        println!("{line}");
    }
    Ok(())
}

/// `wherry delete`.
pub async fn delete(flags: cli::Delete) -> anyhow::Result<()> {
    let client = tls::client(&flags.client.kubeconfig()).await?;
    let mut failed = 0;
    for path in &flags.paths {
        // What was made last goes first.
        for manifest in manifests::load(path)?.iter().rev() {
            let (api, resource) = manifests::api_of(&client, &manifest.object).await?;
            let name = manifest.object.name_any();
            match api.delete(&name, &DeleteParams::background()).await {
                Ok(_) => println!("{} {name:?} deleted", resource.kind.to_lowercase()),
                Err(error) => {
                    failed += 1;
                    eprintln!("error: {error}");
                }
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of the objects could not be deleted");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_is_aligned_and_shows_the_usual_columns() {
        let table = json!({
            "columnDefinitions": [{"name": "Name", "priority": 0}, {"name": "IP", "priority": 1}, {"name": "Age", "priority": 0}],
            "rows": [{"cells": ["a-long-name", "10.0.0.1", "3s"], "object": {"metadata": {"namespace": "d"}}}],
        });
        assert_eq!(rows(&table, true), "NAMESPACE   NAME          AGE\nd           a-long-name   3s\n");
    }
}
