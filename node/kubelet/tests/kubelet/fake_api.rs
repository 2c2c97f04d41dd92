//! An API that keeps a few objects and answers what a kubelet asks, through a `kube::Client` without a socket.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tower::ServiceExt;

#[derive(Default)]
struct Table {
    pods: BTreeMap<String, Value>,
    config_maps: BTreeMap<String, Value>,
    /// What a person says of the node.
    taints: Value,
    node_status: Value,
    deleted: HashMap<String, Value>,
    events: Vec<String>,
    revision: u64,
}

pub struct FakeApi {
    table: Mutex<Table>,
    /// (resource, type, object) of every change.
    changes: broadcast::Sender<(&'static str, &'static str, Value)>,
    moved: watch::Sender<u64>,
}

impl Table {
    fn node(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "uid": "node-uid"},
            "spec": {"taints": self.taints}, "status": self.node_status,
        })
    }
}

impl FakeApi {
    pub fn new() -> Arc<FakeApi> {
        let (changes, _) = broadcast::channel(256);
        Arc::new(FakeApi { table: Mutex::default(), changes, moved: watch::channel(0).0 })
    }

    pub fn client(self: &Arc<FakeApi>) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let api = api.clone();
            async move { Ok::<_, std::convert::Infallible>(api.handle(request.map(Body::new)).await) }
        });
        kube::Client::new(service.boxed_clone(), "default")
    }

    fn change(&self, table: &mut Table, resource: &'static str, kind: &'static str, object: &mut Value) {
        table.revision += 1;
        object["metadata"]["resourceVersion"] = table.revision.to_string().into();
        let _ = self.changes.send((resource, kind, object.clone()));
        self.moved.send_replace(table.revision);
    }

    pub fn put(&self, mut pod: Value) {
        let mut table = self.table.lock();
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        self.change(&mut table, "pods", "ADDED", &mut pod);
        table.pods.insert(name, pod);
    }

    pub fn config_map(&self, name: &str, data: Value) {
        let mut table = self.table.lock();
        let mut object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "default"}, "data": data,
        });
        let kind = if table.config_maps.contains_key(name) { "MODIFIED" } else { "ADDED" };
        self.change(&mut table, "configmaps", kind, &mut object);
        table.config_maps.insert(name.into(), object);
    }

    /// As a user deletes: with grace.
    pub fn delete(&self, name: &str, grace: i64) {
        let mut table = self.table.lock();
        let mut pod = table.pods[name].clone();
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        pod["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        self.change(&mut table, "pods", "MODIFIED", &mut pod);
        table.pods.insert(name.into(), pod);
    }

    /// The resources of its first container, as the `resize` subresource changes them.
    pub fn resize(&self, name: &str, resources: Value) {
        let mut table = self.table.lock();
        let mut pod = table.pods[name].clone();
        pod["spec"]["containers"][0]["resources"] = resources;
        let generation = pod["metadata"]["generation"].as_i64().unwrap() + 1;
        pod["metadata"]["generation"] = generation.into();
        self.change(&mut table, "pods", "MODIFIED", &mut pod);
        table.pods.insert(name.into(), pod);
    }

    pub fn taint(&self, taints: Value) {
        let mut table = self.table.lock();
        table.taints = taints;
        let mut node = table.node();
        self.change(&mut table, "nodes", "MODIFIED", &mut node);
    }

    pub fn clear_conditions(&self, name: &str) {
        if let Some(pod) = self.table.lock().pods.get_mut(name) {
            pod["status"]["conditions"] = json!([]);
        }
    }

    pub fn forget(&self, name: &str) {
        self.table.lock().pods.remove(name);
    }

    /// The options with which the kubelet deleted a pod.
    pub fn deleted(&self, name: &str) -> Option<Value> {
        self.table.lock().deleted.get(name).cloned()
    }

    pub fn events(&self) -> Vec<String> {
        self.table.lock().events.clone()
    }

    pub fn now(&self, name: &str) -> Value {
        self.table.lock().pods.get(name).map(|p| p["status"].clone()).unwrap_or_default()
    }

    /// Waits for a status that is as asked.
    pub async fn status(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut moved = self.moved.subscribe();
        let wait = async {
            loop {
                let status = self.now(name);
                if wanted(&status) {
                    return status;
                }
                moved.changed().await.unwrap();
            }
        };
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, wait).await.unwrap_or_else(|_| panic!("the status of {name}: {:#}", self.now(name)))
    }

    async fn handle(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap_or_default();
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let resource = ["pods", "configmaps", "services", "runtimeclasses", "secrets", "nodes"]
            .into_iter()
            .find(|r| segments.last() == Some(r));
        let resource = resource.filter(|_| parts.method == Method::GET);
        match (&parts.method, resource) {
            (&Method::GET, Some(r)) if query.contains("watch=true") => self.watch(r, &query),
            (&Method::GET, Some(r)) => self.list(r, &query),
            _ => self.one(&parts.method, &segments, body),
        }
    }

    fn one(&self, method: &Method, segments: &[&str], mut body: Value) -> Response {
        let mut table = self.table.lock();
        match (method.as_str(), segments) {
            ("GET", ["api", "v1", "namespaces", _, "configmaps", name]) => match table.config_maps.get(*name) {
                Some(object) => reply(object),
                None => missing(),
            },
            ("PATCH", ["api", "v1", "namespaces", _, "pods", name, "status"]) => {
                let Some(mut pod) = table.pods.get(*name).cloned() else { return missing() };
                assert_eq!(body["metadata"]["uid"], pod["metadata"]["uid"]);
                for (key, value) in body["status"].as_object().unwrap() {
                    pod["status"][key] = value.clone();
                }
                if let Some(conditions) = pod["status"]["conditions"].as_array_mut() {
                    conditions.retain(|c| c["$patch"] != "delete");
                }
                self.change(&mut table, "pods", "MODIFIED", &mut pod);
                table.pods.insert((*name).into(), pod.clone());
                reply(&pod)
            }
            ("DELETE", ["api", "v1", "namespaces", _, "pods", name]) => {
                let Some(mut pod) = table.pods.remove(*name) else { return missing() };
                table.deleted.insert((*name).into(), body);
                self.change(&mut table, "pods", "DELETED", &mut pod);
                reply(&pod)
            }
            ("POST", ["api", "v1", "namespaces", _, "serviceaccounts", _, "token"]) => {
                assert_eq!(body["spec"]["boundObjectRef"]["kind"], "Pod");
                body["status"] = json!({"token": "a-token", "expirationTimestamp": "2999-01-01T00:00:00Z"});
                reply(&body)
            }
            ("POST", ["api", "v1", "namespaces", _, "events"]) => {
                table.events.push(body["reason"].as_str().unwrap_or_default().into());
                reply(&body)
            }
            ("GET", ["api", "v1", "nodes", _]) if table.node_status.is_null() => missing(),
            ("GET", ["api", "v1", "nodes", _]) => reply(&table.node()),
            ("POST", ["api", "v1", "nodes"]) => reply(&body),
            ("PATCH", ["api", "v1", "nodes", _, ..]) => {
                if body["status"].is_object() {
                    table.node_status = body["status"].take();
                }
                let mut node = table.node();
                self.change(&mut table, "nodes", "MODIFIED", &mut node);
                reply(&node)
            }
            ("PATCH", ["apis", "coordination.k8s.io", "v1", "namespaces", _, "leases", _]) => reply(&body),
            _ => missing(),
        }
    }

    fn fitting(&self, resource: &str, query: &str) -> Vec<Value> {
        let table = self.table.lock();
        let list: Vec<Value> = match resource {
            "pods" => table.pods.values().cloned().collect(),
            "configmaps" => table.config_maps.values().cloned().collect(),
            "nodes" if !table.node_status.is_null() => vec![table.node()],
            "services" => vec![json!({
                "metadata": {"name": "kubernetes", "namespace": "default"},
                "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443, "protocol": "TCP"}]},
            })],
            _ => Vec::new(),
        };
        list.into_iter().filter(|o| named(o, query)).collect()
    }

    fn list(&self, resource: &str, query: &str) -> Response {
        let items = self.fitting(resource, query);
        let revision = self.table.lock().revision.to_string();
        reply(&json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": revision}, "items": items}))
    }

    fn watch(&self, resource: &'static str, query: &str) -> Response {
        let from: u64 =
            query.split('&').find_map(|p| p.strip_prefix("resourceVersion=")).and_then(|r| r.parse().ok()).unwrap_or(0);
        let changes = self.changes.subscribe();
        // What changed between the list and this watch.
        let missed: Vec<(&'static str, &'static str, Value)> = self
            .fitting(resource, query)
            .into_iter()
            .filter(|o| revision(o) > from)
            .map(|o| (resource, "MODIFIED", o))
            .collect();
        let query = query.to_owned();
        let stream = futures::stream::unfold((missed, changes), move |(mut missed, mut changes)| {
            let query = query.clone();
            async move {
                loop {
                    let (r, kind, object) = match missed.pop() {
                        Some(change) => change,
                        None => changes.recv().await.ok()?,
                    };
                    if r == resource && named(&object, &query) {
                        let line = format!("{}\n", json!({"type": kind, "object": object}));
                        let frame: Result<_, std::convert::Infallible> = Ok(Frame::data(Bytes::from(line)));
                        return Some((frame, (missed, changes)));
                    }
                }
            }
        });
        Response::new(Body::new(StreamBody::new(stream)))
    }
}

fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|r| r.parse().ok()).unwrap_or(0)
}

fn named(object: &Value, query: &str) -> bool {
    let wanted = query.split('&').find_map(|p| p.strip_prefix("fieldSelector=metadata.name%3D"));
    wanted.is_none_or(|name| object["metadata"]["name"] == name)
}

fn reply(object: &Value) -> Response {
    Response::builder().header("content-type", "application/json").body(Body::from(object.to_string())).unwrap()
}

fn missing() -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"});
    Response::builder().status(StatusCode::NOT_FOUND).body(Body::from(status.to_string())).unwrap()
}
