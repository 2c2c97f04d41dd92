//! A cluster behind an API: what a workload makes in it, and the pods that get their nodes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::{AsyncBufReadExt, TryStreamExt};
use http::Request;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::objects::World;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Clients that write at a time, each on a connection of its own.
const CLIENTS: usize = 16;
/// Priorities of pods are names of classes where there is an API.
const PRIORITIES: [i64; 2] = [0, 10];

pub struct Cluster {
    clients: Vec<kube::Client>,
}

/// Writes that make a world, in the order in which they may be made.
pub struct Planned {
    spaces: BTreeSet<String>,
    first: Vec<Write>,
    nodes: Vec<Write>,
    pods: Vec<Write>,
    after: Vec<Write>,
}

struct Write {
    method: &'static str,
    path: String,
    body: Value,
}

/// Pods that are seen with a node.
pub struct Bound {
    lines: mpsc::UnboundedReceiver<usize>,
    watches: Vec<tokio::task::JoinHandle<()>>,
}

impl World for Planned {
    fn node(&mut self, node: Node) {
        let name = node.metadata.name.clone().unwrap_or_default();
        let mut body = json!(node);
        body["status"]["capacity"] = body["status"]["allocatable"].clone();
        body["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        self.nodes.push(Write { method: "POST", path: "/api/v1/nodes".to_owned(), body });
        // The API lets no node in without the taint of one that has yet to show that it is ready.
        let untainted = json!({"spec": {"taints": null}});
        self.after.push(Write { method: "PATCH", path: format!("/api/v1/nodes/{name}"), body: untainted });
    }

    fn remove_node(&mut self, name: &str) {
        self.pods.push(Write { method: "DELETE", path: format!("/api/v1/nodes/{name}"), body: json!({}) });
    }

    fn namespace(&mut self, namespace: Namespace) {
        self.spaces.insert(namespace.metadata.name.clone().unwrap_or_default());
        self.first.push(Write { method: "POST", path: "/api/v1/namespaces".to_owned(), body: json!(namespace) });
    }

    fn pod(&mut self, node: &str, pod: Pod) {
        let mut write = create(&pod);
        write.body["spec"]["nodeName"] = json!(node);
        self.pods.push(write);
    }

    fn remove_pod(&mut self, _node: &str, namespace: &str, name: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}?gracePeriodSeconds=0");
        self.pods.push(Write { method: "DELETE", path, body: json!({}) });
    }

    fn service(&mut self, namespace: &str, name: &str, selector: Value) {
        let body = json!({"metadata": {"name": name}, "spec": {"selector": selector, "ports": [{"port": 80}]}});
        self.after.push(Write { method: "POST", path: format!("/api/v1/namespaces/{namespace}/services"), body });
    }
}

fn create(pod: &Pod) -> Write {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    let mut body = json!(pod);
    body["metadata"]["uid"] = Value::Null;
    body["spec"]["automountServiceAccountToken"] = json!(false);
    if let Some(priority) = body["spec"]["priority"].take().as_i64() {
        body["spec"]["priorityClassName"] = json!(format!("perf-{priority}"));
    }
    Write { method: "POST", path, body }
}

impl Cluster {
    pub async fn connect(kubeconfig: &str) -> Result<Cluster, Failure> {
        let text = std::fs::read_to_string(kubeconfig)?;
        let mut clients = vec![];
        for _ in 0..CLIENTS {
            let told = Kubeconfig::from_yaml(&text)?;
            let told = kube::Config::from_custom_kubeconfig(told, &KubeConfigOptions::default()).await?;
            clients.push(kube::Client::try_from(told)?);
        }
        Ok(Cluster { clients })
    }

    pub fn planned(&self) -> Planned {
        let spaces = ["init", "test", "churn"].map(str::to_owned).into();
        let class = |value: &i64| {
            let body = json!({"metadata": {"name": format!("perf-{value}")}, "value": value});
            Write { method: "POST", path: "/apis/scheduling.k8s.io/v1/priorityclasses".to_owned(), body }
        };
        let first = PRIORITIES.iter().map(class).collect();
        Planned { spaces, first, nodes: vec![], pods: vec![], after: vec![] }
    }

    pub async fn make(&self, planned: Planned) -> Result<(), Failure> {
        let space = |name: &String| Write {
            method: "POST",
            path: "/api/v1/namespaces".to_owned(),
            body: json!({"metadata": {"name": name}}),
        };
        let account = |name: &String| Write {
            method: "POST",
            path: format!("/api/v1/namespaces/{name}/serviceaccounts"),
            body: json!({"metadata": {"name": "default"}}),
        };
        self.write(planned.first).await?;
        self.write(planned.spaces.iter().map(space).collect()).await?;
        self.write(planned.spaces.iter().map(account).collect()).await?;
        self.write(planned.nodes).await?;
        self.write(planned.pods).await?;
        self.write(planned.after).await
    }

