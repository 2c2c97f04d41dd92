//! Serving a `wasi:http` guest: the host holds the pod's listening socket, each request gets a fresh instance.

use super::Host;
use super::container::{Container, Live, now};
use crate::confine::Confined;
use crate::guest::Streams;
use crate::netns::within;
use crate::stdio::Sink;
use crate::timed::Timed;
use crate::worlds::End;
use crate::worlds::http::Pre;
use bytes::Bytes;
use container::log::Stream;
use container::{Error, Exit};
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmtime_wasi_http::Error as HttpError;

/// Where a guest listens whose container names no TCP port.
const DEFAULT_PORT: u16 = 8080;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Open connections of one container: each costs a descriptor and some KiB, and idle ones are kept for reuse.
const CONNECTIONS: usize = 4096;

/// Instances of one container at once; further requests wait. The node has 4096 for all of its pods.
const INSTANCES: usize = 512;

/// How long a client may take to send a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may pause while it sends a request's body.
const BODY_PAUSE: Duration = Duration::from_secs(60);

/// How long one request may take from its first byte to the end of its answer: a guest that hangs must not hold its
/// instance for ever.
const REQUEST_LIMIT: Duration = Duration::from_secs(600);

/// The wait after a failed accept (no descriptors left, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Streams of one HTTP/2 connection at once.
const H2_STREAMS: u32 = 256;

type Body = UnsyncBoxBody<Bytes, HttpError>;

/// Listens where the container's guest is expected, in its pod's namespace.
pub async fn listen(container: &Container, live: &Live) -> Result<TcpListener, Error> {
    let port = container.spec.ports.iter().find(|port| port.protocol.is_empty() || port.protocol == "TCP");
    let port = port.map_or(DEFAULT_PORT, |port| port.port);
    let bound = within(live.walls.netns.as_deref(), || {
        bind((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|err| match err.kind() {
            std::io::ErrorKind::AddrInUse => Err(err),
            // A node without IPv6.
            _ => bind((Ipv4Addr::UNSPECIFIED, port).into()),
        })
    })
    .and_then(|bound| bound);
    let listener = bound.map_err(|err| match err.kind() {
        std::io::ErrorKind::AddrInUse => Error::Invalid(format!(
            "port {port} is taken by another container of the pod (or of the node, on the host's network); \
             a wasi:http guest listens on its container's first TCP containerPort, else on {DEFAULT_PORT}"
        )),
        _ => Error::failed(format!("listening on port {port} of the pod"), err),
    })?;
    TcpListener::from_std(listener).map_err(|err| Error::failed("listening", err))
}

fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, setsockopt, socket, sockopt};
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &false)?;
    }
    nix::sys::socket::bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &SockaddrStorage::from(address))?;
    nix::sys::socket::listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(fd.into())
}

/// One container's server.
#[derive(Clone)]
pub struct Server {
    pub host: Arc<Host>,
    pub container: Arc<Container>,
    pub proxy: Pre,
}

impl Server {
    /// Serves until the container is told to end; SIGTERM lets the requests at hand finish.
    pub async fn serve(self, listener: TcpListener) {
        // INVARIANT: `start` found the container alive.
        let Ok(live) = self.container.live() else { return };
        let instances = Arc::new(Semaphore::new(INSTANCES));
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let connections = TaskTracker::new();
        let closing = CancellationToken::new();
        let spawn = |(stream, slot): Accepted| {
            let (server, instances, closing) = (self.clone(), instances.clone(), closing.clone());
            connections.spawn(async move {
                server.connection(stream, instances, closing).await;
                drop(slot);
            });
        };
        loop {
            tokio::select! {
                biased;
                () = live.drain.cancelled() => break,
                accepted = accept(&listener, &slots) => match accepted {
                    Some(accepted) => spawn(accepted),
                    None => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
            }
        }
        last_accepts(listener, &slots, spawn).await;
        closing.cancel();
        connections.close();
        live.guests.close();
        let exit = tokio::select! {
            biased;
            () = live.kill.cancelled() => live.killed(),
            () = async { connections.wait().await; live.guests.wait().await; } => {
                Exit { code: 0, finished_at: now(), reason: "Completed".into(), message: String::new() }
            }
        };
        self.host.ended(&self.container, exit);
    }

    async fn connection(&self, stream: TcpStream, instances: Arc<Semaphore>, closing: CancellationToken) {
        let Ok(live) = self.container.live() else { return };
        let _ = stream.set_nodelay(true);
        let Ok(reached) = stream.local_addr() else { return };
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).pipeline_flush(true);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(H2_STREAMS);
        let service = service_fn(move |request| {
            let (server, instances) = (self.clone(), instances.clone());
            async move {
                let answer = match with_authority(request, reached) {
                    Ok(request) => server.request(request, instances).await,
                    Err(refusal) => refusal,
                };
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            biased;
            () = live.kill.cancelled() => return,
            // Before the closing: a request that has arrived is read, and then counts as being at hand.
            ended = &mut connection => ended,
            () = closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    () = live.kill.cancelled() => return,
                    ended = &mut connection => ended,
                }
            }
        };
        if let Err(err) = ended {
            tracing::debug!("a connection of container {:?}: {err}", self.container.spec.id);
        }
    }

