//! Brings claims and Services together again after a crash in between.

use super::service;
use super::{MANAGED_BY, MANAGER, addresses::claim_object, owner_of, parent_of, port_claims};
use crate::ctx::Ctx;
use crate::lookup;
use crate::registry::deletion::DeleteOptions;
use api::{Object, Status};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

/// Among several servers: a claim that no Service has is another one's write under way, until it is this old. Longer than
/// any request takes, and than their clocks differ.
const UNDER_WAY_SECONDS: i64 = 600;
/// Reads what is taken, removes claims without a Service and makes those that a Service lacks. Runs at the start, before
/// any request, and among several servers now and then.
pub(crate) async fn repair(ctx: &Ctx) -> Result<(), Status> {
    let services = ctx.registry.all(lookup::SERVICES, None).await?;
    repair_addresses(ctx, &services).await?;
    if ctx.allocators.several {
        repair_ports(ctx, &services).await?;
    }
    let mut taken = ctx.allocators.taken.lock();
    for service in &services {
        taken.addresses.extend(service::addresses(service).into_iter().map(|address| (address, owner_of(service))));
        taken.ports.extend(service::held_ports(service).into_iter().map(|port| (port, owner_of(service))));
    }
    Ok(())
}

/// Whether a claim that no Service has may be that of a write under way at another server.
fn is_under_way(ctx: &Ctx, since: i64) -> bool {
    ctx.allocators.several && jiff::Timestamp::now().as_second() - since < UNDER_WAY_SECONDS
}

async fn repair_addresses(ctx: &Ctx, services: &[Object]) -> Result<(), Status> {
    let registry = &ctx.registry;
    let kind = registry.known(lookup::IP_ADDRESSES)?;
    let claims = registry.all(lookup::IP_ADDRESSES, None).await?;
    let held: HashMap<IpAddr, &Object> =
        services.iter().flat_map(|s| service::addresses(s).into_iter().map(move |ip| (ip, s))).collect();
    let mut claimed = HashSet::new();
    for claim in claims.iter().filter(|c| c.label(MANAGED_BY) == Some(MANAGER)) {
        let Ok(address) = claim.name().parse::<IpAddr>() else { continue };
        let made = claim.meta_text("creationTimestamp").parse::<jiff::Timestamp>();
        if held.get(&address).is_some_and(|service| owner_of(service) == parent_of(claim)) {
            claimed.insert(address);
        } else if !is_under_way(ctx, made.map_or(0, jiff::Timestamp::as_second)) {
            let this = DeleteOptions { uid: Some(claim.uid().to_owned()), ..DeleteOptions::default() };
            gone(registry.delete_with(&kind, "", claim.name(), &this, |_| Ok(())).await)?;
        }
    }
    for (address, service) in held.iter().filter(|(a, _)| !claimed.contains(*a)) {
        let claim = claim_object(*address, service.namespace(), service.name()).map_err(Status::internal)?;
        match registry.create(&kind, claim).await {
            Err(status) if status.code != 409 => return Err(status),
            _ => {}
        }
    }
    Ok(())
}

/// Another server may have repaired the same.
fn gone<T>(deleted: Result<T, Status>) -> Result<(), Status> {
    match deleted {
        Err(status) if !matches!(status.code, 404 | 409) => Err(status),
        _ => Ok(()),
    }
}

async fn repair_ports(ctx: &Ctx, services: &[Object]) -> Result<(), Status> {
    let storage = ctx.registry.storage();
    // Read after the Services: a claim is older than the Service that has it.
    let claims = storage.claims().await?;
    let mut lacking: HashMap<String, String> = HashMap::new();
    for service in services {
        lacking.extend(port_claims(&service::held_ports(service)).into_iter().map(|name| (name, owner_of(service))));
    }
    for claim in claims {
        if lacking.get(&claim.name) == Some(&claim.holder) {
            lacking.remove(&claim.name);
        } else if !is_under_way(ctx, claim.since) {
            storage.drop_claim(&claim).await?;
        }
    }
    for (name, owner) in lacking {
        if !storage.claim(std::slice::from_ref(&name), &owner).await?.is_empty() {
            tracing::warn!(name, owner, "a port of a Service is claimed by another one");
        }
    }
    Ok(())
}
