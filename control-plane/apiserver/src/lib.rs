//! The API: requests, authentication, authorisation, admission, the registry and the watch cache.
//!
//! A request runs through one order of stages: authn → authz → flow → admit(mutate) → default → prepare → validate →
//! admit(validate) → registry. Only the registry writes the store. This crate runs no controller.

#![expect(
    clippy::result_large_err,
    reason = "a Status is the answer that a failed request gets; boxing it would only move it"
)]
mod admission;
mod aggregation;
mod allocators;
mod authn;
mod authz;
mod bootstrap;
mod cache;
mod chunks;
mod config;
mod ctx;
mod definitions;
mod discovery;
mod discovery_aggregated;
mod endpoints;
mod expressions;
mod flow;
mod health;
mod leftovers;
mod lookup;
mod metrics;
mod negotiate;
mod openapi;
mod outbound;
mod pipeline;
pub mod pki;
mod presence;
mod registry;
mod request;
mod resource;
mod respond;
mod serve;
mod server;
mod shape;
mod subresources;
mod tokens;
mod websocket;

pub use authn::InternalUser;
pub use config::{Config, Error};
pub use registry::Registry;
pub use request::RequestInfo;
pub use server::{Body, InProcess, Server};
#[doc(hidden)]
pub use subresources::proxy::proxied_page;
