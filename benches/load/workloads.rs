//! What clients do to a server. Each workload cleans up nothing: rounds use names of their own.

use crate::Settings;
use crate::connection::{Body, Connection, Door};
use crate::measure::{Processes, Sample};
use http::Method;
use http_body_util::BodyExt;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How much a ConfigMap of the load holds, so that the whole object has about 2 KB.
const PAYLOAD: usize = 1_800;

/// Streams of watchers on one connection: what upstream's server allows is 100.
const STREAMS: usize = 50;

/// A watcher that has not seen a write by then has lost it.
const LOST: Duration = Duration::from_secs(30);

pub(crate) const ALL: &[&str] = &[
    "create",
    "get",
    "update",
    "patch",
    "list",
    "list-pages",
    "list-label",
    "list-field",
    "watch",
    "watch-one",
    IDLE,
    IDLE_ALONE,
];

/// Watches that see nothing, [`STREAMS`] of them on a connection, and each on one of its own.
const IDLE: &str = "watch-idle";
const IDLE_ALONE: &str = "watch-idle-alone";

const LOAD: &str = "/api/v1/namespaces/load/configmaps";
const MANY: &str = "/api/v1/namespaces/load-many/configmaps";
const WATCHED: &str = "/api/v1/namespaces/load-watched/configmaps";

fn config_map(name: &str, label: &str, seed: usize) -> Body {
    let text: String = (0..PAYLOAD).map(|i| char::from(b'a' + ((i * 7 + seed) % 26) as u8)).collect();
    Body::json(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"part": label}},
        "data": {"text": text},
    }))
}

/// The namespaces, and the objects that are listed.
pub(crate) async fn prepare(door: &Door, settings: &Settings) -> anyhow::Result<()> {
    let mut connection = door.connect().await?;
    for name in ["load", "load-many", "load-watched"] {
        let body = Body::json(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
        connection.ensure("/api/v1/namespaces", body).await?;
    }
    let count = settings.objects;
    let connections = door.connections(settings.clients).await?;
    many(connections, count, move |mut connection, i| async move {
        let label = if i % 1_000 == 0 { "rare" } else { "common" };
        connection.ensure(MANY, config_map(&format!("object-{i:06}"), label, i)).await
    })
    .await?;
    Ok(())
}

/// `count` operations by clients that each wait for their answer; the latencies, sorted.
async fn many<F>(
    connections: Vec<Connection>,
    count: usize,
    operation: impl Fn(Connection, usize) -> F + Send + Sync + 'static,
) -> anyhow::Result<Vec<Duration>>
where
    F: Future<Output = anyhow::Result<()>> + Send,
{
    let (next, operation) = (Arc::new(AtomicUsize::new(0)), Arc::new(operation));
    let clients = connections.into_iter().map(|connection| {
        let (next, operation) = (next.clone(), operation.clone());
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= count {
                    return anyhow::Ok(latencies);
                }
                let since = Instant::now();
                operation(connection.clone(), i).await?;
                latencies.push(since.elapsed());
            }
        })
    });
    let mut all = Vec::with_capacity(count);
    for client in clients.collect::<Vec<_>>() {
        all.extend(client.await??);
    }
    all.sort_unstable();
    Ok(all)
}

/// Runs a workload and measures the server meanwhile.
pub(crate) async fn run(
    name: &str,
    round: usize,
    door: &Door,
    processes: &Processes,
    settings: &Settings,
) -> anyhow::Result<Sample> {
    match name {
        "watch" => return watch(round, door, processes, settings).await,
        "watch-one" => return watch_one(round, door, processes, settings).await,
        IDLE => return watch_idle(STREAMS, door, processes, settings).await,
        IDLE_ALONE => return watch_idle(1, door, processes, settings).await,
        _ => {}
    }
    let listing = name.starts_with("list");
    // One client lists: more would measure their queue.
    let connections = door.connections(if listing { 1 } else { settings.clients }).await?;
    let count = if listing { settings.lists } else { settings.operations };
    if !listing && name != "create" && !settings.runs("create") {
        many(connections.clone(), count, move |mut connection, i| async move {
            connection.ensure(LOAD, config_map(&in_round(round, i), "load", i)).await
        })
        .await?;
    }
    let meter = Meter::start(processes);
    let kind = name.to_owned();
    let latencies =
        many(connections, count, move |connection, i| operation(kind.clone(), connection, round, i)).await?;
    Ok(meter.stop(count, latencies))
}

