//! The HTTP side: one GET or POST a connection, which becomes an upgrade or a refusal.

use super::connection::Limits;
use super::door::{self, Agreed, Refusal};
use super::forward::{self, Forward};
use super::pending::{Pending, Task};
use super::remote::{self, Session};
use super::{Resolve, mux, socket};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use stream::channel::{Dialect, PORT_FORWARD_TUNNEL};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Connections that have not been upgraded yet. The kubelet upgrades at once.
const OPEN: usize = 128;
/// Sessions at once; a few hundred KiB of buffers each when all are full.
const SESSIONS: usize = 1000;
/// Until a connection has sent its headers.
const HEADERS_TIME: Duration = Duration::from_secs(10);
/// Before the next accept after one that failed, for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Server {
    resolve: Arc<dyn Resolve>,
    pending: Arc<Mutex<Pending>>,
    limits: Limits,
    stop: CancellationToken,
    sessions: Arc<Semaphore>,
}

/// What a token turned out to mean.
enum Job {
    Session(Session),
    Forward(Forward),
}

/// Accepts until the server stops.
pub(super) async fn run(listener: TcpListener, server: Arc<Server>) {
    let open = Arc::new(Semaphore::new(OPEN));
    loop {
        let Ok(permit) = open.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = server.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let server = server.clone();
                tokio::spawn(async move {
                    server.connection(stream).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a streaming connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Server {
    pub(super) fn new(
        resolve: Arc<dyn Resolve>,
        pending: Arc<Mutex<Pending>>,
        limits: Limits,
        stop: CancellationToken,
    ) -> Server {
        Server { resolve, pending, limits, stop, sessions: Arc::new(Semaphore::new(SESSIONS)) }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        // Key strokes should not wait for company.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a streaming connection keeps Nagle's delay");
        }
        let server = self.clone();
        let service = service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await.unwrap_or_else(Refusal::response)) }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEADERS_TIME);
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        tokio::select! {
            done = connection => if let Err(error) = done {
                tracing::debug!(%error, "a streaming connection failed before its upgrade");
            },
            () = self.stop.cancelled() => {}
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Refusal> {
        let task = self.take(&request)?;
        let job = self.job(task).await?;
        let agreed = door::agree(request.headers(), job.offer())?;
        let permit = self.sessions.clone().try_acquire_owned().map_err(|_| {
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("{SESSIONS} streaming sessions are open already"))
        })?;
        let response = agreed.response();
        tokio::spawn(async move {
            match hyper::upgrade::on(request).await {
                Ok(upgraded) => job.run(TokioIo::new(upgraded), agreed, self.limits, &self.stop).await,
                Err(error) => tracing::debug!(%error, "a streaming connection was not upgraded"),
            }
            drop(permit);
        });
        Ok(response)
    }

    fn take(&self, request: &Request<Incoming>) -> Result<Task, Refusal> {
        if !matches!(*request.method(), Method::GET | Method::POST) {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "only GET and POST can be upgraded"));
        }
        let unknown = || Refusal::new(StatusCode::NOT_FOUND, "no such streaming request: it was used, or too old");
        let mut path = request.uri().path().trim_start_matches('/').splitn(2, '/');
        let (Some(verb), Some(token)) = (path.next(), path.next()) else { return Err(unknown()) };
        let task = self.pending.lock().take(token, Instant::now()).ok_or_else(unknown)?;
        let means = match task {
            Task::Exec(_) => "exec",
            Task::Attach(_) => "attach",
            Task::Forward(_) => "portforward",
        };
        if verb == means { Ok(task) } else { Err(unknown()) }
    }

    async fn job(&self, task: Task) -> Result<Job, Refusal> {
        Ok(match task {
            Task::Exec(exec) => {
                let executor = self.resolve.executor(&exec.container_id).await.map_err(refused)?;
                Job::Session(Session::exec(executor, exec))
            }
            Task::Attach(attach) => {
                let executor = self.resolve.executor(&attach.container_id).await.map_err(refused)?;
                Job::Session(Session::attach(executor, attach))
            }
            Task::Forward(forward) => {
                let netns = self.resolve.sandbox_netns(&forward.pod_sandbox_id).await.map_err(refused)?;
                Job::Forward(Forward::new(forward, netns))
            }
        })
    }
}

fn refused(error: container::Error) -> Refusal {
    let status = match error {
        container::Error::NotFound(_) => StatusCode::NOT_FOUND,
        container::Error::Illegal(_) | container::Error::Invalid(_) | container::Error::Unsupported(_) => {
            StatusCode::BAD_REQUEST
        }
        container::Error::Failed { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Refusal::new(status, error.to_string())
}

impl Job {
    fn offer(&self) -> &'static door::Offer {
        match self {
            Job::Session(_) => &remote::OFFER,
            Job::Forward(job) => job.offer(),
        }
    }

    async fn run<Io>(self, io: Io, agreed: Agreed, limits: Limits, stop: &CancellationToken)
    where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        match (self, agreed) {
            (Job::Session(session), Agreed::Spdy { protocol }) => {
                let connection = mux::Connection::start(io, limits, stop.clone());
                remote::spdy::serve(session, connection, Dialect::of(protocol), limits).await;
            }
            (Job::Session(session), Agreed::WebSocket { protocol, .. }) => {
                let socket = socket::open(io).await;
                remote::websocket::serve(session, socket, Dialect::of(protocol), limits, stop).await;
            }
            (Job::Forward(job), Agreed::Spdy { .. }) => {
                forward::serve(job, mux::Connection::start(io, limits, stop.clone()), limits).await;
            }
            (Job::Forward(job), Agreed::WebSocket { protocol: PORT_FORWARD_TUNNEL, .. }) => {
                let (near, far) = tokio::io::duplex(socket::TUNNEL);
                let tunnel = socket::tunnel(socket::open(io).await, far, limits, stop);
                let forwarding = forward::serve(job, mux::Connection::start(near, limits, stop.clone()), limits);
                tokio::join!(tunnel, forwarding);
            }
            (Job::Forward(job), Agreed::WebSocket { protocol, .. }) => {
                let framing = Dialect::of(protocol).framing;
                forward::channels::serve(job, socket::open(io).await, framing, limits, stop).await;
            }
        }
    }
}
