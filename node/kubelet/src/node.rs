//! What every pod worker of one node shares.

pub mod lease;
pub mod object;
pub mod register;

use crate::allocation::Ledger;
use crate::board::Board;
use crate::config::Config;
use crate::events::Events;
use crate::runtime::Runtime;
use crate::sources::Sources;
use crate::status::Host;
use crate::translate::dns::{Resolver, parse_resolv_conf};
use crate::translate::fields::Facts;
use crate::volumes::{Memory, Tokens};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::runtime::reflector::{ObjectRef, Store};
use std::collections::BTreeMap;
use std::sync::Arc;

pub struct Node {
    pub config: Config,
    pub client: kube::Client,
    pub runtime: Runtime,
    pub sources: Arc<Sources>,
    pub tokens: Tokens,
    pub memory: Memory,
    pub services: Store<Service>,
    pub classes: Store<RuntimeClass>,
    pub events: Events,
    pub host: Host,
    pub resolver: Resolver,
    /// Resources that pods may ask for in all.
    pub allocatable: BTreeMap<String, Quantity>,
    pub memory_bytes: i64,
    pub board: Board,
    pub ledger: Ledger,
}

impl Node {
    pub fn facts(&self, pod_ips: Vec<String>) -> Facts {
        Facts {
            pod_ips,
            host_ips: self.host.ips.clone(),
            node_name: self.config.node_name.clone(),
            allocatable: self.allocatable.clone(),
        }
    }

    /// The runtime's handler for a RuntimeClass; `Err` where there is no such class.
    pub fn handler(&self, class: Option<&str>) -> Result<String, String> {
        let Some(name) = class.filter(|n| !n.is_empty()) else { return Ok(String::new()) };
        let found = self.classes.get(&ObjectRef::new(name));
        found.map(|c| c.handler.clone()).ok_or_else(|| format!("RuntimeClass \"{name}\" not found"))
    }
}

pub fn resolver(config: &Config) -> Resolver {
    let text = std::fs::read_to_string(&config.host_dns).unwrap_or_else(|error| {
        tracing::warn!(path = %config.host_dns.display(), %error, "reading the host's resolv.conf");
        String::new()
    });
    Resolver {
        cluster_dns: config.cluster_dns.clone(),
        cluster_domain: config.cluster_domain.clone(),
        host: parse_resolv_conf(&text),
    }
}
