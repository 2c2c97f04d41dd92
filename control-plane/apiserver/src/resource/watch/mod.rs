//! Watch: what is there, if asked for, then every change.

mod socket;

use super::selection::{self, Selection};
use super::{Call, read};
use crate::cache::{Change, Cursor, Entry, Lapsed};
use crate::negotiate::{self, Accept};
use crate::respond;
use crate::server::Body;
use crate::shape::Shown;
use api::Status;
use bytes::Bytes;
use futures::{Stream, stream};
use http::Response;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A watch without a timeout of its own ends after 30 to 60 minutes, spread so that not all clients come back at once.
const MIN_SECONDS: u64 = 1800;
/// Between bookmarks, as upstream.
const BOOKMARK: Duration = Duration::from_secs(60);
/// A watch that ends tells how far it was so long before, so that its client goes on from there.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// Frames of many small objects are joined up to this size.
const FRAME: usize = 64 << 10;

pub(super) async fn watch(call: &Call<'_>) -> Result<Response<Body>, Status> {
    let begun = Instant::now();
    let (options, selection) = selection::asked(&call.kind, call.info, true)?;
    let mut shown = call.shown();
    shown.accept = negotiate::stream(shown.accept)?;
    let registry = &call.ctx.registry;
    let cache = registry.cache(&call.kind).await?;
    let seconds = options.timeout_seconds.unwrap_or_else(|| MIN_SECONDS + rand::random::<u64>() % MIN_SECONDS);
    let place = selection.place(&call.kind, &read::below(call));
    let initial = options.initial_events.unwrap_or(matches!(options.resource_version, None | Some(0)));
    let (mut begin, mut complete) = (Vec::new(), 0);
    let cursor = match (initial, options.resource_version) {
        (true, version) => {
            // What the cache reached before its snapshot is all in it.
            complete = match version {
                None => registry.caches().newest().await?,
                Some(version) => registry.caches().at_least(version).await?,
            };
            let (entries, cursor) = cache.snapshot(Some(&place));
            complete = complete.max(cursor.after());
            begin = entries;
            Ok(cursor)
        }
        (false, Some(version)) if version > 0 => cache.after(version, Some(&place)),
        (false, _) => {
            let newest = registry.caches().newest().await?;
            cache.after(newest, Some(&place))
        }
    };
    let cursor = match cursor {
        Ok(cursor) => cursor,
        Err(Lapsed { oldest, .. }) => {
            let asked = options.resource_version.unwrap_or(0);
            let status = Status::expired(format!("too old resource version: {asked} ({oldest})"));
            let frame = shown.failure(&status);
            return answer(call, &shown.accept, stream::iter([frame]));
        }
    };
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let watching = Watching {
        selection,
        below: place.below,
        cursor,
        begin: begin.into(),
        begun,
        scope: crate::metrics::scope(call.info),
        end_of_begin: (options.initial_events == Some(true) && options.bookmarks).then_some(complete),
        bookmarks: options.bookmarks,
        next_bookmark: bookmark_after(Instant::now(), deadline),
        deadline,
        columns: true,
        over: false,
        stop: call.ctx.stop.clone(),
        _here: call.ctx.presence.enter(call.identity),
        sent: call.ctx.metrics.watched(call.info),
        shown,
    };
    let accept = watching.shown.accept.clone();
    answer(call, &accept, stream::unfold(watching, |mut w| async move { w.next().await.map(|frame| (frame, w)) }))
}

/// Sends the frames as the client wants them: over a WebSocket, or one after the other.
fn answer(
    call: &Call<'_>,
    accept: &Accept,
    frames: impl Stream<Item = Bytes> + Send + 'static,
) -> Result<Response<Body>, Status> {
    match crate::websocket::wanted(&call.parts.headers) {
        true => socket::answer(call.parts, accept.encoding, frames),
        false => Ok(respond::stream(accept, frames)),
    }
}