fn in_round(round: usize, i: usize) -> String {
    format!("round-{round}-{i:06}")
}

async fn operation(kind: String, mut connection: Connection, round: usize, i: usize) -> anyhow::Result<()> {
    let name = in_round(round, i);
    let path = format!("{LOAD}/{name}");
    let (method, path, body) = match kind.as_str() {
        "create" => (Method::POST, LOAD.to_owned(), config_map(&name, "load", i)),
        "get" => (Method::GET, path, Body::default()),
        "update" => (Method::PUT, path, config_map(&name, "load", i + 1)),
        "patch" => (Method::PATCH, path, Body::merge_patch(&json!({"data": {"more": i.to_string()}}))),
        "list" => (Method::GET, MANY.to_owned(), Body::default()),
        "list-label" => (Method::GET, format!("{MANY}?labelSelector=part%3Drare"), Body::default()),
        "list-field" => (Method::GET, format!("{MANY}?fieldSelector=metadata.name%3Dobject-000007"), Body::default()),
        "list-pages" => return pages(&mut connection).await,
        other => anyhow::bail!("no workload is called {other:?}: {ALL:?}"),
    };
    connection.ask(method, &path, body).await.map(drop)
}

/// The whole list, 500 at a time, as kubectl asks for it.
async fn pages(connection: &mut Connection) -> anyhow::Result<()> {
    #[derive(serde::Deserialize)]
    struct Page {
        metadata: Metadata,
    }
    #[derive(serde::Deserialize)]
    struct Metadata {
        #[serde(default)]
        r#continue: String,
    }
    let mut token = String::new();
    loop {
        let path = format!("{MANY}?limit=500&continue={token}");
        let page: Page = serde_json::from_slice(&connection.ask(Method::GET, &path, Body::default()).await?)?;
        if page.metadata.r#continue.is_empty() {
            return Ok(());
        }
        token = page.metadata.r#continue;
    }
}

/// Writes, one after the other, each of which every watcher sees; a latency is that of a write's last watcher.
async fn watch(round: usize, door: &Door, processes: &Processes, settings: &Settings) -> anyhow::Result<Sample> {
    let name = format!("round-{round}");
    let selector = |_| format!("fieldSelector=metadata.name%3D{name}");
    let all = settings.watchers;
    let watched = Watched { name: name.clone(), label: "watched".into(), at_first: all, at_each: all };
    let body = |i: usize| json!({"data": {"write": i.to_string()}});
    watched.run(selector, body, door, processes, settings).await
}

/// Each watcher waits for a label of its own, and each write moves the object from one of them to the next.
async fn watch_one(round: usize, door: &Door, processes: &Processes, settings: &Settings) -> anyhow::Result<Sample> {
    let label = |i: usize| format!("one-{round}-{}", i % settings.watchers);
    let selector = |i| format!("labelSelector=part%3D{}", label(i));
    let watched = Watched { name: format!("one-{round}"), label: label(0), at_first: 1, at_each: 2 };
    let body = |i: usize| json!({"metadata": {"labels": {"part": label(i + 1)}}});
    watched.run(selector, body, door, processes, settings).await
}

