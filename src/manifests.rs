//! Manifests from files: reading, applying, waiting for what they start, and the addresses that answer.

use crate::progress::Step;
use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::discovery::{ApiCapabilities, ApiResource, Scope, pinned_kind};
use kube::{Client, ResourceExt};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most that one manifest file may hold: what the API would refuse as a whole anyway is not read.
const LARGEST_FILE: u64 = 16 << 20;

/// An object from a manifest, with where it came from.
pub struct Manifest {
    pub object: DynamicObject,
    pub origin: String,
}

/// Reads a file (`.yaml`, `.yml`, `.json`) or every such file of a directory, in the order of their names.
pub fn load(path: &Path) -> anyhow::Result<Vec<Manifest>> {
    let mut out = Vec::new();
    for file in files(path)? {
        let size = std::fs::metadata(&file).with_context(|| format!("reading {}", file.display()))?.len();
        if size > LARGEST_FILE {
            bail!("{} has {size} bytes; a manifest may have {LARGEST_FILE}", file.display());
        }
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        for (i, document) in documents(&text).enumerate() {
            let origin = format!("{} (document {})", file.display(), i + 1);
            let value =
                api::codec::yaml::decode(document.as_bytes()).map_err(|e| anyhow::anyhow!("{origin}: {e}"))?.value;
            if value.is_null() {
                continue;
            }
            let object: DynamicObject =
                value.to_typed().map_err(|e| anyhow::anyhow!("{origin}: not a Kubernetes object: {e}"))?;
            if object.types.as_ref().is_none_or(|t| t.kind.is_empty() || t.api_version.is_empty()) {
                bail!("{origin}: apiVersion and kind must be set");
            }
            out.push(Manifest { object, origin });
        }
    }
    Ok(out)
}

fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| p.is_file()).collect();
    files.retain(|p| p.extension().is_some_and(|e| ["yaml", "yml", "json"].iter().any(|known| e == *known)));
    files.sort();
    if files.is_empty() {
        bail!("{} holds no .yaml, .yml or .json file", path.display());
    }
    Ok(files)
}

/// The documents of a YAML stream: split where a line begins with `---`, as kubectl does.
fn documents(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let now = rest?;
        let cut = now
            .match_indices("\n---")
            .find(|(i, _)| matches!(now[i + 4..].chars().next(), None | Some('\n' | '\r' | ' ')));
        let (document, next) = match cut {
            Some((i, _)) => (&now[..i], Some(now[i + 4..].trim_start_matches([' ', '\r']))),
            None => (now, None),
        };
        rest = next;
        Some(document.strip_prefix("---").unwrap_or(document))
    })
}

/// The API of an object's kind, as the server's discovery has it.
pub async fn api_of(client: &Client, object: &DynamicObject) -> anyhow::Result<(Api<DynamicObject>, ApiResource)> {
    let types = object.types.as_ref().context("the object has no apiVersion and kind")?;
    let gvk = GroupVersionKind::try_from(types).with_context(|| format!("apiVersion {:?}", types.api_version))?;
    let found: Result<(ApiResource, ApiCapabilities), _> = pinned_kind(client, &gvk).await;
    let (resource, capabilities) = found
        .map_err(|_| anyhow::anyhow!("no kind {:?} in version {:?} on the server", types.kind, types.api_version))?;
    let namespace = object.namespace().unwrap_or_else(|| "default".into());
    let api = match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => Api::namespaced_with(client.clone(), &namespace, &resource),
    };
    Ok((api, resource))
}

/// Creates the object, or merges it into the one that is there. Returns what was done, as kubectl words it.
pub async fn apply(client: &Client, manifest: &Manifest) -> anyhow::Result<String> {
    let object = &manifest.object;
    let (api, resource) = api_of(client, object).await.with_context(|| manifest.origin.clone())?;
    let name = object.name_any();
    let done = match api.get_opt(&name).await? {
        None => api.create(&PostParams::default(), object).await.map(|_| "created"),
        Some(before) => {
            let after = api.patch(&name, &PatchParams::default(), &Patch::Merge(object)).await;
            after.map(|a| if a.resource_version() == before.resource_version() { "unchanged" } else { "configured" })
        }
    };
    let done = done.with_context(|| format!("{}: {} {name}", manifest.origin, resource.kind))?;
    let group = if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
    Ok(format!("{}{group}/{name} {done}", resource.kind.to_lowercase()))
}

/// Applies everything; a failure is told and the rest goes on. Returns how many failed.
pub async fn apply_all(client: &Client, manifests: &[Manifest]) -> usize {
    let mut failed = 0;
    for manifest in manifests {
        match apply(client, manifest).await {
            Ok(line) => println!("{line}"),
            Err(error) => {
                failed += 1;
                eprintln!("error: {error:#}");
            }
        }
    }
    failed
}