/// When the bookmark after this moment is due: every minute, and shortly before the end.
fn bookmark_after(now: Instant, deadline: Instant) -> Instant {
    let next = now + BOOKMARK;
    match deadline.checked_sub(LAST_BOOKMARK) {
        Some(last) if last > now && last < next => last,
        Some(_) | None => next,
    }
}

struct Watching {
    shown: Shown,
    selection: Selection,
    /// The keys that are watched: `NAMESPACE/`, or all.
    below: String,
    cursor: Cursor,
    /// What was there at the start and is not sent yet.
    begin: VecDeque<Arc<Entry>>,
    begun: Instant,
    /// What it is about, as metrics call it.
    scope: &'static str,
    /// The revision that the initial events are complete at, until the bookmark that says so is sent.
    end_of_begin: Option<u64>,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    /// Whether the next Table names its columns.
    columns: bool,
    over: bool,
    stop: tokio_util::sync::CancellationToken,
    sent: Arc<crate::metrics::Watched>,
    /// A role of the control plane is there as long as it watches.
    _here: Option<crate::presence::Here>,
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
            let applied = self.shown.caches.applied();
            let changes = match self.cursor.ready() {
                Ok(changes) => changes,
                Err(Lapsed { retired: true, .. }) => return None,
                Err(Lapsed { oldest, .. }) => {
                    self.over = true;
                    let message = format!("too old resource version: the watch fell behind ({oldest})");
                    return Some(self.shown.failure(&Status::expired(message)));
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
                self.next_bookmark = bookmark_after(now, self.deadline);
                return Some(self.shown.bookmark(applied, false));
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
            if self.selection.takes(&self.shown.kind, &entry) {
                let event = self.shown.event("ADDED", &entry, entry.revision, self.columns);
                out.extend_from_slice(&self.ready(event.map(Bytes::from)));
            }
            if out.len() >= FRAME {
                return out;
            }
        }
        if let Some(revision) = self.end_of_begin.take() {
            out.extend_from_slice(&self.shown.bookmark(revision, true));
            self.sent.listed(self.scope, self.begun.elapsed());
        }
        out
    }

    fn events(&mut self, changes: &[Arc<Change>]) -> Bytes {
        if let [one] = changes {
            return self.event(one);
        }
        let mut out = Vec::new();
        for change in changes {
            out.extend_from_slice(&self.event(change));
        }
        out.into()
    }

    fn concerns(&self, change: &Change) -> bool {
        let name = change.current.as_ref().or(change.previous.as_ref()).map(|e| &e.name);
        name.is_some_and(|n| n.starts_with(self.below.as_bytes()))
    }

    /// A change as this watcher's selection sees it: an object may come in or leave by an update.
    fn event(&mut self, change: &Change) -> Bytes {
        if !self.concerns(change) {
            return Bytes::new();
        }
        let taken =
            |entry: &Option<Arc<Entry>>| entry.as_ref().filter(|e| self.selection.takes(&self.shown.kind, e)).cloned();
        let (name, entry) = match (taken(&change.previous), taken(&change.current)) {
            (None, Some(now)) => ("ADDED", now),
            (Some(_), Some(now)) => ("MODIFIED", now),
            (Some(was), None) => ("DELETED", was),
            (None, None) => return Bytes::new(),
        };
        let event = self.shown.change(name, change, &entry, self.columns);
        self.ready(event)
    }

    /// An event that was made, or the one that ends the watch because it could not be.
    fn ready(&mut self, event: Result<Bytes, Status>) -> Bytes {
        self.columns = false;
        let event = event.unwrap_or_else(|status| {
            self.over = true;
            self.shown.failure(&status)
        });
        self.sent.event(event.len());
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bookmarks_come_every_minute_and_shortly_before_the_end() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for (lasts, due) in [(300, vec![60, 120, 180, 240, 298]), (90, vec![60, 88]), (61, vec![59]), (10, vec![8])] {
            let (mut now, mut found) = (start, Vec::new());
            loop {
                now = bookmark_after(now, at(lasts));
                if now >= at(lasts) {
                    break;
                }
                found.push((now - start).as_secs());
            }
            assert_eq!(found, due, "a watch of {lasts} seconds");
        }
    }
}
