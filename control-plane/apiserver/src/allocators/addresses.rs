//! Addresses: one for each family that a Service has, each claimed by an IPAddress object.

use super::bands::{Bands, address, number};
use super::{CLAIM_TRIES, FAMILY, MANAGED_BY, MANAGER, Reservation, families, invalid, ranges, service};
use crate::ctx::Ctx;
use crate::lookup;
use api::status::FieldReason;
use api::{FieldError, Object, Status, Value};
use ipnet::IpNet;
use serde_json::json;
use std::net::IpAddr;

pub(super) async fn reserve(
    ctx: &Ctx,
    object: &mut Object,
    old: Option<&Object>,
    reservation: &mut Reservation,
) -> Result<(), Status> {
    let before = old.map(service::addresses).unwrap_or_default();
    if !service::wants_address(object) {
        if object.str_at(&["spec", "clusterIP"]) == "None" {
            object.set(&["spec", "clusterIPs"], vec!["None"]);
        }
        reservation.freed_addresses.extend(before);
        return Ok(());
    }
    let chosen = service::addresses(object);
    let families = families::of(object);
    let mut ranges: Option<Vec<IpNet>> = None;
    let mut given = Vec::new();
    for n in 0..families.len().max(1) {
        match chosen.get(n) {
            Some(kept) if before.contains(kept) => given.push(*kept),
            chosen => {
                let usable = match ranges.take() {
                    Some(usable) => usable,
                    None => ranges::usable(ctx).await?,
                };
                given.push(match chosen {
                    Some(chosen) => claim_chosen(ctx, object, *chosen, &usable, reservation).await?,
                    None => claim_any(ctx, object, families.get(n), &usable, reservation).await?,
                });
                ranges = Some(usable);
            }
        }
    }
    reservation.freed_addresses.extend(before.into_iter().filter(|address| !given.contains(address)));
    let given: Vec<String> = given.iter().map(IpAddr::to_string).collect();
    object.set(&["spec", "clusterIP"], given[0].clone());
    object.set(&["spec", "clusterIPs"], given);
    Ok(())
}

/// Takes the address in memory; `false` where somebody else has it.
fn take(ctx: &Ctx, address: IpAddr, owner: &str) -> bool {
    match ctx.allocators.taken.lock().addresses.entry(address) {
        std::collections::hash_map::Entry::Occupied(_) => false,
        std::collections::hash_map::Entry::Vacant(entry) => {
            entry.insert(owner.to_owned());
            true
        }
    }
}

async fn claim_chosen(
    ctx: &Ctx,
    object: &Object,
    chosen: IpAddr,
    ranges: &[IpNet],
    reservation: &mut Reservation,
) -> Result<IpAddr, Status> {
    let refuse = |why: &str| {
        let list: Vec<Value> =
            service::addresses(object).iter().map(|ip| Value::from(ip.to_string().as_str())).collect();
        let why = format!("failed to allocate IP {chosen}: {why}");
        invalid(object, families::invalid("spec.clusterIPs".into(), &Some(Value::List(list)), &why))
    };
    let holds = |range: &&IpNet| range.contains(&chosen) && Bands::of_network(range).contains(number(chosen));
    if !ranges.iter().any(|range| holds(&range)) {
        return Err(refuse("the provided network does not match the current range"));
    }
    let was_free = take(ctx, chosen, &reservation.owner);
    if !was_free && !reservation.claims_ports() {
        return Err(refuse("provided IP is already allocated"));
    }
    match claim(object, chosen, reservation).await {
        Ok(()) => {
            reservation.addresses.push(chosen);
            Ok(chosen)
        }
        Err(status) => {
            if was_free {
                ctx.allocators.forget(&reservation.owner, &[chosen], &[]);
            }
            Err(if status.code == 409 { refuse("provided IP is already allocated") } else { status })
        }
    }
}

/// An address of a family, out of the first range that has one left.
async fn claim_any(
    ctx: &Ctx,
    object: &Object,
    family: Option<&String>,
    ranges: &[IpNet],
    reservation: &mut Reservation,
) -> Result<IpAddr, Status> {
    let is_of = |range: &&IpNet| family.is_none_or(|family| families::text(range.addr().is_ipv6()) == family);
    for _ in 0..CLAIM_TRIES {
        let Some(free) = ranges.iter().filter(is_of).find_map(|range| free(ctx, range)) else {
            let error = "Internal error: failed to allocate a serviceIP: range is full";
            return Err(invalid(object, FieldError::new(FieldReason::Internal, "spec.clusterIPs", error)));
        };
        if !take(ctx, free, &reservation.owner) {
            continue;
        }
        match claim(object, free, reservation).await {
            Ok(()) => {
                reservation.addresses.push(free);
                return Ok(free);
            }
            // Another server holds it, so here it stays taken.
            Err(status) if status.code == 409 => {}
            Err(status) => {
                ctx.allocators.forget(&reservation.owner, &[free], &[]);
                return Err(status);
            }
        }
    }
    Err(Status::unavailable("no address could be claimed: too many others claim at once; try again"))
}

fn free(ctx: &Ctx, range: &IpNet) -> Option<IpAddr> {
    let v4 = range.addr().is_ipv4();
    let taken = ctx.allocators.taken.lock();
    let free = Bands::of_network(range).free(rand::random(), |n| taken.addresses.contains_key(&address(n, v4)));
    free.map(|n| address(n, v4))
}

/// Makes the IPAddress object, unless this is a dry run.
async fn claim(object: &Object, address: IpAddr, reservation: &Reservation) -> Result<(), Status> {
    let Some(registry) = &reservation.registry else { return Ok(()) };
    let kind = registry.known(lookup::IP_ADDRESSES)?;
    let claim = claim_object(address, object.namespace(), object.name()).map_err(Status::internal)?;
    registry.create(&kind, claim).await.map(drop)
}

pub(super) fn claim_object(address: IpAddr, namespace: &str, name: &str) -> Result<Object, String> {
    Object::from_typed(&json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {"name": address.to_string(), "labels": {MANAGED_BY: MANAGER, FAMILY: families::text(address.is_ipv6())}},
        "spec": {"parentRef": {"resource": "services", "namespace": namespace, "name": name}},
    }))
    .map_err(|e| e.to_string())
}
