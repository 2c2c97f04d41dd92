//! Addresses and ports of Services.
//!
//! An address is claimed by an IPAddress object of its name, which the store lets exist once: it is made before the
//! Service and removed after it, so that a crash in between leaves at most a claim without a Service, which the next
//! start removes. Ports are held in memory and read from the Services at the start; among several servers they are
//! claimed in the store too, and what this one remembers is a hint only.
//!
//! INVARIANT: two Services never hold the same address, whatever crashes: a Service is written only by who made the claim.

mod addresses;
mod bands;
mod families;
pub(crate) mod follow;
mod ranges;
mod repair;
mod service;

pub(crate) use repair::repair;

use crate::ctx::Ctx;
use crate::registry::deletion::DeleteOptions;
use crate::{Registry, lookup};
use api::status::FieldReason;
use api::{FieldError, Kind, Object, Status};
use bands::Bands;
use parking_lot::Mutex;
use service::Port;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
/// Upstream's name, which tools look for.
const MANAGER: &str = "ipallocator.k8s.io";
/// How often another address is tried when somebody else was faster.
const CLAIM_TRIES: usize = 16;

/// What is taken. The Service that holds it, as `namespace/name`.
#[derive(Default)]
struct Taken {
    addresses: HashMap<IpAddr, String>,
    ports: HashMap<Port, String>,
}

#[derive(Clone, Default)]
pub(crate) struct Allocators {
    taken: Arc<Mutex<Taken>>,
    /// Whether other servers give out too.
    several: bool,
}

impl Allocators {
    pub(crate) fn new(several: bool) -> Allocators {
        Allocators { several, ..Allocators::default() }
    }
}

/// What was taken for one write. Dropped without [`Reservation::commit`], it is given back.
#[must_use]
pub(crate) struct Reservation {
    allocators: Allocators,
    registry: Option<Registry>,
    owner: String,
    addresses: Vec<IpAddr>,
    ports: Vec<Port>,
    /// What only the old object held.
    freed_addresses: Vec<IpAddr>,
    freed_ports: Vec<Port>,
}

impl Reservation {
    fn none(ctx: &Ctx) -> Reservation {
        Reservation {
            allocators: ctx.allocators.clone(),
            registry: None,
            owner: String::new(),
            addresses: Vec::new(),
            ports: Vec::new(),
            freed_addresses: Vec::new(),
            freed_ports: Vec::new(),
        }
    }

    /// After a write that may have been carried out although it failed, everything stays taken; a repair gives back what
    /// turns out to be nobody's.
    pub(crate) fn after(mut self, failed: Option<&Status>) -> Reservation {
        if self.allocators.several && failed.is_some_and(|status| status.code >= 500) {
            self.addresses.clear();
            self.ports.clear();
        }
        self
    }

    /// Whether the claims in the store decide, and not what this server remembers.
    fn claims_ports(&self) -> bool {
        self.allocators.several && self.registry.is_some()
    }

    /// Nothing will be written: what was claimed for it is free again when this returns.
    async fn undo(mut self, ctx: &Ctx) {
        let (addresses, ports) = (std::mem::take(&mut self.addresses), std::mem::take(&mut self.ports));
        match self.registry.is_some() {
            true => give_back(&ctx.allocators, &ctx.registry, &self.owner, addresses, ports).await,
            // A dry run has claimed nothing in the store.
            false => ctx.allocators.forget(&self.owner, &addresses, &ports),
        }
    }

    /// The write is done: what the new object holds stays taken, what only the old one held is given back.
    pub(crate) async fn commit(mut self, ctx: &Ctx) {
        let (addresses, ports) = (std::mem::take(&mut self.freed_addresses), std::mem::take(&mut self.freed_ports));
        self.addresses.clear();
        self.ports.clear();
        give_back(&ctx.allocators, &ctx.registry, &self.owner, addresses, ports).await;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let (addresses, ports) = (std::mem::take(&mut self.addresses), std::mem::take(&mut self.ports));
        if addresses.is_empty() && ports.is_empty() {
            return;
        }
        let (allocators, owner) = (self.allocators.clone(), std::mem::take(&mut self.owner));
        match (self.registry.take(), tokio::runtime::Handle::try_current()) {
            (Some(registry), Ok(runtime)) => {
                runtime.spawn(async move { give_back(&allocators, &registry, &owner, addresses, ports).await });
            }
            // A dry run has claimed nothing in the store; without a runtime the next start gives the claim back.
            _ => allocators.forget(&owner, &addresses, &ports),
        }
    }
}

