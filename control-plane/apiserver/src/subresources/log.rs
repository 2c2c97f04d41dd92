//! `pods/log`: what a container wrote, from the kubelet of its node.

use super::streams::{container, node_of};
use crate::ctx::Ctx;
use crate::metrics::LongRunning;
use crate::outbound::{self, For};
use crate::request::RequestInfo;
use crate::resource;
use crate::server::Body;
use crate::websocket;
use api::status::FieldReason;
use api::{FieldError, Status};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, header};
use std::sync::Arc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// The protocols of a log over WebSocket: bytes, or text in base64 (upstream's `wsstream`). Without one, bytes.
const BASE64: &str = "base64.binary.k8s.io";
const PROTOCOLS: [&str; 2] = ["binary.k8s.io", BASE64];

pub(super) async fn handle(
    ctx: &Arc<Ctx>,
    info: &RequestInfo,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let options = options(info)?;
    let pod = super::pod(ctx, info).await?;
    let container = container(&pod, info.query.get("container"))?;
    if pod.str_at(&["spec", "nodeName"]).is_empty() {
        return Response::builder().status(StatusCode::NO_CONTENT).body(Body::empty()).map_err(Status::internal);
    }
    let mut peer = outbound::kubelet(&node_of(ctx, &pod).await?)?;
    if info.query.is("insecureSkipTLSVerifyBackend") {
        peer.tls = outbound::Tls::AnyKubelet;
    }
    let path = path(&options, pod.namespace(), pod.name(), &container);
    let (parts, body) = request.into_parts();
    let socket = websocket::wanted(&parts.headers).then(|| parts.clone());
    let mut request = Request::from_parts(parts, body);
    if socket.is_some() {
        // The kubelet is asked for the log alone.
        for name in [header::CONNECTION, header::UPGRADE] {
            request.headers_mut().remove(name);
        }
    }
    let mut response = outbound::forward(&ctx.outbound, &peer, For::Kubelet, &path, request, &ctx.stop).await?;
    if !response.status().is_success() {
        return Err(failure(response, info).await);
    }
    if let Some(parts) = socket {
        return spoken(&parts, response.into_body());
    }
    let text = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    Ok(response)
}

/// The log as the messages of a WebSocket.
fn spoken(parts: &Parts, log: Body) -> Result<Response<Body>, Status> {
    let named: Vec<&str> = websocket::protocols(&parts.headers).collect();
    let protocol = named.iter().find_map(|named| PROTOCOLS.into_iter().find(|p| p == named));
    if protocol.is_none() && !named.is_empty() {
        let why = format!("requested protocol(s) are not supported: {named:?}; supports {PROTOCOLS:?}");
        return Err(Status::bad_request(format!("unable to upgrade: {why}")));
    }
    let (response, upgrade) = websocket::agree(parts, protocol)?;
    let text = protocol == Some(BASE64);
    let lasts = parts.extensions.get::<Arc<LongRunning>>().cloned();
    tokio::spawn(async move {
        let _lasts = lasts;
        if let Some(socket) = websocket::open(upgrade).await {
            speak(socket, log, text).await;
        }
    });
    Ok(response)
}

async fn speak<S>(socket: WebSocketStream<S>, log: Body, text: bool)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (mut sink, mut heard) = socket.split();
    let mut log = log.into_data_stream();
    // An empty message first tells that the log is there, however long its first line takes.
    let mut next = Some(Bytes::new());
    while let Some(piece) = next {
        let message = if text { Message::text(STANDARD.encode(&piece)) } else { Message::Binary(piece) };
        if sink.send(message).await.is_err() {
            return;
        }
        next = loop {
            tokio::select! {
                piece = log.next() => break piece.and_then(Result::ok),
                message = heard.next() => match message {
                    Some(Ok(_)) => {}
                    // The client has said goodbye, or left without.
                    Some(Err(_)) | None => return,
                },
            }
        };
    }
    // The peer may be gone already.
    let _ = sink.close().await;
}

/// The kubelet's path for the request.
fn path(options: &[(&str, String)], namespace: &str, name: &str, container: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (key, value) in options {
        query.append_pair(key, value);
    }
    let query = query.finish();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("/containerLogs/{namespace}/{name}/{container}{mark}{query}")
}

/// A kubelet's error is text; the client gets a Status.
async fn failure(response: Response<Body>, info: &RequestInfo) -> Status {
    let code = response.status();
    let text = match resource::body::read(response.into_body()).await {
        Ok(bytes) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(status) => status.message,
    };
    match code {
        StatusCode::BAD_REQUEST => Status::bad_request(text),
        StatusCode::NOT_FOUND => {
            let mut status = Status::not_found("", "pods", &info.name);
            status.message =
                format!("the server could not find the requested resource ( pods/log {}): {text}", info.name);
            status
        }
        _ => Status::internal(text),
    }
}

