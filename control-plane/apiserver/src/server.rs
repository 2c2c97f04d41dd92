//! The server: its start, its listener and the same router as a service in this process.

use crate::authn::{Identity, InternalUser};
use crate::ctx::Ctx;
use crate::pipeline::{self, Caller};
use crate::{Config, Error, aggregation, allocators, bootstrap, definitions, endpoints, serve};
use http::{HeaderValue, header};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};

/// The bodies of requests and responses.
pub type Body = axum::body::Body;

/// How long running requests may take to finish when the server ends.
const DRAIN: Duration = Duration::from_secs(5);

/// A running API server.
pub struct Server {
    address: SocketAddr,
    ctx: Arc<Ctx>,
    listening: JoinHandle<()>,
    /// What goes on beside requests where there are other servers.
    tasks: JoinSet<()>,
}

impl Server {
    /// Opens the certificates, creates what a new cluster has, and listens.
    pub async fn start(config: Config, store: store::Store) -> Result<Server, Error> {
        let listener = serve::bind(config.bind).await?;
        let address = listener.local_addr().map_err(|source| Error::Listen { address: config.bind, source })?;
        let ctx = Arc::new(Ctx::open(config, store, address.port())?);
        let acceptor = serve::acceptor(&ctx.pki)?;
        bootstrap::run(&ctx).await?;
        definitions::catch_up(&ctx).await.map_err(|status| Error::Definitions(status.message))?;
        tokio::spawn(definitions::follow(ctx.clone()));
        aggregation::read(&ctx).await.map_err(|status| Error::ApiServices(status.message))?;
        tokio::spawn(aggregation::follow(ctx.clone()));
        let mut tasks = JoinSet::new();
        if ctx.config.several {
            let mut presence = endpoints::Presence::default();
            presence.round(&ctx).await.map_err(|status| Error::Bootstrap(status.message))?;
            tasks.spawn(endpoints::keep(ctx.clone(), presence));
            tasks.spawn(allocators::follow::run(ctx.clone()));
        }
        ctx.ready.send_replace(true);
        let listening = tokio::spawn(serve::listen(ctx.clone(), listener, acceptor));
        Ok(Server { address, ctx, listening, tasks })
    }

    /// Where the listener is, with the port it was given.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The credentials under `pki/`: the CA, the administrator's certificate, …
    pub fn pki(&self) -> &crate::pki::Pki {
        &self.ctx.pki
    }

    /// The router as a service for a role in this process: the same path, but for authentication.
    /// Usable as `kube::Client::new(server.in_process(user), "default")`.
    pub fn in_process(&self, user: InternalUser) -> InProcess {
        InProcess::of(&user, &self.ctx)
    }

    /// The router for callers that have to say who they are, as they have over the network, and have no certificate.
    pub fn to_strangers(&self) -> InProcess {
        InProcess { identity: None, program: None, ctx: self.ctx.clone() }
    }

    /// The same for roles whose identities are known later.
    pub fn identities(&self) -> impl Fn(InternalUser) -> InProcess + Send + Sync + 'static + use<> {
        let ctx = self.ctx.clone();
        move |user| InProcess::of(&user, &ctx)
    }

    /// Signs a certificate request (PEM) for these usages and that many seconds, with the cluster's authority.
    pub fn signer(&self) -> impl Fn(&str, &[String], u64) -> Result<String, String> + Send + Sync + 'static + use<> {
        let ctx = self.ctx.clone();
        move |request, usages, seconds| {
            ctx.pki.authority.sign_as_asked(request, usages, seconds).map_err(|error| error.to_string())
        }
    }

    /// More for `/metrics`, in the text form of Prometheus: what other roles of this process count.
    pub fn add_metrics(&self, source: impl Fn() -> String + Send + Sync + 'static) {
        self.ctx.metrics.add(Box::new(source));
    }

    /// Returns when `/readyz` says ok.
    pub async fn ready(&self) {
        // The sender lives in `self.ctx`.
        let _ = self.ctx.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Ends watches and streams, finishes running requests and stops listening.
    pub async fn shutdown(mut self) {
        self.ctx.ready.send_replace(false);
        self.ctx.stop.cancel();
        let abort = self.listening.abort_handle();
        if tokio::time::timeout(DRAIN, self.listening).await.is_err() {
            abort.abort();
        }
        while self.tasks.join_next().await.is_some() {}
    }
}

/// See [`Server::in_process`] and [`Server::to_strangers`].
#[derive(Clone)]
pub struct InProcess {
    /// `None`: whoever the request says and proves.
    identity: Option<Identity>,
    /// The name under which what a role writes is its own (`managedFields`), where it gives none.
    program: Option<&'static str>,
    ctx: Arc<Ctx>,
}

impl InProcess {
    fn of(user: &InternalUser, ctx: &Arc<Ctx>) -> InProcess {
        InProcess { identity: Some(Identity::internal(user)), program: user.program(), ctx: ctx.clone() }
    }
}

impl<B> tower::Service<http::Request<B>> for InProcess
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<tower::BoxError>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = futures::future::BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        if let Some(program) = self.program {
            request.headers_mut().entry(header::USER_AGENT).or_insert(HeaderValue::from_static(program));
        }
        let (ctx, identity) = (self.ctx.clone(), self.identity.clone());
        let caller = identity.map_or(Caller::Network(None), Caller::Inside);
        Box::pin(async move { Ok(pipeline::serve(ctx, caller, request.map(Body::new)).await) })
    }
}
