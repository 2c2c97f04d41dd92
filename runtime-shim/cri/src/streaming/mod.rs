//! The streaming side of exec, attach and port-forward: a server on loopback that the kubelet passes its clients on to.
//! Every URL carries a token that is good once and for a short time.

mod command;
mod forward;
mod transport;
mod websocket;

use crate::shim::Shim;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The kubelet connects at once; a token that waits longer was lost.
const TOKEN_LIFE: Duration = Duration::from_secs(60);
/// Tokens that wait at once: each is a client that is just connecting.
const TOKENS_LIMIT: usize = 1000;

/// What a token stands for.
#[derive(Debug, Clone)]
pub enum Session {
    Exec {
        container: String,
        command: Vec<String>,
        streams: Streams,
    },
    Attach {
        container: String,
        streams: Streams,
    },
    /// Into the sandbox's network.
    PortForward {
        sandbox: String,
    },
}

/// The streams that were asked for.
#[derive(Debug, Clone, Copy)]
pub struct Streams {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

pub struct Streaming {
    address: SocketAddr,
    waiting: Mutex<HashMap<String, (Session, Instant)>>,
    shim: Arc<Shim>,
}

impl Streaming {
    /// Starts the server; it ends with the returned task.
    pub async fn start(shim: Arc<Shim>) -> std::io::Result<(Arc<Streaming>, tokio::task::JoinHandle<()>)> {
        let listener = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let streaming = Arc::new(Streaming { address, waiting: Mutex::default(), shim });
        let router = axum::Router::new().fallback(serve).with_state(streaming.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the streaming server has ended");
            }
        });
        Ok((streaming, task))
    }

    /// A URL that is good once. `None` when too many wait.
    pub fn url(&self, kind: &str, session: Session) -> Option<String> {
        let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let mut waiting = self.waiting.lock();
        waiting.retain(|_, (_, since)| since.elapsed() < TOKEN_LIFE);
        if waiting.len() >= TOKENS_LIMIT {
            return None;
        }
        waiting.insert(token.clone(), (session, Instant::now()));
        Some(format!("http://{}/{kind}/{token}", self.address))
    }

    fn redeem(&self, token: &str) -> Option<Session> {
        let (session, since) = self.waiting.lock().remove(token)?;
        (since.elapsed() < TOKEN_LIFE).then_some(session)
    }
}

/// How the client wants to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speech {
    WebSocket { protocol: &'static str },
    Spdy { protocol: &'static str },
}

const FORWARD_V1: &str = "portforward.k8s.io";

fn speech(headers: &HeaderMap, session: &Session) -> Result<Speech, String> {
    let values = |name: &str| -> Vec<String> {
        let all = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        all.flat_map(|value| value.split(',')).map(|part| part.trim().to_owned()).collect()
    };
    let upgrade = values("upgrade").join(",").to_ascii_lowercase();
    let (websocket, offered) = match upgrade.as_str() {
        "websocket" => (true, values("sec-websocket-protocol")),
        "spdy/3.1" => (false, values("x-stream-protocol-version")),
        other => return Err(format!("upgrade to {other:?} is not spoken here: use websocket or SPDY/3.1")),
    };
    let known: &[&'static str] = match (session, websocket) {
        (Session::PortForward { .. }, true) => &[stream::channel::PORT_FORWARD_TUNNEL],
        (Session::PortForward { .. }, false) => &[FORWARD_V1],
        (Session::Exec { .. } | Session::Attach { .. }, true) => &[stream::channel::V5, stream::channel::V4],
        (Session::Exec { .. } | Session::Attach { .. }, false) => &[stream::channel::V4],
    };
    let chosen = known.iter().find(|protocol| offered.iter().any(|offer| offer == *protocol));
    match (chosen, websocket) {
        (Some(protocol), true) => Ok(Speech::WebSocket { protocol }),
        (Some(protocol), false) => Ok(Speech::Spdy { protocol }),
        (None, _) => Err(format!("none of the protocols {offered:?} is spoken here; these are: {}", known.join(", "))),
    }
}

async fn serve(State(streaming): State<Arc<Streaming>>, mut request: Request) -> Response {
    let token = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let Some(session) = streaming.redeem(&token) else {
        return (StatusCode::NOT_FOUND, "this address was used before, or too late\n").into_response();
    };
    let speech = match speech(request.headers(), &session) {
        Ok(speech) => speech,
        Err(reason) => return (StatusCode::BAD_REQUEST, reason + "\n").into_response(),
    };
    let answer = match speech {
        Speech::WebSocket { protocol } => {
            let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
                return (StatusCode::BAD_REQUEST, "the request has no Sec-WebSocket-Key\n").into_response();
            };
            let accept = websocket::accept(key.as_bytes());
            switching(&[
                ("upgrade", "websocket"),
                ("sec-websocket-accept", &accept),
                ("sec-websocket-protocol", protocol),
            ])
        }
        Speech::Spdy { protocol } => switching(&[("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", protocol)]),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let shim = streaming.shim.clone();
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => run(shim, session, speech, TokioIo::new(upgraded)).await,
            Err(error) => tracing::debug!(%error, "a client left before its stream began"),
        }
    });
    answer
}

