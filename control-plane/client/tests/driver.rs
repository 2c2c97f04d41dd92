//! The driver and its fence against a small API server in memory, whose watches the test can hold back.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use client::view::Moment;
use client::{Controller, Decision, Driver, Informers, Key, Plan, View, Watches};
use futures::StreamExt;
use http::{Method, Request, Response};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How many Secrets each ConfigMap is to have.
const TWINS: usize = 3;

/// Keeps objects by path and a log of every write; a watch shows the log as far as its kind is let through.
#[derive(Clone)]
struct Server {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    log: Vec<(String, Value)>,
    held: BTreeMap<String, bool>,
}

impl Server {
    fn new() -> Server {
        Server { state: Arc::default(), changed: watch::Sender::new(0) }
    }

    fn client(&self) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        kube::Client::new(service, "default")
    }

    /// Writes an object as if by somebody else.
    fn put(&self, plural: &str, mut object: Value) -> Value {
        let mut state = self.state.lock().unwrap();
        let revision = state.log.len() as u64 + 1;
        object["metadata"]["resourceVersion"] = json!(revision.to_string());
        object["metadata"]["uid"] = json!(format!("{plural}/{}", object["metadata"]["name"]));
        state.log.push((plural.to_owned(), object.clone()));
        drop(state);
        self.changed.send_replace(revision);
        object
    }

    fn hold(&self, plural: &str, held: bool) {
        self.state.lock().unwrap().held.insert(plural.to_owned(), held);
        self.changed.send_modify(|_| {});
    }

    fn count(&self, plural: &str) -> usize {
        self.state.lock().unwrap().log.iter().filter(|(kind, _)| kind == plural).count()
    }

    async fn answer(&self, request: Request<Body>) -> Response<Stream> {
        let path = request.uri().path().to_owned();
        let plural = if path.contains("secrets") { "secrets" } else { "configmaps" };
        let watching = request.uri().query().unwrap_or_default().contains("watch=true");
        if path.contains("events") {
            return whole(json!({"kind": "Event"}));
        }
        if request.method() == Method::PUT {
            let body = request.into_body().collect_bytes().await.unwrap();
            return whole(self.put(plural, serde_json::from_slice(&body).unwrap()));
        }
        if request.method() == Method::POST {
            let body = request.into_body().collect_bytes().await.unwrap();
            let object: Value = serde_json::from_slice(&body).unwrap();
            match object["metadata"]["generateName"].as_str() {
                Some("stuck") => std::future::pending().await,
                Some("refused") => return refused(),
                _ => return whole(self.put(plural, object)),
            }
        }
        if watching {
            return Response::new(self.events(plural));
        }
        whole(json!({"metadata": {"resourceVersion": "0"}, "items": []}))
    }

    fn events(&self, plural: &'static str) -> Stream {
        let (server, changed) = (self.clone(), self.changed.subscribe());
        let start = (server, changed, 0usize);
        let events = futures::stream::unfold(start, move |(server, mut changed, mut at)| async move {
            loop {
                let next = {
                    let state = server.state.lock().unwrap();
                    let held = state.held.get(plural).copied().unwrap_or(false);
                    let found = (at..state.log.len()).find(|n| state.log[*n].0 == plural).filter(|_| !held);
                    found.map(|n| (n, state.log[n].1.clone()))
                };
                if let Some((n, object)) = next {
                    at = n + 1;
                    let line = format!("{}\n", json!({"type": "ADDED", "object": object}));
                    return Some((Ok(line.into_bytes()), (server, changed, at)));
                }
                changed.changed().await.ok()?;
            }
        });
        Stream(Box::pin(events))
    }
}

fn refused() -> Response<Stream> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403, "message": "no room"});
    let mut response = whole(status);
    *response.status_mut() = http::StatusCode::FORBIDDEN;
    response
}

fn whole(value: Value) -> Response<Stream> {
    Response::new(Stream(Box::pin(futures::stream::iter([Ok(value.to_string().into_bytes())]))))
}

struct Stream(std::pin::Pin<Box<dyn futures::Stream<Item = Result<Vec<u8>, Infallible>> + Send>>);

impl http_body::Body for Stream {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Infallible>>> {
        self.0.poll_next_unpin(cx).map(|chunk| chunk.map(|chunk| chunk.map(|c| http_body::Frame::data(c.into()))))
    }
}

/// Every ConfigMap has its Secrets; one named "bad" makes the plan panic.
struct Twins;

