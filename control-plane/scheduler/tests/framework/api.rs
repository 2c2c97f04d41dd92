//! An API in the process that knows nodes, pods, bindings and events, and logs the last two.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use client::Informers;
use futures::{Stream, StreamExt};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use kube::client::Body;
use scheduler::Config;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::spy::Log;

type Chunks = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;

#[derive(Clone)]
pub struct Api {
    log: Log,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    revision: u64,
    nodes: Vec<Value>,
    pods: Vec<Value>,
    /// What happened, for watches that begin later.
    events: Vec<(u64, Value)>,
    watchers: Vec<mpsc::UnboundedSender<Value>>,
}

impl Api {
    /// Every node has room for one pod.
    pub fn new(log: &Log, nodes: &[&str], pods: &[&str]) -> Api {
        let node = |name: &&str| {
            let amounts = json!({"cpu": "1", "memory": "1Gi", "pods": "1"});
            json!({"metadata": {"name": name, "uid": name, "resourceVersion": "1"}, "status": {"allocatable": amounts}})
        };
        let state = State { revision: 1, nodes: nodes.iter().map(node).collect(), ..State::default() };
        let api = Api { log: log.clone(), state: Arc::new(Mutex::new(state)) };
        pods.iter().for_each(|name| api.create(name));
        api
    }

    /// Schedules until what is returned is dropped.
    pub fn schedule(&self, config: Config) -> DropGuard {
        let stop = CancellationToken::new();
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        let client = kube::Client::new(service, "default");
        let informers = Informers::new(client.clone(), stop.clone());
        tokio::spawn(scheduler::run(client, informers, config, stop.clone()));
        stop.drop_guard()
    }

    pub fn create(&self, name: &str) {
        let spec = json!({"containers": [{"name": "c", "image": "i"}]});
        let metadata = json!({"name": name, "namespace": "a", "uid": format!("uid-{name}")});
        self.change("ADDED", |pods| {
            pods.push(json!({"metadata": metadata, "spec": spec}));
            pods.len() - 1
        });
    }

    pub fn delete(&self, name: &str) {
        let mut state = self.state.lock().unwrap();
        state.revision += 1;
        let at = state.pods.iter().position(|pod| pod["metadata"]["name"] == name).unwrap();
        let mut gone = state.pods.remove(at);
        gone["metadata"]["resourceVersion"] = json!(state.revision.to_string());
        state.tell("DELETED", gone);
    }

    /// Changes the pod that `change` points at.
    fn change(&self, kind: &str, change: impl FnOnce(&mut Vec<Value>) -> usize) {
        let mut state = self.state.lock().unwrap();
        state.revision += 1;
        let version = json!(state.revision.to_string());
        let at = change(&mut state.pods);
        state.pods[at]["metadata"]["resourceVersion"] = version;
        let pod = state.pods[at].clone();
        state.tell(kind, pod);
    }

    async fn answer(&self, request: Request<Body>) -> Response<StreamBody<Chunks>> {
        let (head, body) = request.into_parts();
        let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default().to_owned());
        let sent = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let sent: Value = serde_json::from_slice(&sent).unwrap_or_default();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (&head.method, &parts[..]) {
            (&Method::GET, _) if query.contains("watch=") => self.watch(&path, &query),
            (&Method::GET, _) => whole(self.list(&path)),
            (&Method::POST, [.., "pods", name, "binding"]) => {
                let node = sent["target"]["name"].as_str().unwrap().to_owned();
                self.log.write(format!("api binds {name} to {node}"));
                self.change("MODIFIED", |pods| {
                    let at = pods.iter().position(|pod| pod["metadata"]["name"] == *name).unwrap();
                    pods[at]["spec"]["nodeName"] = json!(node);
                    at
                });
                whole(json!({"kind": "Status", "apiVersion": "v1", "status": "Success", "code": 201}))
            }
            (&Method::POST, [.., "events"]) => {
                let text = |at: &str| sent.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
                let (pod, why, words) = (text("/involvedObject/name"), text("/reason"), text("/message"));
                self.log.write(format!("event {pod} {why} {words}"));
                whole(sent)
            }
            // Conditions of pods: no test looks at them here.
            _ => whole(sent),
        }
    }

    fn list(&self, path: &str) -> Value {
        let state = self.state.lock().unwrap();
        let items = match path {
            "/api/v1/pods" => state.pods.clone(),
            "/api/v1/nodes" => state.nodes.clone(),
            _ => vec![],
        };
        json!({"metadata": {"resourceVersion": state.revision.to_string()}, "items": items})
    }

    fn watch(&self, path: &str, query: &str) -> Response<StreamBody<Chunks>> {
        if path != "/api/v1/pods" {
            return Response::new(StreamBody::new(Box::pin(futures::stream::pending())));
        }
        let (send, receive) = mpsc::unbounded_channel();
        let since = query.split('&').find_map(|part| part.strip_prefix("resourceVersion=")?.parse().ok()).unwrap_or(0);
        let mut state = self.state.lock().unwrap();
        state.events.iter().filter(|(at, _)| *at > since).for_each(|(_, event)| drop(send.send(event.clone())));
        state.watchers.push(send);
        let lines = futures::stream::unfold(receive, |mut events| async {
            events.recv().await.map(|event: Value| (Ok(Frame::data(format!("{event}\n").into())), events))
        });
        Response::new(StreamBody::new(lines.boxed()))
    }
}

impl State {
    fn tell(&mut self, kind: &str, pod: Value) {
        let event = json!({"type": kind, "object": pod});
        self.events.push((self.revision, event.clone()));
        self.watchers.retain(|watcher| watcher.send(event.clone()).is_ok());
    }
}

fn whole(value: Value) -> Response<StreamBody<Chunks>> {
    let frame = Ok(Frame::data(value.to_string().into()));
    Response::new(StreamBody::new(Box::pin(futures::stream::iter([frame]))))
}
