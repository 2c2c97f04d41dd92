//! Watch: what is there, if asked for, then every change, as lines of JSON.

use super::selection::Selection;
use super::{Call, read};
use crate::cache::{Caches, Change, Cursor, Entry, Lapsed};
use crate::negotiate::Shape;
use crate::registry::{is_view, options};
use crate::server::Body;
use crate::{respond, shape};
use api::{Kind, Status};
use bytes::Bytes;
use futures::stream;
use http::Response;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A watch without a timeout of its own ends after 30 to 60 minutes, spread so that not all clients come back at once.
const MIN_SECONDS: u64 = 1800;
/// Between bookmarks, as upstream.
const BOOKMARK: Duration = Duration::from_secs(60);
/// Frames of many small objects are joined up to this size.
const FRAME: usize = 64 << 10;

pub(super) async fn watch(call: &Call<'_>) -> Result<Response<Body>, Status> {
    let options = options::list(&call.info.query, true)?;
    let selection = Selection::parse(&call.kind, call.info)?;
    let registry = &call.ctx.registry;
    let cache = registry.cache(&call.kind).await?;
    let seconds = options.timeout_seconds.unwrap_or_else(|| MIN_SECONDS + rand::random::<u64>() % MIN_SECONDS);
    let below = read::below(call);
    let initial = options.initial_events.unwrap_or(matches!(options.resource_version, None | Some(0)));
    let mut begin = Vec::new();
    let cursor = match (initial, options.resource_version) {
        (true, version) => {
            match version {
                None => registry.caches().fresh().await?,
                Some(version) => registry.caches().at_least(version).await?,
            };
            let (entries, cursor) = cache.snapshot(&below);
            begin = entries;
            Ok(cursor)
        }
        (false, Some(version)) if version > 0 => cache.after(version),
        (false, _) => {
            let newest = registry.caches().fresh().await?;
            cache.after(newest)
        }
    };
    let cursor = match cursor {
        Ok(cursor) => cursor,
        Err(Lapsed { oldest, .. }) => {
            let asked = options.resource_version.unwrap_or(0);
            let status = Status::expired(format!("too old resource version: {asked} ({oldest})"));
            return Ok(respond::stream(stream::iter([error_frame(&status)])));
        }
    };
    let watching = Watching {
        kind: call.kind.clone(),
        shape: call.accept.shape.clone(),
        selection,
        below,
        caches: registry.caches().clone(),
        cursor,
        begin: begin.into(),
        end_of_begin: (options.initial_events == Some(true) && options.bookmarks).then(|| registry.caches().applied()),
        bookmarks: options.bookmarks,
        next_bookmark: Instant::now() + BOOKMARK,
        deadline: Instant::now() + Duration::from_secs(seconds),
        columns: true,
        over: false,
        stop: call.ctx.stop.clone(),
    };
    Ok(respond::stream(stream::unfold(watching, |mut w| async move { w.next().await.map(|frame| (frame, w)) })))
}

struct Watching {
    kind: Arc<Kind>,
    shape: Shape,
    selection: Selection,
    /// The keys that are watched: `NAMESPACE/`, or all.
    below: String,
    caches: Arc<Caches>,
    cursor: Cursor,
    /// What was there at the start and is not sent yet.
    begin: VecDeque<Arc<Entry>>,
    /// The revision that the initial events are complete at, until the bookmark that says so is sent.
    end_of_begin: Option<u64>,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    /// Whether the next Table names its columns.
    columns: bool,
    over: bool,
    stop: tokio_util::sync::CancellationToken,
}