fn switching(headers: &[(&'static str, &str)]) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(*name, value);
        }
    }
    response
}

async fn run(shim: Arc<Shim>, session: Session, speech: Speech, io: TokioIo<hyper::upgrade::Upgraded>) {
    let transport = match speech {
        Speech::WebSocket { .. } => transport::websocket(io),
        Speech::Spdy { .. } => transport::plain(io),
    };
    match (session, speech) {
        (Session::PortForward { sandbox }, _) => forward::run(&shim, &sandbox, transport).await,
        (Session::Exec { container, command, streams }, Speech::WebSocket { .. }) => {
            command::websocket(&shim, &container, Some(command), streams, transport).await;
        }
        (Session::Attach { container, streams }, Speech::WebSocket { .. }) => {
            command::websocket(&shim, &container, None, streams, transport).await;
        }
        (Session::Exec { container, command, streams }, Speech::Spdy { .. }) => {
            command::spdy(&shim, &container, Some(command), streams, transport).await;
        }
        (Session::Attach { container, streams }, Speech::Spdy { .. }) => {
            command::spdy(&shim, &container, None, streams, transport).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_chosen_by_what_is_offered() {
        let streams = Streams { stdin: true, stdout: true, stderr: true, tty: false };
        let exec = Session::Attach { container: String::new(), streams };
        let forward = Session::PortForward { sandbox: String::new() };
        let cases: [(&Session, &str, &str, &str, Option<&str>); 5] = [
            (
                &exec,
                "websocket",
                "sec-websocket-protocol",
                "v4.channel.k8s.io, v5.channel.k8s.io",
                Some("v5.channel.k8s.io"),
            ),
            (&exec, "SPDY/3.1", "x-stream-protocol-version", "v4.channel.k8s.io", Some("v4.channel.k8s.io")),
            (&exec, "websocket", "sec-websocket-protocol", "base64.channel.k8s.io", None),
            (
                &forward,
                "websocket",
                "sec-websocket-protocol",
                "SPDY/3.1+portforward.k8s.io",
                Some("SPDY/3.1+portforward.k8s.io"),
            ),
            (&forward, "h2c", "sec-websocket-protocol", "x", None),
        ];
        for (session, upgrade, name, offer, chosen) in cases {
            let mut headers = HeaderMap::new();
            headers.insert("upgrade", upgrade.parse().expect("a header"));
            headers.insert(name, offer.parse().expect("a header"));
            let got = speech(&headers, session).ok().map(|speech| match speech {
                Speech::WebSocket { protocol } | Speech::Spdy { protocol } => protocol,
            });
            assert_eq!(got, chosen, "for {upgrade} {offer}");
        }
    }
}