/// Opens watches of what nobody writes; a latency is that of an open. They stay open until all rounds are over, so that
/// no round finds memory that another one has left.
async fn watch_idle(streams: usize, door: &Door, processes: &Processes, settings: &Settings) -> anyhow::Result<Sample> {
    let meter = Meter::start(processes);
    let mut connections = door.connections(settings.watchers.div_ceil(streams)).await?;
    let (mut open, mut latencies) = (Vec::with_capacity(settings.watchers), Vec::new());
    for i in 0..settings.watchers {
        let since = Instant::now();
        let url = format!("{WATCHED}?watch=1&labelSelector=part%3Dnobodys");
        open.push(connections[i / streams].open(Method::GET, &url, Body::default()).await?.into_body());
        latencies.push(since.elapsed());
    }
    latencies.sort_unstable();
    let before = meter.before;
    let mut sample = meter.stop(settings.watchers, latencies);
    // What they hold counts, and not what making them took.
    sample.held = Some(processes.memory().0.saturating_sub(before));
    sample.open = Some(Box::new((connections, open)));
    Ok(sample)
}

/// An object that watchers see.
struct Watched {
    name: String,
    label: String,
    /// How many see it as it is at first.
    at_first: usize,
    /// How many see a write.
    at_each: usize,
}

impl Watched {
    async fn run(
        self,
        selector: impl Fn(usize) -> String,
        body: impl Fn(usize) -> serde_json::Value,
        door: &Door,
        processes: &Processes,
        settings: &Settings,
    ) -> anyhow::Result<Sample> {
        let mut writer = door.connect().await?;
        let path = format!("{WATCHED}/{}", self.name);
        writer.ensure(WATCHED, config_map(&self.name, &self.label, 0)).await?;
        let (before, _) = processes.memory();
        let (seen, mut sights) = mpsc::unbounded_channel();
        let mut watchers = Vec::with_capacity(settings.watchers);
        let mut connections = door.connections(settings.watchers.div_ceil(STREAMS)).await?;
        for i in 0..settings.watchers {
            let url = format!("{WATCHED}?watch=1&{}", selector(i));
            let stream = connections[i / STREAMS].open(Method::GET, &url, Body::default()).await?.into_body();
            watchers.push(tokio::spawn(follow(stream, seen.clone())));
        }
        last_of(&mut sights, self.at_first).await?;
        let mut meter = Meter::start(processes);
        meter.before = before;
        let mut latencies = Vec::new();
        for i in 0..settings.writes {
            let since = Instant::now();
            writer.ask(Method::PATCH, &path, Body::merge_patch(&body(i))).await?;
            latencies.push(last_of(&mut sights, self.at_each).await?.duration_since(since));
        }
        latencies.sort_unstable();
        let sample = meter.stop(settings.writes * self.at_each, latencies);
        watchers.iter().for_each(|w| w.abort());
        Ok(sample)
    }
}

/// Says when each line of a watch has come.
async fn follow(mut stream: hyper::body::Incoming, seen: mpsc::UnboundedSender<Instant>) {
    while let Some(Ok(frame)) = stream.frame().await {
        let now = Instant::now();
        let lines = frame.data_ref().map_or(0, |d| d.iter().filter(|b| **b == b'\n').count());
        for _ in 0..lines {
            let _ = seen.send(now);
        }
    }
}

async fn last_of(sights: &mut mpsc::UnboundedReceiver<Instant>, count: usize) -> anyhow::Result<Instant> {
    let mut last = Instant::now();
    for i in 0..count {
        let next = tokio::time::timeout(LOST, sights.recv()).await;
        last = next.ok().flatten().ok_or_else(|| anyhow::anyhow!("only {i} of {count} watchers saw a write"))?;
    }
    Ok(last)
}

/// The server's use from one moment to another.
struct Meter<'a> {
    processes: &'a Processes,
    since: Instant,
    cpu: Duration,
    before: u64,
}

impl Meter<'_> {
    fn start(processes: &Processes) -> Meter<'_> {
        processes.forget_peak();
        Meter { processes, before: processes.memory().0, cpu: processes.cpu(), since: Instant::now() }
    }

    fn stop(self, operations: usize, latencies: Vec<Duration>) -> Sample {
        let wall = self.since.elapsed();
        let cpu = self.processes.cpu().saturating_sub(self.cpu);
        let peak = self.processes.memory().1;
        Sample { operations, wall, cpu, latencies, before: self.before, peak, held: None, open: None }
    }
}
