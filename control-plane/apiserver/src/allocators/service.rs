//! What a Service needs of addresses and ports, as plain data.

use api::status::FieldReason;
use api::{FieldError, Object, Value};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Upstream's words.
pub(super) const ALLOCATED: &str = "provided port is already allocated";

/// A node port with its protocol.
pub(super) type Port = (String, u16);

/// The addresses of the Service; none for headless and ExternalName, and where none is set yet.
pub(super) fn addresses(service: &Object) -> Vec<IpAddr> {
    let list = service.at(&["spec", "clusterIPs"]).and_then(Value::as_list).unwrap_or_default();
    if list.is_empty() {
        return service.str_at(&["spec", "clusterIP"]).parse().into_iter().collect();
    }
    list.iter().filter_map(|ip| ip.as_str()?.parse().ok()).collect()
}

/// Whether the Service is one that has an address.
pub(super) fn wants_address(service: &Object) -> bool {
    service.str_at(&["spec", "type"]) != "ExternalName" && service.str_at(&["spec", "clusterIP"]) != "None"
}

pub(super) fn wants_ports(service: &Object) -> bool {
    match service.str_at(&["spec", "type"]) {
        "NodePort" => true,
        "LoadBalancer" => service.bool_at(&["spec", "allocateLoadBalancerNodePorts"]) != Some(false),
        _ => false,
    }
}

/// Whether the Service needs a port at which nodes tell a load balancer of their health.
pub(super) fn wants_health_port(service: &Object) -> bool {
    service.str_at(&["spec", "type"]) == "LoadBalancer" && service.str_at(&["spec", "externalTrafficPolicy"]) == "Local"
}

fn ports(service: &Object) -> &[Value] {
    service.at(&["spec", "ports"]).and_then(Value::as_list).unwrap_or(&[])
}

fn node_port(port: &Value) -> Option<u16> {
    let number = port.get("nodePort").and_then(Value::as_i64)?;
    u16::try_from(number).ok().filter(|n| *n != 0)
}

fn protocol(port: &Value) -> String {
    port.get("protocol").and_then(Value::as_str).unwrap_or("TCP").to_owned()
}

pub(super) fn health_port(service: &Object) -> Option<u16> {
    let number = service.i64_at(&["spec", "healthCheckNodePort"])?;
    u16::try_from(number).ok().filter(|n| *n != 0)
}

/// Where a Service names a port that it cannot have; `None` where it leaves the choice open.
pub(super) fn chosen(service: &Object, port: &Port) -> Option<FieldError> {
    let at = ports(service).iter().position(|p| protocol(p) == port.0 && node_port(p) == Some(port.1));
    let health = || health_port(service).filter(|p| port.0 == "TCP" && *p == port.1);
    let path = match at {
        Some(i) => format!("spec.ports[{i}].nodePort"),
        None => health().map(|_| "spec.healthCheckNodePort".to_owned())?,
    };
    Some(FieldError::new(FieldReason::Invalid, path, format!("Invalid value: {}: {ALLOCATED}", port.1)))
}

/// Every node port that the Service holds.
pub(super) fn held_ports(service: &Object) -> Vec<Port> {
    let mut held: Vec<Port> = ports(service).iter().filter_map(|p| Some((protocol(p), node_port(p)?))).collect();
    held.extend(health_port(service).map(|p| ("TCP".to_owned(), p)));
    held.sort();
    held.dedup();
    held
}

/// Takes over from the old Service what the new one leaves open, as clients that do not know of allocation expect.
/// What the new type has no use for is dropped, unless the client has changed it (validation then says why not).
pub(super) fn inherit(new: &mut Object, old: &Object) {
    follow(new, old);
    if new.at(&["spec", "clusterIPs"]).and_then(Value::as_list).is_some_and(<[Value]>::is_empty) {
        new.unset(&["spec", "clusterIPs"]);
    }
    if wants_address(new) && wants_address(old) {
        if new.str_at(&["spec", "clusterIP"]).is_empty() && new.at(&["spec", "clusterIPs"]).is_none() {
            for key in ["clusterIP", "clusterIPs"] {
                copy(new, old, key);
            }
        } else if new.at(&["spec", "clusterIPs"]).is_none()
            && new.str_at(&["spec", "clusterIP"]) == old.str_at(&["spec", "clusterIP"])
        {
            copy(new, old, "clusterIPs");
        }
        for key in ["ipFamilies", "ipFamilyPolicy"] {
            if new.at(&["spec", key]).is_none() {
                copy(new, old, key);
            }
        }
    }
    if new.str_at(&["spec", "type"]) == "ExternalName" && old.str_at(&["spec", "type"]) != "ExternalName" {
        for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            if new.at(&["spec", key]) == old.at(&["spec", key]) {
                new.unset(&["spec", key]);
            }
        }
    }
    if wants_ports(new) && wants_ports(old) {
        keep_node_ports(new, old);
    } else if !wants_ports(new) && wants_ports(old) && new.str_at(&["spec", "type"]) != "LoadBalancer" {
        drop_node_ports(new, old);
    }
    if wants_health_port(new) && wants_health_port(old) && health_port(new).is_none() {
        copy(new, old, "healthCheckNodePort");
    }
    for (wanted, key) in [
        (wants_health_port(new), "healthCheckNodePort"),
        (new.str_at(&["spec", "type"]) == "LoadBalancer", "allocateLoadBalancerNodePorts"),
        (
            matches!(new.str_at(&["spec", "type"]), "NodePort" | "LoadBalancer")
                || new.at(&["spec", "externalIPs"]).is_some(),
            "externalTrafficPolicy",
        ),
    ] {
        if !wanted && new.at(&["spec", key]) == old.at(&["spec", key]) {
            new.unset(&["spec", key]);
        }
    }
}