impl Controller for Twins {
    fn name(&self) -> &'static str {
        "twins"
    }

    fn watches(&self, watches: &mut Watches<'_>) {
        watches.own::<ConfigMap>();
        watches.seen::<Secret>();
    }

    fn plan(&self, view: &View, key: &Key, moment: Moment) -> Decision {
        assert!(key.name != "bad", "this key is bad");
        let mut plan = Plan::done();
        let secrets = view.of::<Secret>().list_in("a");
        let mine = secrets.iter().filter(|s| s.metadata.generate_name.as_deref() == Some(&key.name)).count();
        for n in mine..TWINS {
            plan.create(&Secret {
                metadata: ObjectMeta {
                    namespace: Some("a".into()),
                    name: Some(format!("{}-{:x}-{n}", key.name, moment.seed)),
                    generate_name: Some(key.name.clone()),
                    ..ObjectMeta::default()
                },
                ..Secret::default()
            });
        }
        let told = ConfigMap {
            metadata: ObjectMeta { name: Some(key.name.clone()), namespace: Some("a".into()), ..ObjectMeta::default() },
            data: Some(BTreeMap::from([("why".into(), client::plan::REFUSAL.into())])),
            ..ConfigMap::default()
        };
        if view.of::<ConfigMap>().get_key(key).is_some_and(|map| map.data.is_none()) {
            plan.status_if_refused(&told);
        }
        plan.into()
    }
}

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "a"}})
}

async fn until(server: &Server, done: impl Fn() -> bool) {
    let mut changed = server.changed.subscribe();
    while !done() {
        tokio::select! {
            changed = changed.changed() => changed.unwrap(),
            // What is waited for may change without a write.
            () = tokio::task::yield_now() => {}
        }
    }
}

#[tokio::test]
async fn a_lagging_watch_never_makes_a_controller_create_twice() {
    let server = Server::new();
    let stop = CancellationToken::new();
    let informers = Informers::new(server.client(), stop.clone());
    let driver = Driver::new(Arc::new(Twins), server.client(), &stop);
    let counts = driver.counts();
    server.hold("secrets", true);
    let running = tokio::spawn({
        let (informers, stop) = (informers.clone(), stop.clone());
        async move { driver.run(&informers, stop).await }
    });
    server.put("configmaps", map("x"));
    until(&server, || server.count("secrets") == TWINS).await;

    // Its writes are not seen yet; both a change of its own and other keys come in between.
    server.put("configmaps", map("x"));
    server.put("configmaps", map("bad"));
    server.put("configmaps", map("y"));
    until(&server, || server.count("secrets") == 2 * TWINS).await;
    until(&server, || counts.panics.load(Relaxed) >= 1).await;
    let before = counts.plans.load(Relaxed);

    server.hold("secrets", false);
    until(&server, || informers.of::<Secret>().len() == 2 * TWINS).await;
    until(&server, || counts.plans.load(Relaxed) > before).await;
    server.put("configmaps", map("z"));
    until(&server, || server.count("secrets") == 3 * TWINS).await;
    let maps = server.state.lock().unwrap().log.iter().filter(|(_, o)| o["metadata"]["generateName"] == "x").count();
    assert_eq!(maps, TWINS, "x was planned on a view without its own writes");
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_key_that_fails_panics_or_hangs_delays_no_other() {
    let server = Server::new();
    let stop = CancellationToken::new();
    let informers = Informers::new(server.client(), stop.clone());
    let driver = Driver::new(Arc::new(Twins), server.client(), &stop);
    let counts = driver.counts();
    let running = tokio::spawn({
        let (informers, stop) = (informers.clone(), stop.clone());
        async move { driver.run(&informers, stop).await }
    });
    ["refused", "stuck", "bad"].iter().for_each(|name| drop(server.put("configmaps", map(name))));
    until(&server, || counts.failures.load(Relaxed) >= 3 && counts.panics.load(Relaxed) >= 3).await;
    // Each waits longer by now before it is tried again; what is new does not.
    for n in 1..=20 {
        server.put("configmaps", map(&format!("good{n}")));
        let (began, failed) = (std::time::Instant::now(), counts.failures.load(Relaxed));
        until(&server, || server.count("secrets") == n * TWINS).await;
        assert!(began.elapsed() < std::time::Duration::from_secs(5), "{n} waited while {failed} failed");
    }
    // What the server said stands where the plan wanted it told.
    let log = &server.state.lock().unwrap().log;
    let told: Vec<&Value> = log.iter().map(|(_, object)| &object["data"]["why"]).filter(|why| !why.is_null()).collect();
    assert_eq!(told, ["no room"]);
    stop.cancel();
    running.abort();
}
