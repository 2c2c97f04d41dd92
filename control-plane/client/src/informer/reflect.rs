//! Keeps an informer current: list, watch from there, list again when the watch is too old.
//!
//! An object that does not decode is reported and left out; it never ends the watch of the others.

use std::time::{Duration, Instant};

use futures::{AsyncBufRead, AsyncBufReadExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use rand::Rng;
use serde::Deserialize;

use super::Informer;
use crate::backoff::Backoff;
use crate::object::{Key, Object};

/// Objects per page of a list: what client-go asks for.
const PAGE: u32 = 500;
/// Twice what a store accepts as one request (1.5 MiB) is never reached by one event; a frame beyond this is garbage.
const EVENT_BYTES: usize = 16 << 20;
/// The server ends a watch after this long; spread, so that the watches of a process do not end together.
const WATCH_SECONDS: std::ops::Range<u64> = 300..600;
/// How much later than its announced end a silent watch is taken for dead.
const SILENCE: Duration = Duration::from_secs(30);
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(15);
/// The same where the server is not reached at all: trying costs it nothing, and that it is back is to be noticed soon.
const UNREACHED_MOST: Duration = Duration::from_secs(4);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Whole,
    Metadata,
}

pub(super) struct Reflector<K> {
    pub client: kube::Client,
    pub path: String,
    pub shape: Shape,
    pub fields: String,
    pub labels: String,
    pub informer: Informer<K>,
}

#[derive(Deserialize)]
struct Page<K> {
    #[serde(default)]
    metadata: ListMeta,
    /// Null in lists of metadata that hold none.
    #[serde(default = "Option::default")]
    items: Option<Vec<K>>,
}

#[derive(Deserialize)]
struct Event<K> {
    #[serde(rename = "type")]
    kind: String,
    object: K,
}

