//! What every stage of a request can reach.

use crate::{
    Config, Error, Registry, allocators, authz, definitions, flow, metrics, openapi, outbound, pki, presence, tokens,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// One per server, shared by all requests.
pub(crate) struct Ctx {
    pub config: Config,
    pub registry: Registry,
    pub aggregation: crate::aggregation::Aggregation,
    pub definitions: tokio::sync::Mutex<definitions::Built>,
    pub pki: pki::Pki,
    pub tokens: tokens::Tokens,
    pub authz: authz::Authz,
    pub allocators: allocators::Allocators,
    pub quota_turns: crate::admission::resource_quota::Turns,
    pub outbound: outbound::Outbound,
    pub flow: flow::Flow,
    pub metrics: metrics::Metrics,
    pub presence: presence::Presence,
    pub openapi: openapi::Documents,
    pub openapi_v2: openapi::v2::Document,
    /// The port the listener was given, also when the configuration asked for any.
    pub port: u16,
    /// Whether what a new cluster has is there.
    pub ready: watch::Sender<bool>,
    /// Cancelled when the server ends: watches and streams stop.
    pub stop: CancellationToken,
}

impl Ctx {
    pub(crate) fn open(config: Config, store: store::Store, port: u16) -> Result<Ctx, Error> {
        let pki = pki::Pki::open(&config)?;
        let tokens = tokens::Tokens::open(&config, &pki)?;
        let outbound = outbound::Outbound::open(&config, &pki)?;
        Ok(Ctx {
            registry: Registry::start(store),
            aggregation: Default::default(),
            definitions: tokio::sync::Mutex::default(),
            authz: authz::Authz::new(),
            allocators: allocators::Allocators::new(config.several),
            quota_turns: Default::default(),
            flow: flow::Flow::new(),
            metrics: metrics::Metrics::default(),
            presence: presence::Presence::default(),
            openapi: openapi::Documents::default(),
            openapi_v2: openapi::v2::Document::default(),
            ready: watch::Sender::new(false),
            stop: CancellationToken::new(),
            config,
            pki,
            tokens,
            outbound,
            port,
        })
    }
}
