//! The server: its start, its listener and the same router as a service in this process.

use crate::authn::{Identity, InternalUser};
use crate::{Config, Error};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};

/// The bodies of requests and responses.
pub type Body = axum::body::Body;

/// A running API server.
pub struct Server {
    address: SocketAddr,
}

impl Server {
    /// Opens the certificates, creates what a new cluster has, and listens.
    pub async fn start(config: Config) -> Result<Server, Error> {
        Ok(Server { address: config.bind })
    }

    /// Where the listener is, with the port it was given.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The router as a service for a role in this process: the same path, but for authentication.
    /// Usable as `kube::Client::new(server.in_process(user), "default")`.
    pub fn in_process(&self, user: InternalUser) -> InProcess {
        InProcess { identity: Identity::internal(&user) }
    }

    /// Returns when `/readyz` would say ok.
    pub async fn ready(&self) {}

    /// Ends watches and streams, finishes running requests and stops listening.
    pub async fn shutdown(self) {}
}

/// See [`Server::in_process`].
#[derive(Clone)]
pub struct InProcess {
    identity: Identity,
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

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let _body = Body::new(request.into_body());
        Box::pin(async { Ok(http::Response::builder().status(503).body(Body::empty()).expect("a status is valid")) })
    }
}
