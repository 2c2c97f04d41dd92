//! `/containerLogs/{namespace}/{pod}/{container}`.

use super::{Here, Refusal, not_found};
use crate::board::Shown;
use crate::logs::options::{flag, options};
use crate::logs::read;
use crate::node::Node;
use crate::observed::Container;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
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
