//! What every stage of a request can reach.

use crate::{Config, Registry, allocators, authn, authz, outbound, pki, tokens};

/// One per server, shared by all requests.
pub(crate) struct Ctx {
    pub config: Config,
    pub registry: Registry,
    pub pki: pki::Pki,
    pub tokens: tokens::Tokens,
    pub authn: authn::Authn,
    pub authz: authz::Authz,
    pub allocators: allocators::Allocators,
    pub outbound: outbound::Outbound,
    /// The port the listener was given, also when the configuration asked for any.
    pub port: u16,
}