/// Waits until every workload among the manifests has what it asks for, showing how far they are: pods that are
/// available, or an end.
pub async fn wait(client: &Client, manifests: &[Manifest], patience: Duration) -> anyhow::Result<()> {
    for manifest in manifests {
        let kind = manifest.object.types.as_ref().map_or("", |types| types.kind.as_str());
        let Some((_, what, done)) = AWAITED.iter().find(|(awaited, ..)| *awaited == kind) else { continue };
        let name = manifest.object.name_any();
        let (api, _) = api_of(client, &manifest.object).await?;
        let step = Step::start(format!("{what} {name}"));
        let condition = |o: Option<&DynamicObject>| o.is_some_and(|o| seen(o) && done(&o.data));
        let ready = kube::runtime::wait::await_condition(api, &name, condition);
        match tokio::time::timeout(patience, ready).await {
            Ok(ready) => {
                ready?;
                step.done("done");
            }
            Err(_) => {
                drop(step);
                bail!(
                    "{what} {name}: not done within {} s; see `wherry get pods` and `kubectl describe`",
                    patience.as_secs()
                );
            }
        }
    }
    Ok(())
}

/// Whether an object has come to what is waited for.
type Done = fn(&Value) -> bool;

/// The kinds that are waited for, and for what.
const AWAITED: [(&str, &str, Done); 3] = [
    ("Deployment", "pods of deployment", |d| counts(d, "availableReplicas")),
    ("StatefulSet", "pods of statefulset", |s| {
        // Pods behind a gate wait for somebody else.
        let gates = s["spec"]["template"]["spec"]["schedulingGates"].as_array();
        gates.is_some_and(|gates| !gates.is_empty()) || counts(s, "readyReplicas")
    }),
    ("Job", "end of job", |j| {
        let mut conditions = j["status"]["conditions"].as_array().into_iter().flatten();
        conditions
            .any(|c| matches!(c["type"].as_str(), Some("Complete" | "Failed" | "Suspended")) && c["status"] == "True")
    }),
];

/// Whether as many as are asked for are so, and as they should be now.
fn counts(object: &Value, field: &str) -> bool {
    let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let count = |field: &str| object["status"][field].as_i64().unwrap_or(0);
    count(field) >= wanted && count("updatedReplicas") >= wanted
}

/// Whether its controller has seen the object as it is.
fn seen(object: &DynamicObject) -> bool {
    let observed = object.data["status"]["observedGeneration"].as_i64();
    observed.is_none_or(|observed| Some(observed) >= object.metadata.generation) && object.data["status"].is_object()
}

/// The addresses of the Services among the manifests: `(name, URL inside the cluster and on this machine, NodePort URL)`.
pub async fn addresses(
    client: &Client,
    manifests: &[Manifest],
    node: std::net::IpAddr,
) -> anyhow::Result<Vec<(String, Vec<String>)>> {
    let mut out = Vec::new();
    for manifest in manifests.iter().filter(|m| m.object.types.as_ref().is_some_and(|t| t.kind == "Service")) {
        let namespace = manifest.object.namespace().unwrap_or_else(|| "default".into());
        let api: Api<Service> = Api::namespaced(client.clone(), &namespace);
        let service = api.get(&manifest.object.name_any()).await?;
        let spec = service.spec.clone().unwrap_or_default();
        let cluster = spec.cluster_ip.filter(|ip| !ip.is_empty() && ip != "None");
        let mut urls = Vec::new();
        for port in spec.ports.iter().flatten() {
            urls.extend(port.node_port.map(|p| format!("http://{node}:{p}")));
            urls.extend(cluster.as_ref().map(|ip| format!("http://{ip}:{}", port.port)));
        }
        out.push((service.name_any(), urls));
    }
    Ok(out)
}

/// The first line of what an address answers to a GET; an error if nothing does within two seconds.
pub async fn first_line(url: &str) -> anyhow::Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let host = url.strip_prefix("http://").context("only http URLs are asked")?;
    let asked = async {
        let mut stream = tokio::net::TcpStream::connect(host).await?;
        stream.write_all(format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer).await?;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = tokio::time::timeout(Duration::from_secs(2), asked).await.context("no answer in time")??;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let status = answer.lines().next().unwrap_or("");
    if !status.contains(" 200") {
        bail!("{status}");
    }
    Ok(body.lines().find(|l| l.contains(' ')).unwrap_or(body).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_split_as_kubectl_splits_it() {
        let text = "---\na: 1\n---\nb: |\n  x\n  ---x\n---\n\n--- \nc: 3\n---";
        let parts: Vec<&str> = documents(text).map(str::trim).collect();
        assert_eq!(parts, ["a: 1", "b: |\n  x\n  ---x", "", "c: 3", ""]);
    }
}