    async fn request(&self, request: Request<Incoming>, instances: Arc<Semaphore>) -> Response<Body> {
        let Ok(live) = self.container.live() else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "the guest has ended\n");
        };
        let Ok(permit) = instances.acquire_owned().await else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "the guest has ended\n");
        };
        let sink = |stream| Sink::Lines { output: live.output.clone(), stream };
        let streams = Streams { stdin: None, stdout: sink(Stream::Stdout), stderr: sink(Stream::Stderr) };
        let (answer, answered) = oneshot::channel();
        let request = request.map(|body| Timed::new(body, BODY_PAUSE));
        let guest = self.proxy.clone().handle(self.host.engine.clone(), live.given.clone(), streams, request, answer);
        let mut guest = live.walls.around(guest);
        // Most requests are answered within their first slice, right here. What goes on moves to the guests' own threads.
        let first = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut guest).poll(cx))).await;
        let mut running = match first {
            Poll::Ready(ended) => {
                drop(permit);
                self.finished(ended);
                None
            }
            Poll::Pending => {
                let server = self.clone();
                let task = async move {
                    server.to_the_end(guest).await;
                    drop(permit);
                };
                Some(Ending(Some(live.guests.spawn_on(task, &self.host.guests))))
            }
        };
        match answered.await {
            Ok(Ok(answer)) => {
                // From here on the body's end is the guest's own business.
                if let Some(running) = &mut running {
                    running.detach();
                }
                answer
            }
            Ok(Err(code)) => {
                live.output.say(&format!("the guest answered with an error: {code:?}"));
                plain(StatusCode::BAD_GATEWAY, "the guest answered with an error\n")
            }
            Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the guest ended without an answer\n"),
        }
    }

    async fn to_the_end(&self, guest: Confined<Result<(), End>>) {
        let Ok(live) = self.container.live() else { return };
        tokio::select! {
            biased;
            () = live.kill.cancelled() => {}
            ended = tokio::time::timeout(REQUEST_LIMIT, guest) => match ended {
                Ok(ended) => self.finished(ended),
                Err(_) => live.output.say(&format!("a request took longer than {} s and was ended", REQUEST_LIMIT.as_secs())),
            },
        }
    }

    /// Tells in the log how an instance failed. The container goes on: the next request has a fresh one.
    fn finished(&self, ended: std::io::Result<Result<(), End>>) {
        let Ok(live) = self.container.live() else { return };
        match ended {
            Ok(Ok(()) | Err(End::Code(0))) => {}
            Ok(Err(End::Code(code))) => live.output.say(&format!("an instance exited with code {code}")),
            Ok(Err(End::OutOfMemory(message) | End::Trap(message))) => live.output.say(&message),
            Err(err) => live.output.say(&format!("entering the pod's network namespace: {err}")),
        }
    }
}

/// A connection and its place among the container's.
type Accepted = (TcpStream, tokio::sync::OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<Accepted> {
    let slot = slots.clone().acquire_owned().await.ok()?;
    let (stream, _) = listener.accept().await.ok()?;
    Some((stream, slot))
}

/// Takes who has connected before the drain, and returns once what they had sent by then can be read: who connects during
/// this may be served, but cannot hold up the end.
async fn last_accepts(listener: TcpListener, slots: &Arc<Semaphore>, spawn: impl Fn(Accepted)) {
    let Ok(listener) = listener.into_std() else { return };
    // The second round is for handshakes whose last packet was on its way in the first.
    for _ in 0..2 {
        // Straight from the kernel: tokio would tell only of what its reactor has heard of.
        for _ in 0..BACKLOG {
            let Ok(slot) = slots.clone().try_acquire_owned() else { break };
            let Ok((stream, _)) = listener.accept() else { break };
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                spawn((stream, slot));
            }
        }
        reactor_has_caught_up().await;
    }
}

/// Waits until tokio's reactor has told of everything that descriptors registered with it were ready for at the call.
/// epoll reports in the order in which descriptors became ready (`epoll(7)`), so one that is made ready now comes last.
async fn reactor_has_caught_up() {
    if let Ok((mine, theirs)) = tokio::net::UnixStream::pair() {
        drop(theirs);
        let _ = mine.readable().await;
    }
}

/// The request with the authority that every `wasi:http` request has. HTTP/1.0 clients may leave it out: then it is the
/// address they reached. A request of HTTP/1.1 without it is refused (RFC 9112, section 3.2).
#[expect(clippy::result_large_err, reason = "the refusal is the answer, and is sent at once")]
fn with_authority<B>(mut request: Request<B>, reached: SocketAddr) -> Result<Request<B>, Response<Body>> {
    if request.uri().authority().is_some() || request.headers().contains_key(header::HOST) {
        return Ok(request);
    }
    if request.version() > Version::HTTP_10 {
        return Err(plain(StatusCode::BAD_REQUEST, "the request names no Host\n"));
    }
    let host = SocketAddr::new(reached.ip().to_canonical(), reached.port()).to_string();
    // An address and a port are always a valid header.
    if let Ok(host) = HeaderValue::try_from(host) {
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(request)
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let body = Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// Ends a guest whose client has gone before the answer.
struct Ending(Option<tokio::task::JoinHandle<()>>);

impl Ending {
    fn detach(&mut self) {
        self.0 = None;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