impl Allocators {
    fn forget(&self, owner: &str, addresses: &[IpAddr], ports: &[Port]) {
        let mut taken = self.taken.lock();
        for address in addresses {
            if taken.addresses.get(address).is_some_and(|o| o == owner) {
                taken.addresses.remove(address);
            }
        }
        for port in ports {
            if taken.ports.get(port).is_some_and(|o| o == owner) {
                taken.ports.remove(port);
            }
        }
    }
}

/// Removes the claims first: an address is free only when nothing in the store says otherwise.
async fn give_back(
    allocators: &Allocators,
    registry: &Registry,
    owner: &str,
    addresses: Vec<IpAddr>,
    ports: Vec<Port>,
) {
    for address in &addresses {
        if let Err(status) = unclaim(registry, *address, owner).await
            && status.code != 404
        {
            tracing::warn!(%address, owner, error = status.message, "an address stays taken until the next repair");
            return;
        }
    }
    if allocators.several
        && let Err(status) = registry.storage().unclaim(&port_claims(&ports), owner).await
    {
        tracing::warn!(owner, error = status.message, "ports stay taken until the next repair");
        return;
    }
    allocators.forget(owner, &addresses, &ports);
}

/// Removes the claim of an address, unless it is another Service's.
async fn unclaim(registry: &Registry, address: IpAddr, owner: &str) -> Result<(), Status> {
    let kind = registry.known(lookup::IP_ADDRESSES)?;
    let its_own = |claim: &Object| match parent_of(claim) == owner {
        true => Ok(()),
        false => Err(Status::not_found("networking.k8s.io", "ipaddresses", claim.name())),
    };
    registry.delete_with(&kind, "", &address.to_string(), &DeleteOptions::default(), its_own).await.map(drop)
}

/// The Service that a claim is for, as `namespace/name`.
fn parent_of(claim: &Object) -> String {
    let parent = |key| claim.str_at(&["spec", "parentRef", key]);
    format!("{}/{}", parent("namespace"), parent("name"))
}

fn port_claims(ports: &[Port]) -> Vec<String> {
    ports.iter().map(|(protocol, port)| format!("nodeports/{protocol}/{port}")).collect()
}

fn owner_of(object: &Object) -> String {
    format!("{}/{}", object.namespace(), object.name())
}

/// Runs after validation and before the write of a create or an update: fills in addresses and ports.
/// With `dry_run` nothing stays taken.
pub(crate) async fn reserve(
    ctx: &Ctx,
    kind: &Kind,
    object: &mut Object,
    old: Option<&Object>,
    dry_run: bool,
) -> Result<Reservation, Status> {
    let mut reservation = Reservation::none(ctx);
    if !lookup::SERVICES.is(kind) {
        return Ok(reservation);
    }
    reservation.owner = owner_of(object);
    reservation.registry = Some(ctx.registry.clone()).filter(|_| !dry_run);
    match fill(ctx, object, old, &mut reservation).await {
        Ok(()) => Ok(reservation),
        Err(status) => {
            reservation.undo(ctx).await;
            Err(status)
        }
    }
}

async fn fill(
    ctx: &Ctx,
    object: &mut Object,
    old: Option<&Object>,
    reservation: &mut Reservation,
) -> Result<(), Status> {
    addresses::reserve(ctx, object, old, reservation).await?;
    reserve_ports(ctx, object, old, reservation).await
}

fn invalid(object: &Object, error: FieldError) -> Status {
    Status::invalid("", "Service", object.name(), &[error])
}

async fn reserve_ports(
    ctx: &Ctx,
    object: &mut Object,
    old: Option<&Object>,
    reservation: &mut Reservation,
) -> Result<(), Status> {
    let before: HashSet<Port> = old.map(service::held_ports).unwrap_or_default().into_iter().collect();
    for _ in 0..CLAIM_TRIES {
        let mut filled = object.clone();
        let new = choose_ports(ctx, &mut filled, &before, reservation).map_err(|error| invalid(object, error))?;
        let lost = claim_ports(ctx, &new, reservation).await?;
        if lost.is_empty() {
            reservation.ports.extend(new);
            let after = service::held_ports(&filled);
            reservation.freed_ports.extend(before.into_iter().filter(|p| !after.contains(p)));
            *object = filled;
            return Ok(());
        }
        if let Some(error) = lost.iter().find_map(|port| service::chosen(object, port)) {
            return Err(invalid(object, error));
        }
    }
    Err(Status::unavailable("no port could be claimed: too many others claim at once; try again"))
}

