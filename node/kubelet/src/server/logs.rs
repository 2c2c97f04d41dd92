//! `/containerLogs/{namespace}/{pod}/{container}`.

use super::{Here, Refusal, not_found};
use crate::board::Shown;
use crate::logs::read::{self, Options};
use crate::node::Node;
use crate::observed::Container;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Blocks of a log that wait for a slow client.
const AHEAD: usize = 16;

pub async fn get(
    State(node): Here,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let options = match options(&query, Timestamp::now()) {
        Ok(options) => options,
        Err(text) => return (StatusCode::BAD_REQUEST, text + "\n").into_response(),
    };
    let Some(shown) = node.board.find(&namespace, &pod, None) else {
        return not_found(format!("pod \"{pod}\"")).into_response();
    };
    let previous = flag(&query, "previous");
    let found = match choose(&shown, &container, previous) {
        Ok(found) => found,
        Err(refusal) => return refusal.into_response(),
    };
    let path = PathBuf::from(&found.log_path);
    if !path.exists() {
        return (StatusCode::INTERNAL_SERVER_ERROR, format!("the log of container \"{container}\" is not there\n"))
            .into_response();
    }
    let (out, input) = mpsc::channel(AHEAD);
    let (id, uid) = (found.id.clone(), shown.pod.metadata.uid.clone().unwrap_or_default());
    tokio::spawn(read::read(path, options, move || over(&node, &uid, &id), out));
    let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(input));
    ([(header::CONTENT_TYPE, "text/plain")], body).into_response()
}

/// Whether a container writes no more.
fn over(node: &Arc<Node>, uid: &str, id: &str) -> bool {
    let pods = node.board.all();
    let pod = pods.iter().find(|s| s.pod.metadata.uid.as_deref() == Some(uid));
    !pod.is_some_and(|s| s.containers.iter().any(|c| c.id == id && c.exit().is_none()))
}

fn choose<'a>(shown: &'a Shown, name: &str, previous: bool) -> Result<&'a Container, Refusal> {
    let mut started = shown.containers.iter().filter(|c| c.name == name);
    let pod = shown.pod.metadata.name.as_deref().unwrap_or_default();
    if crate::units::find(&shown.pod, name).is_none() {
        return Err(not_found(format!("container \"{name}\" in pod \"{pod}\"")));
    }
    let text = match previous {
        true => format!("previous terminated container \"{name}\" in pod \"{pod}\" not found\n"),
        false => format!("container \"{name}\" in pod \"{pod}\" is waiting to start: {}\n", reason(shown, name)),
    };
    let found = if previous { started.nth(1) } else { started.next() };
    found.ok_or((StatusCode::BAD_REQUEST, text))
}

/// What the status says of a container that waits.
fn reason(shown: &Shown, name: &str) -> String {
    let s = &shown.status;
    let all = s.container_statuses.iter().chain(&s.init_container_statuses).chain(&s.ephemeral_container_statuses);
    let state = all.flatten().find(|c| c.name == name).and_then(|c| c.state.as_ref());
    let waiting = state.and_then(|s| s.waiting.as_ref());
    match waiting.and_then(|w| w.reason.as_deref()) {
        Some(reason @ ("ErrImagePull" | "ImagePullBackOff")) => {
            let text = waiting.and_then(|w| w.message.clone()).unwrap_or_default();
            format!("{reason}: {text}")
        }
        Some(reason) => reason.to_owned(),
        None => "ContainerCreating".to_owned(),
    }
}

fn flag(query: &HashMap<String, String>, name: &str) -> bool {
    query.get(name).is_some_and(|v| matches!(v.as_str(), "true" | "1" | ""))
}

fn options(query: &HashMap<String, String>, now: Timestamp) -> Result<Options, String> {
    let number = |name: &str| -> Result<Option<u64>, String> {
        let given = query.get(name).filter(|v| !v.is_empty());
        given.map(|v| v.parse().map_err(|_| format!("{name}: {v:?} is no number"))).transpose()
    };
    let since = match (number("sinceSeconds")?, query.get("sinceTime").filter(|v| !v.is_empty())) {
        (Some(seconds), _) => {
            let span = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            Some(now.checked_sub(span).unwrap_or(Timestamp::MIN))
        }
        (None, Some(text)) => Some(text.parse().map_err(|_| format!("sinceTime: {text:?} is no time"))?),
        (None, None) => None,
    };
    Ok(Options {
        follow: flag(query, "follow"),
        timestamps: flag(query, "timestamps"),
        tail: number("tailLines")?.map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
        since,
        limit_bytes: number("limitBytes")?,
        stderr: match query.get("stream").map(String::as_str) {
            Some("Stdout") => Some(false),
            Some("Stderr") => Some(true),
            Some(_) | None => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_parsed_or_refused() {
        let query = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let some = options(&query(&[("follow", "true"), ("tailLines", "5"), ("sinceSeconds", "60")]), now).unwrap();
        let since = "2026-01-01T00:00:00Z".parse().ok();
        assert_eq!(some, Options { follow: true, tail: Some(5), since, ..Options::default() });
        for bad in [("tailLines", "-1"), ("sinceTime", "yesterday"), ("limitBytes", "x")] {
            assert!(options(&query(&[bad]), now).is_err(), "{bad:?}");
        }
    }
}