    /// Creates the pods that are measured; `between` is done after each.
    pub async fn create(&self, pods: Vec<Pod>, between: fn(&mut dyn World, usize)) -> Result<(), Failure> {
        let mut writes = vec![];
        for (at, pod) in pods.iter().enumerate() {
            writes.push(create(pod));
            let mut more = Planned { first: vec![], ..self.planned() };
            between(&mut more, at);
            writes.extend(more.nodes.into_iter().chain(more.pods));
        }
        self.write(writes).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), Failure> {
        let (writes, next) = (Arc::new(writes), Arc::new(AtomicUsize::new(0)));
        let worker = |client: &kube::Client| {
            let (client, writes, next) = (client.clone(), writes.clone(), next.clone());
            tokio::spawn(async move {
                while let Some(write) = writes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    one(&client, write).await?;
                }
                Ok::<_, Failure>(())
            })
        };
        for worker in self.clients.iter().map(worker).collect::<Vec<_>>() {
            worker.await??;
        }
        Ok(())
    }

    /// Begins to watch for the pods to get nodes.
    pub async fn bound(&self, pods: &[Pod]) -> Result<Bound, Failure> {
        let spaces: BTreeSet<&str> = pods.iter().filter_map(|pod| pod.metadata.namespace.as_deref()).collect();
        let (tell, lines) = mpsc::unbounded_channel();
        let mut watches = vec![];
        for (client, space) in self.clients.iter().zip(spaces) {
            let path = format!("/api/v1/namespaces/{space}/pods");
            let list: Value = serde_json::from_str(&client.request_text(Request::get(&path).body(vec![])?).await?)?;
            let from = list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
            // A pod comes into this watch when it gets its node, and only once.
            let path = format!("{path}?watch=true&fieldSelector=spec.nodeName!%3D&resourceVersion={from}");
            let stream = client.request_stream(Request::get(&path).body(vec![])?).await?;
            let tell = tell.clone();
            watches.push(tokio::spawn(async move {
                let mut lines = stream.lines();
                while let Ok(Some(line)) = lines.try_next().await {
                    // The type stands first: the rest needs no reading.
                    if line.get(..40.min(line.len())).is_some_and(|head| head.contains("\"ADDED\"")) {
                        let _ = tell.send(1);
                    }
                }
            }));
        }
        Ok(Bound { lines, watches })
    }

    /// Deletes what any workload made.
    pub async fn clear(&self) -> Result<(), Failure> {
        let client = &self.clients[0];
        let list = |path: &str| Request::get(path).body(vec![]);
        for (path, place) in [("/api/v1/pods", true), ("/api/v1/services", true), ("/api/v1/nodes", false)] {
            let all: Value = serde_json::from_str(&client.request_text(list(path)?).await?)?;
            let kind = path.rsplit('/').next().unwrap_or_default();
            let delete = |object: &Value| {
                let (space, name) = (object["metadata"]["namespace"].as_str(), object["metadata"]["name"].as_str()?);
                let space = space.filter(|_| place).map(|space| format!("/namespaces/{space}")).unwrap_or_default();
                // The API's own Service stays.
                let ours = space != "/namespaces/default";
                let path = format!("/api/v1{space}/{kind}/{name}?gracePeriodSeconds=0");
                ours.then(|| Write { method: "DELETE", path, body: json!({}) })
            };
            let writes = all["items"].as_array().into_iter().flatten().filter_map(delete).collect();
            self.write(writes).await?;
        }
        Ok(())
    }
}

/// One write. What is there already, and what is gone already, is as good.
async fn one(client: &kube::Client, write: &Write) -> Result<(), Failure> {
    let kind = if write.method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let body = if write.method == "DELETE" { vec![] } else { serde_json::to_vec(&write.body)? };
    let request = Request::builder().method(write.method).uri(&write.path).header("content-type", kind).body(body)?;
    match client.request_text(request).await {
        Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 && write.method == "DELETE" => Ok(()),
        Err(error) => Err(format!("{} {}: {error}", write.method, write.path).into()),
        Ok(_) => Ok(()),
    }
}

impl Bound {
    /// How many got their nodes, and when the last did: all of them, or as many as do before nothing happens any more.
    pub async fn all(&mut self, pods: usize, stuck: Duration) -> (usize, Option<Instant>) {
        let (mut count, mut last) = (0, None);
        while count < pods {
            match tokio::time::timeout(stuck, self.lines.recv()).await {
                Ok(Some(more)) => {
                    count += more;
                    last = Some(Instant::now());
                }
                _ => break,
            }
        }
        self.watches.iter().for_each(tokio::task::JoinHandle::abort);
        (count, last)
    }
}