/// Claims ports that were chosen here; the ones that another server was faster with, of which then none is claimed.
async fn claim_ports(ctx: &Ctx, new: &[Port], reservation: &Reservation) -> Result<Vec<Port>, Status> {
    if !reservation.claims_ports() || new.is_empty() {
        return Ok(Vec::new());
    }
    let claimed = ctx.registry.storage().claim(&port_claims(new), &reservation.owner).await;
    let lost: Vec<Port> = match &claimed {
        Ok(lost) => {
            new.iter().zip(port_claims(new)).filter(|(_, c)| lost.contains(c)).map(|(p, _)| p.clone()).collect()
        }
        Err(_) => Vec::new(),
    };
    if claimed.is_err() || !lost.is_empty() {
        // Another server holds the lost ones, so here they stay taken.
        let free: Vec<Port> = new.iter().filter(|port| !lost.contains(port)).cloned().collect();
        ctx.allocators.forget(&reservation.owner, &[], &free);
    }
    claimed.map(|_| lost)
}

/// Fills in the ports that are open, and returns those that the Service did not hold before.
fn choose_ports(
    ctx: &Ctx,
    object: &mut Object,
    before: &HashSet<Port>,
    reservation: &Reservation,
) -> Result<Vec<Port>, FieldError> {
    let range = ctx.config.node_port_range.clone();
    let bands = Bands::of_ports(&range);
    let decides = !reservation.claims_ports();
    let mut taken = ctx.allocators.taken.lock();
    let mut given: Vec<u16> = Vec::new();
    let mut free = |protocols: &[String]| -> Option<u16> {
        let used = |n: u128| {
            let Ok(port) = u16::try_from(n) else { return true };
            given.contains(&port) || protocols.iter().any(|p| taken.ports.contains_key(&(p.clone(), port)))
        };
        let port = u16::try_from(bands.free(rand::random(), used)?).ok()?;
        given.push(port);
        Some(port)
    };
    let check = |port: &Port| -> Option<String> {
        if before.contains(port) {
            return None;
        }
        if !range.contains(&port.1) {
            let (first, last) = (range.start(), range.end());
            return Some(format!(
                "provided port is not in the valid range. The range of valid ports is {first}-{last}"
            ));
        }
        (decides && taken.ports.contains_key(port)).then(|| service::ALLOCATED.into())
    };
    service::fill_ports(object, &mut free, check)?;
    if service::wants_health_port(object) && service::health_port(object).is_none() {
        let port = free(&["TCP".to_owned()]).ok_or_else(|| {
            let why = "Internal error: failed to allocate a healthCheckNodePort: range is full";
            FieldError::new(FieldReason::Internal, "spec.healthCheckNodePort", why)
        })?;
        object.set(&["spec", "healthCheckNodePort"], i64::from(port));
    }
    let new: Vec<Port> = service::held_ports(object).into_iter().filter(|port| !before.contains(port)).collect();
    taken.ports.extend(new.iter().map(|port| (port.clone(), reservation.owner.clone())));
    Ok(new)
}

/// The object is gone from the store: gives back what it held.
pub(crate) async fn release(ctx: &Ctx, kind: &Kind, object: &Object) {
    if lookup::SERVICES.is(kind) {
        let addresses = service::addresses(object);
        give_back(&ctx.allocators, &ctx.registry, &owner_of(object), addresses, service::held_ports(object)).await;
    }
}

/// Before a write is validated: takes over what the client left open, and chooses the families of addresses.
pub(crate) fn prepare(ctx: &Ctx, kind: &Kind, new: &mut Object, old: Option<&Object>) -> Result<(), Status> {
    if !lookup::SERVICES.is(kind) {
        return Ok(());
    }
    if let Some(old) = old {
        service::inherit(new, old);
    }
    let cluster: Vec<_> = ctx.config.service_cidrs().map(|range| families::text(range.addr().is_ipv6())).collect();
    match families::prepare(new, old, &cluster) {
        wrong if wrong.is_empty() => Ok(()),
        wrong => Err(Status::invalid("", "Service", new.name(), &wrong)),
    }
}

#[cfg(test)]
mod tests;