impl Watching {
    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        let frame = self.initial();
        if !frame.is_empty() {
            return Some(frame.into());
        }
        loop {
            let applied = self.caches.applied();
            let changes = match self.cursor.ready() {
                Ok(changes) => changes,
                Err(Lapsed { retired: true, .. }) => return None,
                Err(Lapsed { oldest, .. }) => {
                    self.over = true;
                    let message = format!("too old resource version: the watch fell behind ({oldest})");
                    return Some(error_frame(&Status::expired(message)));
                }
            };
            let frame = self.events(&changes);
            if !frame.is_empty() {
                return Some(frame);
            }
            if !changes.is_empty() {
                continue;
            }
            let now = Instant::now();
            if self.bookmarks && now >= self.next_bookmark {
                self.next_bookmark = now + BOOKMARK;
                return Some(self.bookmark(applied, false));
            }
            let wake = if self.bookmarks { self.next_bookmark.min(self.deadline) } else { self.deadline };
            tokio::select! {
                () = self.cursor.changed() => {}
                () = tokio::time::sleep_until(wake) => {}
                () = self.stop.cancelled() => return None,
            }
            if Instant::now() >= self.deadline {
                return None;
            }
        }
    }

    /// The next part of what was there at the start; empty when all is sent.
    fn initial(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(entry) = self.begin.pop_front() {
            if self.selection.takes(&self.kind, &entry) {
                self.event("ADDED", &entry.value, entry.revision, &mut out);
            }
            if out.len() >= FRAME {
                return out;
            }
        }
        if let Some(revision) = self.end_of_begin.take() {
            out.extend_from_slice(&self.bookmark(revision, true));
        }
        out
    }

    fn events(&mut self, changes: &[Arc<Change>]) -> Bytes {
        if let [one] = changes
            && let Some(shared) = self.shared(one)
        {
            return shared;
        }
        let mut out = Vec::new();
        for change in changes {
            match self.shared(change) {
                Some(frame) => out.extend_from_slice(&frame),
                None => self.selected(change, &mut out),
            }
        }
        out.into()
    }

    /// The event that all plain watchers without a selector share.
    fn shared(&self, change: &Change) -> Option<Bytes> {
        if self.shape != Shape::Whole || is_view(&self.kind) || !self.selection.is_empty() || !self.concerns(change) {
            return None;
        }
        let frame = change.frame.get_or_init(|| {
            let (name, entry) = match (&change.current, &change.previous) {
                (Some(now), None) => ("ADDED", now),
                (Some(now), Some(_)) => ("MODIFIED", now),
                (None, Some(was)) => ("DELETED", was),
                (None, None) => return Bytes::new(),
            };
            let mut out = Vec::with_capacity(entry.value.len() + 160);
            // A whole object cannot fail to be shown.
            let _ = write_event(&self.kind, &Shape::Whole, name, &entry.value, change.revision, true, &mut out);
            out.into()
        });
        Some(frame.clone())
    }

    fn concerns(&self, change: &Change) -> bool {
        let name = change.current.as_ref().or(change.previous.as_ref()).map(|e| &e.name);
        name.is_some_and(|n| n.starts_with(self.below.as_bytes()))
    }

    /// A change as this watcher's selection sees it: an object may come in or leave by an update.
    fn selected(&mut self, change: &Change, out: &mut Vec<u8>) {
        if !self.concerns(change) {
            return;
        }
        let was = change.previous.as_ref().filter(|e| self.selection.takes(&self.kind, e));
        let is = change.current.as_ref().filter(|e| self.selection.takes(&self.kind, e));
        match (was, is) {
            (None, Some(now)) => self.event("ADDED", &now.value, change.revision, out),
            (Some(_), Some(now)) => self.event("MODIFIED", &now.value, change.revision, out),
            (Some(was), None) => self.event("DELETED", &was.value, change.revision, out),
            (None, None) => {}
        }
    }

    fn event(&mut self, name: &str, value: &[u8], revision: u64, out: &mut Vec<u8>) {
        let written = write_event(&self.kind, &self.shape, name, value, revision, self.columns, out);
        self.columns = false;
        if let Err(status) = written {
            self.over = true;
            out.extend_from_slice(&error_frame(&status));
        }
    }

    fn bookmark(&self, revision: u64, end_of_initial: bool) -> Bytes {
        let (kind, version) = match &self.shape {
            Shape::Whole => (&*self.kind.names.kind, self.kind.api_version()),
            Shape::Partial { version, .. } => ("PartialObjectMetadata", format!("meta.k8s.io/{version}")),
            Shape::Table { version, .. } => ("Table", format!("meta.k8s.io/{version}")),
        };
        let note = if end_of_initial { ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}" } else { "" };
        let rest = match &self.shape {
            Shape::Table { .. } => ",\"columnDefinitions\":null,\"rows\":[]",
            Shape::Whole | Shape::Partial { .. } => "",
        };
        format!(
            "{{\"type\":\"BOOKMARK\",\"object\":{{\"kind\":{kind:?},\"apiVersion\":{version:?},\
             \"metadata\":{{\"resourceVersion\":\"{revision}\"{note}}}{rest}}}}}\n"
        )
        .into()
    }
}

fn write_event(
    kind: &Kind,
    shape: &Shape,
    name: &str,
    value: &[u8],
    revision: u64,
    columns: bool,
    out: &mut Vec<u8>,
) -> Result<(), Status> {
    let start = out.len();
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    // Watchers ask for the form of a list; each event is one object of it.
    let one = match shape {
        Shape::Partial { version, .. } => Shape::Partial { version: version.clone(), list: false },
        Shape::Whole | Shape::Table { .. } => shape.clone(),
    };
    if let Err(status) = shape::object(kind, &one, value, revision, columns, out) {
        out.truncate(start);
        return Err(status);
    }
    out.extend_from_slice(b"}\n");
    Ok(())
}

fn error_frame(status: &Status) -> Bytes {
    let mut out = b"{\"type\":\"ERROR\",\"object\":".to_vec();
    api::codec::json::encode_into(&status.to_value(), &mut out);
    out.extend_from_slice(b"}\n");
    out.into()
}
