//! Informers against a server in the process that plays a script.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use client::Informers;
use futures::StreamExt;
use http::{Request, Response};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Answers lists from a queue, and every watch with what the test sends down a channel.
#[derive(Clone, Default)]
struct Script {
    lists: Arc<Mutex<VecDeque<Value>>>,
    watches: Arc<Mutex<VecDeque<mpsc::UnboundedReceiver<Value>>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn client(&self) -> kube::Client {
        let script = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let answer = script.answer(&request);
            async move { Ok::<_, Infallible>(answer) }
        });
        kube::Client::new(service, "default")
    }

    fn answer(&self, request: &Request<Body>) -> Response<StreamOf> {
        let uri = request.uri().to_string();
        self.seen.lock().unwrap().push(uri.clone());
        if uri.contains("watch=true") {
            let Some(events) = self.watches.lock().unwrap().pop_front() else {
                return Response::new(StreamOf(Box::pin(futures::stream::pending())));
            };
            let lines = futures::stream::unfold(events, |mut events| async {
                events.recv().await.map(|event| (Ok::<_, Infallible>(format!("{event}\n").into_bytes()), events))
            });
            return Response::new(StreamOf(Box::pin(lines)));
        }
        let list = self.lists.lock().unwrap().pop_front().unwrap_or(json!({"code": 500, "status": "Failure"}));
        let whole = futures::stream::iter([Ok(list.to_string().into_bytes())]);
        Response::new(StreamOf(Box::pin(whole)))
    }

    fn watch(&self) -> mpsc::UnboundedSender<Value> {
        let (send, receive) = mpsc::unbounded_channel();
        self.watches.lock().unwrap().push_back(receive);
        send
    }
}

type Chunks = std::pin::Pin<Box<dyn futures::Stream<Item = Result<Vec<u8>, Infallible>> + Send>>;
struct StreamOf(Chunks);

impl http_body::Body for StreamOf {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Infallible>>> {
        self.0.poll_next_unpin(cx).map(|chunk| chunk.map(|chunk| chunk.map(|c| http_body::Frame::data(c.into()))))
    }
}

fn map(name: &str, version: u64) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": name, "namespace": "a", "uid": name, "resourceVersion": version.to_string(),
        "managedFields": [{"manager": "m", "operation": "Update"}],
    }})
}

fn page(version: u64, more: &str, items: Vec<Value>) -> Value {
    json!({"kind": "ConfigMapList", "apiVersion": "v1",
        "metadata": {"resourceVersion": version.to_string(), "continue": more}, "items": items})
}

async fn reached(informer: &client::Informer<ConfigMap>, revision: u64) {
    use client::informer::Tracked;
    informer.progress().wait_for(|p| p.revision >= revision).await.unwrap();
}

#[tokio::test]
async fn pages_events_bookmarks_and_a_new_list_after_expiry() {
    let script = Script::default();
    script.lists.lock().unwrap().extend([
        page(10, "next", vec![map("one", 3)]),
        page(10, "", vec![map("two", 4)]),
        page(40, "", vec![map("two", 4), map("four", 39)]),
    ]);
    let (first, second) = (script.watch(), script.watch());
    let informers = Informers::new(script.client(), CancellationToken::new());
    let maps = informers.of::<ConfigMap>();
    maps.synced().await;
    assert_eq!(maps.revision(), 10);
    assert_eq!(maps.list().len(), 2);
    assert!(maps.get("a", "one").unwrap().metadata.managed_fields.is_none());

    let mut changes = maps.changes();
    assert_eq!(changes.next().await.unwrap().key.name, "one");
    assert_eq!(changes.next().await.unwrap().key.name, "two");

    first.send(json!({"type": "MODIFIED", "object": map("one", 11)})).unwrap();
    first
        .send(json!({"type": "ADDED", "object": {"metadata": {"name": "odd", "resourceVersion": "12"}, "data": 5}}))
        .unwrap();
    first.send(json!({"type": "DELETED", "object": map("one", 13)})).unwrap();
    first
        .send(json!({"type": "BOOKMARK", "object": {"kind": "ConfigMap", "metadata": {"resourceVersion": "20"}}}))
        .unwrap();
    reached(&maps, 20).await;
    assert!(maps.get("a", "one").is_none());
    let change = changes.next().await.unwrap();
    assert_eq!(change.before.unwrap().metadata.resource_version.as_deref(), Some("3"));
    assert!(change.after.is_none(), "two events about one object are one change");

    drop(first);
    second.send(json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}})).unwrap();
    reached(&maps, 40).await;
    assert_eq!(changes.next().await.unwrap().key.name, "four");
    assert_eq!(maps.list_in("a").len(), 2);
    assert!(maps.list_in("b").is_empty());
    let seen = script.seen.lock().unwrap().clone();
    let watches: Vec<_> = seen.iter().filter(|uri| uri.contains("watch=true")).collect();
    assert!(watches[0].contains("resourceVersion=10"), "{watches:?}");
    assert!(watches[1].contains("resourceVersion=20"), "a watch goes on where the last one ended: {watches:?}");
}

#[tokio::test]
async fn one_store_per_kind_and_an_end() {
    let script = Script::default();
    script.lists.lock().unwrap().extend([page(1, "", vec![])]);
    let stop = CancellationToken::new();
    let informers = Informers::new(script.client(), stop.clone());
    let (one, same) = (informers.of::<ConfigMap>(), informers.of::<ConfigMap>());
    one.synced().await;
    same.synced().await;
    let mut changes = same.changes();
    stop.cancel();
    assert!(changes.next().await.is_none());
    assert_eq!(script.seen.lock().unwrap().iter().filter(|uri| uri.contains("limit=")).count(), 1);
}