/// A client that knows only one of `clusterIP` and `clusterIPs` changes the other with it.
fn follow(new: &mut Object, old: &Object) {
    let same = |key| new.at(&["spec", key]) == old.at(&["spec", key]);
    match (same("clusterIP"), same("clusterIPs")) {
        (false, true) => match new.str_at(&["spec", "clusterIP"]).to_owned() {
            one if one.is_empty() => drop(new.unset(&["spec", "clusterIPs"])),
            one => new.set(&["spec", "clusterIPs"], vec![one]),
        },
        (true, false) => {
            if let Some(first) = new.at(&["spec", "clusterIPs", "0"]).cloned() {
                new.set(&["spec", "clusterIP"], first);
            }
        }
        (true, true) | (false, false) => {}
    }
}

fn copy(new: &mut Object, old: &Object, key: &str) {
    if let Some(value) = old.at(&["spec", key]) {
        new.set(&["spec", key], value.clone());
    }
}

fn keep_node_ports(new: &mut Object, old: &Object) {
    let held: BTreeMap<(String, i64), u16> =
        ports(old).iter().filter_map(|p| Some(((protocol(p), number(p)), node_port(p)?))).collect();
    let used: Vec<u16> = ports(new).iter().filter_map(node_port).collect();
    for port in new.at_mut(&["spec", "ports"]).and_then(Value::as_list_mut).into_iter().flatten() {
        let kept = held.get(&(protocol(port), number(port))).filter(|k| !used.contains(k));
        if let (None, Some(kept)) = (node_port(port), kept) {
            port.make_map().insert("nodePort", i64::from(*kept));
        }
    }
}

fn drop_node_ports(new: &mut Object, old: &Object) {
    let held: Vec<u16> = ports(old).iter().filter_map(node_port).collect();
    for port in new.at_mut(&["spec", "ports"]).and_then(Value::as_list_mut).into_iter().flatten() {
        if node_port(port).is_some_and(|p| held.contains(&p)) {
            port.make_map().remove("nodePort");
        }
    }
}

fn number(port: &Value) -> i64 {
    port.get("port").and_then(Value::as_i64).unwrap_or(0)
}

/// Fills in the ports that are open. `free` gives one out, `check` says why a chosen one cannot be had; ports of the
/// same number but another protocol share a node port.
pub(super) fn fill_ports(
    service: &mut Object,
    mut free: impl FnMut(&[String]) -> Option<u16>,
    check: impl Fn(&Port) -> Option<String>,
) -> Result<(), FieldError> {
    let wanted = wants_ports(service);
    let protocols = |service: &Object, of: i64| -> Vec<String> {
        ports(service).iter().filter(|p| number(p) == of).map(protocol).collect()
    };
    for i in 0..ports(service).len() {
        let port = ports(service)[i].clone();
        match node_port(&port) {
            Some(chosen) => {
                if let Some(why) = check(&(protocol(&port), chosen)) {
                    let path = format!("spec.ports[{i}].nodePort");
                    return Err(FieldError::new(FieldReason::Invalid, path, format!("Invalid value: {chosen}: {why}")));
                }
            }
            None if wanted => {
                let shared = ports(service)
                    .iter()
                    .filter(|p| number(p) == number(&port) && protocol(p) != protocol(&port))
                    .find_map(node_port);
                let taken =
                    |p: u16| ports(service).iter().any(|o| node_port(o) == Some(p) && protocol(o) == protocol(&port));
                let given = shared.filter(|p| !taken(*p)).or_else(|| free(&protocols(service, number(&port))));
                let given = given.ok_or_else(|| {
                    FieldError::new(
                        FieldReason::Internal,
                        format!("spec.ports[{i}].nodePort"),
                        "Internal error: failed to allocate a nodePort: range is full",
                    )
                })?;
                if let Some(port) = service.at_mut(&["spec", "ports", &i.to_string()]) {
                    port.make_map().insert("nodePort", i64::from(given));
                }
            }
            None => {}
        }
    }
    Ok(())
}