#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the revision to watch from is gone")]
    Expired,
    #[error("the request failed: {0}")]
    Request(#[from] kube::Error),
    #[error("the request could not be built: {0}")]
    Build(#[from] http::Error),
    #[error("the watch broke: {0}")]
    Read(#[from] std::io::Error),
    #[error("nothing arrived before the deadline")]
    Silent,
    #[error("the server ended the watch: {0}")]
    Server(String),
    #[error("the answer is no list or event: {0}")]
    Decode(#[from] serde_json::Error),
}

impl Ended {
    /// How long to wait before the next try.
    fn pause(&self, backoff: &mut Backoff) -> Duration {
        let pause = backoff.next();
        match self {
            Ended::Request(kube::Error::Service(_) | kube::Error::HyperError(_)) | Ended::Read(_) => {
                pause.min(UNREACHED_MOST.mul_f64(rand::rng().random_range(0.8..1.2)))
            }
            _ => pause,
        }
    }
}

impl<K: Object> Reflector<K> {
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
        loop {
            let began = Instant::now();
            let ended = match self.list().await {
                Ok(revision) => self.watch_from(revision).await,
                Err(error) => error,
            };
            if began.elapsed() > RETRY_MOST {
                backoff.reset();
            }
            match ended {
                Ended::Expired => tracing::debug!(path = self.path, "listing again: {ended}"),
                ref other => tracing::info!(path = self.path, "listing again: {other}"),
            }
            tokio::time::sleep(ended.pause(&mut backoff)).await;
        }
    }

    /// Reads every page and replaces the store's content; answers the list's revision.
    async fn list(&self) -> Result<String, Ended> {
        let mut items = Vec::new();
        let mut more = String::new();
        loop {
            let query = [("limit", PAGE.to_string()), ("continue", more)];
            let text = self.client.request_text(self.request(&query)?).await.map_err(expired)?;
            let page: Page<K> = decode_page(&text, &self.path)?;
            items.extend(page.items.unwrap_or_default());
            more = page.metadata.continue_.unwrap_or_default();
            if more.is_empty() {
                let revision = page.metadata.resource_version.unwrap_or_default();
                self.informer.replace(items, number(&revision));
                return Ok(revision);
            }
        }
    }

    /// Watches, and watches again from where a watch ended, until only a new list helps.
    async fn watch_from(&self, mut revision: String) -> Ended {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
        loop {
            let began = Instant::now();
            let ended = self.watch(&mut revision).await;
            if began.elapsed() > RETRY_MOST {
                backoff.reset();
            }
            let pause = match ended {
                Ok(()) => backoff.next(),
                Err(ended @ (Ended::Expired | Ended::Server(_))) => return ended,
                Err(error) => {
                    tracing::info!(path = self.path, revision, "watching again: {error}");
                    error.pause(&mut backoff)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn watch(&self, revision: &mut String) -> Result<(), Ended> {
        let seconds = rand::rng().random_range(WATCH_SECONDS);
        let query = [
            ("watch", "true".to_owned()),
            ("allowWatchBookmarks", "true".to_owned()),
            ("timeoutSeconds", seconds.to_string()),
            ("resourceVersion", revision.clone()),
        ];
        let stream = self.client.request_stream(self.request(&query)?).await.map_err(expired)?;
        let mut stream = std::pin::pin!(stream);
        let mut line = Vec::new();
        loop {
            let read = read_line(&mut stream, &mut line);
            let silence = Duration::from_secs(seconds) + SILENCE;
            if !tokio::time::timeout(silence, read).await.map_err(|_| Ended::Silent)?? {
                return Ok(());
            }
            if !line.trim_ascii().is_empty() {
                self.take(&line, revision)?;
            }
        }
    }

    /// Applies one event.
    fn take(&self, line: &[u8], revision: &mut String) -> Result<(), Ended> {
        let head: Event<Head> = serde_json::from_slice(line)?;
        let seen = head.object.metadata.resource_version.clone().unwrap_or_default();
        let reached = number(&seen);
        match head.kind.as_str() {
            "ADDED" | "MODIFIED" => match serde_json::from_slice::<Event<K>>(line) {
                Ok(event) => self.informer.apply(event.object, reached),
                Err(error) => tracing::warn!(path = self.path, key = %head.object.key(), "left out: {error}"),
            },
            "DELETED" => self.informer.remove(head.object.key(), reached),
            "BOOKMARK" => self.informer.reach(reached),
            "ERROR" => {
                let status = serde_json::from_slice::<Event<kube::core::Status>>(line)?.object;
                return Err(if status.code == 410 { Ended::Expired } else { Ended::Server(status.message) });
            }
            other => tracing::debug!(path = self.path, "an event of unknown type {other:?}"),
        }
        if reached > 0 {
            *revision = seen;
        }
        Ok(())
    }

    fn request(&self, query: &[(&str, String)]) -> Result<http::Request<Vec<u8>>, http::Error> {
        let selectors = [("fieldSelector", self.fields.clone()), ("labelSelector", self.labels.clone())];
        let pairs = query.iter().chain(&selectors).filter(|(_, value)| !value.is_empty());
        let query = crate::object::query(pairs.map(|(name, value)| (*name, value.as_str())));
        let watching = query.contains("watch=true");
        let accept = match (self.shape, watching) {
            (Shape::Whole, _) => "application/json",
            (Shape::Metadata, true) => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            (Shape::Metadata, false) => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        };
        http::Request::get(format!("{}?{query}", self.path)).header(http::header::ACCEPT, accept).body(Vec::new())
    }
}

/// The part of an event that is read before its object, whatever that is.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    metadata: HeadMeta,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct HeadMeta {
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
}

impl Head {
    fn key(&self) -> Key {
        Key::new(self.metadata.namespace.clone().unwrap_or_default(), self.metadata.name.clone().unwrap_or_default())
    }
}

fn decode_page<K: Object>(text: &str, path: &str) -> Result<Page<K>, serde_json::Error> {
    if let Ok(page) = serde_json::from_str(text) {
        return Ok(page);
    }
    let raw: Page<serde_json::Value> = serde_json::from_str(text)?;
    let decode =
        |item| serde_json::from_value(item).map_err(|error| tracing::warn!(path, "left out of a list: {error}"));
    let items = raw.items.map(|items| items.into_iter().filter_map(|item| decode(item).ok()).collect());
    Ok(Page { metadata: raw.metadata, items })
}

/// Resource versions are numbers here as they are in etcd; one that is not counts as the beginning of time.
fn number(revision: &str) -> u64 {
    revision.parse().unwrap_or(0)
}

fn expired(error: kube::Error) -> Ended {
    match error {
        kube::Error::Api(status) if status.code == 410 => Ended::Expired,
        other => Ended::Request(other),
    }
}

/// Reads one line into `line`; false at the end of the stream.
async fn read_line(stream: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    loop {
        let chunk = stream.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(false);
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(chunk.len(), |at| at + 1);
        line.extend_from_slice(&chunk[..taken]);
        stream.consume_unpin(taken);
        if end.is_some() {
            return Ok(true);
        }
        if line.len() > EVENT_BYTES {
            return Err(std::io::Error::other("an event is too long"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_without_items_is_empty() {
        for text in [r#"{"metadata":{},"items":null}"#, r#"{"metadata":{},"items":[]}"#, r#"{"metadata":{}}"#] {
            let page: Page<k8s_openapi::api::core::v1::Pod> = decode_page(text, "/").unwrap();
            assert!(page.items.unwrap_or_default().is_empty(), "{text}");
        }
    }

    #[test]
    fn a_server_that_is_not_reached_is_tried_more_often_than_one_that_refuses() {
        let longest = |ended: &Ended| {
            let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
            (0..40).map(|_| ended.pause(&mut backoff)).max().unwrap()
        };
        let unreached = Ended::Request(kube::Error::Service("no route to host".into()));
        assert!(longest(&unreached) <= UNREACHED_MOST.mul_f64(1.2));
        assert!(longest(&Ended::Silent) >= RETRY_MOST.mul_f64(0.8));
    }
}
