//! exec, attach and port-forward: the runtime is asked for a URL, and the client's connection is joined to it byte by byte.
//!
//! Whatever protocol the two speak (WebSocket, SPDY) passes through untouched; nothing here understands it.

use super::query::{on, ports, values};
use super::{Here, Refusal, not_found};
use crate::node::Node;
use axum::extract::{Path, RawQuery, Request};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use rpc::cri;
use std::sync::Arc;
use tokio::net::TcpStream;

type Three = (String, String, String);
type Four = (String, String, String, String);

/// The container of a running pod, by name.
pub(super) fn container(
    node: &Node,
    namespace: &str,
    pod: &str,
    uid: Option<&str>,
    name: &str,
) -> Result<String, Refusal> {
    let shown = node.board.find(namespace, pod, uid).ok_or_else(|| not_found(format!("pod \"{pod}\"")))?;
    let found = shown.containers.iter().find(|c| c.name == name);
    match found {
        Some(c) if c.running() => Ok(c.id.clone()),
        Some(_) => Err((StatusCode::BAD_REQUEST, format!("container \"{name}\" is not running\n"))),
        None => Err(not_found(format!("container \"{name}\" in pod \"{pod}\""))),
    }
}

pub async fn exec(here: Here, Path((ns, pod, name)): Path<Three>, query: RawQuery, request: Request) -> Response {
    exec_in(here.0, (ns, pod, None, name), query, request).await
}

pub async fn exec_of(
    here: Here,
    Path((ns, pod, uid, name)): Path<Four>,
    query: RawQuery,
    request: Request,
) -> Response {
    exec_in(here.0, (ns, pod, Some(uid), name), query, request).await
}

type At = (String, String, Option<String>, String);

async fn exec_in(node: Arc<Node>, at: At, RawQuery(query): RawQuery, request: Request) -> Response {
    let query = query.unwrap_or_default();
    let id = match container(&node, &at.0, &at.1, at.2.as_deref(), &at.3) {
        Ok(id) => id,
        Err(refusal) => return refusal.into_response(),
    };
    let tty = on(&query, &["tty"]);
    let call = cri::ExecRequest {
        container_id: id,
        cmd: values(&query, &["command"]),
        tty,
        stdin: on(&query, &["input", "stdin"]),
        stdout: on(&query, &["output", "stdout"]),
        stderr: !tty && on(&query, &["error", "stderr"]),
    };
    if call.cmd.is_empty() {
        return (StatusCode::BAD_REQUEST, "you must specify at least one command\n").into_response();
    }
    if !(call.stdin || call.stdout || call.stderr) {
        return (StatusCode::BAD_REQUEST, "you must specify at least 1 of stdin, stdout, stderr\n").into_response();
    }
    match node.runtime.exec(call).await {
        Ok(url) => join(request, &url).await,
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

pub async fn attach(here: Here, Path((ns, pod, name)): Path<Three>, query: RawQuery, request: Request) -> Response {
    attach_in(here.0, (ns, pod, None, name), query, request).await
}

pub async fn attach_of(
    here: Here,
    Path((ns, pod, uid, name)): Path<Four>,
    query: RawQuery,
    request: Request,
) -> Response {
    attach_in(here.0, (ns, pod, Some(uid), name), query, request).await
}

async fn attach_in(node: Arc<Node>, at: At, RawQuery(query): RawQuery, request: Request) -> Response {
    let query = query.unwrap_or_default();
    let id = match container(&node, &at.0, &at.1, at.2.as_deref(), &at.3) {
        Ok(id) => id,
        Err(refusal) => return refusal.into_response(),
    };
    let shown = node.board.find(&at.0, &at.1, at.2.as_deref());
    let tty = shown.is_some_and(|s| crate::units::find(&s.pod, &at.3).is_some_and(|u| u.spec.tty == Some(true)));
    let call = cri::AttachRequest {
        container_id: id,
        tty,
        stdin: on(&query, &["input", "stdin"]),
        stdout: on(&query, &["output", "stdout"]),
        stderr: !tty && on(&query, &["error", "stderr"]),
    };
    match node.runtime.attach(call).await {
        Ok(url) => join(request, &url).await,
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

pub async fn port_forward(
    here: Here,
    Path((ns, pod)): Path<(String, String)>,
    query: RawQuery,
    request: Request,
) -> Response {
    port_forward_in(here.0, (ns, pod, None), query, request).await
}

pub async fn port_forward_of(
    here: Here,
    Path((ns, pod, uid)): Path<Three>,
    query: RawQuery,
    request: Request,
) -> Response {
    port_forward_in(here.0, (ns, pod, Some(uid)), query, request).await
}

async fn port_forward_in(
    node: Arc<Node>,
    at: (String, String, Option<String>),
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let query = query.unwrap_or_default();
    let Some(shown) = node.board.find(&at.0, &at.1, at.2.as_deref()) else {
        return not_found(format!("pod \"{}\"", at.1)).into_response();
    };
    let Some(sandbox) = shown.sandbox else {
        return (StatusCode::BAD_REQUEST, format!("pod \"{}\" is not running\n", at.1)).into_response();
    };
    let Some(port) = ports(&query) else {
        return (StatusCode::BAD_REQUEST, "a port is no number\n").into_response();
    };
    match node.runtime.port_forward(cri::PortForwardRequest { pod_sandbox_id: sandbox, port }).await {
        Ok(url) => join(request, &url).await,
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// Repeats the request at `url` and passes its answer on; after a 101, the bytes of both sides.
async fn join(request: Request, url: &str) -> Response {
    match try_join(request, url).await {
        Ok(response) => response,
        Err(text) => (StatusCode::BAD_GATEWAY, format!("streaming from the runtime: {text}\n")).into_response(),
    }
}

async fn try_join(mut request: Request, url: &str) -> Result<Response, String> {
    let to: Uri = url.parse().map_err(|e| format!("{url:?}: {e}"))?;
    let host = to.host().ok_or_else(|| format!("{url:?} names no host"))?;
    let address = (host.trim_start_matches('[').trim_end_matches(']'), to.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(address).await.map_err(|e| format!("connecting to {url}: {e}"))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    tokio::spawn(connection.with_upgrades());
    let upgrade = hyper::upgrade::on(&mut request);
    let path = to.path_and_query().map_or("/", |p| p.as_str());
    let mut forward = http::Request::builder().method(request.method().clone()).uri(path);
    for (name, value) in request.headers().iter().filter(|(n, _)| *n != header::HOST && *n != header::CONTENT_LENGTH) {
        forward = forward.header(name, value);
    }
    let authority = to.authority().map(|a| a.as_str()).unwrap_or_default();
    let forward = forward.header(header::HOST, authority).body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
    let mut answer = sender.send_request(forward).await.map_err(|e| e.to_string())?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (parts, body) = answer.into_parts();
        return Ok(Response::from_parts(parts, axum::body::Body::new(body.map_err(std::io::Error::other))));
    }
    let other = hyper::upgrade::on(&mut answer);
    tokio::spawn(async move {
        let (Ok(client), Ok(runtime)) = futures::join!(upgrade, other) else { return };
        let (mut client, mut runtime) = (TokioIo::new(client), TokioIo::new(runtime));
        if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut runtime).await {
            tracing::debug!(%error, "a stream ended");
        }
    });
    let (parts, _) = answer.into_parts();
    Ok(Response::from_parts(parts, axum::body::Body::empty()))
}