/// What is asked for (`v1.PodLogOptions`), as a kubelet takes it.
fn options(info: &RequestInfo) -> Result<Vec<(&'static str, String)>, Status> {
    let query = &info.query;
    let (mut options, mut errors) = (Vec::new(), Vec::new());
    for flag in ["follow", "previous", "timestamps"] {
        if query.is(flag) {
            options.push((flag, "true".to_owned()));
        }
    }
    for (key, least, rule) in [
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("limitBytes", 1, "must be greater than 0"),
        ("sinceSeconds", 1, "must be greater than 0"),
    ] {
        let given = query.get(key);
        if given.is_empty() {
            continue;
        }
        let number: i64 = given
            .parse()
            .map_err(|_| Status::bad_request(format!("strconv.ParseInt: parsing {given:?}: invalid syntax")))?;
        if number < least {
            errors.push(FieldError::new(FieldReason::Invalid, key, format!("Invalid value: {number}: {rule}")));
        }
        options.push((key, number.to_string()));
    }
    if let Some(time) = time(query.get("sinceTime"))? {
        if !query.get("sinceSeconds").is_empty() {
            let why = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified";
            errors.push(FieldError::new(FieldReason::Forbidden, "", why));
        }
        options.push(("sinceTime", time));
    }
    let stream = query.get("stream");
    match stream {
        "" | "All" => {}
        "Stdout" | "Stderr" => {
            if !query.get("tailLines").is_empty() {
                let why = "Forbidden: `tailLines` and specific `stream` are mutually exclusive for now";
                errors.push(FieldError::new(FieldReason::Forbidden, "", why));
            }
            options.push(("stream", stream.to_owned()));
        }
        other => {
            let why = format!(r#"Unsupported value: {other:?}: supported values: "All", "Stderr", "Stdout""#);
            errors.push(FieldError::new(FieldReason::NotSupported, "stream", why));
        }
    }
    match errors.is_empty() {
        true => Ok(options),
        false => Err(Status::invalid("", "PodLogOptions", &info.name, &errors)),
    }
}

/// A time of RFC 3339. Old clients write none as `null`.
fn time(text: &str) -> Result<Option<String>, Status> {
    if matches!(text, "" | "null") {
        return Ok(None);
    }
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => Ok(Some(time.to_string())),
        Err(_) => {
            let why =
                format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\"");
            Err(Status::bad_request(why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The query, and what the kubelet is asked for or the start of the refusal.
    const CASES: [(&str, Result<&str, &str>); 22] = [
        ("", Ok("")),
        ("follow=true&previous=1&timestamps", Ok("?follow=true&previous=true&timestamps=true")),
        ("follow=false&previous=0", Ok("")),
        ("tailLines=0", Ok("?tailLines=0")),
        ("tailLines=&limitBytes=", Ok("")),
        ("tailLines=5&limitBytes=1&sinceSeconds=1", Ok("?tailLines=5&limitBytes=1&sinceSeconds=1")),
        ("sinceTime=2026-01-01T01:00:00%2B01:00", Ok("?sinceTime=2026-01-01T00%3A00%3A00Z")),
        ("sinceTime=null", Ok("")),
        ("stream=All", Ok("")),
        ("stream=Stdout", Ok("?stream=Stdout")),
        ("stream=All&tailLines=1", Ok("?tailLines=1")),
        ("unknown=1&pretty=true", Ok("")),
        (
            "tailLines=-1",
            Err("422 PodLogOptions \"p\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ),
        (
            "limitBytes=0",
            Err("422 PodLogOptions \"p\" is invalid: limitBytes: Invalid value: 0: must be greater than 0"),
        ),
        (
            "sinceSeconds=0",
            Err("422 PodLogOptions \"p\" is invalid: sinceSeconds: Invalid value: 0: must be greater than 0"),
        ),
        ("tailLines=x", Err("400 strconv.ParseInt: parsing \"x\": invalid syntax")),
        ("sinceSeconds=1.5", Err("400 strconv.ParseInt: parsing \"1.5\": invalid syntax")),
        ("sinceTime=yesterday", Err("400 parsing time \"yesterday\"")),
        (
            "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z",
            Err("422 PodLogOptions \"p\" is invalid: : Forbidden: at most one of"),
        ),
        (
            "stream=stdout",
            Err(
                "422 PodLogOptions \"p\" is invalid: stream: Unsupported value: \"stdout\": supported values: \"All\", \"Stderr\", \"Stdout\"",
            ),
        ),
        (
            "stream=Stderr&tailLines=1",
            Err("422 PodLogOptions \"p\" is invalid: : Forbidden: `tailLines` and specific `stream`"),
        ),
        ("tailLines=-1&limitBytes=0", Err("422 PodLogOptions \"p\" is invalid: [tailLines: ")),
    ];

    #[test]
    fn what_is_asked_for_is_passed_on_or_refused() {
        for (query, expected) in CASES {
            let info = RequestInfo::parse(&http::Method::GET, "/api/v1/namespaces/a/pods/p/log", query);
            let got = options(&info).map(|o| path(&o, "a", "p", "c")).map_err(|s| format!("{} {}", s.code, s.message));
            match (&got, expected) {
                (Ok(path), Ok(query)) => assert_eq!(path, &format!("/containerLogs/a/p/c{query}")),
                (Err(status), Err(begin)) => assert!(status.starts_with(begin), "{query}: {status}"),
                _ => panic!("{query}: {got:?}, not {expected:?}"),
            }
        }
    }
}
