//! The requests that are more than reading and writing one object: binding, eviction, scale, token, CSR approval,
//! access and token reviews, and the streams to kubelets (log, exec, attach, portforward, proxy).
//!
//! `status`, `finalize`, `resize` and `ephemeralcontainers` are the registry's own.

use crate::authn::Identity;
use crate::ctx::Ctx;
use crate::request::RequestInfo;
use crate::server::Body;
use api::Status;
use std::sync::Arc;

/// Whether [`handle`] answers this request.
pub(crate) fn serves(_info: &RequestInfo) -> bool {
    false
}

/// Answers a request that authn and authz have let through.
pub(crate) async fn handle(
    _ctx: &Arc<Ctx>,
    _identity: &Identity,
    _info: &RequestInfo,
    _request: http::Request<Body>,
) -> Result<http::Response<Body>, Status> {
    Err(Status::no_route())
}
